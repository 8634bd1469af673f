// SPDX-License-Identifier: Apache-2.0
// atelier-rank: what mpirun starts on each host. A program of its own, so that `atelier` itself
// needs no MPI library. What it says is for the engine (engine/mpi_words.h), not for people.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "base/file.h"
#include "cli/console.h"
#include "cli/folders.h"
#include "cli/interrupt.h"
#include "cli/rank_command.h"
#include "engine/mpi/mpi_gang.h"
#include "engine/mpi_words.h"

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

// Errors are sentences; which host they are about only this program knows.
int failed(const Error& error) {
  say(engine::error_line({error.code, fmt::format("On {}: {}", host_name(), error.message)}));
  return exit_code(error);
}

// The scorers' program: the file beside this one as it is now, whatever becomes of its name.
Result<Fd> open_scorer_program() {
  const auto path = program_folder() / "atelier";
  Fd program(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (program) return program;
  return make_error(Code::unavailable,
                    "There is no '{}'; install the whole of Atelier on every host.", path.string());
}

int score(RankOptions& options, const std::stop_token& stop) {
  say(engine::there_line(host_name()));
  auto program = open_scorer_program();
  if (!program.ok()) return failed(program.error());
  // Not /proc/self: a scorer closes its own copy before it becomes the program.
  options.scorer = fmt::format("/proc/{}/fd/{}", ::getpid(), program->get());
  auto gang = engine::MpiGang::join(stop);
  if (!gang.ok()) return failed(gang.error());
  const auto statistics = score_as_rank(
      options, **gang, [] { say(engine::complete_line()); }, stop);
  if (!statistics.ok()) return failed(statistics.error());
  if ((*gang)->rank() == 0) {
    for (const auto& [name, value] : *statistics) say(engine::statistic_line(name, value));
  }
  (*gang)->end();
  return 0;
}

int host(const std::string& run_url, const std::string& worker) {
  const auto sees = sees_run(run_url, worker);
  if (!sees.ok()) return failed(sees.error());
  say(engine::host_line({host_name(), ATELIER_VERSION, *sees}));
  return 0;
}

int run_program(int argc, char** argv) {
  CLI::App app("A rank of `atelier run --engine mpi`; mpirun starts it.", "atelier-rank");
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
                                      : score(options, interrupt.token());
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
