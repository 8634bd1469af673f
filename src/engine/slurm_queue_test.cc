// SPDX-License-Identifier: Apache-2.0
// Answers of a real Slurm 22.05.8, trimmed; and such as no Slurm should give.
#include "engine/slurm_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atelier::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using State = SlurmTask::State;

// Tasks 1 and 2 run, 3 to 6 wait as one row; a job of somebody else is made ready.
constexpr const char* kQueue = R"({
 "meta": {"plugin": {"type": "openapi\/v0.0.38", "name": "Slurm OpenAPI v0.0.38"},
          "Slurm": {"version": {"major": 22, "micro": 8, "minor": 5}, "release": "22.05.8"}},
 "errors": [],
 "jobs": [
  {"array_job_id": 27, "array_task_id": 1, "array_task_string": "", "comment": "", "exit_code": 0,
   "flags": ["JOB_WAS_RUNNING"], "job_id": 29, "job_state": "RUNNING", "name": "job2.sh",
   "nodes": "n2", "partition": "spot", "requeue": true, "restart_cnt": 0, "state_reason": "None",
   "user_name": "root"},
  {"array_job_id": 28, "array_task_id": 1, "array_task_string": "", "comment": "", "exit_code": 0,
   "flags": ["JOB_WAS_RUNNING"], "job_id": 31, "job_state": "CONFIGURING", "name": "job2.sh",
   "nodes": "n4", "partition": "cloud", "requeue": true, "restart_cnt": 0, "state_reason": "None",
   "user_name": "root"},
  {"array_job_id": 27, "array_task_id": null, "array_task_string": "3-6", "comment": "",
   "exit_code": 0, "flags": [], "job_id": 27, "job_state": "PENDING", "name": "job2.sh", "nodes": "",
   "partition": "spot", "requeue": true, "restart_cnt": 0, "state_reason": "Resources",
   "user_name": "root"},
  {"array_job_id": 27, "array_task_id": 2, "array_task_string": "",
   "comment": "atelier 0 130 n3 asked ", "exit_code": 0, "flags": [], "job_id": 30,
   "job_state": "COMPLETING", "name": "job2.sh", "nodes": "n3", "partition": "spot",
   "requeue": true, "restart_cnt": 1, "state_reason": "None", "user_name": "root"}
 ]})";

TEST(SlurmQueue, TasksOfOneJobComeByNumber) {
  const auto tasks = parse_queue(kQueue, 27);
  ASSERT_TRUE(tasks.ok()) << tasks.error().message;
  ASSERT_THAT(*tasks, SizeIs(6));
  for (int i = 0; i < 6; ++i) EXPECT_EQ((*tasks)[static_cast<size_t>(i)].number, i + 1);
  const SlurmTask& first = tasks->front();
  EXPECT_EQ(first.state, State::running);
  EXPECT_EQ(first.word, "RUNNING");
  EXPECT_EQ(first.reason, "");
  EXPECT_THAT(first.nodes, ElementsAre("n2"));
  const SlurmTask& second = (*tasks)[1];
  EXPECT_EQ(second.state, State::ending);
  EXPECT_EQ(second.restarts, 1);
  ASSERT_TRUE(second.words);
  EXPECT_EQ(second.words->restart, 0);
  EXPECT_EQ(second.words->code, 130);
  EXPECT_EQ(second.words->node, "n3");
  EXPECT_EQ(second.words->why, "asked");
  const SlurmTask& last = tasks->back();
  EXPECT_EQ(last.state, State::waiting);
  EXPECT_EQ(last.reason, "Resources");
  EXPECT_THAT(last.nodes, IsEmpty());
  EXPECT_EQ(parse_queue(kQueue, 28)->front().state, State::starting);
  EXPECT_THAT(*parse_queue(kQueue, 26), IsEmpty()) << "forgotten";
}

std::string queue_of(const std::string& fields) {
  return R"({"jobs": [{"job_id": 5, "array_job_id": 0, "array_task_id": null, )" + fields + "}]}";
}

