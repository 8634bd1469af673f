// SPDX-License-Identifier: Apache-2.0
// Scorers that misbehave. The real one is tested by tests/e2e/scorers_test.py.
#include "run/scorer_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "run/scorer_keeper.h"

namespace atelier::run {
namespace {

using testing::HasSubstr;
using testing::Not;

class ScorerProcessTest : public testing::Test {
 protected:
  ScorerProcessTest() {
    model_.name = "net";
    model_.onnx = std::make_unique<MemorySource>(std::vector<std::byte>(10));
    task_.input = &input_;
    task_.model = &model_;
    task_.shown_name = "in.mp4";
    task_.find_run = [](const ModelIdentity&) { return Standing{"run", {}}; };
    task_.write_manifest = [](const Manifest& manifest) { return manifest; };
    task_.log = [this](std::string_view text) { log_ += text; };
  }
  // Runs a program of a few lines of Python as the scorer: it has `ask(text)`, a call on the
  // control channel that returns the answer's head.
  Result<Prepared> prepare(const std::string& lines, std::stop_token stop = {}) {
    auto process = start(lines);
    if (!process.ok()) return process.error();
    return (*process)->prepare(std::move(stop));
  }
  Result<std::unique_ptr<ScorerProcess>> start(const std::string& lines) {
    const auto path = std::filesystem::path(testing::TempDir()) /
                      fmt::format("scorer-{}.py", static_cast<const void*>(this));
    std::ofstream(path) << R"(#!/usr/bin/python3
import os, signal, socket, struct, sys, time
control = socket.socket(fileno=3)
def ask(text, body=b"", to=control):
    to.sendall(struct.pack("=II", len(text), len(body)) + text.encode() + body)
    head, size = struct.unpack("=II", to.recv(8, socket.MSG_WAITALL))
    answer = to.recv(head, socket.MSG_WAITALL).decode()
    to.recv(size, socket.MSG_WAITALL)
    return answer
)" << lines;
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    scripts_.push_back(path);
    return ScorerProcess::start(path.string(), task_, *progress_);
  }
  ~ScorerProcessTest() override {
    for (const auto& path : scripts_) std::filesystem::remove(path);
  }

  std::vector<std::filesystem::path> scripts_;
  MemorySource input_{std::vector<std::byte>(100)};
  ModelFiles model_;
  ScorerTask task_;
  std::string log_;
  std::unique_ptr<SharedProgress> progress_ = SharedProgress::create().value();
};

TEST_F(ScorerProcessTest, AProgramThatIsNotThereIsAnError) {
  EXPECT_EQ(ScorerProcess::start("/nowhere/atelier", task_, *progress_).error().code,
            Code::internal);
}

TEST_F(ScorerProcessTest, ADeathIsToldAndWhatItPrintedIsKept) {
  const auto died = prepare("print('last words', flush=True)\nos.kill(os.getpid(), 11)\n");
  EXPECT_EQ(died.error().code, Code::corrupt);
  EXPECT_THAT(died.error().message, HasSubstr("killed by signal 11 (SEGV)"));
  EXPECT_THAT(died.error().message, HasSubstr("'in.mp4'"));
  EXPECT_EQ(log_, "last words\n");
  EXPECT_THAT(prepare("sys.exit(7)\n").error().message, HasSubstr("by itself with code 7"));
}

TEST_F(ScorerProcessTest, OneThatHangsIsEnded) {
  task_.limits.progress = std::chrono::milliseconds(200);
  EXPECT_THAT(prepare("time.sleep(1000)\n").error().message, HasSubstr("no progress"));
  EXPECT_THAT(prepare("os.kill(os.getpid(), signal.SIGSTOP)\n").error().message,
              HasSubstr("no progress"));
}

TEST_F(ScorerProcessTest, OneThatIsBusyForeverIsEnded) {
  task_.limits.start = std::chrono::milliseconds(200);
  const auto ended = prepare(R"(
while True: ask('{"do":"read","source":0,"offset":0,"size":1}'); time.sleep(0.01)
)");
  EXPECT_THAT(ended.error().message, HasSubstr("was not ready after 0.2 seconds"));
}

TEST_F(ScorerProcessTest, OneThatTakesTooMuchMemoryIsEndedAndTheFiguresAreTold) {
  task_.memory = uint64_t{100} << 20;
  const auto ended = prepare("much = b'x' * (200 << 20)\ntime.sleep(1000)\n");
  EXPECT_THAT(ended.error().message, HasSubstr("where it may take 100 MiB"));
  // It may be met half-way.
  EXPECT_THAT(ended.error().message, testing::ContainsRegex("took [1-9][0-9][0-9] MiB of memory"));
  EXPECT_THAT(ended.error().message, HasSubstr("--memory"));
}

TEST_F(ScorerProcessTest, OneThatMakesThreadsWithoutEndIsEnded) {
  task_.threads = 1;
  const auto ended = prepare(
      "import threading\nthreading.stack_size(65536)\n"
      "while True: threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n");
  EXPECT_THAT(ended.error().message, HasSubstr("threads where 528 are more than it needs"));
}

TEST_F(ScorerProcessTest, ItsProcessorTimeIsLimitedFromTheBeginning) {
  task_.limits.progress = std::chrono::seconds(100);
  (void)prepare(
      "import resource\nlimit = lambda: resource.getrlimit(resource.RLIMIT_CPU)\n"
      "while limit()[0] == resource.RLIM_INFINITY: pass\nprint(*limit(), flush=True)\n");
  const double processors = static_cast<double>(::sysconf(_SC_NPROCESSORS_CONF));
  EXPECT_EQ(log_.substr(0, log_.find(' ')), fmt::format("{:.0f}", 150 * processors + 10)) << log_;
}

TEST_F(ScorerProcessTest, ThatItsProcessorTimeRanOutIsTold) {
  EXPECT_THAT(prepare("os.kill(os.getpid(), signal.SIGXCPU)\n").error().message,
              HasSubstr("more processor time than it may"));
}

TEST_F(ScorerProcessTest, StoppingEndsIt) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(prepare("time.sleep(1000)\n", stop.get_token()).error().code, Code::cancelled);
}

