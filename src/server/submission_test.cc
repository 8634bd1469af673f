// SPDX-License-Identifier: Apache-2.0
#include "server/submission.h"

#include <gmock/gmock.h>

#include "server/service_steps.h"
#include "store/test_folder.h"

namespace atelier::server {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kPipeline = R"(
name = "paint"
pool = "local"
max_attempts = 2
[parameters.input]
type = "input"
[parameters.output]
type = "output"
[parameters.style]
type = "model"
default = "starry-night"
[[steps]]
kind = "prepare"
input = "{input}"
[[steps]]
kind = "score"
model = "{style}"
[[steps]]
kind = "score"
model = "candy"
[[steps]]
kind = "finish"
output = "{output}"
)";

struct SubmissionTest : ::testing::Test {
  TestFolder folder;
  std::unique_ptr<Database> database =
      std::move(Database::open(folder.path() / "atelier.db")).value();
  Principal ann{"ann", Role::submitter, {}, {}};
  int64_t most_bytes = INT64_MAX;
  std::map<std::string, std::string> links;
  std::unique_ptr<Submissions> submissions;

  void SetUp() override {
    SubmissionRules rules;
    rules.places.media = {parse_location("/srv/media").value()};
    rules.resolve = [this](const std::filesystem::path& path) -> Result<std::filesystem::path> {
      const auto link = links.find(path.native());
      return link == links.end() ? path : std::filesystem::path(link->second);
    };
    rules.pools = {"local", "nights"};
    rules.default_pool = "local";
    rules.limits_of = [](const std::string&) { return QueueLimits{}; };
    rules.max_input_bytes_of = [this](const std::string&) { return most_bytes; };
    rules.size_of = [](const std::string&) { return std::optional<int64_t>(1000); };
    submissions = std::make_unique<Submissions>(std::move(rules));
    publish(kPipeline);
  }
  Publication publish(const std::string& toml, const std::string& name = "") {
    std::optional<Publication> made;
    const Result<void> done = database->write([&](Connection& connection) -> Result<void> {
      made = TRY(publish_pipeline(connection, toml, name, "ann", 1));
      return {};
    });
    EXPECT_TRUE(done.ok()) << (done.ok() ? "" : done.error().message);
    return made.value_or(Publication{});
  }
  Result<NewRun> check(const std::string& body) {
    std::optional<NewRun> run;
    TRY(database->read([&](Connection& connection) -> Result<void> {
      run = TRY(submissions->check(connection, TRY(parse_submission(body)), ann));
      return {};
    }));
    return *std::move(run);
  }
  std::string refusal(const std::string& body) {
    const auto run = check(body);
    EXPECT_FALSE(run.ok()) << body;
    EXPECT_TRUE(run.ok() || run.error().code == Code::invalid_argument);
    return run.ok() ? "" : run.error().message;
  }
  static std::string body(const std::string& more = "",
                          const std::string& input = "/srv/media/a.mp4") {
    return R"({"pipeline":"paint","parameters":{"input":")" + input +
           R"(","output":"/srv/media/b.mp4"})" + more + "}";
  }
};

TEST_F(SubmissionTest, ARequestBecomesARun) {
  const auto run =
      check(body(R"(,"labels":{"film":"x"},"priority":-5,"max_cost":2,"max_seconds":60)"));
  ASSERT_TRUE(run.ok()) << run.error().message;
  EXPECT_EQ(run->pipeline, "paint");
  EXPECT_EQ(run->version, 1);
  EXPECT_EQ(run->owner, "ann");
  EXPECT_EQ(run->pool, "local");
  EXPECT_EQ(run->input, "file:///srv/media/a.mp4");
  EXPECT_EQ(run->output, "file:///srv/media/b.mp4");
  EXPECT_EQ(run->bytes, 1000);
  EXPECT_EQ(run->priority, -5);
  EXPECT_EQ(run->max_cost, 2.0);
  EXPECT_THAT(run->parameters, HasSubstr("starry-night"));
}

