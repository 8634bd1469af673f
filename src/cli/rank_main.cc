// SPDX-License-Identifier: Apache-2.0
// atelier-rank: what mpirun or srun starts on each host. A program of its own, so that `atelier`
// itself needs no MPI library. What it says is for the engine: by mpirun lines of
// engine/mpi_words.h; by srun, of which nothing comes back but a code and the last words on stderr,
// what `atelier worker` would say.
#include <fcntl.h>
#include <net/if.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>

#include "base/file.h"
#include "cli/console.h"
#include "cli/folders.h"
#include "cli/interrupt.h"
#include "cli/rank_command.h"
#include "cli/rank_meeting.h"
#include "cli/worker_job.h"
#include "engine/mpi/mpi_gang.h"
#include "engine/mpi_words.h"
#include "engine/worker_process.h"

namespace atelier::cli {
namespace {

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "?";
  return name.data();
}

// A line at once: others write to the same pipe.
void say(std::string line) {
  line += '\n';
  (void)write_fully(STDOUT_FILENO, as_bytes(line), "stdout");
}

enum class Listener { mpirun, srun };

// Errors are sentences. Which host they are about only this program knows; Slurm does, too.
int failed(const Error& error, Listener listener = Listener::mpirun) {
  if (listener == Listener::srun) return report_error(error, false);
  say(engine::error_line({error.code, fmt::format("On {}: {}", host_name(), error.message)}));
  return exit_code(error);
}

// A library that fails has lost another rank, which is for srun's batch script to know; of mpirun's
// the engine hears.
int gang_failed(const Error& error, Listener listener, int code_for_srun) {
  const int code = failed(error, listener);
  return listener == Listener::srun && error.code == Code::unavailable ? code_for_srun : code;
}

// The scorers' program: the file beside this one as it is now, whatever becomes of its name.
Result<Fd> open_scorer_program() {
  const auto path = program_folder() / "atelier";
  Fd program(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (program) return program;
  return make_error(Code::unavailable,
                    "There is no '{}'; install the whole of Atelier on every host.", path.string());
}

// Open MPI takes every interface where it does not find the one that it was told (seen in 4.1.4).
Result<void> check_interface() {
  const char* const told = std::getenv("OMPI_MCA_btl_tcp_if_include");
  std::string_view names = told == nullptr ? "" : told;
  while (!names.empty()) {
    const std::string name(names.substr(0, names.find(',')));
    names.remove_prefix(std::min(names.size(), name.size() + 1));
    // With a slash it is a network.
    if (name.find('/') != std::string::npos || ::if_nametoindex(name.c_str()) != 0) continue;
    return make_error(Code::unavailable,
                      "There is no network interface '{}' here; --interface names one that all "
                      "hosts have.",
                      name);
  }
  return {};
}

// By srun.
struct SlurmWords {
  std::string prepared_by;  // the version; empty: started by mpirun
  double gang_timeout = 60;
  Listener listener() const { return prepared_by.empty() ? Listener::mpirun : Listener::srun; }
};

int score(RankOptions& options, const SlurmWords& slurm, const std::stop_token& stop) {
  const Listener listener = slurm.listener();
  const bool by_srun = listener == Listener::srun;
  if (!by_srun) say(engine::there_line(host_name()));
  if (const auto same = check_version(slurm.prepared_by); !same.ok()) {
    return failed(same.error(), listener);
  }
  if (const auto there = check_interface(); !there.ok()) return failed(there.error(), listener);
  auto program = open_scorer_program();
  if (!program.ok()) return failed(program.error(), listener);
  // Not /proc/self: a scorer closes its own copy before it becomes the program.
  options.scorer = fmt::format("/proc/{}/fd/{}", ::getpid(), program->get());
  std::unique_ptr<RankMeeting> meeting;
  if (by_srun) {
    auto begun = RankMeeting::begin({options.run_url, options.gang, slurm.gang_timeout});
    if (!begun.ok()) return failed(begun.error(), listener);
    meeting = std::move(*begun);
  }
  auto gang = engine::MpiGang::join(stop);
  if (!gang.ok()) return gang_failed(gang.error(), listener, engine::kGangUnmet);
  const bool first = (*gang)->rank() == 0;
  const auto statistics = score_as_rank(
      options, **gang,
      [&] {
        meeting.reset();
        if (first && !by_srun) say(engine::complete_line());
      },
      stop);
  if (!statistics.ok()) {
    const bool met = meeting == nullptr;
    if (!(*gang)->is_broken()) return failed(statistics.error(), listener);
    return gang_failed(statistics.error(), listener,
                       met ? engine::kGangBroken : engine::kGangUnmet);
  }
  if (first && by_srun) {
    // A report without them is a report all the same.
    (void)keep_statistics(options, *statistics);
  } else if (first) {
    for (const auto& [name, value] : *statistics) say(engine::statistic_line(name, value));
  }
  (*gang)->end();
  return 0;
}

int host(const std::string& run_url, const std::string& worker) {
  const auto sees = sees_run(run_url, worker);
  if (!sees.ok()) return failed(sees.error());
  engine::HostFacts facts{host_name(), ATELIER_VERSION, *sees};
  facts.clock =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  // Where there is none a worker says so itself.
  if (const auto scratch = scratch_folder(); scratch.ok()) {
    if (const auto space = free_space(*scratch); space.ok()) facts.free_space = *space;
  }
  say(engine::host_line(facts));
  return 0;
}

int run_program(int argc, char** argv) {
  CLI::App app("A rank of `atelier run`; mpirun or srun starts it.", "atelier-rank");
  app.set_version_flag("--version", ATELIER_VERSION);
  app.require_subcommand(1);
  RankOptions options;
  std::string sees;
  CLI::App* score_app = app.add_subcommand("score", "Work on a run with the other ranks");
  score_app->add_option("RUN-URL", options.run_url)->required();
  score_app->add_option("--gang", options.gang, "What its name begins with")->required();
  score_app->add_option("--input", options.input)->required();
  score_app->add_option("--model", options.model)->required();
  score_app->add_option("--beside", options.beside, "A file beside the model")->take_all();
  score_app->add_option("--threads", options.threads)->check(CLI::Range(0, 1024));
  score_app->add_option("--sandbox", options.sandbox)->check(CLI::IsMember({"on", "off"}));
  score_app->add_flag("--trace", options.trace);
  add_limits(*score_app, options.limits);
  add_machine_share(*score_app, options.limits);
  SlurmWords slurm;
  score_app->add_option("--prepared-by", slurm.prepared_by, "Started by srun, for that version");
  score_app->add_option("--gang-timeout", slurm.gang_timeout, "Seconds until all must be there")
      ->check(CLI::Range(1.0, 86400.0));
  CLI::App* host_app = app.add_subcommand("host", "Say what this host is and sees");
  host_app->add_option("RUN-URL", options.run_url)->required();
  host_app->add_option("--sees", sees, "A worker of the run that has beaten")->required();
  const Interrupt interrupt;
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return failed({Code::invalid_argument, error.what()});
  }
  return app.got_subcommand(host_app) ? host(options.run_url, sees)
                                      : score(options, slurm, interrupt.token());
}

}  // namespace
}  // namespace atelier::cli

int main(int argc, char** argv) {
  atelier::cli::hold_signals();
  // As in `atelier`, whose scorers inherit it.
  ::setenv("OMP_WAIT_POLICY", "passive", 0);
  ::setenv("SVT_LOG", "0", 0);
  int code = 1;
  try {
    code = atelier::cli::run_program(argc, argv);
  } catch (const std::exception& error) {
    code = atelier::cli::failed({atelier::Code::internal, error.what()});
  }
  // After a failure the MPI library's own clean-up would wait for the others.
  if (code != 0) ::_exit(code);
  return 0;
}
