// SPDX-License-Identifier: Apache-2.0
#include "run/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace atelier::run {
namespace {

using nlohmann::json;

TEST(RunReport, SaysWhoStartedTheWorkersAndWhatHappenedToThem) {
  RunReport report;
  report.engine.name = "mpi";
  report.engine.nodes = {"n0", "n1"};
  report.engine.workers = 3;
  report.engine.restarts = 1;
  report.engine.events = {{1.5, "Host n2 was lost."}};
  report.engine.statistics = {{"frames", 40}};
  const auto engine = json::parse(to_json(report, Manifest())).at("engine");
  EXPECT_EQ(engine, json::parse(R"({"name": "mpi", "nodes": ["n0", "n1"], "workers": 3,
    "restarts": 1, "events": [{"seconds": 1.5, "text": "Host n2 was lost."}],
    "statistics": {"frames": 40.0}})"));
}

TEST(RunReport, WithoutAnotherEngineThatIsTheLocalOne) {
  const auto engine = json::parse(to_json(RunReport(), Manifest())).at("engine");
  EXPECT_EQ(engine.at("name"), "local");
  EXPECT_TRUE(engine.at("nodes").is_array() && engine.at("nodes").empty());
}

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
