// SPDX-License-Identifier: Apache-2.0
// The engine with an mpirun that is a script of the test's and a clock that only waiting advances;
// the real one is tested by tests/mpi/mpi_test.py.
#include "engine/mpi.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <set>

#include "engine/mpi_words.h"

namespace atelier::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int exited(int code) { return code << 8; }

// What a program says when, counted from its start, and how it ends.
struct Script {
  std::vector<std::pair<milliseconds, std::string>> says;
  std::optional<milliseconds> ends;  // unset: when it is asked to leave
  int status = 0;
  std::string last_words;  // when it is asked
  bool obeys = true;
};

class FakeProgram final : public Program {
 public:
  FakeProgram(Script script, const Clock& clock)
      : script_(std::move(script)), clock_(clock), begin_(clock.now()) {}
  std::string read() override {
    std::string said;
    while (next_ < script_.says.size() && age() >= script_.says[next_].first) {
      said += script_.says[next_++].second;
    }
    if (asked_) said += std::exchange(script_.last_words, "");
    return said;
  }
  std::optional<int> ended() override {
    if (script_.ends && age() >= *script_.ends) return script_.status;
    if (asked_ && script_.obeys) return SIGTERM;
    return std::nullopt;
  }
  void ask_to_leave() override { asked_ = true; }

 private:
  Clock::Duration age() const { return clock_.now() - begin_; }
  Script script_;
  const Clock& clock_;
  const Clock::Duration begin_;
  size_t next_ = 0;
  bool asked_ = false;
};

std::string tagged(int rank, const std::string& line) {
  return fmt::format("[1,{}]<stdout>:{}\n", rank, line);
}

class MpiTest : public testing::Test, public Launcher {
 protected:
  MpiTest() {
    job_.setup.interface = "eth1";
    job_.setup.program = "rank";
    job_.hosts = {{"n0", 1}, {"n1", 2}};
    job_.version = "1.0";
    job_.rank_arguments = [](int gang) {
      return std::vector<std::string>{"score", std::to_string(gang)};
    };
    job_.host_arguments = {"host"};
    job_.say = [this](const std::string& text) { said_.push_back(text); };
    job_.note = [this](const std::string& text) { notes_.push_back(text); };
    job_.bury = [this](int gang, int ranks) {
      buried_.push_back(fmt::format("{} of {}", gang, ranks));
    };
  }

  // Launcher. Hosts answer unless the test says otherwise; the gangs are `gangs_`, in order.
  Result<std::unique_ptr<Program>> start(const std::vector<std::string>& words) override {
    if (!startable_) return make_error(Code::unavailable, "'mpirun' cannot be started.");
    const bool looks = words.back() == "host";
    if (!looks) starts_.push_back(words);
    if (looks && std::find(words.begin(), words.end(), "ppr:1:node") != words.end()) {
      return std::unique_ptr<Program>(std::make_unique<FakeProgram>(nodes_, clock_));
    }
    const std::string host = words[words.size() - 5];  // --host n1:1 -n 1 rank host
    Script script = looks ? look(host.substr(0, host.find(':'))) : gangs_.at(starts_.size() - 1);
    return std::unique_ptr<Program>(std::make_unique<FakeProgram>(std::move(script), clock_));
  }
  void wait(std::span<Program* const> programs, milliseconds most) override {
    EXPECT_FALSE(programs.empty());
    clock_.advance(most);
    ASSERT_LT(clock_.now(), seconds(3600)) << "it waits for ever";
    if (clock_.now() >= stop_at_) stop_.request_stop();
  }

