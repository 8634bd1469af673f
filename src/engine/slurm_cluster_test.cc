// SPDX-License-Identifier: Apache-2.0
#include "engine/slurm_cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/slurm.h"
#include "engine/slurm_testing.h"

namespace atelier::engine {
namespace {

using testing::HasSubstr;

class SlurmClusterTest : public testing::Test {
 protected:
  void prints(const std::string& rows) { slurm_.answers["sinfo"] = {{0, rows, ""}}; }
  std::string refusal(const std::string& partition, int least = 1) {
    const auto checked = check_slurm(slurm_, partition, least, {});
    if (checked.ok()) return "";
    EXPECT_EQ(checked.error().code, Code::unavailable);
    return checked.error().message;
  }
  FakeSlurm slurm_;
};

TEST_F(SlurmClusterTest, APartitionIsThereOrNamed) {
  prints("spot up idle 3\n");
  EXPECT_EQ(refusal("spot"), "");
  EXPECT_EQ(slurm_.asked.back(), "sinfo --noheader --format=%P %a %T %D --partition=spot");
  prints("");
  EXPECT_THAT(refusal("nosuch"), HasSubstr("no partition 'nosuch'"));
  slurm_.answers["sinfo"] = {{1, "", "sinfo: fatal: Could not establish a configuration source\n"}};
  EXPECT_THAT(refusal(""), HasSubstr("(Could not establish a configuration source)"));
}

TEST_F(SlurmClusterTest, WithoutANameItIsTheDefaultOne) {
  prints("ondemand* up idle 1\nspot up down 2\n");
  EXPECT_EQ(refusal(""), "");
  EXPECT_EQ(look_at_partition(slurm_, "", {}).value()->name, "ondemand");
  prints("ondemand* up drained 1\nspot up idle 2\n");
  EXPECT_THAT(refusal(""), HasSubstr("'ondemand' has no node that can work and one is asked for "
                                     "(nodes: 1 drained)"));
  prints("spot up idle 2\n");
  EXPECT_THAT(refusal(""), HasSubstr("no default partition"));
}

TEST_F(SlurmClusterTest, OneThatIsClosedIsRefused) {
  for (const std::string word : {"down", "drain", "inactive"}) {
    prints("spot " + word + " idle 3\n");
    EXPECT_THAT(refusal("spot"), HasSubstr("'spot' takes no work now (" + word + ")"));
  }
  prints("spot inactive idle 3\nnight up idle 1\n");
  EXPECT_EQ(refusal("spot,night"), "") << "one of them will do";
  EXPECT_THAT(refusal("spot,night", 2), HasSubstr("has one node that can work and 2 are asked for"))
      << "and the nodes of the other do not count";
}

TEST_F(SlurmClusterTest, NodesThatCanWorkAreCounted) {
  prints("spot up idle 3\nspot up mixed 1\nspot up down* 2\nspot up idle 1\n");
  const auto partition = look_at_partition(slurm_, "spot", {}).value();
  EXPECT_EQ(partition->nodes,
            (std::map<std::string, int>{{"idle", 4}, {"mixed", 1}, {"down*", 2}}));
  EXPECT_EQ(partition->usable, 5);
  EXPECT_EQ(nodes_in_words(*partition), "2 down*, 4 idle, 1 mixed");
  prints("spot up down* 2\nspot up drained 1\n");
  EXPECT_THAT(refusal("spot"), HasSubstr("has no node that can work"));
  prints("spot up n/a 0\n");
  EXPECT_THAT(refusal("spot"), HasSubstr("(nodes: none)"));
  prints("cloud up idle~ 4\n");
  EXPECT_EQ(refusal("cloud", 4), "") << "they come when they are needed";
  prints("spot up idle many\n");
  EXPECT_EQ(look_at_partition(slurm_, "spot", {}).error().code, Code::corrupt);
}

TEST_F(SlurmClusterTest, StatesInWhichANodeMayWork) {
  for (const char* word :
       {"idle", "idle~", "allocated", "powering_up", "mixed", "idle%", "idle*"}) {
    EXPECT_TRUE(is_usable_node(word)) << word;
  }
  for (const char* word :
       {"down", "down*", "drained*", "drained", "draining", "fail", "unknown", "inval"}) {
    EXPECT_FALSE(is_usable_node(word)) << word;
  }
}

TEST_F(SlurmClusterTest, ItIsKnownWhetherRanksCanBeStarted) {
  slurm_.answers["srun"] = {{0,
                             "MPI plugin types are...\n\tnone\n\tpmi2\n\tpmix\n"
                             "specific pmix plugin versions available: pmix_v4\n",
                             ""}};
  EXPECT_TRUE(has_pmix(slurm_, {}).value());
  slurm_.answers["srun"] = {{0, "", "MPI plugin types are...\n\tnone\n\tpmi2\n"}};
  EXPECT_FALSE(has_pmix(slurm_, {}).value());
  slurm_.answers["srun"] = {{1, "", "srun: fatal: no configuration\n"}};
  EXPECT_EQ(has_pmix(slurm_, {}).error().code, Code::unavailable);
}

TEST_F(SlurmClusterTest, HowManyTasksAnArrayMayHave) {
  slurm_.answers["scontrol"] = {
      {0, "MailProg  = /bin/mail\nMaxArraySize            = 1001\nMaxDBDMsgs = 20004\n", ""}};
  EXPECT_EQ(most_tasks(slurm_, {}).value(), 1000);
  slurm_.answers["scontrol"] = {{0, "MaxArraySize = 0\n", ""}};
  EXPECT_EQ(most_tasks(slurm_, {}).value(), 0) << "none are allowed";
  slurm_.answers["scontrol"] = {{0, "MaxArraySize = (null)\n", ""}};
  EXPECT_EQ(most_tasks(slurm_, {}).value(), std::nullopt);
  slurm_.answers["scontrol"] = {{0, "Configuration data\n", ""}};
  EXPECT_EQ(most_tasks(slurm_, {}).value(), std::nullopt);
}

}  // namespace
}  // namespace atelier::engine
