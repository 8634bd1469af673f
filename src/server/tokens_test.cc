// SPDX-License-Identifier: Apache-2.0
#include "server/tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "base/hash.h"
#include "server/audit.h"
#include "store/secret.h"
#include "store/test_folder.h"

namespace atelier::server {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

constexpr Millis kDay = Millis{24} * 3600 * 1000;

struct TokensTest : ::testing::Test {
  TestFolder folder;
  std::atomic<uint64_t> commits = 0;
  std::unique_ptr<Database> database = [this] {
    DatabaseOptions options;
    options.before_commit = [this](uint64_t n) { commits = n; };
    return Database::open(folder.path() / "atelier.db", std::move(options)).value();
  }();
  FakeClock clock;
  FakeWallClock wall;
  Tokens tokens{*database, clock, wall};
  Call admin = call_of({"root", Role::admin, {}, {}});

  static Call call_of(Principal who) {
    Call call;
    call.who = std::move(who);
    return call;
  }
  static NewToken reader(std::string name = "anna") {
    NewToken wanted;
    wanted.name = std::move(name);
    return wanted;
  }
  MadeToken make(const NewToken& wanted) { return tokens.create(admin, wanted).value(); }
  std::optional<Principal> find(const std::string& secret) { return tokens.find(secret).value(); }
  std::vector<AuditEntry> audited() {
    AuditPage page;
    EXPECT_TRUE(database
                    ->read([&](Connection& connection) -> Result<void> {
                      page = TRY(list_audit(connection));
                      return {};
                    })
                    .ok());
    return page.entries;
  }
  void run(std::string_view sql) {
    EXPECT_TRUE(database
                    ->write([&](Connection& connection) -> Result<void> {
                      TRY(connection.run(sql));
                      return {};
                    })
                    .ok());
  }
};

TEST_F(TokensTest, ATokenIsKnownByItsText) {
  NewToken wanted = reader();
  wanted.role = Role::submitter;
  wanted.pipelines = {"paint"};
  wanted.prefixes = {"s3://bucket/in/", "/data/./in"};
  const MadeToken made = make(wanted);
  EXPECT_THAT(made.secret, MatchesRegex("atl_[A-Za-z0-9_-]+"));
  EXPECT_EQ(made.secret.size(), 47U);
  const auto who = find(made.secret);
  ASSERT_TRUE(who);
  EXPECT_EQ(who->name, "anna");
  EXPECT_EQ(who->role, Role::submitter);
  EXPECT_EQ(who->pipelines, std::vector<std::string>{"paint"});
  EXPECT_EQ(who->prefixes, (std::vector<std::string>{"s3://bucket/in", "file:///data/in"}));
}

TEST_F(TokensTest, TokensDiffer) {
  std::set<std::string> secrets, ids;
  for (int i = 0; i < 100; ++i) {
    const MadeToken made = make(reader());
    secrets.insert(made.secret);
    ids.insert(made.info.id);
  }
  EXPECT_EQ(secrets.size(), 100U);
  EXPECT_EQ(ids.size(), 100U);
}

TEST_F(TokensTest, OnlyTheHashIsOnDisk) {
  const MadeToken made = make(reader());
  ASSERT_TRUE(tokens.revoke(admin, made.info.id).value());
  const std::string secret = made.secret.substr(4);
  int files = 0;
  bool hashed = false;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    std::stringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    EXPECT_THAT(text.str(), Not(HasSubstr(secret))) << entry.path();
    hashed = hashed || text.str().find(sha256_hex(as_bytes(made.secret))) != std::string::npos;
    ++files;
  }
  EXPECT_GE(files, 2);
  EXPECT_TRUE(hashed);
}

TEST_F(TokensTest, WhatIsNoTokenIsNobody) {
  const MadeToken made = make(reader());
  std::string other = made.secret;
  other.back() = other.back() == 'A' ? 'B' : 'A';
  std::string upper = made.secret;
  upper[0] = 'A';
  for (const std::string& text :
       {std::string(), std::string("atl_"), other, upper, made.secret + "A", made.secret + "\n",
        made.secret.substr(0, 46), " " + made.secret, made.info.id, std::string("' OR 1=1 --"),
        sha256_hex(as_bytes(made.secret)), std::string(1 << 20, 'a')}) {
    EXPECT_FALSE(find(text)) << text.substr(0, 60);
  }
}