TEST_F(SubmissionTest, WhatIsWrongIsSaid) {
  EXPECT_THAT(refusal("{"), HasSubstr("JSON object"));
  EXPECT_THAT(refusal(std::string(1000, '[')), HasSubstr("JSON object"));
  EXPECT_THAT(refusal(R"({"pipeline":"nope"})"), HasSubstr("no pipeline 'nope'"));
  EXPECT_THAT(refusal(body(R"(,"version":2)")), HasSubstr("of version 2"));
  EXPECT_THAT(refusal(body(R"(,"pool":"x")")), HasSubstr("no pool 'x'"));
  EXPECT_THAT(refusal(body(R"(,"priority":1)")), HasSubstr("operators"));
  EXPECT_THAT(refusal(body(R"(,"priority":101)")), HasSubstr("-100 to 100"));
  // The least whole number has no absolute value; what is larger than the largest is no -1.
  EXPECT_THAT(refusal(body(R"(,"priority":-9223372036854775808)")), HasSubstr("-100 to 100"));
  EXPECT_THAT(refusal(body(R"(,"priority":18446744073709551615)")), HasSubstr("whole number"));
  EXPECT_THAT(refusal(body(R"(,"labels":{"a":1})")), HasSubstr("labels"));
  EXPECT_THAT(refusal(body(R"(,"max_seconds":0)")), HasSubstr("above 0"));
  EXPECT_THAT(refusal(body(R"(,"nonsense":0)")), HasSubstr("no 'nonsense'"));
  EXPECT_THAT(refusal(body("", "/etc/passwd")), Not(HasSubstr("exist")));
  most_bytes = 999;
  EXPECT_THAT(refusal(body()), HasSubstr("1000 bytes"));
}

// What a link leads to may have changed since the run was submitted.
TEST_F(SubmissionTest, PlacesAndBytesAreLookedAtAgainWhenTheRunStarts) {
  ann.prefixes = {"/srv/media/ann"};
  const std::string own =
      R"({"pipeline":"paint","parameters":{"input":"/srv/media/ann/a.mp4","output":"/srv/media/ann/b.mp4"}})";
  RunRow run;
  static_cast<NewRun&>(run) = check(own).value();
  EXPECT_EQ(run.prefixes, ann.prefixes);
  std::optional<Submissions::Of> of;
  ASSERT_TRUE(database
                  ->read([&](Connection& connection) -> Result<void> {
                    of = TRY(submissions->read_back(connection, run));
                    return {};
                  })
                  .ok());
  const auto start = [&](std::optional<int64_t> bytes = {}) {
    return submissions->check_start(*of, run, bytes);
  };
  EXPECT_TRUE(start().ok());
  for (const char* name : {"/srv/media/ann/a.mp4", "/srv/media/ann/b.mp4"}) {
    for (const char* to : {"/etc/shadow", "/srv/media/bob/a.mp4"}) {
      links[name] = to;
      EXPECT_EQ(start().error().code, Code::invalid_argument) << name << to;
    }
    links.clear();
  }
  links["/srv/media/ann/a.mp4"] = "/srv/media/ann/c.mp4";
  EXPECT_TRUE(start().ok());
  most_bytes = 999;
  EXPECT_THAT(start().error().message, HasSubstr("1000 bytes"));
  EXPECT_TRUE(start(999).ok());
  run.pool = "gone";
  EXPECT_EQ(submissions->check_pool(run).error().code, Code::conflict);
}

TEST_F(SubmissionTest, ScopesHideAndRefuse) {
  ann.pipelines = {"other"};
  EXPECT_THAT(refusal(body()), HasSubstr("no pipeline 'paint'"));
  ann.pipelines = {};
  ann.prefixes = {"/srv/media/ann"};
  refusal(body());
  ann.role = Role::operator_;
  ann.prefixes = {"/srv/media"};
  EXPECT_TRUE(check(body(R"(,"priority":7)")).ok());
}

TEST_F(SubmissionTest, VersionsAreNumberedAndNeverChange) {
  EXPECT_FALSE(publish(kPipeline).is_new);
  std::string next = kPipeline;
  next.replace(next.find("max_attempts = 2"), 16, "max_attempts = 5");
  const Publication second = publish(next, "paint");
  EXPECT_TRUE(second.is_new);
  EXPECT_EQ(second.pipeline.version, 2);
  EXPECT_EQ(check(body()).value().version, 2);
  EXPECT_EQ(check(body(R"(,"version":1)")).value().version, 1);
  const Result<void> renamed = database->write([&](Connection& connection) -> Result<void> {
    TRY(publish_pipeline(connection, kPipeline, "other", "ann", 1));
    return {};
  });
  EXPECT_THAT(renamed.error().message, HasSubstr("must be the same"));
}

