// SPDX-License-Identifier: Apache-2.0
#include "engine/mpi_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atelier::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;

MpiSetup some_setup() {
  MpiSetup setup;
  setup.interface = "eth1";
  setup.program = "/opt/atelier-rank";
  return setup;
}

// What follows the options that every start has.
std::vector<std::string> after(const std::vector<std::string>& words, const std::string& first) {
  return {std::find(words.begin(), words.end(), first), words.end()};
}

bool has_parameter(const std::vector<std::string>& words, const std::string& name,
                   const std::string& value) {
  const std::vector<std::string> wanted = {"--mca", name, value};
  return std::search(words.begin(), words.end(), wanted.begin(), wanted.end()) != words.end();
}

TEST(Hosts, AreReadAsMpirunReadsThem) {
  const auto hosts = parse_hosts("# ours\nn0\n\n  n1 slots=2 # large\nn2\tslots=3\n", "h", 0);
  EXPECT_THAT(hosts.value(), ElementsAre(MpiHost{"n0", 1}, MpiHost{"n1", 2}, MpiHost{"n2", 3}));
  EXPECT_THAT(parse_hosts("n0\nn1 slots=2", "h", 4).value(),
              ElementsAre(MpiHost{"n0", 4}, MpiHost{"n1", 4}))
      << "as asked for on the command line";
}

TEST(Hosts, WhatIsWrongIsNamedWithItsLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"n0\nn1 slots=0\n", "Line 2 of 'h' says 'slots=0'"},
      {"n0 slots=2x\n", "Line 1 of 'h' says 'slots=2x'"},
      {"n0 max_slots=2\n", "says 'max_slots=2'"},
      {"n0\nn1\nn0 slots=2\n", "Line 3 of 'h' names host n0 a second time"},
      {"n0,n1\n", "says 'n0,n1', which is no host's name"},
      {"--mca\n", "says '--mca', which is no host's name"},
      {"# none\n", "'h' names no host"},
      {"", "'h' names no host"},
  };
  for (const auto& [text, sentence] : cases) {
    const auto hosts = parse_hosts(text, "h", 0);
    ASSERT_FALSE(hosts.ok()) << text;
    EXPECT_EQ(hosts.error().code, Code::invalid_argument);
    EXPECT_THAT(hosts.error().message, HasSubstr(sentence));
  }
}

TEST(GangCommand, GivesEachHostAnApplicationOfItsOwnInTheirOrder) {
  const auto words = gang_command(some_setup(), {{"n3", 1}, {"n0", 2}}, {"score", "file:///r"});
  EXPECT_EQ(words.front(), "mpirun");
  EXPECT_THAT(after(words, "--host"), ElementsAre("--host", "n3:1", "-n", "1", "/opt/atelier-rank",
                                                  "score", "file:///r", ":", "--host", "n0:2", "-n",
                                                  "2", "/opt/atelier-rank", "score", "file:///r"));
}

TEST(GangCommand, UsesTheInterfaceAloneAndNoticesSilence) {
  for (const auto& words :
       {gang_command(some_setup(), {{"n0", 1}}, {}), host_command(some_setup(), "n0", {}),
        nodes_command(some_setup(), 3, {})}) {
    EXPECT_TRUE(has_parameter(words, "btl_tcp_if_include", "eth1"));
    EXPECT_TRUE(has_parameter(words, "oob_tcp_if_include", "eth1"));
    EXPECT_TRUE(has_parameter(words, "oob_tcp_keepalive_time", "2"));
    EXPECT_TRUE(has_parameter(words, "oob_tcp_keepalive_intvl", "1"));
    EXPECT_TRUE(has_parameter(words, "oob_tcp_keepalive_probes", "2"));
    EXPECT_THAT(words, IsSupersetOf({"--tag-output", "--bind-to", "none"}));
  }
}

TEST(GangCommand, PassesVariablesOnByNameAlone) {
  MpiSetup setup = some_setup();
  EXPECT_EQ(after(gang_command(setup, {{"n0", 1}}, {}), "mca_base_env_list").size(), 0U);
  setup.variables = {"XDG_CONFIG_HOME", "LANG"};
  EXPECT_TRUE(has_parameter(gang_command(setup, {{"n0", 1}}, {}), "mca_base_env_list",
                            "XDG_CONFIG_HOME;LANG"));
}

TEST(NodesCommand, TakesOneProcessOnEach) {
  EXPECT_THAT(after(nodes_command(some_setup(), 3, {"host"}), "--map-by"),
              ElementsAre("--map-by", "ppr:1:node", "-n", "3", "/opt/atelier-rank", "host"));
}

TEST(HostOfRank, CountsThroughTheHosts) {
  const std::vector<MpiHost> hosts = {{"a", 1}, {"b", 2}, {"c", 1}};
  EXPECT_EQ(ranks_of(hosts), 4);
  std::string names;
  for (int rank = 0; rank < 5; ++rank) names += host_of_rank(hosts, rank) + ".";
  EXPECT_EQ(names, "a.b.b.c..");
}

}  // namespace
}  // namespace atelier::engine
