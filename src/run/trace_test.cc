// SPDX-License-Identifier: Apache-2.0
#include "run/trace.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace atelier::run {
namespace {

using namespace std::chrono_literals;

TEST(Trace, CountsFrom1970AndForgetsShortWaits) {
  TraceRecorder recorder(10s, 1000s);
  recorder.add(Stage::score, Doing::work, 3, 11s, 11s + 5us);
  recorder.add(Stage::score, Doing::wait_for_frame, 3, 12s, 12s + 19us);
  recorder.add(Stage::encode, Doing::wait_for_frame, 4, 12s, 12s + 20us);
  const auto spans = recorder.take();
  ASSERT_EQ(spans.size(), 2U);
  EXPECT_EQ(spans[0].stage, Stage::score);
  EXPECT_EQ(spans[0].begin_us, 1'001'000'000);
  EXPECT_EQ(spans[0].duration_us, 5);
  EXPECT_EQ(spans[1].doing, Doing::wait_for_frame);
  EXPECT_EQ(spans[1].chunk, 4);
  EXPECT_TRUE(recorder.take().empty());
}

TEST(Trace, ALongChunkDoesNotFillTheMemory) {
  TraceRecorder recorder(0s, 0s);
  for (size_t i = 0; i < kMostSpans + 10; ++i) recorder.add(Stage::decode, Doing::work, 0, 1s, 2s);
  EXPECT_EQ(recorder.take().size(), kMostSpans);
}

TEST(Trace, IsReadAsItWasWritten) {
  const std::vector<Span> spans = {{Stage::encode, Doing::wait_for_room, 7, 123, 456, 4},
                                   {Stage::decode, Doing::work, 0, 0, 1}};
  const auto read = spans_from_json(to_json(spans)).value();
  ASSERT_EQ(read.size(), 2U);
  EXPECT_EQ(to_json(read), to_json(spans));
  EXPECT_EQ(read[0].frames, 4);
  const Span team{Stage::score, Doing::work, 1, 2, 3, 1, 6};
  EXPECT_EQ(spans_from_json(to_json({&team, 1})).value().front().threads, 6);
}

TEST(Trace, OfAnOlderVersionIsRead) {
  const auto read = spans_from_json(R"({"spans":[[1,0,7,123,456]]})").value();
  ASSERT_EQ(read.size(), 1U);
  EXPECT_EQ(read[0].stage, Stage::score);
  EXPECT_EQ(read[0].duration_us, 456);
  EXPECT_EQ(read[0].frames, 1);
  EXPECT_EQ(spans_from_json(R"({"spans":[[1,0,7,123,456,3]]})").value().front().frames, 3);
}

TEST(Trace, HostileTextIsRefused) {
  std::string many = R"({"spans":[)";
  for (size_t i = 0; i <= kMostSpans; ++i) many += i == 0 ? "[0,0,0,0,0,1]" : ",[0,0,0,0,0,1]";
  many += "]}";
  for (const std::string& text :
       {std::string(""), std::string("[]"), std::string(R"({"spans":3})"),
        std::string(R"({"spans":[[0,0,0,0]]})"), std::string(R"({"spans":[[3,0,0,0,0,1]]})"),
        std::string(R"({"spans":[[0,-1,0,0,0,1]]})"),
        std::string(R"({"spans":[[0,0,0,0,1e300,1]]})"),
        std::string(R"({"spans":[[0,0,0,9223372036854775807,1,1]]})"),
        std::string(R"({"spans":[["0",0,0,0,0,1]]})"), std::string(R"({"spans":[[0,0,0,0,0,-1]]})"),
        std::string(R"({"spans":[[0,0,0,0,0,1,-1]]})"),
        std::string(R"({"spans":[[0,0,0,0,0,1,1,1]]})"), many}) {
    EXPECT_FALSE(spans_from_json(text).ok()) << text.substr(0, 60);
  }
}

TEST(Trace, ChromeSeesAProcessPerWorkerAndAThreadPerStage) {
  const std::vector<WorkerTrace> workers = {
      {"a", {{Stage::score, Doing::work, 1, 1500, 10, 3}}},
      {"b", {{Stage::encode, Doing::wait_for_frame, 2, 1000, 30}}}};
  const auto trace = nlohmann::json::parse(chrome_trace(workers));
  std::vector<nlohmann::json> spans;
  size_t names = 0;
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") == "X") spans.push_back(event);
    if (event.at("name") == "thread_name") ++names;
  }
  EXPECT_EQ(names, 6U);
  ASSERT_EQ(spans.size(), 2U);
  EXPECT_EQ(spans[0].at("name"), "score");
  EXPECT_EQ(spans[0].at("ts"), 500);
  EXPECT_EQ(spans[0].at("pid"), 0);
  EXPECT_EQ(spans[0].at("args").at("frames"), 3);
  EXPECT_EQ(spans[1].at("name"), "wait for a frame");
  EXPECT_EQ(spans[1].at("cat"), "wait");
  EXPECT_EQ(spans[1].at("ts"), 0);
  EXPECT_EQ(spans[1].at("tid"), 2);
  EXPECT_EQ(spans[1].at("args").at("chunk"), 2);
}

TEST(Trace, ChromeSeesHowManyThreadsScoredWhenItChanged) {
  const std::vector<WorkerTrace> workers = {{"a",
                                             {{Stage::score, Doing::work, 0, 900, 1, 1, 4},
                                              {Stage::score, Doing::work, 0, 300, 1, 1, 8},
                                              {Stage::score, Doing::work, 0, 600, 1, 1, 8},
                                              {Stage::decode, Doing::work, 0, 100, 1}}}};
  std::vector<std::pair<int, int>> counters;
  const auto trace = nlohmann::json::parse(chrome_trace(workers));
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") != "C") continue;
    counters.emplace_back(event.at("ts"), event.at("args").at("threads"));
  }
  EXPECT_EQ(counters, (std::vector<std::pair<int, int>>{{200, 8}, {800, 4}}));
}

}  // namespace
}  // namespace atelier::run