TEST_F(ScorerProcessTest, OneThatClosesItsEndsAndStaysIsEnded) {
  task_.end_timeout = std::chrono::milliseconds(200);
  EXPECT_EQ(prepare("os.close(3)\nos.close(4)\ntime.sleep(1000)\n").error().code, Code::corrupt);
}

TEST_F(ScorerProcessTest, WhatItAsksOutOfTurnIsRefused) {
  const auto answer = [&](const std::string& question, const std::string& body = "") {
    log_.clear();
    (void)prepare("print(ask(r\"\"\"" + question + "\"\"\", b\"\"\"" + body +
                  "\"\"\"), flush=True)\n");
    return log_;
  };
  EXPECT_THAT(answer(R"({"do":"next"})"), HasSubstr("before it was told to"));
  EXPECT_THAT(answer(R"({"do":"ready"})"), HasSubstr("before it planned"));
  EXPECT_THAT(answer(R"({"do":"manifest"})", "{}"), HasSubstr("before it looked"));
  EXPECT_THAT(answer(R"({"do":"read","source":2,"offset":0,"size":1})"), HasSubstr("not there"));
  EXPECT_THAT(answer(R"({"do":"read","source":-1,"offset":0,"size":1})"), HasSubstr("not there"));
  EXPECT_THAT(answer(R"({"do":"read","source":0,"offset":"x","size":1})"), HasSubstr("nonsense"));
  EXPECT_THAT(answer(R"({"do":"read"})"), HasSubstr("nonsense"));
  EXPECT_THAT(answer(R"({"do":7})"), HasSubstr("nonsense"));
  EXPECT_THAT(answer("[]"), HasSubstr("nonsense"));
  EXPECT_THAT(answer("{"), HasSubstr("nonsense"));
  EXPECT_THAT(answer(R"({"do":"launch"})"), HasSubstr("unknown"));
  EXPECT_THAT(answer(R"({"do":"read","source":0,"offset":90,"size":99999999999})"),
              HasSubstr("{}"));
}

TEST_F(ScorerProcessTest, ResultsBeforeTheTaskAreRefused) {
  (void)prepare(
      "results = socket.socket(fileno=4)\n"
      "print(ask('{\"do\":\"commit\",\"chunk\":0}', b'{}', results), flush=True)\n");
  EXPECT_THAT(log_, HasSubstr("before it was told to"));
}

