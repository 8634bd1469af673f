// SPDX-License-Identifier: Apache-2.0
#include "cli/mpi_workers.h"

#include <unistd.h>

#include <charconv>
#include <cstdlib>

#include "base/clock.h"
#include "base/file.h"
#include "cli/folders.h"
#include "engine/mpi.h"
#include "engine/worker_process.h"
#include "run/broker.h"
#include "run/worker_beats.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRankProgram = "atelier-rank";

std::chrono::milliseconds milliseconds_of(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

// mpirun would say so on forty lines.
Result<void> check_root() {
  const auto is_set = [](const char* name) { return std::getenv(name) != nullptr; };
  if (::geteuid() != 0 ||
      (is_set("OMPI_ALLOW_RUN_AS_ROOT") && is_set("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"))) {
    return {};
  }
  return make_error(Code::invalid_argument,
                    "Open MPI does not work as root unless OMPI_ALLOW_RUN_AS_ROOT=1 and "
                    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 are in the environment; set them, or work as "
                    "another user.");
}

Result<std::vector<engine::MpiHost>> read_hosts(const MpiOptions& options) {
  constexpr uint64_t kLargest = 1u << 20;
  const auto source = FileSource::open(options.hosts);
  if (!source.ok()) return Error{Code::invalid_argument, source.error().message};
  const auto text = read_all(**source, kLargest, fmt::format("'{}'", options.hosts));
  if (!text.ok()) return Error{Code::invalid_argument, text.error().message};
  return engine::parse_hosts(as_text(*text), options.hosts, options.ranks_per_node);
}

// mpirun passes on its own of these.
std::vector<std::string> variables_of_ranks() {
  std::vector<std::string> names = engine::harmless_variables();
  std::erase_if(names, [](const std::string& name) { return name == "PATH" || name == "HOME"; });
  return names;
}

std::string gang_name(const WorkersRequest& request, int gang) {
  return fmt::format("{}.{}", request.name, gang);
}

Result<std::map<int, std::string>> beats_of_gang(const WorkersRequest& request,
                                                 const std::string& run_id, int gang) {
  const std::string prefix = gang_name(request, gang) + ".";
  std::map<int, std::string> beats;
  for (auto& [worker, beat] : TRY(run::beats_of(*request.store, run_id, prefix))) {
    int rank = -1;
    const std::string_view number = std::string_view(worker).substr(prefix.size());
    std::from_chars(number.data(), number.data() + number.size(), rank);
    beats[rank] = beat;
  }
  return beats;
}

run::EngineReport report_of(engine::MpiOutcome outcome) {
  run::EngineReport report;
  report.name = "mpi";
  report.nodes = std::move(outcome.hosts);
  report.workers = outcome.ranks;
  report.restarts = outcome.restarts;
  for (engine::MpiOutcome::Event& event : outcome.events) {
    report.events.push_back({event.seconds, std::move(event.text)});
  }
  report.statistics = std::move(outcome.statistics);
  return report;
}

// All that says where the ranks are to be.
Result<engine::MpiJob> job_on_hosts(const EngineOptions& engine) {
  const MpiOptions& options = engine.mpi;
  TRY(check_root());
  engine::MpiJob job;
  job.setup.interface = options.interface;
  job.setup.program = TRY(rank_program());
  job.setup.variables = variables_of_ranks();
  if (!options.hosts.empty()) job.hosts = TRY(read_hosts(options));
  if (!engine.nodes.empty()) job.nodes = TRY(parse_nodes(engine.nodes)).most;
  job.ranks_per_node = std::max(1, options.ranks_per_node);
  job.version = ATELIER_VERSION;
  return job;
}

}  // namespace

Result<std::string> rank_program() {
  const fs::path path = program_folder() / kRankProgram;
  if (::access(path.c_str(), X_OK) == 0) return path.string();
  return make_error(Code::invalid_argument,
                    "There is no '{}'; a gang needs a program built with -DATELIER_MPI=ON.",
                    path.string());
}

std::vector<std::string> rank_arguments(const WorkersRequest& request, const std::string& url) {
  std::vector<std::string> arguments{"score", url, "--input=" + request.input,
                                     "--model=" + request.model, "--sandbox=" + request.sandbox};
  for (const std::string& file : request.model_beside) arguments.push_back("--beside=" + file);
  if (request.trace) arguments.emplace_back("--trace");
  for (std::string& limit : to_arguments_elsewhere(request.limits)) {
    arguments.push_back(std::move(limit));
  }
  return arguments;
}

Result<std::vector<engine::HostTrouble>> look_at_mpi_hosts(const EngineOptions& engine,
                                                           ObjectStore& runs,
                                                           std::stop_token stop) {
  engine::MpiJob job = TRY(job_on_hosts(engine));
  const auto launcher = engine::make_launcher();
  return while_run_beats(runs, [&](const std::vector<std::string>& arguments) {
    job.host_arguments = arguments;
    return engine::look_at_hosts(job, *launcher, system_clock(), std::move(stop));
  });
}

Result<std::vector<engine::HostTrouble>> while_run_beats(
    ObjectStore& runs, const std::function<Result<std::vector<engine::HostTrouble>>(
                           const std::vector<std::string>& arguments)>& look) {
  run::Ledger::Setup setup;
  setup.run_id = "atelier-doctor-" + run::make_worker_name();
  setup.worker = "doctor";
  run::Ledger ledger(runs, system_clock(), setup);
  TRY(ledger.beat(0));
  auto found = look({"host", runs.url(setup.run_id), "--sees=" + setup.worker});
  TRY(run::RunFolder(runs, setup.run_id).clear());
  return found;
}

Result<run::EngineReport> score_by_mpi(const WorkersRequest& request, run::RunFolder& folder,
                                       Console& console, std::stop_token stop) {
  const MpiOptions& options = request.engine.mpi;
  engine::MpiJob job = TRY(job_on_hosts(request.engine));
  job.rank_arguments = [&](int gang) {
    std::vector<std::string> arguments = rank_arguments(request, folder.url());
    arguments.push_back("--gang=" + gang_name(request, gang));
    arguments.push_back(fmt::format("--threads={}", request.threads));
    return arguments;
  };
  job.host_arguments = {"host", folder.url(), "--sees=" + request.name};
  job.restarts = options.most_restarts();
  job.gang_timeout = milliseconds_of(options.gang_seconds());
  job.beat_timeout = milliseconds_of(options.beat_seconds());
  job.beats = [&](int gang) { return beats_of_gang(request, folder.run_id(), gang); };
  job.bury = [&](int gang, int ranks) {
    for (int rank = 0; rank < ranks; ++rank) {
      // Its chunks are taken over all the same, later.
      (void)run::bury(*request.store, folder.run_id(),
                      fmt::format("{}.{}", gang_name(request, gang), rank));
    }
  };
  job.goes_on = request.goes_on;
  job.say = [&console](const std::string& text) { console.say(text); };
  job.note = [&console](const std::string& text) { console.note(text); };
  const auto launcher = engine::make_launcher();
  return report_of(TRY(engine::run_mpi_gang(job, *launcher, system_clock(), std::move(stop))));
}

}  // namespace atelier::cli