  Script look(const std::string& host) {
    const auto own = looks_.find(host);
    if (own != looks_.end() && !own->second.empty()) {
      Script script = own->second.front();
      own->second.erase(own->second.begin());
      return script;
    }
    return answer(host, "1.0", true);
  }
  static Script answer(const std::string& host, const std::string& version, bool sees) {
    return {{{milliseconds(200), tagged(0, host_line({host, version, sees}))}},
            milliseconds(300),
            0,
            "",
            true};
  }
  static Script silence() { return {}; }
  // A gang that is complete after half a second and then ends so.
  static Script gang(int ranks, milliseconds ends, int status, const std::string& words = "") {
    Script script;
    for (int rank = 0; rank < ranks; ++rank) {
      script.says.emplace_back(milliseconds(300), tagged(rank, there_line("?")));
    }
    script.says.emplace_back(milliseconds(500), tagged(0, complete_line()));
    script.says.emplace_back(ends, words);
    script.ends = ends;
    script.status = status;
    return script;
  }
  static Script done(int ranks) {
    return gang(ranks, seconds(10), 0, tagged(0, statistic_line("frames", 40)));
  }
  static std::string killed(int rank, const std::string& host) {
    return fmt::format(
        "mpirun noticed that process rank {} with PID 0 on node {} exited on signal 9 (Killed).\n",
        rank, host);
  }

  Result<MpiOutcome> run() { return run_mpi_gang(job_, *this, clock_, stop_.get_token()); }
  std::vector<std::string> hosts_of_start(size_t i) const {
    std::vector<std::string> hosts;
    for (size_t w = 0; w + 1 < starts_.at(i).size(); ++w) {
      if (starts_[i][w] == "--host") hosts.push_back(starts_[i][w + 1]);
    }
    return hosts;
  }

  MpiJob job_;
  FakeClock clock_;
  std::stop_source stop_;
  Clock::Duration stop_at_ = seconds(3600);
  bool startable_ = true;
  std::map<std::string, std::vector<Script>> looks_;
  Script nodes_;
  std::vector<Script> gangs_;
  std::vector<std::vector<std::string>> starts_;
  std::vector<std::string> said_;
  std::vector<std::string> notes_;
  std::vector<std::string> buried_;
};

TEST_F(MpiTest, AGangThatEndsWellIsDone) {
  gangs_ = {done(3)};
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_THAT(outcome->hosts, ElementsAre("n0", "n1"));
  EXPECT_EQ(outcome->ranks, 3);
  EXPECT_EQ(outcome->restarts, 0);
  EXPECT_EQ(outcome->statistics.at("frames"), 40);
  EXPECT_THAT(said_, ElementsAre("A gang of 3 ranks works on 2 hosts: n0, n1."));
  EXPECT_THAT(notes_, IsEmpty());
  EXPECT_THAT(buried_, IsEmpty());
}

TEST_F(MpiTest, AfterALossThoseWhoAnswerGoOn) {
  gangs_ = {gang(3, seconds(5), exited(137), killed(2, "n1")), done(1)};
  looks_["n1"] = {answer("n1", "1.0", true), silence()};
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_THAT(hosts_of_start(0), ElementsAre("n0:1", "n1:2"));
  EXPECT_THAT(hosts_of_start(1), ElementsAre("n0:1"));
  EXPECT_THAT(buried_, ElementsAre("1 of 3"));
  EXPECT_EQ(outcome->restarts, 1);
  EXPECT_THAT(outcome->hosts, ElementsAre("n0"));
  EXPECT_THAT(notes_,
              ElementsAre("Rank 2 on n1 was killed by signal 9.",
                          HasSubstr("Host n1 is left out: Host n1 does not answer by interface "
                                    "eth1 in time; see that")));
  ASSERT_EQ(outcome->events.size(), 4U) << "a start, the loss, who is left out, a start";
  EXPECT_LT(outcome->events[1].seconds, outcome->events[2].seconds);
}

TEST_F(MpiTest, AHostThatAnswersAfterALossStays) {
  gangs_ = {gang(3, seconds(5), exited(205), "  Remote daemon: [[58431,0],3] on node n1\n"),
            done(3)};
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_THAT(hosts_of_start(1), ElementsAre("n0:1", "n1:2"));
  EXPECT_THAT(notes_, ElementsAre("Host n1 was lost."));
}