TEST_F(SubmissionTest, AConfigurationIsPublishedOncePerTextWhateverOthersPublish) {
  const auto start = [&](const std::string& toml) {
    std::optional<Publication> made;
    EXPECT_TRUE(database
                    ->write([&](Connection& connection) -> Result<void> {
                      made = TRY(publish_configured_pipeline(connection, toml, 1));
                      return {};
                    })
                    .ok());
    return made.value_or(Publication{});
  };
  const auto with_attempts = [](int number) {
    std::string text = kPipeline;
    text.replace(text.find("max_attempts = 2"), 16, fmt::format("max_attempts = {}", number));
    return text;
  };
  EXPECT_TRUE(start(with_attempts(3)).is_new);
  EXPECT_EQ(publish(with_attempts(4)).pipeline.version, 3);
  EXPECT_FALSE(start(with_attempts(3)).is_new) << "an operator's is newer";
  EXPECT_EQ(check(body()).value().version, 3);
  EXPECT_EQ(start(with_attempts(5)).pipeline.version, 4) << "the file was changed";
  EXPECT_FALSE(start(with_attempts(5)).is_new);
}

TEST_F(SubmissionTest, StepsBecomeCommandsThatFollowOneAnother) {
  const NewRun wanted = check(body()).value();
  RunRow run;
  static_cast<NewRun&>(run) = wanted;
  run.id = "run-1";
  Config config;
  config.stores.ops = parse_location("/srv/runs").value();
  config.pools.resize(2);
  config.pools[0].name = "local";
  config.pools[1].name = "nights";
  config.pools[1].engine = EngineName::slurm;
  config.pools[1].partition = "spot";
  std::optional<Submissions::Of> of;
  ASSERT_TRUE(database
                  ->read([&](Connection& connection) -> Result<void> {
                    of = TRY(submissions->read_back(connection, run));
                    return {};
                  })
                  .ok());
  const auto commands = run_commands(config, "/bin/atelier", *of, run);
  ASSERT_TRUE(commands.ok()) << commands.error().message;
  ASSERT_EQ(commands->size(), 2U);
  const auto& first = commands->front();
  const auto& last = commands->back();
  EXPECT_EQ(first[0], "/bin/atelier");
  EXPECT_EQ(first[1], "run");
  EXPECT_THAT(first, AllOf(Contains("--runs=/srv/runs"), Contains("--model=starry-night"),
                           Contains("/srv/media/a.mp4")));
  EXPECT_EQ(first.back(), last[last.size() - 2]) << "the second reads what the first wrote";
  EXPECT_THAT(first.back(), HasSubstr("/srv/runs/between-run-1-0"));
  EXPECT_EQ(last.back(), "/srv/media/b.mp4");
  EXPECT_THAT(last, Not(Contains("--force")));
  run.repeats = "0123456789abcdef";
  const auto repeated = run_commands(config, "/bin/atelier", *of, run).value();
  EXPECT_THAT(repeated.front(), Contains("--repeats=0123456789abcdef"));
  EXPECT_THAT(repeated.back(), Not(Contains("--repeats=0123456789abcdef")));
  run.repeats.reset();
  // It may have published before it was lost.
  run.run_urls = {"file:///srv/runs/1", "file:///srv/runs/2"};
  EXPECT_THAT(run_commands(config, "/bin/atelier", *of, run).value().back(), Contains("--force"));
  run.pool = "nights";
  EXPECT_THAT(run_commands(config, "/bin/atelier", *of, run).value().back(),
              Contains("--partition=spot"));
}

TEST(RunsAtOnce, APoolsNodesOverThoseOfOneRun) {
  PoolConfig pool;
  pool.max = 8;
  EXPECT_EQ(runs_at_once(pool), 8);
  pool.nodes = "1..4";
  EXPECT_EQ(runs_at_once(pool), 2);
  pool.nodes = "16";
  EXPECT_EQ(runs_at_once(pool), 1);
}

}  // namespace
}  // namespace atelier::server
