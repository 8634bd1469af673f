// SPDX-License-Identifier: Apache-2.0
#include "run/shot_runners.h"

#include <gtest/gtest.h>

#include "run/fake_runner.h"

namespace atelier::run {
namespace {

std::vector<Shot> three_shots() {
  std::vector<Shot> shots;
  for (const int64_t first : {100, 200, 350}) {
    shots.push_back({first, {{"norm", {{static_cast<float>(first)}, {1}}}}});
  }
  return shots;
}

TEST(ShotRunners, AFrameBelongsToTheShotThatBeganLast) {
  const std::vector<Shot> shots = three_shots();
  const ShotRunners runners(shots, {}, {});
  EXPECT_EQ(runners.shot_of(-5), 0u) << "before the first";
  EXPECT_EQ(runners.shot_of(100), 0u);
  EXPECT_EQ(runners.shot_of(199), 0u);
  EXPECT_EQ(runners.shot_of(200), 1u);
  EXPECT_EQ(runners.shot_of(349), 1u);
  EXPECT_EQ(runners.shot_of(100000), 2u);
}

TEST(ShotRunners, ARunnerIsMadeWithTheStatisticsOfItsShotAndKeptUntilTheNext) {
  const std::vector<Shot> shots = three_shots();
  std::vector<float> made;
  const RunnerFactory make =
      [&](const model::RunnerOptions& options) -> Result<std::shared_ptr<model::Runner>> {
    EXPECT_EQ(options.threads, 3);
    made.push_back(options.statistics.at("norm").mean[0]);
    return std::shared_ptr<model::Runner>(std::make_shared<FakeRunner>());
  };
  model::RunnerOptions options;
  options.threads = 3;
  ShotRunners runners(shots, make, options);
  model::Runner* first = runners.at(120).value();
  EXPECT_EQ(runners.at(150).value(), first);
  for (const int64_t pts : {200, 210, 400, 130}) ASSERT_TRUE(runners.at(pts).ok());
  EXPECT_EQ(made, (std::vector<float>{100, 200, 350, 100}));
}

TEST(ShotRunners, WithoutShotsThereIsOneRunnerForAllFrames) {
  int made = 0;
  const RunnerFactory make =
      [&](const model::RunnerOptions& options) -> Result<std::shared_ptr<model::Runner>> {
    EXPECT_TRUE(options.statistics.empty());
    made++;
    return std::shared_ptr<model::Runner>(std::make_shared<FakeRunner>());
  };
  const std::vector<Shot> none;
  ShotRunners runners(none, make, {});
  for (const int64_t pts : {-7, 0, 1000}) ASSERT_TRUE(runners.at(pts).ok());
  EXPECT_EQ(made, 1);
}

TEST(ShotRunners, AFailureToMakeOneIsSaidEachTime) {
  const std::vector<Shot> none;
  ShotRunners runners(none,
                      [](const model::RunnerOptions&) -> Result<std::shared_ptr<model::Runner>> {
                        return make_error(Code::invalid_argument, "No such network.");
                      },
                      {});
  for (int i = 0; i < 2; i++) EXPECT_EQ(runners.at(0).error().message, "No such network.");
}

}  // namespace
}  // namespace atelier::run
