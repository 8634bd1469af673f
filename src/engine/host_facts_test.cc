// SPDX-License-Identifier: Apache-2.0
#include "engine/host_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atelier::engine {
namespace {

using testing::HasSubstr;

TEST(HostFacts, ComeThroughAsTheyWereSaid) {
  const HostFacts facts = host_facts(to_words({"n1", "0.1.0", true, 1764540000.5, 1ULL << 40}));
  EXPECT_EQ(facts.host, "n1");
  EXPECT_EQ(facts.version, "0.1.0");
  EXPECT_TRUE(facts.sees);
  EXPECT_EQ(facts.clock, 1764540000.5);
  EXPECT_EQ(facts.free_space, 1ULL << 40);
}

TEST(HostFacts, WhatAnotherVersionDoesNotSayIsNotKnown) {
  for (const char* words :
       {"n1 0.0.9 blind", "n1 0.0.9 blind soon much", "n1 0.0.9 blind nan -1"}) {
    const HostFacts facts = host_facts(words);
    EXPECT_EQ(facts.version, "0.0.9");
    EXPECT_FALSE(facts.sees);
    EXPECT_EQ(facts.clock, std::nullopt) << words;
    EXPECT_EQ(facts.free_space, std::nullopt) << words;
    EXPECT_EQ(why_troubled("n1", facts, {}), "");
    EXPECT_THAT(why_unfit("n1", facts, "0.1.0"), HasSubstr("version 0.0.9"));
  }
}

TEST(HostFacts, AStoreThatIsNotSharedIsInTheWay) {
  EXPECT_THAT(why_unfit("n1", {"n1", "0.1.0", false, {}, {}}, "0.1.0"), HasSubstr("does not see"));
  EXPECT_EQ(why_unfit("n1", {"n1", "0.1.0", true, {}, {}}, "0.1.0"), "");
}

TEST(HostFacts, AClockIsWrongOnlyBeyondTheTimeThatTheAnswerTook) {
  const HostWatch watch{1000, 1100};
  const auto says = [&](double clock) {
    return why_troubled("n2", {"n2", "0.1.0", true, clock, 1ULL << 40}, watch);
  };
  for (const double clock : {971.0, 1000.0, 1050.0, 1129.0}) EXPECT_EQ(says(clock), "") << clock;
  EXPECT_EQ(says(940), "The clock of host n2 is 60 s behind this machine's; set both by NTP.");
  EXPECT_THAT(says(1200), HasSubstr("100 s ahead of"));
}

TEST(HostFacts, LittleRoomIsTold) {
  EXPECT_THAT(why_troubled("n2", {"n2", "0.1.0", true, {}, 700ULL << 20}, {}),
              HasSubstr("Host n2 has 700 MiB free"));
}

}  // namespace
}  // namespace atelier::engine
