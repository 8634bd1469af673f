// SPDX-License-Identifier: Apache-2.0
#include "run/scorer_limits.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <thread>

#include "base/file.h"

namespace atelier::run {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

// Runs in a child until it is killed.
class Child {
 public:
  template <class F>
  explicit Child(F&& body) : pid_(::fork()) {
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    body();
    for (;;) ::pause();
  }
  ~Child() {
    if (pid_ > 0) end();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  pid_t pid() const { return pid_; }
  // The signal that ended it.
  int wait() {
    int status = 0;
    EXPECT_EQ(::waitpid(std::exchange(pid_, 0), &status, 0) > 0, true);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  }
  void end() {
    ::kill(pid_, SIGKILL);
    wait();
  }

 private:
  pid_t pid_;
};

TEST(Usage, IsThatOfTheProcess) {
  const auto before = usage_of(::getpid()).value();
  EXPECT_GT(before.memory, 1u << 20);
  EXPECT_GE(before.threads, 1);
  constexpr size_t kMore = size_t{64} << 20;
  std::vector<char> more(kMore);
  std::memset(more.data(), 1, more.size());
  std::jthread another([](const std::stop_token& stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
  });
  milliseconds used{0};
  while (used <= before.processor) used = usage_of(::getpid())->processor;
  const auto now = usage_of(::getpid()).value();
  EXPECT_GE(now.memory, before.memory + kMore - (kMore >> 3)) << "the kernel counts in batches";
  EXPECT_EQ(now.threads, before.threads + 1);
}

TEST(Usage, PagesOfFilesAreNotItsOwnButSharedMemoryIs) {
  const auto before = usage_of(::getpid()).value();
  constexpr size_t kSize = size_t{32} << 20;
  const Fd file(::memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(file.get(), kSize), 0);
  void* shared =
      ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file.get(), 0);
  ASSERT_NE(shared, MAP_FAILED);
  EXPECT_GE(usage_of(::getpid())->memory, before.memory + kSize - (kSize >> 3));
  ::munmap(shared, kSize);
  const Fd program(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  const auto size = static_cast<size_t>(::lseek(program.get(), 0, SEEK_END));
  void* pages = ::mmap(nullptr, size, PROT_READ, MAP_SHARED | MAP_POPULATE, program.get(), 0);
  ASSERT_NE(pages, MAP_FAILED);
  EXPECT_LE(usage_of(::getpid())->memory, before.memory + (kSize >> 3));
  ::munmap(pages, size);
}

TEST(Usage, OfWhatHasEndedIsNone) {
  Child child([] {});
  const pid_t pid = child.pid();
  child.end();
  EXPECT_FALSE(usage_of(pid).has_value());
}

TEST(Usage, ANameOfItsOwnChoiceDoesNotMislead) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  Child child([&] {
    ::prctl(PR_SET_NAME, "a\nThreads:\t9\nb");
    (void)!::write(pipe[1], "x", 1);
  });
  char byte = 0;
  ASSERT_EQ(::read(pipe[0], &byte, 1), 1);
  EXPECT_EQ(usage_of(child.pid())->threads, 1);
  for (const int fd : pipe) ::close(fd);
}

TEST(Excess, IsToldWithFiguresAndWhatHelps) {
  const Usage usage{uint64_t{700} << 20, 20, {}};
  EXPECT_EQ(find_excess(usage, 0, 20), "");
  EXPECT_EQ(find_excess(usage, uint64_t{700} << 20, 20), "");
  EXPECT_THAT(find_excess(usage, uint64_t{512} << 20, 20),
              HasSubstr("700 MiB of memory where it may take 512 MiB"));
  EXPECT_THAT(find_excess(usage, uint64_t{512} << 20, 20), HasSubstr("--memory"));
  EXPECT_THAT(find_excess(usage, 0, 19), HasSubstr("20 threads"));
}

TEST(Excess, ThreadsGrowWithWhatWasAskedFor) {
  EXPECT_GE(most_threads(0), most_threads(1));
  EXPECT_GE(most_threads(1024), 1024 * 10);
}

TEST(ProcessorTime, RunsOutForOneThatLoops) {
  Child child([] {
    for (;;) ::getppid();
  });
  // As if it had used so much already, so that a second is left of the ten on top.
  limit_processor_time(child.pid(), Usage{0, 1, milliseconds(-9000)}, milliseconds(0));
  EXPECT_EQ(child.wait(), SIGXCPU);
}

TEST(ProcessorTime, GrowsWithWhatWasUsedAndKeepsTheHardLimit) {
  Child child([] {});
  const auto limit_after = [&](milliseconds used) {
    limit_processor_time(child.pid(), Usage{0, 1, used}, milliseconds(60000));
    rlimit limit{};
    EXPECT_EQ(::prlimit(child.pid(), RLIMIT_CPU, nullptr, &limit), 0);
    rlimit own{};
    ::getrlimit(RLIMIT_CPU, &own);
    EXPECT_EQ(limit.rlim_max, own.rlim_max);
    return limit.rlim_cur;
  };
  const auto first = limit_after(milliseconds(0));
  EXPECT_GE(first, 60u);
  EXPECT_EQ(limit_after(milliseconds(1000000)), first + 1000);
}

TEST(ProcessorTime, WhatTheUserLimitedStays) {
  rlimit own{};
  ASSERT_EQ(::getrlimit(RLIMIT_CPU, &own), 0);
  if (own.rlim_cur != RLIM_INFINITY) GTEST_SKIP() << "this test runs under a limit";
  const rlimit mine{1000000, own.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_CPU, &mine), 0);
  Child child([] {});
  limit_processor_time(child.pid(), Usage(), milliseconds(1));
  rlimit limit{};
  EXPECT_EQ(::prlimit(child.pid(), RLIMIT_CPU, nullptr, &limit), 0);
  ASSERT_EQ(::setrlimit(RLIMIT_CPU, &own), 0);
  EXPECT_EQ(limit.rlim_cur, 1000000u);
}

}  // namespace
}  // namespace atelier::run
