// SPDX-License-Identifier: Apache-2.0
#include "engine/slurm_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace atelier::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using State = SlurmTask::State;
using Next = SlurmWatch::Answer::Next;

SlurmTask task(int number, State state, const std::string& word, const std::string& node = "",
               int restarts = 0) {
  SlurmTask made;
  made.number = number;
  made.state = state;
  made.word = word;
  if (!node.empty()) made.nodes = {node};
  made.restarts = restarts;
  return made;
}
SlurmTask waiting(int number, const std::string& reason, int restarts = 0) {
  SlurmTask made = task(number, State::waiting, "PENDING", "", restarts);
  made.reason = reason;
  return made;
}
SlurmTask running(int number, const std::string& node, int restarts = 0) {
  return task(number, State::running, "RUNNING", node, restarts);
}
SlurmTask ended(int number, const std::string& word, int code = 0) {
  SlurmTask made = task(number, State::ended, word, "n1");
  made.code = code;
  return made;
}
SlurmTask with_words(SlurmTask made, int restart, int code, const std::string& why,
                     const std::string& said = "") {
  made.words = SlurmWords{restart, code, made.nodes.empty() ? "n9" : made.nodes[0], why, said};
  return made;
}

class WatchTest : public testing::Test {
 protected:
  WatchTest() { watch_.submitted(12); }
  SlurmWatch::Answer look(const std::vector<SlurmTask>& tasks) {
    return watch_.look(tasks, [this](const auto& nodes) -> std::optional<std::string> {
      const auto lost = std::find_if(nodes.begin(), nodes.end(),
                                     [this](const auto& node) { return lost_.contains(node); });
      return lost == nodes.end() ? std::nullopt : std::optional(*lost);
    });
  }
  SlurmWatch watch_{"/opt/atelier", "spot", 3};
  std::set<std::string> lost_;
};

TEST_F(WatchTest, WhileAnyIsAliveItGoesOn) {
  EXPECT_EQ(look({waiting(1, "Priority"), waiting(2, "")}).next, Next::go_on);
  EXPECT_EQ(look({running(1, "n1"), ended(2, "COMPLETED")}).next, Next::go_on);
  EXPECT_EQ(look({ended(1, "NODE_FAIL"), task(2, State::starting, "CONFIGURING", "n4")}).next,
            Next::go_on);
  EXPECT_THAT(watch_.nodes(), ElementsAre("n1")) << "no worker has run on n4";
}

TEST_F(WatchTest, WhyAllWaitIsSaidOnce) {
  look({waiting(1, "Resources"), waiting(2, "")});
  look({waiting(1, "Resources"), waiting(2, "BeginTime")});
  EXPECT_THAT(watch_.take_news(),
              ElementsAre("Slurm job 12 waits in partition 'spot' (Resources)."));
  look({running(1, "n1"), waiting(2, "Resources")});
  EXPECT_THAT(watch_.take_news(), IsEmpty());
  look({waiting(1, "Priority"), waiting(2, "Resources")});
  EXPECT_THAT(watch_.take_news(), ElementsAre(HasSubstr("(Priority)")));
}

TEST_F(WatchTest, ALostNodeIsAnEvent) {
  look({running(1, "n1"), running(2, "n2")});
  lost_ = {"n2"};
  look({running(1, "n1"), waiting(2, "BeginTime", 1)});
  EXPECT_THAT(watch_.take_events(), ElementsAre("n2 was lost: task 2 was requeued."));
  look({running(1, "n1"), running(2, "n3", 1)});
  EXPECT_THAT(watch_.take_events(), IsEmpty());
  EXPECT_EQ(watch_.restarts(), 1);
  EXPECT_THAT(watch_.nodes(), ElementsAre("n1", "n2", "n3"));
}

TEST_F(WatchTest, APreemptedTaskSaysSo) {
  look({running(1, "n1")});
  // Its words come while it is ending, after it counts as restarted.
  look({task(1, State::ending, "COMPLETING", "n1", 1)});
  EXPECT_THAT(watch_.take_events(), IsEmpty());
  SlurmTask back = with_words(waiting(1, "BeginTime", 1), 0, 130, "asked");
  back.words->node = "n1";
  look({back});
  EXPECT_THAT(watch_.take_events(), ElementsAre("Task 1 was preempted on n1 and was requeued."));
}

