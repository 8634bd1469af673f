// SPDX-License-Identifier: Apache-2.0
// atelier doctor: what a run needs, looked at before it.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/folders.h"
#include "cli/inputs.h"
#include "cli/model_library.h"
#include "cli/mpi_workers.h"
#include "cli/slurm_workers.h"
#include "engine/slurm_cluster.h"
#include "model/runner.h"
#include "run/machine_memory.h"
#include "run/sandbox.h"
#include "store/check_store.h"

namespace atelier::cli {
namespace {

// Below this a scratch file of a chunk or of a short video may not fit.
constexpr uint64_t kLittleSpace = uint64_t{2} << 30;
constexpr uint64_t kLittleMemory = uint64_t{2} << 30;
// Ages of runs (gc) and the life of links are measured by two clocks.
constexpr std::chrono::seconds kWrongClock(30);

struct Finding {
  enum class State { ok, warning, failed };
  std::string check;
  State state = State::ok;
  std::string text;
  Code code = Code::internal;  // of what failed
};

const char* word(Finding::State state) {
  switch (state) {
    case Finding::State::ok: return "ok";
    case Finding::State::warning: return "warning";
    case Finding::State::failed: return "failed";
  }
  return "failed";
}

class Doctor {
 public:
  Doctor(const DoctorOptions& options, Console& console) : options_(options), console_(console) {}

  Result<void> run(const std::stop_token& stop) {
    look_at_machine();
    look_at_sandbox();
    for (const auto look : {&Doctor::look_at_scratch, &Doctor::look_at_runs, &Doctor::look_at_input,
                            &Doctor::look_at_output, &Doctor::look_at_model}) {
      if (stop.stop_requested()) return make_error(Code::cancelled, "Interrupted.");
      (this->*look)();
    }
    if (!options_.engine.is_local()) look_at_engine(stop);
    for (const std::string& note : notes_of_stores()) warn("stores", note);
    return judge();
  }

 private:
  void look_at_machine() {
    const uint64_t memory = run::usable_memory();
    const std::string text =
        fmt::format("{} processors, {}; {} of memory.", std::thread::hardware_concurrency(),
                    model::isa_name(), memory > 0 ? size_text(memory) : "an unknown amount");
    if (memory > 0 && memory < kLittleMemory) {
      return warn("machine", text + " A 1080p video may need more; a smaller --size needs less.");
    }
    fine("machine", text);
  }

  // Locked in is for good, so it is tried in a process of its own.
  void look_at_sandbox() {
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return fail("sandbox", cannot_try());
    const Fd answer(pipe[0]);
    Fd end(pipe[1]);
    const pid_t child = ::fork();
    if (child < 0) return fail("sandbox", cannot_try());
    if (child == 0) {
      const auto report = run::lock_down({});
      const int abi = report.ok() ? report->landlock_abi : -1;
      (void)!::write(end.get(), &abi, sizeof abi);
      ::_exit(0);
    }
    end = Fd();
    int abi = -1;
    if (::read(answer.get(), &abi, sizeof abi) != sizeof abi) abi = -1;
    while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    if (abi < 0) {
      return fail("sandbox",
                  make_error(Code::internal,
                             "The kernel refuses to lock in what parses videos and models; use a "
                             "kernel with seccomp, or --sandbox off for inputs that you trust."));
    }
    fine("sandbox", abi > 0 ? fmt::format("seccomp and Landlock (ABI {}) lock in what parses.", abi)
                            : std::string("seccomp locks in what parses; there is no Landlock."));
  }

  static Error cannot_try() {
    return make_error(Code::internal, "The sandbox cannot be tried: {}.", describe_errno(errno));
  }

