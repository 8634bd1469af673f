// SPDX-License-Identifier: Apache-2.0
#include "cli/limits.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>

#include "cli/inputs.h"
#include "run/machine_memory.h"

namespace atelier::cli {
namespace {

std::chrono::milliseconds milliseconds_of(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

bool parse_count(std::string_view text, int& count) {
  const auto read = std::from_chars(text.data(), text.data() + text.size(), count);
  return read.ec == std::errc() && read.ptr == text.data() + text.size() && count >= 1;
}

std::vector<std::string> without_memory(const Limits& limits) {
  return {"--start-timeout",    fmt::format("{}", limits.start_timeout),
          "--progress-timeout", fmt::format("{}", limits.progress_timeout),
          "--chunk-timeout",    fmt::format("{}", limits.chunk_timeout),
          "--max-attempts",     fmt::format("{}", limits.max_attempts)};
}

}  // namespace

void add_limits(CLI::App& command, Limits& limits) {
  const CLI::Range seconds(0.01, 31536000.0);
  command
      .add_option("--start-timeout", limits.start_timeout,
                  "Seconds that a scorer may take to read model and video")
      ->check(seconds)
      ->capture_default_str();
  command
      .add_option("--progress-timeout", limits.progress_timeout,
                  "Seconds without a finished frame until a scorer is replaced")
      ->check(seconds)
      ->capture_default_str();
  command
      .add_option("--chunk-timeout", limits.chunk_timeout,
                  "Seconds without a finished chunk until a scorer is replaced")
      ->check(seconds)
      ->capture_default_str();
  command
      .add_option("--max-attempts", limits.max_attempts,
                  "How often a chunk is tried before it is given up")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  const auto to_bytes = [](std::string& text) {
    const auto bytes = parse_bytes(text);
    if (!bytes || *bytes == 0) return "it takes a size like 500M or 10G, not '" + text + "'";
    text = std::to_string(*bytes);
    return std::string();
  };
  command
      .add_option("--memory", limits.memory,
                  "Memory that the scorers of this machine may take together, like 10G: a worker's "
                  "that takes more than its share is replaced [9/10 of the machine's or its "
                  "control group's]")
      ->transform(CLI::Validator(to_bytes, ""))
      ->type_name("SIZE");
}

void add_machine_share(CLI::App& command, Limits& limits) {
  const auto to_share = [](std::string& text) {
    const size_t slash = text.find('/');
    int part = 0;
    int whole = 0;
    const bool parsed = slash != std::string::npos &&
                        parse_count(std::string_view(text).substr(0, slash), part) &&
                        parse_count(std::string_view(text).substr(slash + 1), whole);
    if (!parsed) return "it takes two numbers of processors like 4/16, not '" + text + "'";
    text = fmt::format("{}", std::min(1.0, static_cast<double>(part) / whole));
    return std::string();
  };
  command.add_option("--machine-share", limits.machine_share)
      ->transform(CLI::Validator(to_share, ""))
      ->group("");
}

std::vector<std::string> to_arguments(const Limits& limits, int workers) {
  std::vector<std::string> arguments = without_memory(limits);
  if (const uint64_t memory = scorer_memory(limits); memory > 0) {
    const uint64_t share = memory / static_cast<uint64_t>(std::max(1, workers));
    arguments.insert(arguments.end(),
                     {"--memory", fmt::format("{}K", std::max(share >> 10, uint64_t{1}))});
  }
  return arguments;
}

std::vector<std::string> to_arguments_elsewhere(const Limits& limits) {
  std::vector<std::string> arguments = without_memory(limits);
  if (limits.memory > 0) {
    arguments.insert(arguments.end(),
                     {"--memory", fmt::format("{}K", std::max(limits.memory >> 10, uint64_t{1}))});
  }
  return arguments;
}

MachineMemory memory_here() { return {run::machine_memory(), run::usable_memory()}; }

uint64_t scorer_memory(const Limits& limits, const MachineMemory& there) {
  const auto share_of = [&](uint64_t bytes) {
    return static_cast<uint64_t>(static_cast<double>(bytes) * limits.machine_share);
  };
  if (limits.memory > 0) return std::max(share_of(limits.memory), uint64_t{1});
  const uint64_t share = share_of(there.machine);
  return (share > 0 ? std::min(share, there.usable) : there.usable) / 10 * 9;
}

run::TimeLimits time_limits(const Limits& limits) {
  return {milliseconds_of(limits.start_timeout), milliseconds_of(limits.progress_timeout),
          milliseconds_of(limits.chunk_timeout)};
}

run::LedgerPolicy ledger_policy(const Limits& limits) {
  run::LedgerPolicy policy;
  policy.max_attempts = limits.max_attempts;
  return policy;
}

}  // namespace atelier::cli