TEST_F(WatchTest, OtherReasonsToComeBack) {
  look({running(1, "n1"), running(2, "n2"), task(3, State::starting, "CONFIGURING", "n4"),
        waiting(4, "Resources"), running(5, "n5")});
  lost_ = {"n4"};
  look({with_words(running(1, "n1", 1), 0, 130, "time1"),
        with_words(running(2, "n2", 1), 0, 137, "died1"), waiting(3, "BeginTime", 1),
        waiting(4, "Resources", 1), with_words(waiting(5, "BeginTime", 2), 0, 130, "asked")});
  EXPECT_THAT(watch_.take_events(),
              ElementsAre("Task 1 reached its time limit on n1 and was requeued.",
                          "Task 2 ended without a verdict on n2 and was requeued.",
                          "n4 did not start: task 3 was requeued.", "Task 4 was requeued.",
                          "Task 5 was taken from n5 and requeued."))
      << "the words of task 5 are those of an earlier life";
  EXPECT_EQ(watch_.restarts(), 6);
}

TEST_F(WatchTest, AGangThatDidNotMeetSaysWhoWasMissing) {
  look({running(0, "n1")});
  look({with_words(running(0, "n1", 1), 0, 75, "vain1", "None on n3.")});
  EXPECT_THAT(watch_.take_events(),
              ElementsAre("The job came to nothing on n1 and was requeued: None on n3."));
  look({with_words(running(0, "n1", 2), 1, 75, "vain2")});
  EXPECT_THAT(watch_.take_events(), ElementsAre("The job came to nothing on n1 and was requeued."));
}

TEST_F(WatchTest, OfAGangAnyNodeMayBeLostAndSrunSaysWhatKilledIt) {
  SlurmTask gang = running(0, "n1");
  gang.nodes = {"n1", "n2", "n3"};
  look({gang});
  lost_ = {"n3"};
  // Its first node lives: Slurm has asked its script to leave.
  gang.restarts = 1;
  gang.nodes = {"n1", "n2"};
  look({with_words(gang, 0, 130, "asked")});
  EXPECT_THAT(watch_.take_events(), ElementsAre("n3 was lost: the job was requeued."));
  gang.restarts = 2;
  look({with_words(gang, 1, 137, "died1", "n2: task 1: Killed")});
  EXPECT_THAT(watch_.take_events(),
              ElementsAre("The job ended without a verdict on n1 and was requeued: n2: task 1: "
                          "Killed."));
}

TEST_F(WatchTest, AVerdictOfTheRunEndsItWithTheWorkersWords) {
  const auto answer = look({running(1, "n2"), with_words(ended(2, "FAILED", 3), 0, 3, "verdict",
                                                         "There is no file 'a'.")});
  EXPECT_EQ(answer.next, Next::give_up);
  EXPECT_EQ(answer.error.code, Code::invalid_input);
  EXPECT_EQ(answer.error.message, "On n1: There is no file 'a'.");
}

TEST_F(WatchTest, AVerdictWithoutWordsNamesTheCode) {
  const auto answer = look({ended(1, "FAILED", 1)});
  EXPECT_EQ(answer.error.code, Code::internal);
  EXPECT_THAT(answer.error.message, HasSubstr("on n1 ended with code 1"));
}

TEST_F(WatchTest, WhatOneNodeCannotDoAnotherMay) {
  const SlurmTask refused =
      with_words(ended(1, "FAILED", 4), 0, 4, "verdict", "The run cannot be seen from here.");
  EXPECT_EQ(look({refused, running(2, "n2")}).next, Next::go_on);
  EXPECT_THAT(watch_.take_events(), ElementsAre("On n1: The run cannot be seen from here."));
  const auto answer = look({refused, ended(2, "COMPLETED")});
  EXPECT_EQ(answer.next, Next::give_up);
  EXPECT_EQ(answer.error.code, Code::unavailable);
  EXPECT_EQ(answer.error.message, "On n1: The run cannot be seen from here.");
  EXPECT_THAT(watch_.take_events(), IsEmpty()) << "said once";
}

