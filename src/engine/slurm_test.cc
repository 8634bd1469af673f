// SPDX-License-Identifier: Apache-2.0
// The engine with a Slurm that is a list of answers and a clock that does not wait; the real one is
// tested by tests/slurm/.
#include "engine/slurm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <set>

#include "engine/slurm_testing.h"

namespace atelier::engine {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string queue(const std::string& state, const std::string& more = "", int job = 12) {
  return fmt::format(
      R"({{"jobs": [{{"job_id": {}, "array_job_id": {}, "array_task_id": 1, "job_state": "{}"{}}}]}})",
      job, job, state, more);
}

class SlurmTest : public testing::Test {
 protected:
  SlurmTest() {
    request_.setup.program = "/opt/atelier";
    request_.setup.run_id = "r";
    request_.setup.name = "w";
    request_.setup.partition = "spot";
    request_.setup.most_nodes = 4;
    request_.unsettled = [this]() -> Result<size_t> {
      if (away_.contains(++counts_)) return make_error(Code::unavailable, "The store is away.");
      const size_t now = left_.front();
      if (left_.size() > 1) left_.pop_front();
      return now;
    };
    request_.event = [this](const std::string& text) { events_.push_back(text); };
    slurm_.answer("sbatch", "12\n");
  }
  Result<SlurmOutcome> run() {
    return run_slurm_workers(request_, slurm_, clock_, stop_.get_token());
  }