TEST(SlurmQueue, HowATaskEndedIsAnExitCodeOrASignal) {
  const auto failed = parse_queue(
      queue_of(R"("job_state": "FAILED", "state_reason": "NonZeroExitCode", "exit_code": 768)"), 5);
  ASSERT_TRUE(failed.ok());
  EXPECT_EQ(failed->front().number, 0) << "no array";
  EXPECT_EQ(failed->front().state, State::ended);
  EXPECT_EQ(failed->front().code, 3);
  EXPECT_EQ(
      parse_queue(queue_of(R"("job_state": "CANCELLED", "exit_code": 33280)"), 5)->front().code,
      130);
  EXPECT_EQ(parse_queue(queue_of(R"("job_state": "FAILED", "exit_code": 9)"), 5)->front().code, -9);
  for (const char* word : {"TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "OUT_OF_MEMORY"}) {
    EXPECT_EQ(parse_queue(queue_of(fmt::format("\"job_state\": \"{}\"", word)), 5)->front().state,
              State::ended)
        << word;
  }
  EXPECT_EQ(parse_queue(queue_of(R"("job_state": "SUSPENDED")"), 5)->front().state, State::waiting);
  EXPECT_EQ(parse_queue(queue_of(R"("job_state": "SOMETHING_NEW")"), 5)->front().state,
            State::running);
}

TEST(SlurmQueue, WordsOfOthersAreNotOurs) {
  const auto words_of = [](const std::string& comment) {
    return parse_queue(queue_of(R"("job_state": "FAILED", "comment": ")" + comment + "\""), 5)
        ->front()
        .words;
  };
  for (const char* comment : {"", "atelier", "atelier 1", "atelier x 4 n1 verdict a", "my job",
                              "atelier 0 4 n1", "atelier 0 999999999999 n1 verdict a"}) {
    EXPECT_FALSE(words_of(comment)) << comment;
  }
  const auto words =
      words_of("atelier 2 4 n1 verdict There is no 'ü' \\\"x\\\"; \\n\\u001b[31m mend it.");
  ASSERT_TRUE(words);
  EXPECT_EQ(words->said, "There is no 'ü' \"x\";   [31m mend it.") << "nothing that moves a cursor";
}

TEST(SlurmQueue, ABadByteInSomebodysNameCostsNothing) {
  const std::string name = "\"name\": \"a\xff\xc3(\xed\xa0\x80\", ";
  const auto tasks = parse_queue(queue_of(name + R"("job_state": "RUNNING")"), 5);
  ASSERT_TRUE(tasks.ok()) << tasks.error().message;
  EXPECT_EQ(tasks->front().state, State::running);
}

TEST(SlurmQueue, AnAnswerThatItFailedIsNoEmptyQueue) {
  constexpr const char* kFailed = R"({"meta": {}, "errors": [{
    "description": "Failed while looking for jobs", "error_number": -1, "error": "Unspecified error",
    "source": "slurm_load_jobs"}], "jobs": []})";
  const auto tasks = parse_queue(kFailed, 5);
  ASSERT_FALSE(tasks.ok());
  EXPECT_EQ(tasks.error().code, Code::unavailable);
  EXPECT_EQ(tasks.error().message,
            "Slurm's 'squeue --json' fails (Failed while looking for jobs).");
  const auto lost = first_lost_node(
      R"({"errors": [{"error": "Unspecified error", "errno": -1}], "nodes": []})", {"n1"});
  ASSERT_FALSE(lost.ok());
  EXPECT_EQ(lost.error().message, "Slurm's 'sinfo --json' fails (Unspecified error).");
  EXPECT_FALSE(parse_queue(R"({"errors": [7], "jobs": []})", 5).ok());
}

TEST(SlurmQueue, WhatIsNoAnswerIsAnError) {
  for (const char* printed :
       {"", "slurm_load_jobs error: Unable to contact slurm controller", "{", "[]", "{}", "7",
        R"({"jobs": 7})", R"({"jobs": [7]})", R"({"jobs": [{"job_id": 5}]})"}) {
    const auto tasks = parse_queue(printed, 5);
    ASSERT_FALSE(tasks.ok()) << printed;
    EXPECT_EQ(tasks.error().code, Code::corrupt);
  }
  // Fields of other types count as not set.
  EXPECT_TRUE(parse_queue(queue_of(R"("job_state": "RUNNING", "nodes": 7, "restart_cnt": "many",
                                      "exit_code": null, "comment": [], "array_task_string": "9-")"),
                          5)
                  .ok());
  EXPECT_THAT(
      *parse_queue(queue_of(R"("job_state": "PENDING", "array_task_string": "1-4000000000")"), 5),
      SizeIs(1));
}