TEST_F(TokensTest, ARevokedTokenIsNobodyAtOnce) {
  const MadeToken made = make(reader()), other = make(reader());
  EXPECT_TRUE(find(made.secret));
  EXPECT_TRUE(tokens.revoke(admin, made.info.id).value());
  EXPECT_FALSE(find(made.secret));
  EXPECT_TRUE(find(other.secret));
  EXPECT_FALSE(tokens.revoke(admin, made.info.id).value());
  EXPECT_FALSE(tokens.revoke(admin, "unknown").value());
}

// Who read the row just before it was revoked must not remember it just after: by
// chance, since that moment is short.
TEST_F(TokensTest, ARevokedTokenStaysNobodyHoweverOftenItIsTried) {
  std::atomic<bool> done = false;
  for (int round = 0; round < 30; ++round) {
    const MadeToken made = make(reader());
    done = false;
    std::vector<std::jthread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        while (!done) {
          EXPECT_TRUE(tokens.find(made.secret).ok());
          clock.advance(std::chrono::seconds(5));  // so that the table is read again
        }
      });
    }
    EXPECT_TRUE(tokens.revoke(admin, made.info.id).value());
    for (int i = 0; i < 20; ++i) EXPECT_FALSE(find(made.secret));
    done = true;
  }
}

TEST_F(TokensTest, ATokenExpiresByTheTimeOfDayThoughItIsRemembered) {
  NewToken wanted = reader();
  wanted.lifetime = 1000;
  const MadeToken made = make(wanted);
  wall.advance(999);
  EXPECT_TRUE(find(made.secret));
  wall.advance(1);
  EXPECT_FALSE(find(made.secret));
}

TEST_F(TokensTest, TokensLiveForNinetyDaysUnlessAskedOtherwise) {
  EXPECT_EQ(make(reader()).info.expires_at, wall.now() + 90 * kDay);
  NewToken wanted = reader();
  wanted.lifetime = 365 * kDay;
  EXPECT_EQ(make(wanted).info.expires_at, wall.now() + 365 * kDay);
  for (const Millis bad : {365 * kDay + 1, Millis{0}, Millis{-1}}) {
    wanted.lifetime = bad;
    EXPECT_EQ(tokens.create(admin, wanted).error().code, Code::invalid_argument) << bad;
  }
}

// A table that is read again would not have the row.
TEST_F(TokensTest, WhatIsRememberedIsAtMostFiveSecondsOld) {
  const MadeToken made = make(reader());
  EXPECT_TRUE(find(made.secret));
  run("UPDATE tokens SET revoked_at = 1");
  clock.advance(std::chrono::milliseconds(4999));
  EXPECT_TRUE(find(made.secret));
  clock.advance(std::chrono::milliseconds(1));
  EXPECT_FALSE(find(made.secret));
  EXPECT_FALSE(find(made.secret));
}

TEST_F(TokensTest, ALookUpWritesNothing) {
  const MadeToken made = make(reader());
  const uint64_t before = commits;
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(find(made.secret));
    clock.advance(std::chrono::seconds(3));
  }
  EXPECT_FALSE(find("atl_" + std::string(43, 'x')));
  EXPECT_EQ(commits, before);
}

TEST_F(TokensTest, NobodyGivesMoreThanTheyHave) {
  const Call maker = call_of({"boss", Role::operator_, {"paint"}, {"s3://bucket/in"}});
  NewToken wanted = reader();
  wanted.pipelines = {"paint"};
  wanted.prefixes = {"s3://bucket/in/deep"};
  EXPECT_TRUE(tokens.create(maker, wanted).ok());
  const auto refused = [&](const std::function<void(NewToken&)>& change) {
    NewToken changed = wanted;
    change(changed);
    const auto made = tokens.create(maker, changed);
    return !made.ok() && made.error().code == Code::invalid_argument;
  };
  EXPECT_TRUE(refused([](NewToken& token) { token.role = Role::admin; }));
  EXPECT_TRUE(refused([](NewToken& token) { token.role = Role::nobody; }));
  EXPECT_TRUE(refused([](NewToken& token) { token.pipelines.clear(); }));
  EXPECT_TRUE(refused([](NewToken& token) { token.pipelines.emplace_back("other"); }));
  EXPECT_TRUE(refused([](NewToken& token) { token.prefixes.clear(); }));
  EXPECT_TRUE(refused([](NewToken& token) { token.prefixes = {"s3://bucket/input"}; }));
  EXPECT_TRUE(refused([](NewToken& token) { token.prefixes = {"s3://bucket/in/../out"}; }));
  EXPECT_EQ(tokens.create(call_of({}), reader()).error().code, Code::invalid_argument);
}