TEST_F(WatchTest, AProgramThatIsNotThereIsTheNodesFault) {
  const auto answer = look({ended(1, "FAILED", 127)});
  EXPECT_EQ(answer.error.code, Code::unavailable);
  EXPECT_THAT(answer.error.message, HasSubstr("n1 cannot start '/opt/atelier'"));
}

TEST_F(WatchTest, WhenAllAreGoneTheRestIsSubmittedAgainAFewTimes) {
  EXPECT_EQ(look({ended(1, "TIMEOUT"), ended(2, "NODE_FAIL")}).next, Next::submit);
  EXPECT_THAT(watch_.take_events(),
              ElementsAre("Task 1 ended on n1 (TIMEOUT).", "Task 2 ended on n1 (NODE_FAIL)."));
  watch_.submitted(13);
  EXPECT_EQ(look({}).next, Next::submit) << "Slurm has forgotten it";
  watch_.submitted(14);
  const auto answer = look({ended(1, "FAILED", 137)});
  EXPECT_EQ(answer.next, Next::give_up);
  EXPECT_EQ(answer.error.code, Code::internal);
  EXPECT_THAT(answer.error.message,
              HasSubstr("ended 3 jobs of this run in a row, the last one number 14"));
}

TEST_F(WatchTest, SubmissionsCountAnewWhereWorkGoesOn) {
  for (int job = 13; job < 20; ++job) {
    watch_.progressed();
    EXPECT_EQ(look({ended(1, "TIMEOUT")}).next, Next::submit) << job;
    watch_.submitted(job);
  }
  EXPECT_EQ(look({}).next, Next::submit);
  watch_.submitted(20);
  EXPECT_EQ(look({}).next, Next::submit);
  watch_.submitted(21);
  EXPECT_EQ(look({}).next, Next::give_up) << "after three without a chunk";
}

TEST_F(WatchTest, TimeLimitsMatterWhereNothingIsDoneMeanwhile) {
  int restarts = 0;
  const auto out_of_time = [&](int task) {
    ++restarts;
    return look({with_words(waiting(task, "BeginTime", restarts), restarts - 1, 130, "time1")});
  };
  for (int i = 0; i < 9; ++i) {
    EXPECT_EQ(out_of_time(1).next, Next::go_on);
    if (i % 2 == 0) watch_.progressed();
  }
  EXPECT_EQ(out_of_time(1).next, Next::go_on);
  EXPECT_EQ(out_of_time(1).next, Next::go_on);
  const auto answer = out_of_time(1);
  EXPECT_EQ(answer.next, Next::give_up);
  EXPECT_EQ(answer.error.code, Code::unavailable);
  EXPECT_THAT(answer.error.message,
              HasSubstr("Task 1 reached its time limit 3 times while no chunk was done"));
}

TEST_F(WatchTest, ACancelledJobIsNotSubmittedAgain) {
  const auto answer = look({ended(1, "CANCELLED"), ended(2, "COMPLETED")});
  EXPECT_EQ(answer.next, Next::give_up);
  EXPECT_EQ(answer.error.code, Code::cancelled);
  EXPECT_THAT(answer.error.message, HasSubstr("Somebody cancelled Slurm job 12"));
}

TEST_F(WatchTest, AJobThatNoNodeWillEverRunIsGivenUp) {
  EXPECT_EQ(look({running(1, "n1"), waiting(2, "BadConstraints")}).next, Next::go_on);
  const auto answer = look({ended(1, "COMPLETED"), waiting(2, "BadConstraints")});
  EXPECT_EQ(answer.next, Next::give_up);
  EXPECT_EQ(answer.error.code, Code::unavailable);
  EXPECT_THAT(answer.error.message, HasSubstr("(BadConstraints)"));
  EXPECT_EQ(look({waiting(1, "JobHeldUser")}).next, Next::go_on) << "who holds it lets it go";
}

}  // namespace
}  // namespace atelier::engine
