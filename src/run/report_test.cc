// SPDX-License-Identifier: Apache-2.0
#include "run/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace atelier::run {
namespace {

TEST(RunReport, SaysWhoStartedTheWorkersAndWhatHappenedToThem) {
  RunReport report;
  report.engine.name = "mpi";
  report.engine.nodes = {"n0", "n1"};
  report.engine.workers = 3;
  report.engine.restarts = 1;
  report.engine.events = {{1.5, "Host n2 was lost."}};
  report.engine.statistics = {{"frames", 40}};
  const auto engine = nlohmann::json::parse(to_json(report, Manifest())).at("engine");
  EXPECT_EQ(engine, nlohmann::json::parse(R"({"name": "mpi", "nodes": ["n0", "n1"], "workers": 3,
    "restarts": 1, "events": [{"seconds": 1.5, "text": "Host n2 was lost."}],
    "statistics": {"frames": 40.0}})"));
}

TEST(RunReport, WithoutAnotherEngineThatIsTheLocalOne) {
  const auto engine = nlohmann::json::parse(to_json(RunReport(), Manifest())).at("engine");
  EXPECT_EQ(engine.at("name"), "local");
  EXPECT_TRUE(engine.at("nodes").is_array() && engine.at("nodes").empty());
}

}  // namespace
}  // namespace atelier::run
