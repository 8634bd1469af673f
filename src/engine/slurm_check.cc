// SPDX-License-Identifier: Apache-2.0
#include "engine/slurm_check.h"

#include <algorithm>
#include <set>
#include <sstream>

#include "engine/mpi_words.h"
#include "engine/slurm_cluster.h"
#include "engine/worker_process.h"

namespace atelier::engine {
namespace {

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// "gpu:a100:4, gpu:t4:1", of nodes that have any.
std::string gres_of_nodes(Commands& commands, const std::string& partition,
                          const std::stop_token& stop) {
  std::vector<std::string> words = {"sinfo", "--noheader", "--format=%G"};
  if (!partition.empty()) words.push_back("--partition=" + partition);
  const auto printed = printed_by(commands, words, stop);
  if (!printed.ok()) return "unknown";
  std::set<std::string> found;
  std::istringstream lines(*printed);
  for (std::string line; lines >> line;) {
    if (line != "(null)") found.insert(line);
  }
  return found.empty() ? "none" : fmt::format("{}", fmt::join(found, ", "));
}

}  // namespace

Result<std::string> try_job(Commands& commands, const SlurmSetup& setup, std::stop_token stop) {
  auto words = submit_command(setup, "atelier-doctor", 1, {});
  words.emplace_back("--test-only");
  const auto answer = TRY(commands.run(words, batch_script(setup, 1), stop));
  const std::string said = last_words(answer);
  if (answer.code != 0) {
    const std::string gres =
        setup.gres.empty()
            ? ""
            : fmt::format(" (its nodes have: {})", gres_of_nodes(commands, setup.partition, stop));
    return make_error(Code::unavailable,
                      "Slurm would refuse the job ({}); change --partition, --nodes, --account, "
                      "--constraint, --gres{} or --time.",
                      said, gres);
  }
  constexpr std::string_view kBefore = "sbatch: ";
  return said.starts_with(kBefore) ? said.substr(kBefore.size()) : said;
}

std::vector<HostTrouble> troubles_of(std::string_view said, const std::string& version,
                                     const HostWatch& watch) {
  std::vector<HostTrouble> found;
  std::istringstream lines{std::string(said)};
  for (std::string line; std::getline(lines, line);) {
    // As mpirun would mark it.
    GangWords words;
    words.add("[0,0]<stdout>:" + line + "\n");
    for (const auto& [rank, facts] : words.hosts()) {
      std::string text = why_unfit(facts.host, facts, version);
      if (text.empty()) text = why_troubled(facts.host, facts, watch);
      found.push_back({facts.host, std::move(text)});
    }
    if (words.error()) found.push_back({"", words.error()->message});
  }
  std::sort(found.begin(), found.end(),
            [](const HostTrouble& a, const HostTrouble& b) { return a.host < b.host; });
  return found;
}

Result<std::vector<HostTrouble>> look_at_nodes(Commands& commands, const SlurmNodeLook& look,
                                               std::stop_token stop) {
  const SlurmSetup& setup = look.setup;
  // Without a number of tasks it is one on each of as many nodes as are free.
  std::vector<std::string> words = {"srun",
                                    fmt::format("--immediate={}", look.patience.count()),
                                    "--job-name=atelier-doctor",
                                    fmt::format("--nodes=1-{}", look.nodes),
                                    "--mpi=none",
                                    "--time=1",
                                    "--kill-on-bad-exit=0"};
  words.push_back(fmt::format("--export={}", fmt::join(harmless_variables(), ",")));
  for (const auto& [option, value] :
       {std::pair("--partition", &setup.partition), std::pair("--account", &setup.account),
        std::pair("--constraint", &setup.constraint)}) {
    if (!value->empty()) words.push_back(fmt::format("{}={}", option, *value));
  }
  words.push_back(setup.program);
  words.insert(words.end(), setup.arguments.begin(), setup.arguments.end());
  HostWatch watch;
  watch.asked = wall_seconds();
  const auto answer = TRY(commands.run(words, {}, std::move(stop)));
  watch.answered = wall_seconds();
  auto found = troubles_of(answer.out, look.version, watch);
  if (!found.empty()) return found;
  return make_error(Code::unavailable, "No node could be looked at ({}).", last_words(answer));
}

}  // namespace atelier::engine
