// SPDX-License-Identifier: Apache-2.0
#include "run/gang_record.h"

#include <gtest/gtest.h>

#include "store/memory_store.h"

namespace atelier::run {
namespace {

TEST(GangRecord, TheLastGangOfARunIsRead) {
  const auto store = make_memory_store();
  EXPECT_EQ(read_gang(*store, "r").value(), std::nullopt);
  ASSERT_TRUE(put_gang(*store, "r", {"w.1.0", {{"frames", 3}}}).ok());
  ASSERT_TRUE(put_gang(*store, "r", {"w.1.1", {{"frames", 250}, {"score_seconds", 1.5}}}).ok());
  const auto read = read_gang(*store, "r").value();
  ASSERT_TRUE(read);
  EXPECT_EQ(read->gang, "w.1.1");
  EXPECT_EQ(read->statistics,
            (std::map<std::string, double>{{"frames", 250}, {"score_seconds", 1.5}}));
}

TEST(GangRecord, WhatIsNoneIsRefused) {
  for (const char* text : {"", "[]", R"({"gang": "g"})", R"({"gang": 1, "statistics": {}})",
                           R"({"gang": "g", "statistics": {"frames": "many"}})"}) {
    EXPECT_EQ(gang_from_json(text).error().code, Code::corrupt) << text;
  }
}

}  // namespace
}  // namespace atelier::run
