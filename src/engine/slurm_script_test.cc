// SPDX-License-Identifier: Apache-2.0
#include "engine/slurm_script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "engine/commands.h"
#include "engine/worker_process.h"

namespace atelier::engine {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

SlurmSetup setup_of(const std::string& program) {
  SlurmSetup setup;
  setup.program = program;
  setup.arguments = {"worker", "file:///a b/it's", "--quiet"};
  setup.name = "head-7";
  setup.run_id = "0123456789abcdef";
  setup.partition = "spot";
  setup.most_nodes = 3;
  return setup;
}

TEST(SlurmScript, AnArrayOfWorkersIsSubmittedWithoutTheEnvironment) {
  SlurmSetup setup = setup_of("/opt/atelier");
  setup.account = "film";
  setup.constraint = "fast&big";
  setup.gres = "gpu:1";
  setup.time = "2:00:00";
  EXPECT_THAT(submit_command(setup, "atelier-0123456789abcdef-head-7.1", 3, {"PATH", "HOME"}),
              ElementsAre("sbatch", "--parsable", "--job-name=atelier-0123456789abcdef-head-7.1",
                          "--requeue", "--open-mode=append", "--output=/dev/null",
                          "--export=PATH,HOME", "--array=1-3", "--nodes=1", "--ntasks=1",
                          "--exclusive", "--mem=0", "--partition=spot", "--account=film",
                          "--constraint=fast&big", "--gres=gpu:1", "--time=2:00:00"));
  EXPECT_THAT(submit_command(setup_of("/a"), "j", 1, {}), Contains("--export=NIL"));
}

TEST(SlurmScript, EachSubmissionHasANameOfItsOwn) {
  SlurmSetup setup = setup_of("/opt/atelier");
  EXPECT_EQ(job_name(setup, 1), "atelier-0123456789abcdef-head-7.1");
  EXPECT_NE(job_name(setup, 1), job_name(setup, 2));
}

TEST(SlurmScript, ThreadsAreProcessorsOfANodeThatOthersShare) {
  SlurmSetup setup = setup_of("/opt/atelier");
  setup.threads = 4;
  const auto words = submit_command(setup, "j", 3, {});
  EXPECT_THAT(words, Contains("--cpus-per-task=4"));
  EXPECT_THAT(words, Not(Contains("--exclusive")));
}

TEST(SlurmScript, AWorkerOfANodeThatOthersShareHasItsShareOfTheMemory) {
  constexpr const char* kShare =
      " --machine-share \"$SLURM_CPUS_ON_NODE/$(grep -c ^processor /proc/cpuinfo)\"";
  SlurmSetup setup = setup_of("/opt/atelier");
  for (const bool gang : {false, true}) {
    setup.gang = gang;
    setup.threads = 0;
    EXPECT_THAT(batch_script(setup, 3), Not(HasSubstr("--machine-share"))) << "it has all";
    setup.threads = 4;
    EXPECT_THAT(batch_script(setup, 3), HasSubstr(kShare));
  }
}

TEST(SlurmScript, AGangIsOneJobOfManyNodes) {
  SlurmSetup setup = setup_of("/opt/atelier");
  setup.gang = true;
  setup.least_nodes = 2;
  const auto words = submit_command(setup, "j", 3, {});
  EXPECT_THAT(words, Contains("--nodes=2-3"));
  EXPECT_THAT(words, Not(Contains(StartsWith("--ntasks")))) << "they would fix the nodes at 2";
  EXPECT_THAT(words, Not(Contains(StartsWith("--array"))));
  EXPECT_THAT(batch_script(setup, 3),
              HasSubstr("srun --mpi=none --ntasks-per-node=1 --kill-on-bad-exit=1 --cpu-bind=none "
                        "bash -c 'exec \"$@\" --worker \"$((SLURM_PROCID + 1))/$SLURM_NTASKS\""));
  EXPECT_THAT(batch_script(setup, 3), Not(HasSubstr("OMPI_MCA")));
}

TEST(SlurmScript, RanksOfAGangSpeakByOneInterfaceOnly) {
  SlurmSetup setup = setup_of("/opt/atelier-rank");
  setup.gang = true;
  setup.interface = "ib0";
  const std::string script = batch_script(setup, 3);
  EXPECT_THAT(script, HasSubstr("export OMPI_MCA_btl_tcp_if_include='ib0'\n"));
  EXPECT_THAT(script, HasSubstr("export OMPI_MCA_btl='self,vader,tcp'\n"));
  EXPECT_THAT(
      script,
      HasSubstr(
          "srun --mpi=pmix --export=ALL --ntasks-per-node=1 --kill-on-bad-exit=1 --cpu-bind=none "
          "bash -c 'exec \"$@\" --gang \"$0.$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}\" --threads "
          "\"$SLURM_CPUS_ON_NODE\"' 'head-7' '/opt/atelier-rank'"));
}

TEST(SlurmScript, NothingSecretGoesAlong) {
  ::setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
  ::setenv("AZURE_STORAGE_KEY", "secret", 1);
  ::setenv("ATELIER_CREDENTIALS", "/home/me/credentials", 1);
  ::setenv("ATELIER_CA_FILE", "/etc/ca.pem", 1);
  const auto names = harmless_variables();
  EXPECT_THAT(names, Contains("ATELIER_CREDENTIALS"));
  EXPECT_THAT(names, Contains("ATELIER_CA_FILE"));
  EXPECT_THAT(names, Contains("PATH"));
  EXPECT_THAT(names, Not(Contains("AWS_SECRET_ACCESS_KEY")));
  EXPECT_THAT(names, Not(Contains("AZURE_STORAGE_KEY")));
  for (const char* name :
       {"AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY", "ATELIER_CREDENTIALS", "ATELIER_CA_FILE"}) {
    ::unsetenv(name);
  }
}

// Else a rank takes the same keys to another server.
TEST(SlurmScript, WhereStoresAreGoesAlong) {
  const auto names = {
      "AWS_ENDPOINT_URL",   "AWS_ENDPOINT_URL_S3",   "AWS_REGION",
      "AWS_DEFAULT_REGION", "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_SERVICE_ENDPOINT"};
  for (const char* name : names) ::setenv(name, "x", 1);
  const auto along = harmless_variables();
  for (const char* name : names) {
    EXPECT_THAT(along, Contains(name));
    ::unsetenv(name);
  }
  for (const char* address : {"https://user:secret@host", "https://host?sig=secret"}) {
    ::setenv("AZURE_STORAGE_SERVICE_ENDPOINT", address, 1);
    EXPECT_THAT(harmless_variables(), Not(Contains("AZURE_STORAGE_SERVICE_ENDPOINT")));
  }
  ::unsetenv("AZURE_STORAGE_SERVICE_ENDPOINT");
}

// The script for real, with a worker and Slurm's commands that are small scripts of the test.
class ScriptTest : public testing::Test {
 protected:
  ScriptTest() {
    std::string name = (std::filesystem::path(testing::TempDir()) / "slurm-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    program("scontrol", "echo \"$@\" >>\"$LOG\"");
    program("squeue", "case $* in *%k) echo \"$COMMENT\" ;; *) echo \"$STATE\" ;; esac");
  }
  ~ScriptTest() override { std::filesystem::remove_all(folder_); }