  void look_at_scratch() {
    std::vector<Location> places;
    if (auto runs = location_of_runs(options_.runs); runs.ok()) places.push_back(*runs);
    for (const std::string& text : {options_.input, options_.output}) {
      if (text.empty()) continue;
      if (auto place = parse_location(text); place.ok()) places.push_back(*place);
    }
    const auto folder = scratch_of(places);
    if (!folder.ok()) return fail("scratch", folder.error());
    const auto file = ScratchFile::create(*folder);
    if (!file.ok()) return fail("scratch", file.error());
    const auto space = free_space(*folder);
    if (!space.ok()) return fail("scratch", space.error());
    const std::string text = fmt::format("Files of a run that are read once lie in '{}': {} free.",
                                         folder->string(), size_text(*space));
    if (*space < kLittleSpace) {
      return warn("scratch", text + " The finished video must fit there, too; set TMPDIR.");
    }
    fine("scratch", text);
  }

  static Result<std::filesystem::path> scratch_of(const std::vector<Location>& places) {
    for (const Location& place : places) {
      if (TRY(is_encrypted(place))) return scratch_in_memory();
    }
    return scratch_folder();
  }

  void look_at_runs() {
    const auto location = location_of_runs(options_.runs);
    if (!location.ok()) return fail("runs", location.error());
    const auto store = open_folder(*location);
    if (!store.ok()) return fail("runs", store.error());
    const auto found = check_store(**store, system_clock());
    if (!found.ok()) return fail("runs", found.error());
    const double milliseconds = static_cast<double>(found->round_trip.count()) / 1000;
    const auto encrypted = is_encrypted(*location);
    const std::string text = fmt::format(
        "'{}' can be written, read, listed and removed ({:.1f} ms each){}.", location->url(),
        milliseconds, encrypted.ok() && *encrypted ? ", encrypted" : "");
    if (!found->conditions) {
      return warn("runs", text +
                              " It does not obey conditions, so two workers may score the same "
                              "chunk, which costs time and nothing else.");
    }
    if (std::chrono::abs(found->clock_ahead) > kWrongClock) {
      return warn("runs", fmt::format("{} Its clock is {} {} this machine's; set them by NTP, or "
                                      "`atelier gc` takes runs for older or younger than they are.",
                                      text, age_text(std::chrono::abs(found->clock_ahead)),
                                      found->clock_ahead.count() > 0 ? "ahead of" : "behind"));
    }
    fine("runs", text);
  }

  void look_at_input() {
    if (options_.input.empty()) return;
    const auto input = find_input(options_.input);
    if (!input.ok()) return fail("input", input.error());
    std::array<std::byte, 1> first{};
    const auto read = input->source->read_at(0, first);
    if (!read.ok()) return fail("input", read.error());
    fine("input",
         fmt::format("'{}' can be read: {}.", options_.input, size_text(input->identity.size)));
  }

  // By an object beside it: an output that appears must be the whole one.
  void look_at_output() {
    if (options_.output.empty()) return;
    const auto place = open_place(options_.output);
    if (!place.ok()) return fail("output", place.error());
    std::error_code error;
    const auto folder = place->location.path.parent_path();
    if (place->location.is_file() && !std::filesystem::is_directory(folder, error)) {
      return fail("output", make_error(Code::invalid_argument,
                                       "There is no folder '{}' for the output; make it first.",
                                       folder.string()));
    }
    const auto there = place->store->head(place->key);
    if (!there.ok()) return fail("output", there.error());
    const auto found = check_store(*place->store, system_clock(), StoreRole::output);
    if (!found.ok()) return fail("output", found.error());
    if (!found->left.empty()) {
      return warn("output",
                  fmt::format("'{}' can be written; '{}', by which that was tried, cannot "
                              "be removed with these credentials.",
                              options_.output, found->left));
    }
    if (*there) {
      return warn("output", fmt::format("'{}' exists; a run keeps it unless --force is given.",
                                        options_.output));
    }
    fine("output", fmt::format("'{}' can be written.", options_.output));
  }

  void look_at_model() {
    if (options_.model.empty()) return;
    const auto model = load_model(options_.model);
    if (!model.ok()) return fail("model", model.error());
    fine("model", fmt::format("'{}' can be read, and its operators are known.", options_.model));
  }

  void look_at_engine(const std::stop_token& stop) {
    const auto checked = check_engine(options_.engine, 0, stop);
    if (!checked.ok()) return fail("engine", checked.error());
    if (options_.engine.name == "slurm") return look_at_slurm(stop);
    look_at_hosts(stop);
  }

