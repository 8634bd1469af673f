// SPDX-License-Identifier: Apache-2.0
// What a host says when it is looked at (`atelier-rank host`), and what of it stands in the way of
// a run. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace atelier::engine {

struct HostFacts {
  std::string host;  // as it calls itself; no blanks, nor in the version
  std::string version;
  bool sees = false;                                  // it finds the run in its store
  std::optional<double> clock = std::nullopt;         // seconds since 1970 when it answered
  std::optional<uint64_t> free_space = std::nullopt;  // bytes, for scratch files
};

// "n1 0.1.0 sees 1764540000.0 5368709120"; what another version leaves out is not set.
std::string to_words(const HostFacts& facts);
HostFacts host_facts(std::string_view words);

// What stands in the way of a host.
struct HostTrouble {
  std::string host;  // empty: one whose name is not known, or several
  std::string text;  // a sentence; empty: nothing
};

// Why no worker can be there: another version, or another store. `host`: as whoever asked calls it.
// Empty: one can.
std::string why_unfit(const std::string& host, const HostFacts& facts, const std::string& version);

// When it was asked and when it had answered, by the clock here: seconds since 1970.
struct HostWatch {
  double asked = 0;
  double answered = 0;
};
// What a run there would suffer from: too little room for scratch files, or a clock that is wrong
// (ages of runs and the life of links are measured by several). Empty: nothing.
std::string why_troubled(const std::string& host, const HostFacts& facts, const HostWatch& watch);

}  // namespace atelier::engine