TEST_F(ScorerProcessTest, WhatItSaysOfItsFailureIsTheError) {
  const auto failed = prepare(
      "results = socket.socket(fileno=4)\n"
      "ask('{\"do\":\"failed\",\"code\":1,\"message\":\"It is no video.\"}', b'', results)\n");
  EXPECT_EQ(failed.error().code, Code::invalid_input);
  EXPECT_EQ(failed.error().message, "It is no video.");
}

// Nothing to score.
class EmptyDesk final : public ChunkDesk {
 public:
  Result<std::optional<ChunkPlan>> next(std::stop_token) override {
    return std::optional<ChunkPlan>();
  }
  Result<std::unique_ptr<ScratchFile>> open_result(const ChunkPlan&) override {
    return make_error(Code::internal, "There is no chunk.");
  }
  Result<void> commit(ChunkCommit, ScratchFile&) override { return {}; }
  Result<void> keep_frame(uint64_t, const std::string&, std::span<const std::byte>) override {
    return {};
  }
  Result<void> keep_trace(int, std::span<const Span>) override { return {}; }
};

// Does one task after another; after the last word of each it says `after`.
std::string tasks_with(const std::string& after = "") {
  return R"(
results = socket.socket(fileno=4)
while True:
    print(ask('{"do":"task"}'), flush=True)
    ask('{"do":"found","name":"n","sha256":"0","guesses":[],"container_notes":[]}')
    ask('{"do":"ready"}')
    ask('{"do":"next"}')
    if "again" not in ask('{"do":"done"}', b"", results): sys.exit(0)
)" + after;
}

class StayingScorerTest : public ScorerProcessTest {
 protected:
  StayingScorerTest() {
    task_.stays = true;
    task_.find_run = [](const ModelIdentity&) { return Standing{"run", Manifest()}; };
  }
  // The whole of a task.
  void work(ScorerProcess& scorer) {
    const auto prepared = scorer.prepare({});
    ASSERT_TRUE(prepared.ok()) << prepared.error().message;
    const auto scored = scorer.score(desk_, {});
    ASSERT_TRUE(scored.ok()) << scored.error().message;
    EXPECT_EQ(*scored, "");
  }
  EmptyDesk desk_;
};

TEST_F(StayingScorerTest, ItGetsOneTaskAfterAnother) {
  const auto scorer = start(tasks_with()).value();
  work(*scorer);
  EXPECT_TRUE(scorer->rests());
  EXPECT_THAT(log_, HasSubstr("in.mp4"));
  ScorerTask second = task_;
  second.shown_name = "second.mp4";
  std::string said;
  second.log = [&](std::string_view text) { said += text; };
  progress_->get().encoded = 7;
  ASSERT_TRUE(scorer->give(second));
  EXPECT_FALSE(scorer->rests());
  EXPECT_EQ(progress_->get().encoded, 0U);
  work(*scorer);
  EXPECT_TRUE(scorer->rests());
  EXPECT_THAT(said, HasSubstr("second.mp4"));
  EXPECT_THAT(log_, Not(HasSubstr("second.mp4")));
  // The last one of a task that does not stay.
  second.stays = false;
  ASSERT_TRUE(scorer->give(second));
  work(*scorer);
  EXPECT_FALSE(scorer->rests());
}

TEST_F(StayingScorerTest, OneThatDiedMeanwhileIsKnown) {
  const auto scorer = start(tasks_with()).value();
  work(*scorer);
  ASSERT_EQ(::kill(scorer->pid(), SIGKILL), 0);
  // Its end is heard of by the sockets.
  while (scorer->rests()) std::this_thread::yield();
  EXPECT_FALSE(scorer->give(task_));
}

TEST_F(StayingScorerTest, OneThatDoesNotAskForMoreDoesNotStay) {
  task_.end_timeout = std::chrono::milliseconds(100);
  const auto scorer = start(tasks_with("    sys.exit(0)\n")).value();
  work(*scorer);
  EXPECT_FALSE(scorer->rests());
}