TEST(SlurmQueue, ALongListOfTasksMayBeCutShort) {
  const auto tasks =
      parse_queue(queue_of(R"("job_state": "PENDING", "array_task_string": "2,4-5,...%3")"), 5);
  ASSERT_THAT(*tasks, SizeIs(3));
  EXPECT_EQ(tasks->back().number, 5);
}

TEST(SlurmQueue, TheNumberOfASubmittedJob) {
  EXPECT_EQ(*parse_submitted("12\n"), 12);
  EXPECT_EQ(*parse_submitted("12;lab\n"), 12);
  for (const char* printed :
       {"", "Submitted batch job 12", "0", "-3", "12x", "99999999999999999999"}) {
    EXPECT_FALSE(parse_submitted(printed).ok()) << printed;
  }
}

TEST(SlurmQueue, ALostNodeIsDownOrSilent) {
  constexpr const char* kNodes = R"({"meta": {}, "errors": [], "nodes": [
    {"name": "n1", "state": "allocated", "state_flags": [], "reason": ""},
    {"name": "n2", "state": "idle", "state_flags": ["NOT_RESPONDING"]},
    {"name": "n3", "state": "down", "state_flags": ["NOT_RESPONDING"], "reason": "Not responding"},
    {"name": "n4", "state": "idle", "state_flags": ["CLOUD", "POWERED_DOWN"]},
    {"name": "n5", "state": "mixed", "state_flags": ["CLOUD"]},
    {"name": "n6", "state": 7, "state_flags": "x"}]})";
  const auto lost = [&](const char* node) { return first_lost_node(kNodes, {node})->has_value(); };
  EXPECT_FALSE(lost("n1") || lost("n5") || lost("n6") || lost("n7"));
  EXPECT_TRUE(lost("n2") && lost("n3") && lost("n4"));
  EXPECT_EQ(*first_lost_node(kNodes, {"n1", "n3", "n2"}), "n3");
  EXPECT_FALSE(first_lost_node("no", {"n1"}).ok());
}

TEST(SlurmQueue, ListsOfHosts) {
  EXPECT_THAT(*expand_hosts("n1"), ElementsAre("n1"));
  EXPECT_THAT(*expand_hosts("n[1-3,07],m"), ElementsAre("n1", "n2", "n3", "n07", "m"));
  EXPECT_THAT(*expand_hosts("a[08-10]-x,b"), ElementsAre("a08-x", "a09-x", "a10-x", "b"));
  EXPECT_THAT(*expand_hosts(""), IsEmpty());
  for (const char* list : {"n[", "n[1-", "n[3-1]", "n[a]", "n[1-99999999999]", ",n", "n[1]m[2]"}) {
    EXPECT_FALSE(expand_hosts(list)) << list;
  }
}

TEST(SlurmQueue, AJobIsFoundByItsName) {
  const char* queue = R"({"jobs": [
      {"job_id": 8, "array_job_id": 0, "job_state": "RUNNING", "name": "a"},
      {"job_id": 10, "array_job_id": 9, "array_task_id": 1, "job_state": "RUNNING", "name": "b"},
      {"job_id": "11", "name": "c"}, {"name": 5}]})";
  EXPECT_EQ(parse_job_named(queue, "a").value(), 8);
  EXPECT_EQ(parse_job_named(queue, "b").value(), 9) << "of a task's";
  EXPECT_EQ(parse_job_named(queue, "none").value(), std::nullopt);
  EXPECT_EQ(parse_job_named(queue, "c").error().code, Code::corrupt);
  EXPECT_EQ(parse_job_named("{", "a").error().code, Code::corrupt);
  EXPECT_EQ(parse_job_named(R"({"jobs": [], "errors": [{"error": "away"}]})", "a").error().code,
            Code::unavailable)
      << "which is not an empty queue";
}

TEST(SlurmQueue, ARefusalIsNoLostAnswer) {
  EXPECT_TRUE(
      may_be_submitted("Batch job submission failed: Socket timed out on send/recv operation"));
  EXPECT_TRUE(may_be_submitted(
      "Batch job submission failed: Unable to contact slurm controller (connect failure)"));
  EXPECT_FALSE(may_be_submitted("Batch job submission failed: Invalid partition name specified"));
}

}  // namespace
}  // namespace atelier::engine
