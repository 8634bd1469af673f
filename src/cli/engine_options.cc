// SPDX-License-Identifier: Apache-2.0
#include "cli/engine_options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <utility>
#include <vector>

#include "cli/slurm_workers.h"

namespace atelier::cli {
namespace {

constexpr int kMostNodes = 1024;

bool read_count(std::string_view text, int& count) {
  const auto read = std::from_chars(text.data(), text.data() + text.size(), count);
  return read.ec == std::errc() && read.ptr == text.data() + text.size() && count >= 1 &&
         count <= kMostNodes;
}

void add_slurm(CLI::App& command, EngineOptions& engine) {
  const char* kGroup = "Options of --engine slurm";
  command.add_option("--partition", engine.partition, "Where its nodes are [Slurm's default]")
      ->group(kGroup);
  command
      .add_flag(
          "--gang", engine.gang,
          "All workers in one step that starts and ends as a whole, as ranks of MPI where "
          "Slurm has PMIx (then with --interface and --gang-timeout); otherwise each works by "
          "itself, from the first node on")
      ->group(kGroup);
  command.add_option("--gres", engine.gres, "Handed on to sbatch, as the next three")
      ->group(kGroup);
  command.add_option("--account", engine.account)->group(kGroup);
  command.add_option("--constraint", engine.constraint)->group(kGroup);
  command.add_option("--time", engine.time, "Limit of each worker; what is left goes on anew")
      ->group(kGroup);
}

void add_mpi(CLI::App& command, MpiOptions& mpi) {
  const char* kGroup = "Options of --engine mpi";
  const CLI::Range seconds(1.0, 86400.0);
  command
      .add_option("--hosts", mpi.hosts,
                  "A file that names a host a line, as mpirun reads it: n1 slots=2")
      ->group(kGroup);
  command
      .add_option("--interface", mpi.interface,
                  "The network interface of all its traffic, which is in clear: a private "
                  "network's, like eth1")
      ->group(kGroup);
  command
      .add_option("--ranks-per-node", mpi.ranks_per_node,
                  "Workers on each host [slots of the file, else 1]")
      ->check(CLI::Range(1, 1024))
      ->group(kGroup);
  command
      .add_option("--restarts", mpi.restarts,
                  "How often a gang that lost a rank is started again with what is left; of a gang "
                  "of Slurm's, one whose ranks did not meet [3]")
      ->check(CLI::Range(0, 1000))
      ->group(kGroup);
  command
      .add_option("--gang-timeout", mpi.gang_timeout,
                  "Seconds until every rank must have come [60]")
      ->check(seconds)
      ->group(kGroup);
  command
      .add_option("--beat-timeout", mpi.beat_timeout,
                  "Seconds without a sign of life until a rank is lost; they beat every 5 s [30]")
      ->check(CLI::Range(6.0, 86400.0))
      ->group(kGroup);
}

Result<void> check_mpi(const MpiOptions& mpi, const std::string& nodes, int workers) {
  if (mpi.hosts.empty() == nodes.empty()) {
    return make_error(Code::invalid_argument,
                      "--engine mpi takes either --hosts FILE, or --nodes N inside an allocation.");
  }
  if (mpi.interface.empty()) {
    return make_error(Code::invalid_argument,
                      "--engine mpi needs --interface NAME, that of a private network: what ranks "
                      "say to each other is neither encrypted nor signed.");
  }
  if (const NodeCount count = TRY(parse_nodes(nodes)); count.least != count.most) {
    return make_error(Code::invalid_argument,
                      "--engine mpi takes --nodes N, all of which begin together, not '{}'.",
                      nodes);
  }
  if (workers == 0) return {};
  return make_error(Code::invalid_argument,
                    "--workers is for --engine local; with mpi there are --ranks-per-node on each "
                    "host.");
}

// What belongs to an engine that is not the chosen one.
Result<void> check_alone(const EngineOptions& engine) {
  const MpiOptions& mpi = engine.mpi;
  struct Owner {
    const char* engine;
    const char* words;
    std::vector<std::pair<const char*, bool>> given;
  };
  const std::vector<Owner> owners = {{"mpi",
                                      "mpi",
                                      {{"--hosts", !mpi.hosts.empty()},
                                       {"--ranks-per-node", mpi.ranks_per_node > 0},
                                       {"--beat-timeout", mpi.beat_timeout.has_value()}}},
                                     {engine.gang ? "slurm" : "mpi",
                                      "mpi, or with --engine slurm --gang",
                                      {{"--interface", !mpi.interface.empty()},
                                       {"--restarts", mpi.restarts.has_value()},
                                       {"--gang-timeout", mpi.gang_timeout.has_value()}}},
                                     {"slurm",
                                      "slurm",
                                      {{"--partition", !engine.partition.empty()},
                                       {"--gang", engine.gang},
                                       {"--gres", !engine.gres.empty()},
                                       {"--account", !engine.account.empty()},
                                       {"--constraint", !engine.constraint.empty()},
                                       {"--time", !engine.time.empty()}}}};
  for (const Owner& owner : owners) {
    for (const auto& [option, given] : owner.given) {
      if (!given || engine.name == owner.engine) continue;
      return make_error(Code::invalid_argument, "{} goes with --engine {}.", option, owner.words);
    }
  }
  return {};
}

}  // namespace

Result<NodeCount> parse_nodes(const std::string& text) {
  NodeCount count;
  if (text.empty()) return count;
  const std::string_view all = text;
  const size_t dots = std::min(all.find(".."), all.size());
  const bool range = dots < all.size();
  if (!read_count(all.substr(0, dots), count.least) ||
      (range && !read_count(all.substr(dots + 2), count.most)) ||
      (range && count.most < count.least)) {
    return make_error(Code::invalid_argument,
                      "--nodes takes N or A..B, from 1 to {} and A not above B, not '{}'.",
                      kMostNodes, text);
  }
  if (!range) count.most = count.least;
  return count;
}

void add_engine(CLI::App& command, EngineOptions& engine) {
  command
      .add_option("--engine", engine.name,
                  "What starts the workers. local: this machine, as processes; mpi: mpirun, as one "
                  "gang on several hosts; slurm: the nodes of a Slurm cluster, by its commands")
      ->check(CLI::IsMember({"local", "mpi", "slurm"}))
      ->capture_default_str();
  command.add_option("--nodes", engine.nodes,
                     "Nodes to work on: N, or with Slurm A..B for as many as can be had [1]");
  add_mpi(command, engine.mpi);
  add_slurm(command, engine);
}

Result<void> check_engine(const EngineOptions& engine, int workers, std::stop_token stop) {
  TRY(parse_nodes(engine.nodes));
  TRY(check_alone(engine));
  if (engine.name == "mpi") return check_mpi(engine.mpi, engine.nodes, workers);
  if (engine.name == "slurm") {
    if (workers != 0) {
      return make_error(Code::invalid_argument,
                        "--workers counts those of one machine; with --engine slurm say --nodes.");
    }
    return check_slurm_engine(engine, std::move(stop));
  }
  if (!engine.nodes.empty()) {
    return make_error(Code::invalid_argument,
                      "--nodes goes with an engine of many nodes; on this machine say --workers.");
  }
  return {};
}

}  // namespace atelier::cli
