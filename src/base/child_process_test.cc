// SPDX-License-Identifier: Apache-2.0
#include "base/child_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

namespace atelier {
namespace {

using testing::HasSubstr;

// Until every end for writing is closed.
std::string all_of(const Fd& reading) {
  std::string text;
  std::array<char, 256> piece{};
  for (ssize_t count = 0; (count = ::read(reading.get(), piece.data(), piece.size())) > 0;) {
    text.append(piece.data(), static_cast<size_t>(count));
  }
  return text;
}

// A shell that is to say something.
struct Shell {
  explicit Shell(const std::string& script) : pipe(Pipe::create().value()) {
    setup.words = {"sh", "-c", script};
    setup.out = pipe.writing.get();
  }
  ChildProcess start() {
    auto child = ChildProcess::start(setup);
    EXPECT_TRUE(child.ok()) << child.error().message;
    pipe.writing = Fd();
    return std::move(child).value();
  }
  Pipe pipe;
  ChildSetup setup;
};

TEST(ChildProcess, WhatItSaysAndHowItEndsIsHeard) {
  Shell shell("echo said; exit 7");
  ChildProcess child = shell.start();
  EXPECT_EQ(all_of(shell.pipe.reading), "said\n");
  EXPECT_EQ(WEXITSTATUS(child.wait()), 7);
  EXPECT_EQ(child.ended(), child.wait()) << "again and again";
}

TEST(ChildProcess, ItsHandleShowsItsEnd) {
  Shell shell("kill -9 $$");
  ChildProcess child = shell.start();
  pollfd sign{child.handle(), POLLIN, 0};
  ASSERT_GE(sign.fd, 0);
  while (::poll(&sign, 1, -1) < 0) {
  }
  const auto status = child.ended();
  ASSERT_TRUE(status);
  EXPECT_EQ(WTERMSIG(*status), SIGKILL);
}

TEST(ChildProcess, ItReadsNothingAndIsInAGroupOfItsOwn) {
  Shell shell("cat; ps -o pgid= -p $$ | tr -d ' '; echo $$");
  ChildProcess child = shell.start();
  const std::string said = all_of(shell.pipe.reading);
  const size_t end = said.find('\n');
  ASSERT_NE(end, std::string::npos) << said;
  EXPECT_EQ(said, said.substr(0, end + 1) + said.substr(0, end + 1));
  EXPECT_NE(said.substr(0, end), std::to_string(::getpgrp()));
}

TEST(ChildProcess, FilesOfThisProgramsAreNotHandedOn) {
  const Pipe other = Pipe::create().value();
  Shell shell(fmt::format("for n in 1 {} {}; do [ ! -e /proc/$$/fd/$n ] || echo $n; done",
                          other.reading.get(), other.writing.get()));
  ChildProcess child = shell.start();
  EXPECT_EQ(all_of(shell.pipe.reading), "1\n");
}

// In a process of its own, whose stdin is closed: the pipe's ends are 0 and 3, or so.
TEST(ChildProcess, FilesWithTheNumbersOfOthersAreHandedOnAllTheSame) {
  EXPECT_EXIT(
      {
        ::close(0);
        ::close(1);
        Shell shell("echo to stdout; echo to stderr >&2");
        const Pipe errors = Pipe::create().value();
        shell.setup.err = shell.setup.out;
        shell.setup.in = errors.reading.get();
        ChildProcess child = shell.start();
        const bool all = all_of(shell.pipe.reading) == "to stdout\nto stderr\n";
        ::_exit(all && child.wait() == 0 ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

// What SIGTERM does to a shell that this program started while it held that signal back.
int status_after_term(bool keeps_signals) {
  sigset_t held;
  sigset_t before;
  sigemptyset(&held);
  sigaddset(&held, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &held, &before);
  Shell shell("kill -TERM $$; exit 5");
  shell.setup.keeps_signals = keeps_signals;
  ChildProcess child = shell.start();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return child.wait();
}

TEST(ChildProcess, SignalsThatThisProgramHoldsBackReachItUnlessTheyAreKept) {
  EXPECT_EQ(WTERMSIG(status_after_term(false)), SIGTERM);
  EXPECT_EQ(WEXITSTATUS(status_after_term(true)), 5);
}

TEST(ChildProcess, ItEndsWithItsObjectAndItsDescendantsWithIt) {
  Shell shell("sleep 1000 & echo started; wait");
  shell.setup.with_descendants = true;
  {
    ChildProcess child = shell.start();
    std::array<char, 8> text{};
    ASSERT_EQ(::read(shell.pipe.reading.get(), text.data(), text.size()), 8);
  }
  EXPECT_EQ(all_of(shell.pipe.reading), "") << "somebody still holds the other end";
}

TEST(ChildProcess, OneThatCannotBeRunIsAnError) {
  ChildSetup setup;
  setup.words = {"/nowhere/program"};
  auto child = ChildProcess::start(setup);
  EXPECT_EQ(child.error().code, Code::internal);
  EXPECT_THAT(child.error().message, HasSubstr("'/nowhere/program': No such file"));
  setup.program = "/dev/null";
  int why = 0;
  setup.refused = [&](int error) {
    why = error;
    return Error{Code::unavailable, "No."};
  };
  child = ChildProcess::start(setup);
  EXPECT_EQ(child.error().message, "No.");
  EXPECT_EQ(why, EACCES);
}

}  // namespace
}  // namespace atelier
