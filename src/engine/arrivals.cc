// SPDX-License-Identifier: Apache-2.0
#include "engine/arrivals.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <optional>

#include "engine/random_bits.h"

namespace atelier::engine {
namespace {

template <class Number>
bool parse_all(std::string_view text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::string_view next_word(std::string_view& line) {
  constexpr std::string_view kBlank = " \t\r,";
  line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
  const std::string_view word = line.substr(0, line.find_first_of(kBlank));
  line.remove_prefix(word.size());
  return word;
}

// RFC 3339 in UTC: 2026-11-29T21:55:09Z. Seconds since 1970.
std::optional<double> parse_time_stamp(std::string_view text) {
  if (text.size() < 20 || text.back() != 'Z' || text[4] != '-' || text[7] != '-' ||
      text[10] != 'T' || text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  int year = 0;
  unsigned month = 0;
  unsigned day = 0;
  unsigned hour = 0;
  unsigned minute = 0;
  double second = 0;
  if (!parse_all(text.substr(0, 4), year) || !parse_all(text.substr(5, 2), month) ||
      !parse_all(text.substr(8, 2), day) || !parse_all(text.substr(11, 2), hour) ||
      !parse_all(text.substr(14, 2), minute) ||
      !parse_all(text.substr(17, text.size() - 18), second)) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                         std::chrono::day(day)};
  if (!date.ok() || hour > 23 || minute > 59 || !(second >= 0 && second < 61)) return std::nullopt;
  const auto days = std::chrono::sys_days(date).time_since_epoch().count();
  return static_cast<double>(days) * 86400 + hour * 3600.0 + minute * 60.0 + second;
}

std::optional<double> parse_when(std::string_view text) {
  double seconds = 0;
  if (parse_all(text, seconds)) {
    return std::isfinite(seconds) ? std::optional(seconds) : std::nullopt;
  }
  return parse_time_stamp(text);
}

Error not_understood(size_t number, std::string_view line) {
  return make_error(Code::invalid_argument,
                    "Line {} of the arrivals, '{}', is not a time (seconds, or like "
                    "2026-11-29T21:55:09Z) and perhaps a number of chunks; mend it.",
                    number, line.substr(0, 80));
}

}  // namespace

std::vector<PlannedJob> poisson_arrivals(double jobs_per_hour, int count, int chunks,
                                         uint64_t seed) {
  std::vector<PlannedJob> jobs;
  double time = 0;
  for (int i = 0; i < count; ++i) {
    const double u = unit_of(mix(seed ^ 0x61727269) + static_cast<uint64_t>(i));
    time -= std::log(1 - u) * 3600 / jobs_per_hour;
    jobs.push_back({time, chunks});
  }
  return jobs;
}

Result<std::vector<PlannedJob>> parse_arrivals(std::string_view text, int chunks) {
  std::vector<PlannedJob> jobs;
  for (size_t number = 1; !text.empty(); ++number) {
    const std::string_view whole = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(whole.size() + 1, text.size()));
    std::string_view line = whole.substr(0, whole.find('#'));
    const std::string_view when = next_word(line);
    if (when.empty()) continue;
    PlannedJob job{0, chunks};
    const auto seconds = parse_when(when);
    const std::string_view size = next_word(line);
    if (!seconds || (!size.empty() && (!parse_all(size, job.chunks) || job.chunks < 1)) ||
        !next_word(line).empty()) {
      return not_understood(number, whole);
    }
    job.arrival = *seconds;
    jobs.push_back(job);
  }
  if (jobs.empty()) {
    return make_error(Code::invalid_argument,
                      "The arrivals hold no job; write a line with its time for each.");
  }
  std::stable_sort(jobs.begin(), jobs.end(),
                   [](const auto& a, const auto& b) { return a.arrival < b.arrival; });
  const double first = jobs.front().arrival;
  for (PlannedJob& job : jobs) job.arrival -= first;
  return jobs;
}

}  // namespace atelier::engine
