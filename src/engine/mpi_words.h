// SPDX-License-Identifier: Apache-2.0
// What ranks say to the engine that started them: lines on stdout, which mpirun marks with the rank
// (--tag-output) and mixes with words of its own. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/host_facts.h"

namespace atelier::engine {

// A rank's lines, without the end of line. Host names and versions have no blanks.
std::string there_line(std::string_view host);  // before it waits for the others
std::string complete_line();                    // rank 0: all have met
std::string statistic_line(std::string_view name, double value);
std::string error_line(const Error& error);
// What a host says when it is looked at.
std::string host_line(const HostFacts& facts);

// Everything that a gang has said so far.
class GangWords {
 public:
  // Text as it comes, cut anywhere.
  void add(std::string_view text);

  const std::map<int, std::string>& there() const { return there_; }  // rank -> its host's own name
  bool complete() const { return complete_; }
  const std::map<std::string, double>& statistics() const { return statistics_; }
  const std::map<int, HostFacts>& hosts() const { return hosts_; }  // by rank
  // The first error of a rank; one that was only sent away does not count where another has more to
  // say.
  const std::optional<Error>& error() const { return error_; }
  // In mpirun's words: a rank that was killed, a host that was lost, a program that is not there.
  struct Death {
    int rank = -1;  // -1: not said
    std::string host;
    int signal = 0;
  };
  const std::optional<Death>& death() const { return death_; }
  const std::optional<std::string>& lost_host() const { return lost_host_; }
  bool without_program() const { return without_program_; }
  // A daemon ended, or the remote shell that it was started by; mpirun does not say whose.
  bool lost_daemon() const { return lost_daemon_; }
  // What is none of these: the first line of mpirun's, which names the cause before it advises, or
  // else a rank's last; empty: none.
  const std::string& telling_line() const { return first_.empty() ? last_ : first_; }

 private:
  void take_line(std::string_view line);
  bool take_word(int rank, std::string_view word, std::string_view rest);
  void take_foreign(std::string_view line);

  std::string rest_;  // of a line that has not ended
  std::map<int, std::string> there_;
  bool complete_ = false;
  std::map<std::string, double> statistics_;
  std::map<int, HostFacts> hosts_;
  std::optional<Error> error_;
  std::optional<Death> death_;
  std::optional<std::string> lost_host_;
  bool without_program_ = false;
  bool lost_daemon_ = false;
  std::string first_;
  std::string last_;
};

}  // namespace atelier::engine
