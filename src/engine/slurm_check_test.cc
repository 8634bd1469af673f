// SPDX-License-Identifier: Apache-2.0
#include "engine/slurm_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/mpi_words.h"
#include "engine/slurm_testing.h"

namespace atelier::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class SlurmCheckTest : public testing::Test {
 protected:
  SlurmCheckTest() {
    look_.setup.program = "/opt/atelier-rank";
    look_.setup.arguments = {"host", "file:///runs/r", "--sees=doctor"};
    look_.setup.partition = "spot";
    look_.nodes = 3;
    look_.version = "1.0";
  }
  FakeSlurm slurm_;
  SlurmNodeLook look_;
};

TEST_F(SlurmCheckTest, AJobIsTriedWithAllThatItWouldAskFor) {
  SlurmSetup setup = look_.setup;
  setup.account = "film";
  setup.gres = "gpu:1";
  setup.time = "10";
  slurm_.answer("sbatch", "", 0,
                "sbatch: Job 8 to start at 2026-11-30T21:00:00 using 2 processors on nodes n1 in "
                "partition spot\n");
  EXPECT_THAT(try_job(slurm_, setup, {}).value(), HasSubstr("Job 8 to start at"));
  for (const char* word :
       {"--test-only", "--partition=spot", "--account=film", "--gres=gpu:1", "--time=10"}) {
    EXPECT_THAT(slurm_.asked.back(), HasSubstr(word));
  }
}

TEST_F(SlurmCheckTest, WhatIsRefusedSaysWhyAndWhatTheNodesHave) {
  slurm_.answers["sbatch"] = {
      {1, "", "sbatch: error: Invalid account\nallocation failure: Invalid account\n"}};
  const auto refused = try_job(slurm_, look_.setup, {});
  EXPECT_EQ(refused.error().code, Code::unavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("(allocation failure: Invalid account)"));
  look_.setup.gres = "gpu:9";
  slurm_.answer("sinfo", "(null)\ngpu:t4:1\ngpu:a100:4\n");
  EXPECT_THAT(try_job(slurm_, look_.setup, {}).error().message,
              HasSubstr("(its nodes have: gpu:a100:4, gpu:t4:1)"));
  slurm_.answers["sinfo"] = {{0, "(null)\n", ""}};
  EXPECT_THAT(try_job(slurm_, look_.setup, {}).error().message, HasSubstr("have: none)"));
}

TEST_F(SlurmCheckTest, NodesThatAreFreeSayWhatTheyAre) {
  slurm_.answers["srun"] = {{1,
                             host_line({"n2", "1.0", false}) + "\n" +
                                 host_line({"n1", "1.0", true}) + "\nnoise\n" +
                                 error_line({Code::unavailable, "On n3: No key.", {}}) + "\n",
                             "srun: error: n3: task 2: Exited with exit code 4\n"}};
  const auto found = look_at_nodes(slurm_, look_, {}).value();
  EXPECT_THAT(slurm_.asked.back(), HasSubstr("srun --immediate=15 --job-name=atelier-doctor "
                                             "--nodes=1-3 --mpi=none"));
  EXPECT_THAT(slurm_.asked.back(), testing::EndsWith("--partition=spot /opt/atelier-rank host "
                                                     "file:///runs/r --sees=doctor"));
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].text, "On n3: No key.");
  EXPECT_EQ(found[1].text, "") << "n1 is fit";
  EXPECT_THAT(found[2].text, HasSubstr("Host n2 does not see this run"));
}

TEST_F(SlurmCheckTest, WhereNoneIsFreeNothingIsKnown) {
  slurm_.answers["srun"] = {
      {1, "", "srun: error: Unable to allocate resources: Requested nodes are busy\n"}};
  const auto found = look_at_nodes(slurm_, look_, {});
  EXPECT_EQ(found.error().code, Code::unavailable);
  EXPECT_THAT(found.error().message, HasSubstr("Requested nodes are busy"));
}

}  // namespace
}  // namespace atelier::engine
