// SPDX-License-Identifier: Apache-2.0
#include "run/tuning_cache.h"

#include <gtest/gtest.h>

#include "model/runner.h"
#include "store/memory_store.h"

namespace atelier::run {
namespace {

TEST(TuningCache, KnowsWhatWasKeptAndWhatIsNewGoesFirst) {
  const auto store = make_memory_store();
  TuningCache cache(*store);
  EXPECT_TRUE(cache.known().empty());
  ASSERT_TRUE(cache.keep({{"a", "direct"}, {"b", "direct"}}).ok());
  ASSERT_TRUE(cache.keep({{"b", "winograd_f4x3"}, {"c", "direct"}}).ok());
  const model::Choices expected{{"a", "direct"}, {"b", "winograd_f4x3"}, {"c", "direct"}};
  EXPECT_EQ(TuningCache(*store).known(), expected);
}

TEST(TuningCache, AnObjectOfItsOwnForEachMachineSaysWhich) {
  const auto store = make_memory_store();
  ASSERT_TRUE(TuningCache(*store).keep({{"a", "direct"}}).ok());
  const auto objects = list_all(*store, "tuning/").value();
  ASSERT_EQ(objects.size(), 1U);
  const auto text = store->get(objects[0].key).value();
  EXPECT_NE(as_text(text).find(model::tuning_machine()), std::string_view::npos);
}

TEST(TuningCache, WhatIsDamagedIsMeasuredAgain) {
  const auto store = make_memory_store();
  TuningCache cache(*store);
  ASSERT_TRUE(cache.keep({{"a", "direct"}}).ok());
  const std::string key = list_all(*store, "").value().front().key;
  for (const std::string& text :
       {std::string(), std::string("{\"choices\""), std::string("{\"choices\": [1]}"),
        std::string("{\"choices\": {\"a\": 1}}"), std::string("{\"choices\": {\"a\": \"\"}}"),
        std::string("{\"choices\": {\"a\\u0007\": \"direct\"}}"),
        "{\"choices\": {\"" + std::string(600, 'a') + "\": \"direct\"}}",
        std::string(size_t{9} << 20, ' ')}) {
    ASSERT_TRUE(store->put(key, as_bytes(text), Condition::always()).ok());
    EXPECT_TRUE(cache.known().empty()) << text.substr(0, 80);
    ASSERT_TRUE(cache.keep({{"b", "direct"}}).ok());
    EXPECT_EQ(cache.known(), (model::Choices{{"b", "direct"}}));
  }
}

TEST(TuningCache, IsBounded) {
  const auto store = make_memory_store();
  TuningCache cache(*store);
  model::Choices many;
  for (int i = 0; i < 10'000; i++) many[std::to_string(i)] = "direct";
  ASSERT_TRUE(cache.keep(many).ok());
  EXPECT_EQ(cache.known().size(), 10'000U);
  ASSERT_TRUE(cache.keep({{"new", "direct"}}).ok());
  EXPECT_EQ(cache.known(), (model::Choices{{"new", "direct"}}));
}

}  // namespace
}  // namespace atelier::run
