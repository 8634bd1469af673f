// SPDX-License-Identifier: Apache-2.0
#include "cli/console.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace atelier::cli {

using nlohmann::json;

namespace {

// Unlike fmt::print this does not throw when the reader has gone; main looks at the stream at the
// end.
void write_out(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

// A line stays one, and moves no cursor, whatever names of files it holds.
std::string one_line(std::string_view line) {
  std::string made(line);
  for (char& c : made) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return made;
}

}  // namespace

int exit_code(const Error& error) {
  switch (error.code) {
    case Code::invalid_argument: return 2;
    case Code::invalid_input:
    case Code::conflict: return 3;
    case Code::unavailable: return 4;
    case Code::cancelled: return 130;
    case Code::corrupt:
    case Code::no_space:
    case Code::internal: return 1;
  }
  return 1;
}

Console::Console(bool json, bool quiet)
    : json_(json),
      quiet_(quiet),
      terminal_(isatty(STDOUT_FILENO) == 1),
      last_line_(std::chrono::steady_clock::now()) {}

void Console::say(std::string_view line) {
  MutexLock lock(mutex_);
  print_line(line);
}

void Console::note(std::string_view line) {
  MutexLock lock(mutex_);
  notes_.emplace_back(line);
  print_line(fmt::format("note: {}", line));
}

void Console::result(std::string_view line) {
  if (json_) return;
  MutexLock lock(mutex_);
  clear_bar();
  write_out(fmt::format("{}\n", line));
}

void Console::note_aside(std::string_view line) {
  if (quiet_) return;
  MutexLock lock(mutex_);
  fmt::print(stderr, "note: {}\n", line);
}

void Console::print_line(std::string_view line) {
  if (json_ || quiet_) return;
  clear_bar();
  write_out(one_line(line) + '\n');
}

void Console::progress(std::string_view line) {
  if (json_ || quiet_) return;
  MutexLock lock(mutex_);
  if (terminal_) {
    write_out(fmt::format("\r\x1b[K{}", line));
    std::fflush(stdout);
    bar_ = true;
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  if (now - last_line_ < std::chrono::seconds(5)) return;
  last_line_ = now;
  write_out(fmt::format("{}\n", line));
}

void Console::end_progress() {
  MutexLock lock(mutex_);
  clear_bar();
}

void Console::clear_bar() {
  if (!bar_) return;
  write_out("\r\x1b[K");
  bar_ = false;
}

void Console::object(std::string_view text) {
  if (!json_) return;
  object_said_ = true;
  write_out(text);
}

int report_error(const Error& error, bool json_wanted) {
  const int code = exit_code(error);
  if (json_wanted) {
    const json object = {{"state", error.code == Code::cancelled ? "interrupted" : "failed"},
                         {"code", to_string(error.code)},
                         {"exit_code", code},
                         {"error", error.message}};
    write_out(object.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  }
  std::fflush(stdout);
  fmt::print(stderr, "atelier: {}\n", error.message);
  return code;
}

std::string age_text(std::chrono::nanoseconds age) {
  const int64_t s =
      std::max<int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(age).count());
  if (s >= 2 * 86400) return fmt::format("{} d", s / 86400);
  if (s >= 2 * 3600) return fmt::format("{} h", s / 3600);
  return s >= 120 ? fmt::format("{} min", s / 60) : fmt::format("{} s", s);
}

std::string size_text(uint64_t bytes) {
  constexpr std::array<const char*, 5> kNames = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kNames.size(); ++unit) value /= 1024;
  return fmt::format("{:.{}f} {}", value, unit == 0 ? 0 : 1, kNames.at(unit));
}

}  // namespace atelier::cli