TEST_F(StayingScorerTest, NothingElseIsAnsweredAfterTheLastWord) {
  const auto scorer = start(tasks_with(R"(
    print(ask('{"do":"read","source":0,"offset":0,"size":1}'), ask('{"do":"next"}'),
          ask('{"do":"commit","chunk":0}', b"{}", results), ask('{"do":"done"}', b"", results), flush=True)
)"))
                          .value();
  work(*scorer);
  ASSERT_TRUE(scorer->rests());
  ASSERT_TRUE(scorer->give(task_));
  work(*scorer);
  size_t refused = 0;
  for (size_t at = 0; (at = log_.find("after its last word", at)) != std::string::npos; ++at) {
    ++refused;
  }
  EXPECT_EQ(refused, 8U) << log_;
}

TEST_F(StayingScorerTest, OneThatJustWaitsRestsWell) {
  const auto scorer = start(tasks_with()).value();
  EXPECT_FALSE(scorer->rests_well());
  work(*scorer);
  EXPECT_TRUE(scorer->rests_well());
}

TEST_F(StayingScorerTest, OneThatTakesMemoryAtRestIsKnown) {
  const auto scorer = start("import threading\n" + tasks_with(R"(
    def grow():
        global much
        time.sleep(0.2)
        much = b'x' * (200 << 20)
    threading.Thread(target=grow, daemon=True).start()
)"))
                          .value();
  work(*scorer);
  while (scorer->rests_well()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(scorer->rests()) << "it has not died";
}

// It talks all the time: that neither stops the broker nor is it rest.
TEST_F(StayingScorerTest, OneThatTalksWithoutEndIsKnown) {
#if defined(__SANITIZE_ADDRESS__)
  constexpr int kWord = 1;  // bytes: what it says is shown then
#else
  constexpr int kWord = 65536;
#endif
  const auto scorer = start(fmt::format("word = b'x' * {}\n", kWord) + R"(
import threading
def talk():
    while True: os.write(2, word)
threading.Thread(target=talk, daemon=True).start()
)" + tasks_with())
                          .value();
  work(*scorer);
  ASSERT_TRUE(scorer->rests());
  while (scorer->rests_well()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(scorer->rests()) << "it has not died";
}

TEST_F(StayingScorerTest, AKeeperGivesWhatRestsOnce) {
  ScorerKeeper keeper;
  EXPECT_FALSE(keeper.take(task_));
  const auto rested = [&] {
    ScorerKeeper::Kept kept{SharedProgress::create().value(), nullptr, true};
    progress_.swap(kept.progress);
    kept.scorer = start(tasks_with()).value();
    progress_.swap(kept.progress);
    work(*kept.scorer);
    return kept;
  };
  keeper.keep(rested());
  keeper.look();
  auto taken = keeper.take(task_);
  ASSERT_TRUE(taken);
  EXPECT_FALSE(keeper.take(task_));
  // One at work is not kept, one that is locked in otherwise is not given.
  keeper.keep(std::move(*taken));
  EXPECT_FALSE(keeper.take(task_));
  keeper.keep(rested());
  task_.sandbox = false;
  EXPECT_FALSE(keeper.take(task_));
}

TEST_F(StayingScorerTest, TheLimitOfItsFilesIsThatOfEachTask) {
  const auto scorer = start(R"(
import resource
results = socket.socket(fileno=4)
while True:
    ask('{"do":"task"}')
    ask('{"do":"found","name":"n","sha256":"0","guesses":[],"container_notes":[]}')
    ask('{"do":"ready"}')
    print(resource.getrlimit(resource.RLIMIT_FSIZE)[0], flush=True)
    ask('{"do":"next"}')
    ask('{"do":"done"}', b"", results)
)")
                          .value();
  work(*scorer);
  const uint64_t small = std::stoull(log_);
  log_.clear();
  ScorerTask second = task_;
  second.find_run = [](const ModelIdentity&) {
    Manifest large;
    large.encode.width = large.encode.height = 4000;
    large.chunks.resize(1);
    return Standing{"run", large};
  };
  ASSERT_TRUE(scorer->give(second));
  work(*scorer);
  EXPECT_GT(std::stoull(log_), small);
}

}  // namespace
}  // namespace atelier::run
