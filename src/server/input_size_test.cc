// SPDX-License-Identifier: Apache-2.0
#include "server/input_size.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "store/memory_store.h"
#include "store/test_folder.h"

namespace atelier::server {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct InputSizesTest : ::testing::Test {
  std::vector<std::string> opened;
  std::optional<Error> trouble;
  InputSizes sizes{[this](const Location& folder) -> Result<std::unique_ptr<ObjectStore>> {
    opened.push_back(folder.url());
    if (trouble) return *trouble;
    auto store = make_memory_store();
    TRY(store->put("in.mp4", as_bytes("12345"), Condition::always()));
    return store;
  }};
};

TEST_F(InputSizesTest, AFileIsLookedAtAndAnObjectAskedFor) {
  const TestFolder folder;
  std::ofstream(folder.path() / "in.mp4") << "123";
  EXPECT_EQ(sizes.of("file://" + (folder.path() / "in.mp4").string(), 0s).value(), 3);
  EXPECT_THAT(opened, IsEmpty());
  EXPECT_EQ(sizes.of("s3://b/a/in.mp4", 0s).value(), 5);
  EXPECT_EQ(sizes.of("s3://b/a/none.mp4", 0s).value(), std::nullopt);
  EXPECT_THAT(opened, ElementsAre("s3://b/a", "s3://b/a"));
}

TEST_F(InputSizesTest, APlaceThatDoesNotAnswerIsLeftAloneForAMinute) {
  trouble = Error{Code::unavailable, "It is away."};
  EXPECT_EQ(sizes.of("s3://b/a/in.mp4", 0s).error().message, "It is away.");
  trouble.reset();
  EXPECT_EQ(sizes.of("s3://b/other/in.mp4", 59s).error().message, "It is away.");
  EXPECT_EQ(sizes.of("s3://c/in.mp4", 59s).value(), 5) << "another place";
  EXPECT_EQ(sizes.of("s3://b/a/in.mp4", 60s).value(), 5);
  EXPECT_THAT(opened, ElementsAre("s3://b/a", "s3://c", "s3://b/a"));
}

TEST_F(InputSizesTest, WhatIsWrongWithOneObjectStopsNoOther) {
  trouble = Error{Code::corrupt, "It is cut short."};
  EXPECT_FALSE(sizes.of("s3://b/a/in.mp4", 0s).ok());
  trouble.reset();
  EXPECT_EQ(sizes.of("s3://b/a/in.mp4", 1s).value(), 5);
}

}  // namespace
}  // namespace atelier::server