TEST_F(TokensTest, NamesAndScopesAreChecked) {
  for (const std::string& name :
       {std::string(), std::string(65, 'a'), std::string("a b"), std::string("trigger:x"),
        std::string("a\n"), std::string("\xc3\xa4"), std::string("a\0b", 3)}) {
    EXPECT_EQ(tokens.create(admin, reader(name)).error().code, Code::invalid_argument) << name;
  }
  NewToken wanted = reader();
  for (const std::string& prefix :
       {std::string(), std::string("a/b"), std::string("https://h/p"), std::string("az://a"),
        std::string("s3://b/in?sig=hush"), "/" + std::string(2000, 'a')}) {
    wanted.prefixes = {prefix};
    const auto made = tokens.create(admin, wanted);
    ASSERT_FALSE(made.ok()) << prefix;
    EXPECT_THAT(made.error().message, Not(HasSubstr("hush")));
  }
  wanted.prefixes.assign(101, "/a");
  EXPECT_FALSE(tokens.create(admin, wanted).ok());
  wanted.prefixes.clear();
  wanted.pipelines = {"no name"};
  EXPECT_FALSE(tokens.create(admin, wanted).ok());
}

TEST_F(TokensTest, NobodyTakesTheNameOfWhoMayMore) {
  NewToken boss = reader("boss");
  boss.role = Role::operator_;
  const MadeToken made = make(boss);
  const Call small = call_of({"small", Role::operator_, {"paint"}, {}});
  NewToken wanted = reader("boss");
  wanted.pipelines = {"paint"};
  EXPECT_EQ(tokens.create(small, wanted).error().code, Code::conflict);
  EXPECT_TRUE(tokens.create(admin, wanted).ok());
  ASSERT_TRUE(tokens.revoke(admin, made.info.id).value());
  EXPECT_TRUE(tokens.create(small, wanted).ok());
}

TEST_F(TokensTest, WhoMayLessNeitherSeesNorRevokes) {
  const MadeToken all = make(reader("all"));
  NewToken narrow = reader("narrow");
  narrow.pipelines = {"paint"};
  const MadeToken some = make(narrow);
  const Principal who{"x", Role::operator_, {"paint"}, {}};
  const auto seen = tokens.list(who).value();
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].id, some.info.id);
  EXPECT_EQ(tokens.list(admin.who).value().size(), 2U);
  EXPECT_FALSE(tokens.revoke(call_of(who), all.info.id).value());
  EXPECT_TRUE(find(all.secret));
  EXPECT_TRUE(tokens.revoke(call_of(who), some.info.id).value());
}

TEST_F(TokensTest, WhatIsListedTellsTheStateAndNoSecret) {
  const MadeToken first = make(reader("first"));
  wall.advance(10);
  make(reader("second"));
  ASSERT_TRUE(tokens.revoke(admin, first.info.id).value());
  const auto listed = tokens.list(admin.who).value();
  ASSERT_EQ(listed.size(), 2U);
  EXPECT_EQ(listed[0].principal.name, "second");
  EXPECT_FALSE(listed[0].revoked_at);
  EXPECT_EQ(listed[1].revoked_at, wall.now());
  EXPECT_EQ(listed[1].created_by, "root");
  EXPECT_EQ(listed[1].created_at, wall.now() - 10);
}

