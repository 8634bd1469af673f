// SPDX-License-Identifier: Apache-2.0
#include "server/audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/test_folder.h"

namespace atelier::server {
namespace {

using testing::HasSubstr;
using testing::Not;

struct AuditTest : ::testing::Test {
  TestFolder folder;
  std::unique_ptr<Database> database = Database::open(folder.path() / "atelier.db").value();
  FakeWallClock clock{5000};
  Call call = [] {
    Call made;
    made.who.name = "anna";
    made.address = "192.0.2.7";
    return made;
  }();
  Result<void> add(std::string subject, std::string detail = "{}") {
    return database->write([&](Connection& connection) {
      return audit(connection, call, clock, "cancelRun", subject, detail);
    });
  }
  AuditPage list(int64_t before = 0, int most = 100) {
    AuditPage page;
    EXPECT_TRUE(database
                    ->read([&](Connection& connection) -> Result<void> {
                      page = TRY(list_audit(connection, before, most));
                      return {};
                    })
                    .ok());
    return page;
  }
};

TEST_F(AuditTest, WhoDidWhatIsListed) {
  ASSERT_TRUE(add("run/1", R"({"why":"tired"})").ok());
  const AuditPage page = list();
  ASSERT_EQ(page.entries.size(), 1U);
  EXPECT_EQ(page.next, 0);
  const AuditEntry& entry = page.entries[0];
  EXPECT_EQ(entry.at, 5000);
  EXPECT_EQ(entry.who, "anna");
  EXPECT_EQ(entry.address, "192.0.2.7");
  EXPECT_EQ(entry.action, "cancelRun");
  EXPECT_EQ(entry.subject, "run/1");
  EXPECT_EQ(entry.detail, R"({"why":"tired"})");
}

TEST_F(AuditTest, AChangeThatFailsHasNoRow) {
  const Result<void> done = database->write([&](Connection& connection) -> Result<void> {
    TRY(audit(connection, call, clock, "cancelRun", "run/1"));
    return make_error(Code::conflict, "no");
  });
  EXPECT_FALSE(done.ok());
  EXPECT_TRUE(list().entries.empty());
}

TEST_F(AuditTest, PagesFollowOneAnother) {
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(add(std::to_string(i)).ok());
  std::string seen;
  int pages = 0;
  for (int64_t before = 0;; ++pages) {
    const AuditPage page = list(before, 3);
    EXPECT_LE(page.entries.size(), 3U);
    for (const AuditEntry& entry : page.entries) seen += entry.subject;
    // What is added meanwhile shifts nothing.
    ASSERT_TRUE(add("x").ok());
    if (page.next == 0) break;
    before = page.next;
  }
  EXPECT_EQ(seen, "6543210");
  EXPECT_EQ(pages, 2);
}

TEST_F(AuditTest, APageThatIsJustFullIsTheLast) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(add(std::to_string(i)).ok());
  EXPECT_EQ(list(0, 3).next, 0);
  EXPECT_EQ(list(0, 0).entries.size(), 1U);
}

TEST_F(AuditTest, SecretsAreNotWrittenDown) {
  ASSERT_TRUE(add("https://h/?hush", R"({"signature":"hush","url":"https://h/a?sig=hush",
                                         "note":"atl_hush"})")
                  .ok());
  const AuditEntry entry = list().entries.at(0);
  EXPECT_THAT(entry.subject, Not(HasSubstr("hush")));
  EXPECT_THAT(entry.detail, Not(HasSubstr("hush")));
}

TEST_F(AuditTest, WhatIsLongIsCut) {
  std::string umlauts;
  for (int i = 0; i < 5000; ++i) umlauts += "\xc3\xa4";
  ASSERT_TRUE(add(umlauts, "{\"a\":\"" + std::string(100'000, 'x') + "\"}").ok());
  const AuditEntry entry = list().entries.at(0);
  EXPECT_EQ(entry.subject.size(), 1024U + 3);
  EXPECT_THAT(entry.detail, HasSubstr("bytes_left_out"));
  EXPECT_EQ(add("a", "no json").error().code, Code::internal);
}

}  // namespace
}  // namespace atelier::server
