// SPDX-License-Identifier: Apache-2.0
// What mpirun 4.1.4 printed, word by word, mixed with what ranks say.
#include "engine/mpi_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atelier::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

std::string said_by(int rank, const std::string& line) {
  return fmt::format("[1,{}]<stdout>:{}\n", rank, line);
}

TEST(GangWords, WhoIsThereAndWhatTheySayIsFoundWhereverTheTextIsCut) {
  const std::string text = said_by(2, there_line("n3")) + "noise\n" + said_by(0, there_line("n0")) +
                           said_by(0, complete_line()) + said_by(0, statistic_line("frames", 40)) +
                           said_by(0, statistic_line("score_seconds", 0.125));
  for (size_t piece = 1; piece < text.size(); ++piece) {
    GangWords words;
    for (size_t begin = 0; begin < text.size(); begin += piece) {
      words.add(std::string_view(text).substr(begin, piece));
    }
    ASSERT_THAT(words.there(), ElementsAre(Pair(0, "n0"), Pair(2, "n3"))) << piece;
    ASSERT_TRUE(words.complete());
    ASSERT_THAT(words.statistics(), ElementsAre(Pair("frames", 40), Pair("score_seconds", 0.125)));
    ASSERT_EQ(words.telling_line(), "noise");
  }
}

TEST(GangWords, ALineThatHasNotEndedSaysNothingYet) {
  GangWords words;
  words.add("[1,0]<stdout>:@atelier complete");
  EXPECT_FALSE(words.complete());
  words.add("\n");
  EXPECT_TRUE(words.complete());
}

TEST(GangWords, TheWordsOfRanksAreTheirsAlone) {
  GangWords words;
  words.add(
      "@atelier complete\n[1,x]<stdout>:@atelier complete\n[1,0]<stdout>: @atelier complete\n");
  EXPECT_FALSE(words.complete());
  words.add(said_by(1, "@atelier statistic frames many") + said_by(1, "@atelier error odd It."));
  EXPECT_THAT(words.statistics(), IsEmpty());
  EXPECT_FALSE(words.error());
}

TEST(GangWords, AHostSaysWhatItIsAndSees) {
  GangWords words;
  words.add(said_by(0, host_line({"n1", "0.1.0", true})) +
            said_by(1, host_line({"n2", "0.2.0-rc1", false})));
  ASSERT_EQ(words.hosts().size(), 2U);
  EXPECT_EQ(words.hosts().at(0).host, "n1");
  EXPECT_TRUE(words.hosts().at(0).sees);
  EXPECT_EQ(words.hosts().at(1).version, "0.2.0-rc1");
  EXPECT_FALSE(words.hosts().at(1).sees);
}

TEST(GangWords, TheFirstErrorCountsUnlessItsRankWasOnlySentAway) {
  GangWords words;
  words.add(said_by(1, error_line({Code::cancelled, "Interrupted.", {}})));
  EXPECT_EQ(words.error()->code, Code::cancelled);
  words.add(said_by(2, error_line({Code::invalid_input, "There is\nno file.", {}})));
  words.add(said_by(0, error_line({Code::internal, "Another.", {}})));
  EXPECT_EQ(words.error()->code, Code::invalid_input);
  EXPECT_EQ(words.error()->message, "There is no file.");
}

TEST(GangWords, EveryCodeComesThrough) {
  for (const Code code :
       {Code::invalid_argument, Code::invalid_input, Code::unavailable, Code::conflict,
        Code::corrupt, Code::cancelled, Code::no_space, Code::internal}) {
    GangWords words;
    words.add(said_by(0, error_line({code, "It.", {}})));
    ASSERT_TRUE(words.error()) << to_string(code);
    EXPECT_EQ(words.error()->code, code);
  }
}

TEST(GangWords, ARankThatWasKilledIsNamed) {
  GangWords words;
  words.add(
      "--------------------------------------------------------------------------\n"
      "Primary job  terminated normally, but 1 process returned\n"
      "a non-zero exit code. Per user-direction, the job has been aborted.\n"
      "--------------------------------------------------------------------------\n"
      "mpirun noticed that process rank 2 with PID 0 on node n3 exited on signal 9 (Killed).\n");
  ASSERT_TRUE(words.death());
  EXPECT_EQ(words.death()->rank, 2);
  EXPECT_EQ(words.death()->host, "n3");
  EXPECT_EQ(words.death()->signal, 9);
  EXPECT_FALSE(words.lost_host());
}

TEST(GangWords, AHostThatWasLostIsNamed) {
  GangWords words;
  words.add(
      "ORTE has lost communication with a remote daemon.\n\n"
      "  HNP daemon   : [[58431,0],0] on node n0\n"
      "  Remote daemon: [[58431,0],3] on node n3\n\n"
      "This is usually due to either a failure of the TCP network\n");
  EXPECT_EQ(words.lost_host(), "n3");
}

TEST(GangWords, AProgramThatIsNotThereIsSeen) {
  GangWords words;
  EXPECT_FALSE(words.without_program());
  words.add(
      "mpirun was unable to launch the specified application as it could not access\n"
      "or execute an executable:\n\nExecutable: /nowhere/x\nNode: n2\n");
  EXPECT_TRUE(words.without_program());
  EXPECT_EQ(words.telling_line(),
            "mpirun was unable to launch the specified application as it could not access");
}

TEST(GangWords, TheFirstLineOfMpirunTellsMoreThanItsAdvice) {
  GangWords words;
  words.add("[1,0]<stderr>:a rank's\n");
  EXPECT_EQ(words.telling_line(), "a rank's");
  words.add(
      "[n0:01365] plm:rsh: Warning: setpgid(1397,1397) failed in parent with errno=Permission "
      "denied(13)\n"
      "ssh: connect to host n3 port 22: No route to host\n"
      "--------------------------------------------------------------------------\n"
      "ORTE was unable to reliably start one or more daemons.\n"
      "This usually is caused by:\n\n* not finding the required libraries\n");
  EXPECT_EQ(words.telling_line(), "ssh: connect to host n3 port 22: No route to host");
  EXPECT_TRUE(words.lost_daemon());
}

TEST(GangWords, EndlessLinesTakeNoEndlessMemory) {
  GangWords words;
  for (int i = 0; i < 100; ++i) words.add(std::string(10000, 'x'));
  words.add("\n" + said_by(0, complete_line()));
  EXPECT_TRUE(words.complete());
}

}  // namespace
}  // namespace atelier::engine