  FakeSlurm slurm_;
  FakeClock clock_;
  SlurmRequest request_;
  std::deque<size_t> left_ = {9};
  int counts_ = 0;      // how often it was asked how much is left
  std::set<int> away_;  // counts at which the store does not answer
  std::vector<std::string> events_;
  std::stop_source stop_;
};

TEST_F(SlurmTest, NothingToDoIsNotSubmitted) {
  left_ = {0};
  ASSERT_TRUE(run().ok());
  EXPECT_THAT(slurm_.asked, IsEmpty());
}

TEST_F(SlurmTest, ItWaitsUntilAllIsSettledAndCancelsWhoStillWaits) {
  left_ = {2, 2, 1, 0};
  slurm_.answer("squeue", queue("PENDING"));
  slurm_.answer("squeue", queue("RUNNING", R"(, "nodes": "n1")"));
  slurm_.answer("squeue", queue("COMPLETED", R"(, "nodes": "n1")"));
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_THAT(outcome->nodes, ElementsAre("n1"));
  EXPECT_EQ(outcome->workers, 2) << "no more than there is to do";
  EXPECT_THAT(slurm_.asked, ElementsAre(HasSubstr("--array=1-2 "), "scancel --state=PENDING 12"));
  EXPECT_THAT(slurm_.script, HasSubstr("'/opt/atelier'"));
}

TEST_F(SlurmTest, WhoDoesNotLeaveInTheEndIsCancelled) {
  left_ = {2, 0};
  slurm_.answer("squeue", queue("RUNNING", R"(, "nodes": "n1")"));
  ASSERT_TRUE(run().ok());
  EXPECT_EQ(slurm_.asked.back(), "scancel 12");
}

TEST_F(SlurmTest, ALostNodeIsAskedAfterAndReported) {
  left_ = {2, 2, 2, 0};
  slurm_.answer("squeue", queue("RUNNING", R"(, "nodes": "n1")"));
  slurm_.answer("squeue", queue("PENDING", R"(, "restart_cnt": 1)"));
  slurm_.answer("squeue", queue("COMPLETED", R"(, "restart_cnt": 1)"));
  slurm_.answer("sinfo", R"({"nodes": [{"name": "n1", "state": "down"}]})");
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(outcome->restarts, 1);
  EXPECT_THAT(events_, ElementsAre("n1 was lost: task 1 was requeued."));
}

TEST_F(SlurmTest, RanksOfAGangThatWasRequeuedAreBuried) {
  std::vector<std::pair<int64_t, int>> buried;
  request_.bury = [&](int64_t job, int restart) { buried.emplace_back(job, restart); };
  request_.setup.gang = true;
  left_ = {2, 2, 2, 2, 0};
  slurm_.answer("squeue", queue("RUNNING", R"(, "nodes": "n[1-2]")"));
  slurm_.answer("squeue", queue("COMPLETING", R"(, "restart_cnt": 1)"));
  slurm_.answer("squeue", queue("PENDING", R"(, "restart_cnt": 2)"));
  slurm_.answer("squeue", queue("COMPLETED", R"(, "restart_cnt": 2)"));
  ASSERT_TRUE(run().ok());
  EXPECT_THAT(buried, ElementsAre(std::pair(12, 0), std::pair(12, 1)));
}

TEST_F(SlurmTest, WhatIsLeftIsSubmittedAgain) {
  left_ = {9, 9, 2, 2, 0};
  slurm_.answers["sbatch"] = {{0, "12\n", ""}, {0, "13\n", ""}};
  slurm_.answer("squeue", queue("TIMEOUT", R"(, "nodes": "n1")"));
  slurm_.answer("squeue", queue("COMPLETED", "", 13));
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_THAT(slurm_.asked, ElementsAre(HasSubstr("--array=1-4 "), HasSubstr("--array=1-2 "),
                                        HasSubstr("scancel")));
  EXPECT_THAT(events_, Contains(HasSubstr("job 12 ended before its work was done")));
  EXPECT_EQ(outcome->workers, 4);
}

TEST_F(SlurmTest, AsLongAsWorkGoesOnItIsSubmittedAgain) {
  slurm_.answers["sbatch"].clear();
  for (int job = 12; job < 19; ++job) slurm_.answer("sbatch", fmt::format("{}\n", job));
  left_ = {9};
  for (size_t left = 8; left > 1; --left) left_.insert(left_.end(), 2, left);
  left_.push_back(0);
  slurm_.answer("squeue", R"({"jobs": []})");
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  const auto submissions =
      std::count_if(slurm_.asked.begin(), slurm_.asked.end(),
                    [](const std::string& line) { return line.starts_with("sbatch"); });
  EXPECT_EQ(submissions, 8);
  slurm_.asked.clear();
  left_ = {9};
  EXPECT_EQ(run().error().code, Code::internal);
  EXPECT_EQ(slurm_.asked.size(), 6U) << "five, and the end, where nothing is done meanwhile";
}

TEST_F(SlurmTest, AStoreThatIsAwayHereIsNoNews) {
  left_ = {3, 3, 0};
  away_ = {3, 4, 6};
  slurm_.answer("squeue", queue("RUNNING", R"(, "nodes": "n1")"));
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_THAT(slurm_.asked,
              ElementsAre(HasSubstr("sbatch"), "scancel --state=PENDING 12", "scancel 12"));
  EXPECT_THAT(events_, ElementsAre("Of the run nothing is seen from here: The store is away."));
}

TEST_F(SlurmTest, WhatIsLeftIsNotSubmittedBeforeTheStoreIsBack) {
  left_ = {3, 3, 0};
  away_ = {3, 4, 5};
  slurm_.answer("squeue", R"({"jobs": []})");
  ASSERT_TRUE(run().ok());
  EXPECT_THAT(slurm_.asked, ElementsAre(HasSubstr("sbatch"), "scancel --state=PENDING 12"));
}

TEST_F(SlurmTest, AStoreIsWaitedForAWhile) {
  for (int count = 2; count < 10000; ++count) away_.insert(count);
  slurm_.answer("squeue", queue("RUNNING", R"(, "nodes": "n1")"));
  const auto outcome = run();
  EXPECT_EQ(outcome.error().code, Code::unavailable);
  EXPECT_THAT(outcome.error().message, HasSubstr("has not been seen from here for 6"));
  EXPECT_GE(clock_.now(), std::chrono::minutes(10));
  EXPECT_EQ(slurm_.asked.back(), "scancel 12");
}

// What took so long may have been the question before.
TEST_F(SlurmTest, OneQuestionWithoutAnAnswerIsNoSilence) {
  int asked = 0;
  request_.unsettled = [&]() -> Result<size_t> {
    ++asked;
    if (asked == 2 || asked == 4) clock_.advance(std::chrono::minutes(11));
    if (asked == 2) return make_error(Code::unavailable, "The store is away.");
    return asked < 6 ? 3 : 0;
  };
  slurm_.answer("squeue", queue("RUNNING", R"(, "nodes": "n1")"));
  slurm_.answer("squeue", queue("RUNNING", R"(, "nodes": "n1")"));
  slurm_.answer("squeue", "", 1, "error\n");  // the first one after the fourth look at the store
  slurm_.answer("squeue", queue("RUNNING", R"(, "nodes": "n1")"));
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_THAT(events_, ElementsAre(HasSubstr("nothing is seen"), HasSubstr("does not answer")));
}

TEST_F(SlurmTest, WithoutAStoreNothingIsSubmitted) {
  away_ = {1};
  EXPECT_EQ(run().error().message, "The store is away.");
  EXPECT_THAT(slurm_.asked, IsEmpty());
}

TEST_F(SlurmTest, ARunThatWasCancelledTakesItsJobAlong) {
  slurm_.answer("squeue", queue("RUNNING", R"(, "nodes": "n1")"));
  int looks = 0;
  request_.goes_on = [&] { return ++looks < 3; };
  const auto outcome = run();
  EXPECT_EQ(outcome.error().code, Code::cancelled);
  EXPECT_EQ(outcome.error().message, "Run r was cancelled; what is done is kept.");
  EXPECT_THAT(slurm_.asked, ElementsAre(HasSubstr("sbatch"), "scancel 12"));
}

TEST_F(SlurmTest, AJobThatEndedBecauseAllIsDoneIsNotSubmittedAgain) {
  left_ = {1, 1, 0};
  slurm_.answer("squeue", queue("COMPLETED"));
  ASSERT_TRUE(run().ok());
  EXPECT_THAT(slurm_.asked, ElementsAre(HasSubstr("sbatch"), HasSubstr("scancel")));
}

TEST_F(SlurmTest, ARefusedJobSaysWhy) {
  slurm_.answers["sbatch"] = {
      {1, "",
       "sbatch: error: invalid partition specified: x\nsbatch: error: Batch "
       "job submission failed: Invalid partition name specified\n"}};
  const auto outcome = run();
  EXPECT_EQ(outcome.error().code, Code::unavailable);
  EXPECT_THAT(outcome.error().message,
              HasSubstr("(Batch job submission failed: Invalid partition name specified)"));
  EXPECT_THAT(slurm_.asked, ElementsAre(HasSubstr("sbatch"))) << "nothing to cancel";
}

constexpr const char* kTimedOut =
    "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n";

TEST_F(SlurmTest, AJobWhoseNumberDidNotComeIsFoundByItsName) {
  left_ = {2, 2, 0};
  for (const auto& lost : {FakeSlurm::Answer{1, "", kTimedOut}, FakeSlurm::Answer{0, "?", ""}}) {
    slurm_.asked.clear();
    slurm_.answers["sbatch"] = {lost};
    slurm_.answers["squeue"] = {
        {1, "", "slurm_load_jobs error: Unable to contact slurm controller\n"},
        {0, queue("PENDING", R"(, "name": "atelier-r-w.2")"), ""},
        {0, queue("RUNNING", R"(, "name": "atelier-r-w.1")", 31), ""},
        {0, queue("COMPLETED", "", 31), ""}};
    left_ = {2, 2, 0};
    events_.clear();
    const auto outcome = run();
    ASSERT_TRUE(outcome.ok()) << outcome.error().message;
    EXPECT_THAT(events_, ElementsAre("sbatch did not say so, but Slurm has job 31."));
    EXPECT_THAT(slurm_.asked,
                ElementsAre(HasSubstr("--job-name=atelier-r-w.1 "), "scancel --state=PENDING 31"));
  }
}

TEST_F(SlurmTest, AnSbatchThatDoesNotEndIsLookedAfterToo) {
  slurm_.errors["sbatch"] = make_error(Code::unavailable, "'sbatch' does not answer within 60 s.");
  slurm_.answer("squeue", queue("RUNNING", R"(, "name": "atelier-r-w.1")", 31));
  left_ = {2, 2, 0};
  ASSERT_TRUE(run().ok());
  EXPECT_EQ(slurm_.asked.back(), "scancel 31");
}

TEST_F(SlurmTest, WhereNoJobIsFoundNoneIsLeftBehind) {
  slurm_.answers["sbatch"] = {{1, "", kTimedOut}};
  slurm_.answer("squeue", queue("RUNNING", R"(, "name": "somebody's")"));
  const auto outcome = run();
  EXPECT_EQ(outcome.error().code, Code::unavailable);
  EXPECT_THAT(outcome.error().message, HasSubstr("(Batch job submission failed: Socket timed out"));
  EXPECT_THAT(slurm_.asked, ElementsAre(HasSubstr("sbatch"), "scancel --jobname=atelier-r-w.1"));
  slurm_.asked.clear();
  slurm_.answers["squeue"] = {{1, "", "error\n"}};
  EXPECT_EQ(run().error().code, Code::unavailable) << "nor while Slurm is silent";
  EXPECT_EQ(slurm_.asked.back(), "scancel --jobname=atelier-r-w.1");
  slurm_.asked.clear();
  stop_.request_stop();
  EXPECT_EQ(run().error().code, Code::cancelled);
  EXPECT_EQ(slurm_.asked.back(), "scancel --jobname=atelier-r-w.1");
}

TEST_F(SlurmTest, AnErrorAndAStopCancelTheJob) {
  slurm_.answer("squeue", queue("FAILED", R"(, "nodes": "n1", "exit_code": 768)"));
  EXPECT_EQ(run().error().code, Code::invalid_input);
  EXPECT_EQ(slurm_.asked.back(), "scancel 12");
  slurm_.asked.clear();
  stop_.request_stop();
  EXPECT_EQ(run().error().code, Code::cancelled);
  EXPECT_EQ(slurm_.asked.back(), "scancel 12");
}

TEST_F(SlurmTest, ASlurmThatIsSilentIsWaitedForAWhile) {
  slurm_.answer("squeue", "", 1, "slurm_load_jobs error: Unable to contact slurm controller\n");
  const auto outcome = run();
  EXPECT_EQ(outcome.error().code, Code::unavailable);
  EXPECT_THAT(outcome.error().message, HasSubstr("has not answered for"));
  EXPECT_THAT(outcome.error().message, HasSubstr("Unable to contact slurm controller"));
  EXPECT_THAT(events_, ElementsAre(HasSubstr("Slurm does not answer"))) << "said once";
  EXPECT_GE(clock_.now(), std::chrono::minutes(10));
}

TEST_F(SlurmTest, WorkersNeedNoSlurmToFinish) {
  left_ = {3, 3, 2, 0};
  slurm_.answer("squeue", "", 1, "error\n");
  EXPECT_TRUE(run().ok());
  EXPECT_THAT(slurm_.asked, ElementsAre(HasSubstr("sbatch"))) << "nor is it waited for in the end";
}

TEST_F(SlurmTest, AGangIsAsLargeAsItBecomes) {
  request_.setup.gang = true;
  request_.setup.least_nodes = 2;
  left_ = {9, 9, 9, 0};
  slurm_.answer("squeue", queue("PENDING"));
  slurm_.answer("squeue", queue("RUNNING", R"(, "nodes": "n[1-3]")"));
  slurm_.answer("squeue", queue("COMPLETED", R"(, "nodes": "n[1-3]")"));
  EXPECT_EQ(run().value().workers, 3);
  EXPECT_THAT(slurm_.asked.front(), HasSubstr("--nodes=2-4"));
}

TEST_F(SlurmTest, AnArrayIsNoLargerThanSlurmAllows) {
  request_.setup.most_nodes = 1024;
  std::vector<std::string> said;
  request_.say = [&](const std::string& text) { said.push_back(text); };
  slurm_.answer("scontrol", "MaxArraySize            = 1001\n");
  left_ = {5000, 0};
  EXPECT_EQ(run().value().workers, 1000);
  EXPECT_THAT(slurm_.asked.front(), HasSubstr("--array=1-1000 "));
  EXPECT_THAT(said, Contains("Slurm allows arrays of 1000 tasks here (MaxArraySize), not 1024."));
  slurm_.asked.clear();
  slurm_.answers["scontrol"] = {{1, "", "error"}};
  left_ = {5000, 0};
  EXPECT_EQ(run().value().workers, 1024) << "then sbatch says what it thinks of it";
}

}  // namespace
}  // namespace atelier::engine