  void program(const std::string& name, const std::string& text) const {
    const auto path = folder_ / name;
    std::ofstream(path) << "#!/bin/bash\n" << text << "\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  }
  std::string read(const std::string& name) const {
    std::ifstream file(folder_ / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  struct Ended {
    int code = 0;
    std::string log;  // what was asked of scontrol
  };
  // As a task of an array, in a state that squeue tells.
  Ended run(const std::string& worker, const std::string& state = "RUNNING None",
            const std::string& restarts = "") {
    program("worker", worker);
    std::filesystem::remove(folder_ / "log");
    SlurmSetup setup = setup_of((folder_ / "worker").string());
    setup.tells_life = tells_life_;
    setup.gang = gang_;
    setup.threads = threads_;
    // Of a gang the worker is what the step says.
    if (gang_) program("srun", worker);
    std::vector<std::string> words = {"env",
                                      "PATH=" + folder_.string() + ":/usr/bin:/bin",
                                      "LOG=" + (folder_ / "log").string(),
                                      "FOLDER=" + folder_.string(),
                                      "STATE=" + state,
                                      "COMMENT=" + comment_,
                                      "SLURM_JOB_ID=31",
                                      "SLURM_ARRAY_JOB_ID=30",
                                      "SLURM_ARRAY_TASK_ID=2",
                                      "SLURM_CPUS_ON_NODE=6",
                                      "SLURMD_NODENAME=n1"};
    if (!restarts.empty()) words.push_back("SLURM_RESTART_COUNT=" + restarts);
    words.emplace_back("bash");
    const auto answer =
        make_commands(std::chrono::minutes(1))->run(words, batch_script(setup, 3), {});
    EXPECT_TRUE(answer.ok());
    return {answer->code, read("log")};
  }

  std::filesystem::path folder_;
  bool tells_life_ = false;
  bool gang_ = false;
  int threads_ = 0;
  std::string comment_ = "(null)";  // what an earlier life has left
};

TEST_F(ScriptTest, TheWorkerIsToldWhoItIs) {
  const Ended ended = run("for word; do echo \"<$word>\"; done >\"$FOLDER/words\"; exit 0");
  EXPECT_EQ(ended.code, 0);
  EXPECT_EQ(read("words"),
            "<worker>\n<file:///a b/it's>\n<--quiet>\n<--worker>\n<2/3>\n<--name>\n"
            "<head-7.31.0>\n<--threads>\n<6>\n");
  EXPECT_EQ(ended.log, "update JobId=30_2 Comment=atelier 0 0 n1 verdict \n");
}

TEST_F(ScriptTest, AWorkerOfADrillIsToldItsLife) {
  tells_life_ = true;
  run("echo \"$@\" >\"$FOLDER/words\"; exit 0", "RUNNING None", "4");
  EXPECT_THAT(read("words"), EndsWith(" --drilled-life 4\n"));
}

TEST_F(ScriptTest, AWorkerOfASharedNodeIsToldItsShare) {
  threads_ = 6;
  run("echo \"$@\" >\"$FOLDER/words\"; exit 0");
  EXPECT_THAT(read("words"), testing::EndsWith(fmt::format(" --threads 6 --machine-share 6/{}\n",
                                                           ::sysconf(_SC_NPROCESSORS_ONLN))));
}

TEST_F(ScriptTest, AVerdictEndsTheTaskWithItsWords) {
  const Ended ended = run("echo noise >&2; echo 'atelier: There is \"no\" disk.' >&2; exit 4");
  EXPECT_EQ(ended.code, 4);
  EXPECT_EQ(ended.log, "update JobId=30_2 Comment=atelier 0 4 n1 verdict There is \"no\" disk.\n");
}

TEST_F(ScriptTest, TheVerdictOfOneOfAGangIsNotWhatTheOthersEndedWith) {
  gang_ = true;
  const Ended ended =
      run("echo 'atelier: There is no store.' >&2\n"
          "echo 'srun: error: n2: task 1: Exited with exit code 4' >&2\n"
          "echo 'atelier: Interrupted.' >&2\n"
          "echo 'srun: error: n1: task 0: Exited with exit code 130' >&2\n"
          "exit 130");
  EXPECT_EQ(ended.code, 4);
  EXPECT_EQ(ended.log, "update JobId=30_2 Comment=atelier 0 4 n1 verdict There is no store.\n");
}

constexpr const char* kUnmet =
    "echo 'atelier: Not all ranks were there: none on n3.' >&2\n"
    "echo 'srun: error: n1: task 0: Exited with exit code 75' >&2\n"
    "echo 'srun: error: n2: task 1: Killed' >&2\n"
    "exit 137";

TEST_F(ScriptTest, AGangThatDoesNotMeetIsTriedAgainAFewTimesInARow) {
  gang_ = true;
  EXPECT_EQ(run(kUnmet).log,
            "update JobId=30_2 Comment=atelier 0 75 n1 vain1 Not all ranks were there: none on "
            "n3.\nrequeue 30_2\n");
  comment_ = "atelier 1 75 n1 vain2 Not all ranks were there: none on n3.";
  EXPECT_THAT(run(kUnmet, "RUNNING None", "2").log, HasSubstr(" vain3 "));
  comment_ = "atelier 6 75 n1 vain3 Not all ranks were there: none on n3.";
  const Ended last = run(kUnmet, "RUNNING None", "7");
  EXPECT_EQ(last.code, 4);
  EXPECT_EQ(last.log,
            "update JobId=30_2 Comment=atelier 7 4 n1 verdict Not all ranks were there: none on "
            "n3.\n");
  comment_ = "atelier 6 130 n1 asked vain3 ";
  EXPECT_THAT(run(kUnmet, "RUNNING None", "7").log, HasSubstr(" vain1 ")) << "it had met since";
  EXPECT_THAT(run(kUnmet, "COMPLETING None").log, Not(HasSubstr("requeue")))
      << "Slurm does it already";
}

TEST_F(ScriptTest, WhatANodeCannotDoInALaterLifeOthersMay) {
  gang_ = true;
  const std::string refused =
      "echo 'atelier: There is no network interface ib0 here.' >&2\n"
      "echo 'srun: error: n4: task 1: Exited with exit code 4' >&2\nexit 4";
  EXPECT_THAT(run(refused).log, HasSubstr(" 4 n1 verdict There is no network"));
  EXPECT_THAT(run(refused, "RUNNING None", "1").log, HasSubstr("requeue 30_2\n"));
  EXPECT_THAT(run(refused, "RUNNING None", "1").log, HasSubstr("vain1 There is no network"));
  const std::string failed =
      "echo 'atelier: The input changed.' >&2\n"
      "echo 'srun: error: n4: task 1: Exited with exit code 3' >&2\nexit 3";
  EXPECT_EQ(run(failed, "RUNNING None", "1").code, 3) << "that is the run's, not the node's";
}

TEST_F(ScriptTest, WhatSrunCannotDoIsNoVerdictOfAWorker) {
  gang_ = true;
  const Ended ended = run("echo 'srun: error: Task launch failed on node n2' >&2; exit 1");
  EXPECT_EQ(ended.log,
            "update JobId=30_2 Comment=atelier 0 75 n1 vain1 Task launch failed on node n2\n"
            "requeue 30_2\n");
  // Nor what the MPI library ends a rank with.
  EXPECT_THAT(run("echo 'srun: error: n2: task 1: Exited with exit code 1' >&2; exit 1").log,
              HasSubstr("requeue"));
}

TEST_F(ScriptTest, AGangThatWasNotLaunchedHasNotDoneItsWorkWhateverSrunEndsWith) {
  gang_ = true;
  EXPECT_EQ(run("echo 'srun: error: task 1 launch failed: Unspecified error' >&2; exit 0").log,
            "update JobId=30_2 Comment=atelier 0 75 n1 vain1 task 1 launch failed: Unspecified "
            "error\nrequeue 30_2\n");
  EXPECT_EQ(run("exit 0").code, 0);
}

TEST_F(ScriptTest, AProgramThatIsNotThereIsAVerdict) {
  std::filesystem::remove(folder_ / "worker");
  SlurmSetup setup = setup_of("/nowhere/atelier");
  const auto answer = make_commands(std::chrono::minutes(1))
                          ->run({"env", "PATH=" + folder_.string() + ":/usr/bin:/bin",
                                 "LOG=" + (folder_ / "log").string(), "bash"},
                                batch_script(setup, 1), {});
  EXPECT_EQ(answer->code, 127);
}

TEST_F(ScriptTest, OneThatIsKilledGoesBackIntoTheQueue) {
  const Ended ended = run("kill -9 $$", "RUNNING None", "3");
  EXPECT_EQ(ended.code, 137);
  EXPECT_EQ(ended.log, "update JobId=30_2 Comment=atelier 3 137 n1 died1 \nrequeue 30_2\n");
  comment_ = "atelier 24 137 n1 died19 ";
  EXPECT_THAT(run("kill -9 $$", "RUNNING None", "25").log, HasSubstr(" died20 \nrequeue 30_2\n"));
  comment_ = "atelier 25 137 n1 died20 ";
  EXPECT_THAT(run("kill -9 $$", "RUNNING None", "26").log, Not(HasSubstr("requeue")))
      << "not for ever";
}

TEST_F(ScriptTest, WhatSlurmRequeuedIsNoDeath) {
  for (const char* before : {"(null)", "atelier 24 130 n1 asked ", "atelier 24 130 n1 time3 "}) {
    comment_ = before;
    EXPECT_THAT(run("kill -9 $$", "RUNNING None", "25").log, HasSubstr("died1 \nrequeue 30_2\n"))
        << before;
  }
}

TEST_F(ScriptTest, ARunThatWasCancelledIsOver) {
  const Ended ended =
      run("echo 'atelier: Run 01 was cancelled; what is done is kept.' >&2; exit 130");
  EXPECT_EQ(ended.code, 130);
  EXPECT_EQ(ended.log,
            "update JobId=30_2 Comment=atelier 0 130 n1 cancelled Run 01 was cancelled; what is "
            "done is kept.\n");
}

// A worker that leaves when it is asked to, with the script asked at the same time, as Slurm does.
constexpr const char* kAsked =
    "trap 'exit 130' TERM\n"
    "kill -TERM $PPID\n"
    "kill -TERM $$\n"
    "exit 1";

TEST_F(ScriptTest, WhatSlurmDoesItselfIsLeftToSlurm) {
  for (const char* state : {"COMPLETING None", "CANCELLED None", "PENDING BeginTime", ""}) {
    const Ended ended = run(kAsked, state);
    EXPECT_EQ(ended.code, 130) << state;
    EXPECT_EQ(ended.log, "update JobId=30_2 Comment=atelier 0 130 n1 asked \n") << state;
  }
}

TEST_F(ScriptTest, OneThatIsOutOfTimeGoesBackIntoTheQueue) {
  const Ended ended = run(kAsked, "COMPLETING TimeLimit");
  EXPECT_EQ(ended.code, 130);
  EXPECT_EQ(ended.log, "requeue 30_2\nupdate JobId=30_2 Comment=atelier 0 130 n1 time1 \n");
}

TEST_F(ScriptTest, HoweverOftenItIsOutOfTimeItGoesBackIntoTheQueue) {
  comment_ = "atelier 24 130 n1 time24 ";
  EXPECT_EQ(run(kAsked, "COMPLETING TimeLimit", "25").log,
            "requeue 30_2\nupdate JobId=30_2 Comment=atelier 25 130 n1 time25 \n");
  comment_ = "atelier 999 130 n1 time1000 ";
  EXPECT_EQ(run(kAsked, "COMPLETING TimeLimit", "1000").log,
            "update JobId=30_2 Comment=atelier 1000 130 n1 time1001 \n")
      << "for nobody knows whom";
}

TEST_F(ScriptTest, OneThatThisNodesSystemEndsGoesBackIntoTheQueue) {
  EXPECT_THAT(run(kAsked, "RUNNING None").log, HasSubstr("requeue 30_2\n"));
}

}  // namespace
}  // namespace atelier::engine
