// SPDX-License-Identifier: Apache-2.0
#include "cli/limits.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

namespace atelier::cli {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;

TEST(ScorerMemory, IsNineTenthsOfWhatThereIs) {
  EXPECT_EQ(scorer_memory({}, {160 * kGiB, 100 * kGiB}), 90 * kGiB);
  EXPECT_EQ(scorer_memory({}, {0, 0}), 0U) << "unknown";
  EXPECT_EQ(scorer_memory({}, {0, 100 * kGiB}), 90 * kGiB);
  Limits limits;
  limits.memory = 7 * kGiB;
  EXPECT_EQ(scorer_memory(limits, {160 * kGiB, 100 * kGiB}), 7 * kGiB);
}

TEST(ScorerMemory, OfAMachineThatOthersShareItIsAShare) {
  Limits limits;
  limits.machine_share = 0.25;
  EXPECT_EQ(scorer_memory(limits, {160 * kGiB, 160 * kGiB}), 36 * kGiB);
  EXPECT_EQ(scorer_memory(limits, {160 * kGiB, 30 * kGiB}), 27 * kGiB)
      << "Slurm has divided it already";
  EXPECT_EQ(scorer_memory(limits, {0, 0}), 0U) << "unknown";
  limits.memory = 8 * kGiB;
  EXPECT_EQ(scorer_memory(limits, {160 * kGiB, 160 * kGiB}), 2 * kGiB);
}

TEST(MachineShare, IsAPartOfTheProcessors) {
  Limits limits;
  CLI::App app;
  add_machine_share(app, limits);
  app.parse("--machine-share 4/16");
  EXPECT_EQ(limits.machine_share, 0.25);
  app.parse("--machine-share 16/4");
  EXPECT_EQ(limits.machine_share, 1);
  for (const char* bad : {"4", "/4", "4/", "0/4", "4/0", "-1/4", "a/b", "1/2/3", "4 /16"}) {
    EXPECT_THROW(app.parse(std::vector<std::string>{bad, "--machine-share"}), CLI::ParseError)
        << bad;
  }
}

}  // namespace
}  // namespace atelier::cli