TEST_F(MpiTest, RanksThatLeftBecauseADaemonWasLostAreNotTheCause) {
  gangs_ = {gang(3, seconds(5), exited(1),
                 "ORTE was unable to reliably start one or more daemons.\n" +
                     tagged(0, error_line({Code::cancelled, "On n0: Interrupted.", {}}))),
            done(3)};
  job_.goes_on = [] { return false; };
  ASSERT_TRUE(run().ok());
  EXPECT_THAT(notes_, ElementsAre("A host's daemon was lost."));
}

TEST_F(MpiTest, RestartsAreCounted) {
  job_.restarts = 2;
  gangs_ = {gang(3, seconds(5), exited(137), killed(0, "n0")),
            gang(3, seconds(5), exited(1), "odd words\n"),
            gang(3, seconds(5), exited(137), killed(1, "n1"))};
  const auto outcome = run();
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, Code::unavailable);
  EXPECT_THAT(outcome.error().message,
              HasSubstr("Rank 1 on n1 was killed by signal 9. That was the last of 2 restarts"));
  EXPECT_THAT(notes_, ElementsAre("Rank 0 on n0 was killed by signal 9.",
                                  "mpirun ended with code 1 (odd words)."));
  EXPECT_THAT(buried_, ElementsAre("1 of 3", "2 of 3", "3 of 3"));
}

TEST_F(MpiTest, NobodyLeftIsTheEnd) {
  gangs_ = {gang(3, seconds(5), exited(137), killed(2, "n1"))};
  for (const char* host : {"n0", "n1"}) looks_[host] = {answer(host, "1.0", true), silence()};
  EXPECT_THAT(run().error().message, HasSubstr("No host answers any more"));
}

TEST_F(MpiTest, TheErrorOfARankIsTheErrorOfAll) {
  gangs_ = {gang(3, seconds(5), exited(3),
                 tagged(1, error_line({Code::invalid_input, "On n1: There is no file 'x'.", {}})))};
  const auto outcome = run();
  EXPECT_EQ(outcome.error().code, Code::invalid_input);
  EXPECT_EQ(outcome.error().message, "On n1: There is no file 'x'.");
  EXPECT_EQ(starts_.size(), 1U);
}

TEST_F(MpiTest, AStoreThatOneRankCannotReachIsALoss) {
  gangs_ = {gang(3, seconds(5), exited(4),
                 tagged(1, error_line({Code::unavailable, "On n1: The store is away.", {}}))),
            done(3)};
  ASSERT_TRUE(run().ok());
  EXPECT_THAT(notes_, ElementsAre("A rank could not go on: On n1: The store is away."));
}

TEST_F(MpiTest, ARankThatSomebodyAskedToLeaveIsALossUnlessTheWorkIsOver) {
  const Script left = gang(3, seconds(5), exited(130),
                           tagged(1, error_line({Code::cancelled, "The run was cancelled.", {}})));
  gangs_ = {left, done(3)};
  job_.goes_on = [] { return true; };
  ASSERT_TRUE(run().ok());
  EXPECT_THAT(notes_, ElementsAre("A rank was asked to leave."));
  gangs_ = {left, left, left};
  job_.goes_on = [] { return false; };
  EXPECT_EQ(run().error().code, Code::cancelled);
}

TEST_F(MpiTest, AStartThatTakesTooLongNamesWhoIsMissing) {
  Script start;
  start.says = {{milliseconds(300), tagged(0, there_line("n0")) + tagged(1, there_line("n1"))}};
  gangs_ = {start};
  job_.gang_timeout = seconds(7);
  const auto outcome = run();
  EXPECT_EQ(outcome.error().code, Code::unavailable);
  EXPECT_THAT(outcome.error().message, HasSubstr("Nobody came from n1 within 7 s"));
}

TEST_F(MpiTest, RanksThatDoNotMeetAreNotMissing) {
  Script start;
  for (int rank = 0; rank < 3; ++rank) {
    start.says.emplace_back(milliseconds(300), tagged(rank, there_line("?")));
  }
  gangs_ = {start};
  EXPECT_THAT(run().error().message,
              HasSubstr("All ranks are there, but did not meet within 60 s"));
}

