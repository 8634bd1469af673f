// SPDX-License-Identifier: Apache-2.0
#include "cli/engine_options.h"

#include <CLI/CLI.hpp>
#include <charconv>

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
      .add_flag("--gang", engine.gang,
                "All workers in one step that starts and ends as a whole; otherwise each works by "
                "itself, from the first node on")
      ->group(kGroup);
  command.add_option("--gres", engine.gres, "Handed on to sbatch, as the next three")
      ->group(kGroup);
  command.add_option("--account", engine.account)->group(kGroup);
  command.add_option("--constraint", engine.constraint)->group(kGroup);
  command.add_option("--time", engine.time, "Limit of each worker; what is left goes on anew")
      ->group(kGroup);
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
                  "What starts the workers. local: this machine, as processes; slurm: the nodes of "
                  "a Slurm cluster, by its commands")
      ->check(CLI::IsMember({"local", "slurm"}))
      ->capture_default_str();
  command.add_option("--nodes", engine.nodes,
                     "Nodes to work on, one worker each: N, or A..B for as many as can be had [1]");
  add_slurm(command, engine);
}

Result<void> check_engine(const EngineOptions& engine, int workers, std::stop_token stop) {
  TRY(parse_nodes(engine.nodes));
  if (engine.name == "slurm") {
    if (workers != 0) {
      return make_error(Code::invalid_argument,
                        "--workers counts those of one machine; with --engine slurm say --nodes.");
    }
    return check_slurm_engine(engine, std::move(stop));
  }
  for (const auto& [option, set] :
       {std::pair("--partition", !engine.partition.empty()), std::pair("--gang", engine.gang),
        std::pair("--gres", !engine.gres.empty()), std::pair("--account", !engine.account.empty()),
        std::pair("--constraint", !engine.constraint.empty()),
        std::pair("--time", !engine.time.empty())}) {
    if (set) return make_error(Code::invalid_argument, "{} goes with --engine slurm.", option);
  }
  if (engine.is_local() && !engine.nodes.empty()) {
    return make_error(Code::invalid_argument,
                      "--nodes goes with an engine of many nodes; on this machine say --workers.");
  }
  return {};
}

}  // namespace atelier::cli
