// SPDX-License-Identifier: Apache-2.0
// Workers that are small shell scripts; the real ones are tested by tests/e2e/workers_test.py.
#include "engine/local.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

namespace atelier::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class LocalTest : public testing::Test {
 protected:
  LocalTest() {
    std::string name = (std::filesystem::path(testing::TempDir()) / "engine-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    setup_.program = "/bin/sh";
    setup_.say = [this](const std::string& text) { said_.push_back(text); };
  }
  ~LocalTest() override { std::filesystem::remove_all(folder_); }

  // Each worker runs `script` with $0 = k, $1 = n, in a folder of the test.
  Result<void> run(const std::string& script, int workers, std::stop_token stop = {}) {
    setup_.workers = workers;
    setup_.arguments = [=, this](int k, int n) {
      return std::vector<std::string>{"-c", "cd " + folder_.string() + "; " + script,
                                      std::to_string(k), std::to_string(n)};
    };
    return run_local_workers(setup_, std::move(stop));
  }
  bool exists(const char* name) const { return std::filesystem::exists(folder_ / name); }

  std::filesystem::path folder_;
  LocalSetup setup_;
  std::vector<std::string> said_;
};

TEST(DefaultWorkers, AreAsManyAsProcessorsChunksAndMemoryAllow) {
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  EXPECT_EQ(default_workers(1, 100, kGiB, 4 * kGiB), 1);
  EXPECT_EQ(default_workers(15, 100, kGiB, 64 * kGiB), 1);
  EXPECT_EQ(default_workers(64, 100, kGiB, 64 * kGiB), 8);
  EXPECT_EQ(default_workers(64, 3, kGiB, 64 * kGiB), 3) << "one for each chunk";
  EXPECT_EQ(default_workers(64, 100, 20 * kGiB, 64 * kGiB), 3) << "in the memory there is";
  EXPECT_EQ(default_workers(64, 100, 80 * kGiB, 64 * kGiB), 1) << "one tries all the same";
  EXPECT_EQ(default_workers(64, 100, 0, 0), 8) << "nothing is known of memory";
}

TEST(ThreadsOfEach, ShareTheProcessorsUnlessTold) {
  EXPECT_EQ(threads_of_each(4, 3), 3);
  EXPECT_GE(threads_of_each(1, 0), 1);
  EXPECT_EQ(threads_of_each(100000, 0), 1);
}

TEST_F(LocalTest, EveryWorkerRunsOnce) {
  ASSERT_TRUE(run("echo x >> ran-$0-of-$1", 3).ok());
  for (const char* name : {"ran-1-of-3", "ran-2-of-3", "ran-3-of-3"}) {
    EXPECT_EQ(std::filesystem::file_size(folder_ / name), 2u) << name;
  }
}

TEST_F(LocalTest, OneThatIsKilledIsReplaced) {
  const auto result =
      run("if [ $0 = 2 ] && mkdir once 2>/dev/null; then kill -9 $$; fi; touch done-$0", 2);
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_TRUE(exists("done-1") && exists("done-2"));
  EXPECT_THAT(said_, ElementsAre("Worker 2 was killed by signal 9; another one takes its place."));
}

TEST_F(LocalTest, OneThatSomebodyAskedToLeaveIsReplacedUnlessTheWorkIsOver) {
  ASSERT_TRUE(run("if mkdir once 2>/dev/null; then exit 130; fi; touch done", 1).ok());
  EXPECT_TRUE(exists("done"));
  EXPECT_THAT(said_, ElementsAre("Worker 1 was asked to leave; another one takes its place."));
  setup_.goes_on = [] { return false; };
  const auto over = run("echo 'atelier: The run was cancelled.' >&2; exit 130", 1);
  EXPECT_EQ(over.error().code, Code::cancelled);
  EXPECT_EQ(over.error().message, "The run was cancelled.");
}

TEST_F(LocalTest, AWorkerIsInAGroupOfItsOwn) {
  ASSERT_TRUE(run("ps -o pgid= -p $$ > group; echo $$ > pid", 1).ok());
  std::ifstream group_file(folder_ / "group");
  std::ifstream pid_file(folder_ / "pid");
  int group = 0;
  int pid = 1;
  group_file >> group;
  pid_file >> pid;
  EXPECT_EQ(group, pid);
}

TEST_F(LocalTest, WorkersThatAlwaysDieAreGivenUp) {
  setup_.most_deaths = 3;
  const auto result = run("echo x >> deaths; kill -11 $$", 1);
  EXPECT_EQ(result.error().code, Code::internal);
  EXPECT_THAT(result.error().message, HasSubstr("signal 11, as did 3 before it"));
  EXPECT_EQ(std::filesystem::file_size(folder_ / "deaths"), 8u);
}

TEST_F(LocalTest, TheErrorOfOneIsTheErrorOfAllAndTheOthersAreAskedToLeave) {
  const auto result = run(
      "if [ $0 = 1 ]; then trap 'touch left; exit 130' TERM; touch ready; while :; do sleep 0.01; "
      "done; fi; while [ ! -e ready ]; do sleep 0.01; done; echo noise >&2; "
      "echo 'atelier: There is no disk.' >&2; exit 4",
      2);
  EXPECT_EQ(result.error().code, Code::unavailable);
  EXPECT_EQ(result.error().message, "There is no disk.");
  EXPECT_TRUE(exists("left"));
}

TEST_F(LocalTest, ManyWordsDoNotStopAWorker) {
  EXPECT_TRUE(run("head -c 1000000 /dev/zero >&2", 1).ok());
  EXPECT_EQ(run("exit 7", 1).error().message, "Worker 1 ended with code 7.");
}

TEST_F(LocalTest, StoppingAsksAndThenKills) {
  setup_.patience = std::chrono::milliseconds(100);
  std::stop_source stop;
  std::jthread stopper([&] {
    while (!exists("ready")) std::this_thread::yield();
    stop.request_stop();
  });
  const auto result =
      run("trap '' TERM; touch ready; while :; do sleep 0.01; done", 1, stop.get_token());
  EXPECT_EQ(result.error().code, Code::cancelled);
}

TEST_F(LocalTest, AProgramThatIsNotThereIsAnError) {
  setup_.program = "/nowhere/atelier";
  EXPECT_EQ(run("", 2).error().code, Code::internal);
}

}  // namespace
}  // namespace atelier::engine
