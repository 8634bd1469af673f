// SPDX-License-Identifier: Apache-2.0
#include "engine/host_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace atelier::engine {
namespace {

// As for this machine: cli/doctor_command.cc.
constexpr uint64_t kLittleSpace = uint64_t{2} << 30;
constexpr double kWrongClock = 30;

std::string_view take(std::string_view& text) {
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(std::min(text.size(), word.size() + 1));
  return word;
}

template <class T>
std::optional<T> number_of(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string to_words(const HostFacts& facts) {
  std::string words =
      fmt::format("{} {} {}", facts.host, facts.version, facts.sees ? "sees" : "blind");
  if (facts.clock) words += fmt::format(" {:.3f}", *facts.clock);
  if (facts.clock && facts.free_space) words += fmt::format(" {}", *facts.free_space);
  return words;
}

HostFacts host_facts(std::string_view words) {
  HostFacts facts;
  facts.host = take(words);
  facts.version = take(words);
  facts.sees = take(words) == "sees";
  const auto clock = number_of<double>(take(words));
  if (clock && std::isfinite(*clock)) facts.clock = clock;
  facts.free_space = number_of<uint64_t>(take(words));
  return facts;
}

std::string why_unfit(const std::string& host, const HostFacts& facts, const std::string& version) {
  if (facts.version != version) {
    return fmt::format(
        "Host {} has version {} of Atelier, and this is {}; install the same one on every host.",
        host, facts.version, version);
  }
  if (facts.sees) return {};
  return fmt::format(
      "Host {} does not see this run in its store; --runs must be a place that all hosts share.",
      host);
}

std::string why_troubled(const std::string& host, const HostFacts& facts, const HostWatch& watch) {
  if (facts.clock) {
    const double ahead = *facts.clock > watch.answered ? *facts.clock - watch.answered
                         : *facts.clock < watch.asked  ? *facts.clock - watch.asked
                                                       : 0;
    if (std::abs(ahead) > kWrongClock) {
      return fmt::format("The clock of host {} is {:.0f} s {} this machine's; set both by NTP.",
                         host, std::abs(ahead), ahead > 0 ? "ahead of" : "behind");
    }
  }
  if (facts.free_space && *facts.free_space < kLittleSpace) {
    return fmt::format(
        "Host {} has {} MiB free for scratch files, which may be too little; set TMPDIR there.",
        host, *facts.free_space >> 20);
  }
  return {};
}

}  // namespace atelier::engine