  void look_at_slurm(const std::stop_token& stop) {
    const auto partition = slurm_partition(options_.engine, stop);
    if (!partition.ok()) return fail("engine", partition.error());
    if (!*partition) return;  // said already
    fine("engine", fmt::format("Slurm answers; nodes of '{}': {}.", (*partition)->name,
                               engine::nodes_in_words(**partition)));
    const auto tried = try_slurm_job(options_.engine, stop);
    if (!tried.ok()) return fail("job", tried.error());
    fine("job", fmt::format("Slurm would take it: {}.", *tried));
    look_at_free_nodes(**partition, stop);
  }

  // Those that are powered down stay so: a look is not worth a machine.
  void look_at_free_nodes(const engine::SlurmPartition& partition, const std::stop_token& stop) {
    constexpr int kMost = 32;
    int free = 0;
    for (const auto& [state, count] : partition.nodes) {
      if (state == "idle" || state == "mixed") free += count;
    }
    if (free == 0) {
      return warn("nodes", "No node is free now, so none was asked for its version and store.");
    }
    const auto runs = runs_for_hosts();
    if (runs == nullptr) return;
    const auto found = look_at_slurm_nodes(options_.engine, std::min(free, kMost), *runs, stop);
    if (found.ok()) return tell_hosts(*found);
    // Who came first may have taken them; without atelier-rank there is nobody to ask.
    warn("nodes", found.error().message);
  }

  std::unique_ptr<ObjectStore> runs_for_hosts() {
    const auto location = location_of_runs(options_.runs);
    if (!location.ok()) return nullptr;  // said already
    auto runs = open_folder(*location);
    return runs.ok() ? std::move(*runs) : nullptr;
  }

  void look_at_hosts(const std::stop_token& stop) {
    const auto runs = runs_for_hosts();
    if (runs == nullptr) return;
    const auto hosts = look_at_mpi_hosts(options_.engine, *runs, stop);
    if (!hosts.ok()) return fail("engine", hosts.error());
    tell_hosts(*hosts);
  }

  void tell_hosts(const std::vector<engine::HostTrouble>& hosts) {
    for (const engine::HostTrouble& host : hosts) {
      if (!host.text.empty()) {
        fail("host", make_error(Code::unavailable, "{}", host.text));
      } else {
        fine("host", fmt::format("{} answers, has this version, sees the runs, and its clock and "
                                 "room for scratch files will do.",
                                 host.host));
      }
    }
  }

  void fine(const char* check, std::string text) {
    add({check, Finding::State::ok, std::move(text), {}});
  }
  void warn(const char* check, std::string text) {
    add({check, Finding::State::warning, std::move(text), {}});
  }
  void fail(const char* check, const Error& error) {
    add({check, Finding::State::failed, error.message, error.code});
  }
  void add(Finding finding) {
    console_.say(fmt::format("{:8} {:8} {}", word(finding.state), finding.check, finding.text));
    findings_.push_back(std::move(finding));
  }

  Result<void> judge() {
    nlohmann::json list = nlohmann::json::array();
    const Finding* first = nullptr;
    size_t failed = 0;
    for (const Finding& finding : findings_) {
      list.push_back(
          {{"check", finding.check}, {"state", word(finding.state)}, {"text", finding.text}});
      if (finding.state != Finding::State::failed) continue;
      if (first == nullptr) first = &finding;
      ++failed;
    }
    const nlohmann::json object = {{"state", first == nullptr ? "ok" : "failed"},
                                   {"findings", list}};
    console_.object(object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    if (first == nullptr) return {};
    return Error{first->code, failed == 1 ? first->text
                                          : fmt::format("{} (and {} more finding{})", first->text,
                                                        failed - 1, failed == 2 ? "" : "s")};
  }

  const DoctorOptions& options_;
  Console& console_;
  std::vector<Finding> findings_;
};

}  // namespace

Result<void> doctor_command(const DoctorOptions& options, Console& console, std::stop_token stop) {
  hurry_stores();
  return Doctor(options, console).run(stop);
}

}  // namespace atelier::cli
