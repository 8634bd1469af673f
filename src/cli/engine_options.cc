// SPDX-License-Identifier: Apache-2.0
#include "cli/engine_options.h"

#include <CLI/CLI.hpp>

namespace atelier::cli {
namespace {

void add_mpi(CLI::App& command, MpiOptions& mpi) {
  const CLI::Range seconds(1.0, 86400.0);
  command.add_option("--hosts", mpi.hosts,
                     "mpi: a file that names a host a line, as mpirun reads it: n1 slots=2");
  command
      .add_option("--nodes", mpi.nodes,
                  "mpi: how many hosts, inside an allocation of a resource manager")
      ->check(CLI::Range(1, 100000));
  command.add_option("--interface", mpi.interface,
                     "mpi: the network interface of all its traffic, which is in clear: a private "
                     "network's, like eth1");
  command
      .add_option("--ranks-per-node", mpi.ranks_per_node,
                  "mpi: workers on each host [slots of the file, else 1]")
      ->check(CLI::Range(1, 1024));
  command
      .add_option("--restarts", mpi.restarts,
                  "mpi: how often a gang that lost a rank is started again with what is left")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  command
      .add_option("--gang-timeout", mpi.gang_timeout,
                  "mpi: seconds until every rank must have come")
      ->check(seconds)
      ->capture_default_str();
  command
      .add_option("--beat-timeout", mpi.beat_timeout,
                  "mpi: seconds without a sign of life until a rank is lost; they beat every 5 s")
      ->check(CLI::Range(6.0, 86400.0))
      ->capture_default_str();
}

Result<void> check_mpi(const MpiOptions& mpi, int workers) {
  if (mpi.hosts.empty() == (mpi.nodes == 0)) {
    return make_error(Code::invalid_argument,
                      "--engine mpi takes either --hosts FILE, or --nodes N inside an allocation.");
  }
  if (mpi.interface.empty()) {
    return make_error(Code::invalid_argument,
                      "--engine mpi needs --interface NAME, that of a private network: what ranks "
                      "say to each other is neither encrypted nor signed.");
  }
  if (workers == 0) return {};
  return make_error(Code::invalid_argument,
                    "--workers is for --engine local; with mpi there are --ranks-per-node on each "
                    "host.");
}

}  // namespace

void add_engine(CLI::App& command, EngineOptions& engine) {
  command
      .add_option("--engine", engine.name,
                  "What starts the workers. local: this machine, as processes; mpi: mpirun, as one "
                  "gang on several hosts")
      ->check(CLI::IsMember({"local", "mpi"}))
      ->capture_default_str();
  add_mpi(command, engine.mpi);
}

Result<void> check_engine(const EngineOptions& engine, int workers) {
  if (engine.name == "mpi") return check_mpi(engine.mpi, workers);
  const MpiOptions& mpi = engine.mpi;
  for (const auto& [given, name] :
       {std::pair(!mpi.hosts.empty(), "--hosts"), std::pair(mpi.nodes > 0, "--nodes"),
        std::pair(!mpi.interface.empty(), "--interface"),
        std::pair(mpi.ranks_per_node > 0, "--ranks-per-node")}) {
    if (given) return make_error(Code::invalid_argument, "{} goes with --engine mpi.", name);
  }
  return {};
}

}  // namespace atelier::cli
