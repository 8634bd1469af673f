// SPDX-License-Identifier: Apache-2.0
#include "engine/slurm_cluster.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <sstream>

namespace atelier::engine {
namespace {

std::optional<int> count_of(std::string_view text) {
  int number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size() || number < 0) {
    return std::nullopt;
  }
  return number;
}

// A row for each state of each partition: "spot up idle 3", "ondemand* up down* 1".
Result<std::optional<SlurmPartition>> read_partition(const std::string& printed,
                                                     const std::string& wanted) {
  std::optional<SlurmPartition> partition;
  std::istringstream lines(printed);
  for (std::string name, availability, state, count;
       lines >> name >> availability >> state >> count;) {
    const bool is_default = name.ends_with('*');
    if (is_default) name.pop_back();
    if (wanted.empty() && !is_default) continue;
    const auto number = count_of(count);
    if (!number) {
      return make_error(Code::corrupt, "Slurm's 'sinfo' prints '{} {}' for a state and a number.",
                        state, count);
    }
    if (!partition) partition = SlurmPartition{wanted.empty() ? name : wanted, availability, {}, 0};
    if (availability == "up") partition->availability = availability;
    if (*number == 0) continue;  // of a partition without nodes
    partition->nodes[state] += *number;
    if (availability == "up" && is_usable_node(state)) partition->usable += *number;
  }
  return partition;
}

}  // namespace

std::string last_words(const Commands::Answer& answer) {
  std::string text = answer.err.empty() ? answer.out : answer.err;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  text = text.substr(text.rfind('\n') + 1);
  for (const char* mark : {"error: ", "fatal: "}) {
    if (const size_t at = text.find(mark); at != std::string::npos) text = text.substr(at + 7);
  }
  return text.empty() ? fmt::format("exit code {}", answer.code) : text;
}

Result<std::string> printed_by(Commands& commands, const std::vector<std::string>& words,
                               const std::stop_token& stop) {
  auto answer = TRY(commands.run(words, {}, stop));
  if (answer.code == 0) return std::move(answer.out);
  return make_error(Code::unavailable, "Slurm's '{}' fails ({}).", words[0], last_words(answer));
}

Result<std::optional<SlurmPartition>> look_at_partition(Commands& commands, const std::string& name,
                                                        std::stop_token stop) {
  std::vector<std::string> words = {"sinfo", "--noheader", "--format=%P %a %T %D"};
  if (!name.empty()) words.push_back("--partition=" + name);
  return read_partition(TRY(printed_by(commands, words, stop)), name);
}

std::string nodes_in_words(const SlurmPartition& partition) {
  std::string text;
  for (const auto& [state, count] : partition.nodes) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, state);
  }
  return text.empty() ? "none" : text;
}

Result<void> check_usable(const SlurmPartition& partition, int least) {
  if (partition.availability != "up") {
    return make_error(Code::unavailable,
                      "Slurm's partition '{}' takes no work now ({}); wait until `scontrol show "
                      "partition` says UP, or name another --partition.",
                      partition.name, partition.availability);
  }
  if (partition.usable >= least) return {};
  return make_error(Code::unavailable,
                    "Slurm's partition '{}' has {} that can work and {} asked for (nodes: {}); "
                    "`sinfo -R` says why the others cannot, or name another --partition.",
                    partition.name,
                    partition.usable == 0   ? "no node"
                    : partition.usable == 1 ? "one node"
                                            : fmt::format("{} nodes", partition.usable),
                    least == 1 ? "one is" : fmt::format("{} are", least),
                    nodes_in_words(partition));
}

bool is_usable_node(std::string_view state) {
  for (const std::string_view lost : {"down", "drain", "fail", "error", "unknown", "inval"}) {
    if (state.starts_with(lost)) return false;
  }
  return true;
}

Result<bool> has_pmix(Commands& commands, std::stop_token stop) {
  const auto answer = TRY(commands.run({"srun", "--mpi=list"}, {}, std::move(stop)));
  if (answer.code != 0) {
    return make_error(Code::unavailable, "Slurm's 'srun --mpi=list' fails ({}).",
                      last_words(answer));
  }
  // A plug-in a line, with blanks before it.
  std::istringstream words(answer.out + "\n" + answer.err);
  return std::find(std::istream_iterator<std::string>(words), {}, "pmix") !=
         std::istream_iterator<std::string>();
}

Result<std::optional<int>> most_tasks(Commands& commands, std::stop_token stop) {
  const std::string printed = TRY(printed_by(commands, {"scontrol", "show", "config"}, stop));
  std::istringstream lines(printed);
  for (std::string key, equals, value; lines >> key;) {
    if (key != "MaxArraySize") continue;
    if (!(lines >> equals >> value) || equals != "=") break;
    const auto size = count_of(value);
    // Numbers lie below it, and ours begin with 1.
    return size ? std::optional(std::max(0, *size - 1)) : std::nullopt;
  }
  return std::optional<int>();
}

}  // namespace atelier::engine
