// SPDX-License-Identifier: Apache-2.0
// What the program says. People read stdout and stderr; with --json a machine reads one object on
// stdout.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "base/result.h"

namespace atelier::cli {

// DESIGN: 0 done, 1 the run failed, 2 command line or configuration, 3 the input cannot be scored,
// 4 a store or an engine cannot be reached, 130 interrupted.
int exit_code(const Error& error);

// Safe from several threads.
class Console {
 public:
  Console(bool json, bool quiet);
  // A line for people; kept for the report as a note if `keep`.
  void say(std::string_view line);
  void note(std::string_view line);
  // While no other thread notes anything.
  const std::vector<std::string>& notes() const { return notes_; }
  // What was asked for, where that is a line: on stdout whatever --quiet says, but not with --json.
  void result(std::string_view line);
  // A note on stderr, where stdout is nothing but the result.
  void note_aside(std::string_view line);
  // Replaces the bar on a terminal; elsewhere a plain line at most every five seconds.
  void progress(std::string_view line);
  void end_progress();
  // The one JSON object, with --json.
  void object(std::string_view json);
  bool has_said_object() const { return object_said_; }
  bool json() const { return json_; }
  bool terminal() const { return terminal_; }

 private:
  bool json_;
  bool quiet_;
  bool terminal_;
  void print_line(std::string_view line) REQUIRES(mutex_);
  void clear_bar() REQUIRES(mutex_);
  Mutex mutex_;
  bool object_said_ = false;
  bool bar_ GUARDED_BY(mutex_) = false;
  std::chrono::steady_clock::time_point last_line_ GUARDED_BY(mutex_);
  std::vector<std::string> notes_;
};

// The error's sentence on stderr; with --json also {"state":"failed",...} on stdout. Returns the
// exit code.
int report_error(const Error& error, bool json);

// "40 s", "12 min", "30 h", "9 d": rounded down, never negative.
std::string age_text(std::chrono::nanoseconds age);
// "12 B", "3.4 MiB".
std::string size_text(uint64_t bytes);

}  // namespace atelier::cli
