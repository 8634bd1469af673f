// SPDX-License-Identifier: Apache-2.0
#include "run/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace atelier::run {
namespace {

using nlohmann::json;

TEST(EngineRecord, IsReadAsItWasWritten) {
  const auto read = engine_from_json(to_json(EngineRecord{"slurm", 12, "spot"}));
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->name, "slurm");
  EXPECT_EQ(read->job, 12);
  EXPECT_EQ(read->partition, "spot");
  for (const char* text : {"", "[]", "{}", R"({"name": "slurm", "job": "12", "partition": "a"})"}) {
    const auto damaged = engine_from_json(text);
    ASSERT_FALSE(damaged.ok()) << text;
    EXPECT_EQ(damaged.error().code, Code::corrupt);
  }
}

TEST(Report, SaysWhatTheEngineDid) {
  RunReport report;
  EXPECT_FALSE(json::parse(to_json(report, Manifest{})).contains("engine"));
  report.engine = EngineReport{"slurm", {"n1", "n3"}, 3, 1, {{4.5, "n2 was lost."}}};
  const json engine = json::parse(to_json(report, Manifest{})).at("engine");
  EXPECT_EQ(engine, json::parse(R"({"name": "slurm", "nodes": ["n1", "n3"], "workers": 3,
      "restarts": 1, "events": [{"seconds": 4.5, "text": "n2 was lost."}]})"));
}

TEST(RunState, SaysWhatTheEngineSaysNow) {
  RunState state;
  state.engine = EngineState{{"slurm", 12, ""}, {{"2", "PENDING", "Resources", {}, 1}}, ""};
  json engine = json::parse(to_json(state)).at("engine");
  EXPECT_EQ(engine, json::parse(R"({"name": "slurm", "job": 12, "partition": "", "tasks":
      [{"task": "2", "state": "PENDING", "reason": "Resources", "nodes": [], "restarts": 1}]})"));
  state.engine->error = "Slurm's 'squeue' fails.";
  engine = json::parse(to_json(state)).at("engine");
  EXPECT_EQ(engine.at("error"), "Slurm's 'squeue' fails.");
}

}  // namespace
}  // namespace atelier::run
