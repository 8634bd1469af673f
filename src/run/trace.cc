// SPDX-License-Identifier: Apache-2.0
#include "run/trace.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

namespace atelier::run {
namespace {

using nlohmann::json;

constexpr std::array<const char*, 3> kStages = {"decode", "score", "encode"};
constexpr std::array<const char*, 3> kDoing = {"work", "wait for a frame", "wait for room"};
constexpr std::array<const char*, 3> kCategories = {"work", "wait", "wait"};

constexpr int64_t kLatest = int64_t{1} << 53;  // microseconds; what a JSON number holds exactly

int64_t microseconds(Clock::Duration time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time).count();
}

Error not_a_trace() { return Error{Code::corrupt, "A trace is not what a scorer writes."}; }

json metadata(const char* what, size_t process, size_t thread, const std::string& name) {
  return {
      {"ph", "M"}, {"name", what}, {"pid", process}, {"tid", thread}, {"args", {{"name", name}}}};
}

void add_team(std::span<const Span> spans, size_t process, int64_t first, json& events) {
  std::vector<std::pair<int64_t, int>> teams;
  for (const Span& span : spans) {
    if (span.threads > 0) teams.emplace_back(span.begin_us, span.threads);
  }
  std::sort(teams.begin(), teams.end());
  int last = 0;
  for (const auto& [begin, threads] : teams) {
    if (threads == std::exchange(last, threads)) continue;
    events.push_back({{"ph", "C"},
                      {"name", "scoring threads"},
                      {"pid", process},
                      {"ts", begin - first},
                      {"args", {{"threads", threads}}}});
  }
}

}  // namespace

void TraceRecorder::add(Stage stage, Doing doing, int chunk, Clock::Duration begin,
                        Clock::Duration end, int frames, int threads) {
  // Two threads always meet for a moment.
  constexpr Clock::Duration kShortestWait = std::chrono::microseconds(20);
  if (doing != Doing::work && end - begin < kShortestWait) return;
  const Span span{stage,
                  doing,
                  chunk,
                  microseconds(begin + offset_),
                  std::max<int64_t>(microseconds(end - begin), 1),
                  frames,
                  threads};
  MutexLock lock(mutex_);
  if (spans_.size() < kMostSpans) spans_.push_back(span);
}

std::vector<Span> TraceRecorder::take() {
  MutexLock lock(mutex_);
  return std::exchange(spans_, {});
}

std::string to_json(std::span<const Span> spans) {
  json list = json::array();
  for (const Span& span : spans) {
    list.push_back({static_cast<int>(span.stage), static_cast<int>(span.doing), span.chunk,
                    span.begin_us, span.duration_us, span.frames, span.threads});
  }
  return json{{"spans", std::move(list)}}.dump();
}

Result<std::vector<Span>> spans_from_json(std::string_view text) {
  try {
    const json parsed = json::parse(text);
    const json& list = parsed.at("spans");
    if (!list.is_array() || list.size() > kMostSpans) return not_a_trace();
    std::vector<Span> spans;
    for (const json& one : list) {
      auto numbers = one.get<std::vector<int64_t>>();
      if (numbers.size() == 5) numbers.push_back(1);
      if (numbers.size() == 6) numbers.push_back(0);
      if (numbers.size() != 7) return not_a_trace();
      const auto is_within = [&](size_t i, int64_t end) {
        return numbers[i] >= 0 && numbers[i] < end;
      };
      if (!is_within(0, 3) || !is_within(1, 3) || !is_within(2, INT32_MAX) ||
          !is_within(3, kLatest) || !is_within(4, kLatest) || !is_within(5, INT32_MAX) ||
          !is_within(6, INT32_MAX)) {
        return not_a_trace();
      }
      spans.push_back({static_cast<Stage>(numbers[0]), static_cast<Doing>(numbers[1]),
                       static_cast<int>(numbers[2]), numbers[3], numbers[4],
                       static_cast<int>(numbers[5]), static_cast<int>(numbers[6])});
    }
    return spans;
  } catch (const json::exception&) {
    return not_a_trace();
  }
}

std::string chrome_trace(std::span<const WorkerTrace> workers) {
  int64_t first = kLatest;
  for (const WorkerTrace& worker : workers) {
    for (const Span& span : worker.spans) first = std::min(first, span.begin_us);
  }
  json events = json::array();
  for (size_t process = 0; process < workers.size(); ++process) {
    events.push_back(metadata("process_name", process, 0, workers[process].worker));
    for (size_t thread = 0; thread < kStages.size(); ++thread) {
      events.push_back(metadata("thread_name", process, thread, kStages[thread]));
    }
    add_team(workers[process].spans, process, first, events);
    for (const Span& span : workers[process].spans) {
      const auto stage = static_cast<size_t>(span.stage);
      const auto doing = static_cast<size_t>(span.doing);
      events.push_back({{"ph", "X"},
                        {"name", span.doing == Doing::work ? kStages[stage] : kDoing[doing]},
                        {"cat", kCategories[doing]},
                        {"pid", process},
                        {"tid", stage},
                        {"ts", span.begin_us - first},
                        {"dur", span.duration_us},
                        {"args", {{"chunk", span.chunk}, {"frames", span.frames}}}});
    }
  }
  return json{{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}}.dump(
      -1, ' ', false, json::error_handler_t::replace);
}

}  // namespace atelier::run