TEST_F(TokensTest, ChangesAreAuditedWithoutTheSecret) {
  const MadeToken made = make(reader());
  ASSERT_TRUE(tokens.revoke(admin, made.info.id).value());
  ASSERT_FALSE(tokens.revoke(admin, made.info.id).value());
  const auto entries = audited();
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].action, "revokeToken");
  EXPECT_EQ(entries[1].action, "createToken");
  for (const AuditEntry& entry : entries) {
    EXPECT_EQ(entry.who, "root");
    EXPECT_EQ(entry.subject, made.info.id);
    EXPECT_THAT(entry.detail, HasSubstr(R"("name":"anna")"));
    EXPECT_THAT(entry.detail, Not(HasSubstr(made.secret)));
    EXPECT_THAT(entry.detail, Not(HasSubstr(sha256_hex(as_bytes(made.secret)))));
  }
}

TEST_F(TokensTest, AScopeThatCannotBeReadIsNotAll) {
  const MadeToken made = make(reader());
  for (const char* column : {"pipelines = ''", "pipelines = '{}'", "prefixes = '[1]'",
                             "role = 'root'", "prefixes = 'null'"}) {
    run(std::string("UPDATE tokens SET pipelines = '[]', prefixes = '[]', role = 'reader'"));
    run(std::string("UPDATE tokens SET ") + column);
    EXPECT_EQ(tokens.find(made.secret).error().code, Code::corrupt) << column;
  }
}

TEST_F(TokensTest, TheFirstStartMakesAnAdminOnce) {
  std::string kept;
  const auto keep = [&](const std::string& secret) -> Result<void> {
    kept = secret;
    return {};
  };
  ASSERT_TRUE(tokens.make_first_admin_token(keep).value());
  const auto who = find(kept);
  ASSERT_TRUE(who);
  EXPECT_EQ(who->role, Role::admin);
  EXPECT_TRUE(who->pipelines.empty() && who->prefixes.empty());
  EXPECT_FALSE(tokens.make_first_admin_token(keep).value());
  EXPECT_EQ(audited().size(), 1U);
  // Locked out: the next start opens again.
  wall.advance(91 * kDay);
  EXPECT_FALSE(find(kept));
  const std::string old = kept;
  ASSERT_TRUE(tokens.make_first_admin_token(keep).value());
  EXPECT_NE(kept, old);
  EXPECT_TRUE(find(kept));
}

TEST_F(TokensTest, AnAdminWithAScopeIsNotEnough) {
  NewToken wanted = reader();
  wanted.role = Role::admin;
  wanted.pipelines = {"paint"};
  make(wanted);
  const auto keep = [](const std::string&) { return Result<void>(); };
  EXPECT_TRUE(tokens.make_first_admin_token(keep).value());
}

TEST_F(TokensTest, AFirstTokenThatCannotBeKeptIsNotMade) {
  std::string lost;
  const auto keep = [&](const std::string& secret) -> Result<void> {
    lost = secret;
    return make_error(Code::no_space, "full");
  };
  EXPECT_EQ(tokens.make_first_admin_token(keep).error().code, Code::no_space);
  EXPECT_FALSE(find(lost));
  EXPECT_TRUE(tokens.list(admin.who).value().empty());
}

TEST_F(TokensTest, ASecretFileIsPrivateAndReplacesWhatWasThere) {
  const auto file = folder.path() / "admin.token";
  std::ofstream(file) << "old and much longer than what comes";
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  const auto target = folder.path() / "target";
  std::ofstream(target) << "untouched";
  std::filesystem::create_symlink(target, file.string() + ".new");
  ASSERT_TRUE(write_secret_file(file, "atl_x").ok());
  struct stat status {};
  ASSERT_EQ(::stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  EXPECT_EQ(read_secret_file(file).value(), "atl_x");
  EXPECT_EQ(std::filesystem::file_size(target), 9U);
  EXPECT_FALSE(std::filesystem::exists(file.string() + ".new"));
  const auto nowhere = write_secret_file(folder.path() / "no" / "file", "atl_hush");
  ASSERT_EQ(nowhere.error().code, Code::invalid_argument);
  EXPECT_THAT(nowhere.error().message, Not(HasSubstr("hush")));
}

}  // namespace
}  // namespace atelier::server