TEST_F(MpiTest, LaterAStartThatTakesTooLongIsALossLikeOthers) {
  gangs_ = {gang(3, seconds(5), exited(137), killed(2, "n1")), Script(), done(3)};
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(outcome->restarts, 2);
  EXPECT_THAT(notes_.back(), HasSubstr("Nobody came from n0, n1 within 60 s"));
}

TEST_F(MpiTest, AHostThatIsNotFitAtFirstIsAnErrorThatNamesIt) {
  Script without;
  without.says = {{milliseconds(100), "mpirun was unable to launch the specified application\n"}};
  without.ends = milliseconds(200);
  without.status = exited(132);
  Script unreachable;
  unreachable.says = {{milliseconds(100), "ssh: connect to host n1: No route to host\n---\n"}};
  unreachable.ends = milliseconds(200);
  unreachable.status = exited(255);
  Script blind;
  blind.says = {
      {milliseconds(100), tagged(0, error_line({Code::unavailable, "The store is away.", {}}))}};
  blind.ends = milliseconds(200);
  blind.status = exited(4);
  const std::pair<Script, const char*> cases[] = {
      {answer("n1", "0.9", true), "Host n1 has version 0.9 of Atelier, and this is 1.0"},
      {answer("n1", "1.0", false), "Host n1 does not see this run in its store"},
      {silence(), "Host n1 does not answer by interface eth1 in time"},
      {unreachable, "Host n1 does not answer by interface eth1 (ssh: connect to host n1: No route"},
      {without, "Host n1 cannot run 'rank'"},
      {blind, "Host n1 cannot open the run: The store is away."},
  };
  for (const auto& [script, sentence] : cases) {
    looks_["n1"] = {script, script};
    const auto outcome = run();
    EXPECT_EQ(outcome.error().code, Code::unavailable);
    EXPECT_THAT(outcome.error().message, HasSubstr(sentence));
    looks_.clear();
  }
  EXPECT_THAT(starts_, IsEmpty()) << "no gang was started";
}

TEST_F(MpiTest, AHostWhereNothingCouldBeStartedIsAskedTwice) {
  Script failed;
  failed.says = {{milliseconds(100), "mkdir /tmp/ompi.n0.0 failed\n"}};
  failed.ends = milliseconds(200);
  failed.status = exited(1);
  looks_["n1"] = {failed};
  gangs_ = {done(3)};
  EXPECT_TRUE(run().ok());
}

TEST_F(MpiTest, WithoutMpirunThereIsNothing) {
  startable_ = false;
  EXPECT_EQ(run().error().message, "'mpirun' cannot be started.");
}

TEST_F(MpiTest, NodesOfAnAllocationSayTheirNames) {
  job_.hosts.clear();
  job_.nodes = 2;
  job_.ranks_per_node = 2;
  nodes_.says = {{milliseconds(100), tagged(0, host_line({"c7", "1.0", true})) +
                                         tagged(1, host_line({"c9", "1.0", true}))}};
  nodes_.ends = milliseconds(200);
  gangs_ = {done(4)};
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_THAT(hosts_of_start(0), ElementsAre("c7:2", "c9:2"));
  job_.nodes = 3;
  EXPECT_THAT(run().error().message, HasSubstr("2 of 3 nodes answered mpirun"));
}

TEST_F(MpiTest, ARankWhoseBeatsStopIsLost) {
  Script endless = gang(3, seconds(0), 0);
  endless.ends.reset();
  gangs_ = {endless, done(3)};
  job_.beats = [this](int gang) -> Result<std::map<int, std::string>> {
    const std::string now = std::to_string(clock_.now().count());
    const bool frozen = gang == 1 && clock_.now() > seconds(20);
    return std::map<int, std::string>{{0, now}, {1, now}, {2, frozen ? "old" : now}};
  };
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_THAT(notes_, ElementsAre("Rank 2 on n1 gave no sign of life for 30 s."));
  EXPECT_GT(outcome->events[1].seconds, 50);
  EXPECT_LT(outcome->events[1].seconds, 60);
}

