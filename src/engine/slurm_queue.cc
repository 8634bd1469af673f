// SPDX-License-Identifier: Apache-2.0
#include "engine/slurm_queue.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

namespace atelier::engine {
namespace {

using nlohmann::json;
using State = SlurmTask::State;

constexpr size_t kMostHosts = 65536;

Error not_understood(const char* command) {
  return make_error(Code::corrupt,
                    "What '{}' prints is not understood; Atelier works with Slurm 22.05.", command);
}

template <class Number>
std::optional<Number> number_of(std::string_view text) {
  Number value{};
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

// Length of the valid UTF-8 sequence at the beginning; 0 if there is none.
size_t sequence_length(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xC2 && first < 0xE0   ? 2
                        : first >= 0xE0 && first < 0xF0 ? 3
                        : first >= 0xF0 && first < 0xF5 ? 4
                                                        : 0;
  if (length == 0 || text.size() < length) return 0;
  const auto second = static_cast<unsigned char>(text[1]);
  // Overlong forms, surrogates and what lies beyond U+10FFFF.
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
      (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F)) {
    return 0;
  }
  for (size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80) return 0;
  }
  return length;
}

// Names and comments are anybody's bytes, and one bad byte would cost the whole answer.
std::string with_valid_text(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    const size_t length = sequence_length(text);
    if (length == 0) {
      valid += '?';
    } else {
      valid += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return valid;
}

json parse(std::string_view printed) {
  return json::parse(with_valid_text(printed), nullptr, /*allow_exceptions=*/false);
}

// Another program's rows: a field that is absent or of another type counts as not set.
std::string text_at(const json& row, const char* key) {
  const auto found = row.find(key);
  return found != row.end() && found->is_string() ? found->get<std::string>() : std::string();
}

int64_t number_at(const json& row, const char* key, int64_t otherwise) {
  const auto found = row.find(key);
  return found != row.end() && found->is_number_integer() ? found->get<int64_t>() : otherwise;
}

const json* rows_at(const json& answer, const char* key) {
  if (!answer.is_object()) return nullptr;
  const auto found = answer.find(key);
  return found != answer.end() && found->is_array() ? &*found : nullptr;
}

// Rows of an answer. One that failed has exit code 0, no rows and a list of errors.
Result<json> rows_of(std::string_view printed, const char* key, const char* command) {
  const json answer = parse(printed);
  const json* errors = rows_at(answer, "errors");
  if (errors != nullptr && !errors->empty()) {
    const json& first = errors->front();
    std::string why = first.is_object() ? text_at(first, "description") : std::string();
    if (why.empty() && first.is_object()) why = text_at(first, "error");
    return make_error(Code::unavailable, "Slurm's '{}' fails ({}).", command,
                      why.empty() ? "without a reason" : why);
  }
  const json* rows = rows_at(answer, key);
  if (rows == nullptr) return not_understood(command);
  return *rows;
}

// A state that later versions may add is taken for one that goes on.
State state_of(std::string_view word) {
  constexpr std::array<std::string_view, 7> kWaiting = {
      "PENDING",       "REQUEUED",     "REQUEUE_FED", "REQUEUE_HOLD",
      "RESV_DEL_HOLD", "SPECIAL_EXIT", "SUSPENDED"};
  constexpr std::array<std::string_view, 10> kEnded = {
      "COMPLETED", "CANCELLED", "FAILED",   "TIMEOUT",       "NODE_FAIL",
      "PREEMPTED", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY", "REVOKED"};
  const auto among = [&](const auto& words) {
    return std::find(words.begin(), words.end(), word) != words.end();
  };
  if (among(kWaiting)) return State::waiting;
  if (among(kEnded)) return State::ended;
  if (word == "CONFIGURING") return State::starting;
  return word == "COMPLETING" ? State::ending : State::running;
}

// The next word, taken off the front of `text`.
std::string_view take_word(std::string_view& text) {
  const size_t end = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

std::optional<SlurmWords> words_of(std::string_view comment) {
  if (take_word(comment) != "atelier") return std::nullopt;
  const auto restart = number_of<int>(take_word(comment));
  const auto code = number_of<int>(take_word(comment));
  SlurmWords words;
  words.node = take_word(comment);
  words.why = take_word(comment);
  if (!restart || !code || words.why.empty()) return std::nullopt;
  words.restart = *restart;
  words.code = *code;
  words.said = comment;
  std::replace_if(
      words.said.begin(), words.said.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; },
      ' ');
  return words;
}

// "3-6,9" and "1-9%2"; a list that Slurm has cut short ("1,3,...") as far as it goes.
std::vector<int> task_numbers(std::string_view list) {
  constexpr int kMost = 100000;
  std::vector<int> numbers;
  list = list.substr(0, list.find('%'));
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    const std::string_view part = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    const size_t dash = std::min(part.find('-'), part.size());
    const auto first = number_of<int>(part.substr(0, dash));
    const auto last = dash < part.size() ? number_of<int>(part.substr(dash + 1)) : first;
    if (!first || !last || *first < 0 || *last >= kMost) continue;
    for (int n = *first; n <= *last; ++n) numbers.push_back(n);
  }
  return numbers;
}

// Those of one bracket: "1-3,07". False if it is none.
bool add_hosts(const std::string& prefix, std::string_view ranges, const std::string& suffix,
               std::vector<std::string>& hosts) {
  while (!ranges.empty()) {
    const size_t stop = std::min(ranges.find(','), ranges.size());
    const std::string_view range = ranges.substr(0, stop);
    ranges.remove_prefix(std::min(stop + 1, ranges.size()));
    const std::string_view low = range.substr(0, range.find('-'));
    const auto first = number_of<uint64_t>(low);
    const auto last =
        low.size() < range.size() ? number_of<uint64_t>(range.substr(low.size() + 1)) : first;
    if (!first || !last || *last < *first || *last - *first >= kMostHosts) return false;
    for (uint64_t n = *first; n <= *last; ++n) {
      hosts.push_back(fmt::format("{}{:0{}}{}", prefix, n, low.size(), suffix));
    }
    if (hosts.size() > kMostHosts) return false;
  }
  return true;
}

bool is_lost(const json& node) {
  const std::string state = text_at(node, "state");
  if (state == "down" || state == "error") return true;
  const json* flags = rows_at(node, "state_flags");
  if (flags == nullptr) return false;
  constexpr std::array<std::string_view, 4> kLost = {"NOT_RESPONDING", "FAIL", "POWERING_DOWN",
                                                     "POWERED_DOWN"};
  return std::any_of(flags->begin(), flags->end(), [&](const json& flag) {
    return flag.is_string() &&
           std::find(kLost.begin(), kLost.end(), flag.get_ref<const std::string&>()) != kLost.end();
  });
}

SlurmTask task_of(const json& row) {
  SlurmTask task;
  task.word = text_at(row, "job_state");
  task.state = state_of(task.word);
  task.reason = text_at(row, "state_reason");
  if (task.reason == "None") task.reason.clear();
  task.nodes = expand_hosts(text_at(row, "nodes")).value_or(std::vector<std::string>());
  task.restarts =
      static_cast<int>(std::clamp<int64_t>(number_at(row, "restart_cnt", 0), 0, 1 << 20));
  const int64_t status = number_at(row, "exit_code", 0);  // as wait(2) gives it
  task.code = static_cast<int>((status & 0x7F) != 0 ? -(status & 0x7F) : status >> 8 & 0xFF);
  task.words = words_of(text_at(row, "comment"));
  return task;
}

}  // namespace

Result<int64_t> parse_submitted(std::string_view printed) {
  const auto job = number_of<int64_t>(printed.substr(0, printed.find_first_of(";\n")));
  if (!job || *job <= 0) return not_understood("sbatch --parsable");
  return *job;
}

Result<std::optional<int64_t>> parse_job_named(std::string_view printed, std::string_view name) {
  const json rows = TRY(rows_of(printed, "jobs", "squeue --json"));
  for (const json& row : rows) {
    if (!row.is_object()) return not_understood("squeue --json");
    if (text_at(row, "name") != name) continue;
    // A task that has begun has a number of its own.
    const int64_t array = number_at(row, "array_job_id", 0);
    const int64_t job = array > 0 ? array : number_at(row, "job_id", 0);
    if (job <= 0) return not_understood("squeue --json");
    return std::optional(job);
  }
  return std::optional<int64_t>();
}

// slurm_strerror() of what can go wrong between sending and hearing.
bool may_be_submitted(std::string_view words) {
  constexpr std::array<std::string_view, 6> kLost = {
      "timed out",   "Unable to contact", "Zero Bytes were transmitted",
      "Connection ", "communication",     "receive"};
  return std::any_of(kLost.begin(), kLost.end(), [&](std::string_view lost) {
    return words.find(lost) != std::string_view::npos;
  });
}

Result<std::vector<SlurmTask>> parse_queue(std::string_view printed, int64_t job) {
  const json rows = TRY(rows_of(printed, "jobs", "squeue --json"));
  std::vector<SlurmTask> tasks;
  for (const json& row : rows) {
    if (!row.is_object()) return not_understood("squeue --json");
    const int64_t array = number_at(row, "array_job_id", 0);
    if (array != job && number_at(row, "job_id", 0) != job) continue;
    SlurmTask task = task_of(row);
    if (task.word.empty()) return not_understood("squeue --json");
    task.number =
        static_cast<int>(std::clamp<int64_t>(number_at(row, "array_task_id", 0), 0, 1 << 20));
    const std::vector<int> numbers = task_numbers(text_at(row, "array_task_string"));
    if (numbers.empty()) tasks.push_back(task);
    for (const int number : numbers) {
      task.number = number;
      tasks.push_back(task);
    }
  }
  std::stable_sort(tasks.begin(), tasks.end(),
                   [](const auto& a, const auto& b) { return a.number < b.number; });
  return tasks;
}

Result<std::optional<std::string>> first_lost_node(std::string_view printed,
                                                   const std::vector<std::string>& nodes) {
  const json rows = TRY(rows_of(printed, "nodes", "sinfo --json"));
  std::set<std::string> lost;
  for (const json& row : rows) {
    if (row.is_object() && is_lost(row)) lost.insert(text_at(row, "name"));
  }
  const auto found = std::find_if(nodes.begin(), nodes.end(),
                                  [&](const std::string& node) { return lost.contains(node); });
  return found == nodes.end() ? std::optional<std::string>() : std::optional(*found);
}

std::optional<std::vector<std::string>> expand_hosts(std::string_view list) {
  std::vector<std::string> hosts;
  while (!list.empty()) {
    const size_t end = std::min(list.find_first_of(",["), list.size());
    const std::string prefix(list.substr(0, end));
    if (end == list.size() || list[end] == ',') {
      if (prefix.empty()) return std::nullopt;
      hosts.push_back(prefix);
      list.remove_prefix(std::min(end + 1, list.size()));
      continue;
    }
    const size_t close = list.find(']', end);
    if (close == std::string_view::npos) return std::nullopt;
    const std::string_view ranges = list.substr(end + 1, close - end - 1);
    list.remove_prefix(close + 1);
    // What follows a bracket belongs to the name: "n[1-2]x".
    const size_t comma = std::min(list.find(','), list.size());
    const std::string suffix(list.substr(0, comma));
    if (suffix.find('[') != std::string::npos) return std::nullopt;
    list.remove_prefix(std::min(comma + 1, list.size()));
    if (!add_hosts(prefix, ranges, suffix, hosts)) return std::nullopt;
  }
  return hosts;
}

}  // namespace atelier::engine
