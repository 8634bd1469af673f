// SPDX-License-Identifier: Apache-2.0
#include "engine/mpi_words.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace atelier::engine {
namespace {

constexpr std::string_view kMark = "@atelier ";

constexpr std::array kCodes = {Code::invalid_argument, Code::invalid_input, Code::unavailable,
                               Code::conflict,         Code::corrupt,       Code::cancelled,
                               Code::no_space,         Code::internal};

std::string marked(std::string_view text) { return std::string(kMark) + std::string(text); }

template <class T>
std::optional<T> number_of(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The first word, which is taken off the front of `text`, and the blank after it.
std::string_view take(std::string_view& text) {
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(std::min(text.size(), word.size() + 1));
  return word;
}

// The word after `before`, where the line has that; without what ends a sentence.
std::string word_after(std::string_view line, std::string_view before) {
  const size_t at = line.find(before);
  if (at == std::string_view::npos) return {};
  std::string_view rest = line.substr(at + before.size());
  std::string word(take(rest));
  while (word.ends_with('.') || word.ends_with(',') || word.ends_with(':')) word.pop_back();
  return word;
}

// "[1,2]<stdout>:text" -> 2, and leaves "text".
std::optional<int> take_tag(std::string_view& line) {
  const size_t comma = line.find(',');
  const size_t end = line.find("]<std");
  const size_t colon = line.find(">:");
  if (!line.starts_with('[') || comma == std::string_view::npos || end == std::string_view::npos ||
      colon == std::string_view::npos || comma > end || end > colon) {
    return std::nullopt;
  }
  const auto rank = number_of<int>(line.substr(comma + 1, end - comma - 1));
  if (rank) line.remove_prefix(colon + 2);
  return rank;
}

}  // namespace

std::string there_line(std::string_view host) { return marked(fmt::format("there {}", host)); }

std::string complete_line() { return marked("complete"); }

std::string statistic_line(std::string_view name, double value) {
  return marked(fmt::format("statistic {} {}", name, value));
}

std::string error_line(const Error& error) {
  std::string message = error.message.substr(0, 2000);  // mpirun cuts lines of 4096
  std::replace(message.begin(), message.end(), '\n', ' ');
  return marked(fmt::format("error {} {}", to_string(error.code), message));
}

std::string host_line(const HostFacts& facts) { return marked("host " + to_words(facts)); }

void GangWords::add(std::string_view text) {
  rest_ += text;
  for (size_t end = 0; (end = rest_.find('\n')) != std::string::npos; rest_.erase(0, end + 1)) {
    take_line(std::string_view(rest_).substr(0, end));
  }
  // No line of ours is so long.
  constexpr size_t kLongest = size_t{64} << 10;
  if (rest_.size() > kLongest) rest_.clear();
}

void GangWords::take_line(std::string_view line) {
  while (line.ends_with('\r')) line.remove_suffix(1);
  const std::optional<int> rank = take_tag(line);
  if (rank && line.starts_with(kMark)) {
    std::string_view rest = line.substr(kMark.size());
    const std::string_view word = take(rest);
    if (take_word(*rank, word, rest)) return;
  }
  // A rule, or what mpirun warns of when it was too slow for its own child.
  if (std::none_of(line.begin(), line.end(),
                   [](unsigned char c) { return std::isalnum(c) != 0; }) ||
      line.find("Warning: setpgid(") != std::string_view::npos) {
    return;
  }
  if (!rank) take_foreign(line);
  if (rank) {
    last_ = line;
  } else if (first_.empty()) {
    first_ = line;
  }
}

bool GangWords::take_word(int rank, std::string_view word, std::string_view rest) {
  if (word == "there") {
    there_[rank] = rest;
  } else if (word == "complete") {
    complete_ = true;
  } else if (word == "statistic") {
    const std::string_view name = take(rest);
    const auto value = number_of<double>(rest);
    if (!value) return false;
    statistics_[std::string(name)] = *value;
  } else if (word == "host") {
    hosts_[rank] = host_facts(rest);
  } else if (word == "error") {
    const std::string_view name = take(rest);
    const auto* const code =
        std::find_if(kCodes.begin(), kCodes.end(), [&](Code c) { return to_string(c) == name; });
    if (code == kCodes.end()) return false;
    if (!error_ || error_->code == Code::cancelled) error_ = {*code, std::string(rest), {}};
  } else {
    return false;
  }
  return true;
}

void GangWords::take_foreign(std::string_view line) {
  // "mpirun noticed that process rank 2 with PID 0 on node n3 exited on signal 9 (Killed)."
  const auto rank = number_of<int>(word_after(line, "process rank "));
  const auto signal = number_of<int>(word_after(line, "exited on signal "));
  if (rank && signal) death_ = {*rank, word_after(line, " on node "), *signal};
  // "  Remote daemon: [[58431,0],3] on node n3", after "ORTE has lost communication with ..."
  if (line.find("Remote daemon:") != std::string_view::npos) {
    lost_host_ = word_after(line, " on node ");
  }
  lost_daemon_ = lost_daemon_ || line.find("start one or more daemons") != std::string_view::npos;
  without_program_ = without_program_ || line.find("unable to launch") != std::string_view::npos;
}

}  // namespace atelier::engine