TEST_F(MpiTest, ARankThatNeverBeatsIsLostAndAStoreThatIsAwaySaysNothing) {
  Script endless = gang(3, seconds(0), 0);
  endless.ends.reset();
  gangs_ = {endless, gang(3, seconds(300), 0)};
  job_.beats = [this](int gang) -> Result<std::map<int, std::string>> {
    if (gang == 2) return make_error(Code::unavailable, "The store is away.");
    const std::string now = std::to_string(clock_.now().count());
    return std::map<int, std::string>{{0, now}, {2, now}};
  };
  const auto outcome = run();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_THAT(notes_, ElementsAre("Rank 1 on n1 gave no sign of life for 30 s."));
}

TEST_F(MpiTest, StoppingAsksTheGangToLeave) {
  Script endless = gang(3, seconds(0), 0);
  endless.ends.reset();
  gangs_ = {endless};
  stop_at_ = seconds(5);
  EXPECT_EQ(run().error().code, Code::cancelled);
  EXPECT_LT(clock_.now(), seconds(6));
  EXPECT_THAT(buried_, ElementsAre("1 of 3"));
}

TEST_F(MpiTest, AGangThatDoesNotLeaveIsNotWaitedForForEver) {
  Script deaf = gang(3, seconds(0), 0);
  deaf.ends.reset();
  deaf.obeys = false;
  gangs_ = {deaf};
  stop_at_ = seconds(5);
  EXPECT_EQ(run().error().code, Code::cancelled);
  EXPECT_LT(clock_.now(), seconds(17));
}

TEST_F(MpiTest, NodesOfAnAllocationAreLookedAtLikeNamedHosts) {
  job_.hosts.clear();
  job_.nodes = 4;
  const double now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  const std::vector<HostFacts> facts = {{"n0", "1.0", true, now, uint64_t{9} << 30},
                                        {"n1", "0.9", true, now, uint64_t{9} << 30},
                                        {"n2", "1.0", true, now - 90, uint64_t{9} << 30},
                                        {"n3", "1.0", true, now, uint64_t{9} << 20}};
  for (int rank = 0; rank < 4; ++rank) {
    nodes_.says.emplace_back(milliseconds(200),
                             tagged(rank, host_line(facts[static_cast<size_t>(rank)])));
  }
  nodes_.ends = milliseconds(300);
  const auto looked = look_at_hosts(job_, *this, clock_, stop_.get_token());
  ASSERT_TRUE(looked.ok()) << looked.error().message;
  std::vector<std::string> hosts;
  std::vector<std::string> texts;
  for (const HostTrouble& trouble : *looked) {
    hosts.push_back(trouble.host);
    texts.push_back(trouble.text);
  }
  EXPECT_THAT(hosts, ElementsAre("n0", "n1", "n2", "n3"));
  EXPECT_THAT(texts, ElementsAre("", HasSubstr("n1 has version 0.9"),
                                 HasSubstr("clock of host n2 is 90 s behind"),
                                 HasSubstr("n3 has 9 MiB free")));
}

TEST_F(MpiTest, NodesThatAreMissingAreSaidBesideThoseThatAnswer) {
  job_.hosts.clear();
  job_.nodes = 3;
  nodes_ = answer("n0", "0.9", true);
  const auto looked = look_at_hosts(job_, *this, clock_, stop_.get_token());
  ASSERT_TRUE(looked.ok()) << looked.error().message;
  ASSERT_EQ(looked->size(), 2U);
  EXPECT_THAT(looked->at(0).text, HasSubstr("n0 has version 0.9"));
  EXPECT_THAT(looked->at(1).text, HasSubstr("1 of 3 nodes answered mpirun"));
  nodes_ = Script{{}, milliseconds(300), exited(1), "", true};
  EXPECT_THAT(look_at_hosts(job_, *this, clock_, stop_.get_token()).error().message,
              HasSubstr("0 of 3 nodes answered mpirun"));
}

}  // namespace
}  // namespace atelier::engine
