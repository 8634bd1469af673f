// SPDX-License-Identifier: Apache-2.0
// Two machines that share a folder: a writer on each of two mounts that have no locks, names or
// pages in common. Where such mounts are (tests/net/shared_mounts.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <barrier>
#include <cstdlib>
#include <random>
#include <set>
#include <thread>

#include "store/local_store.h"

namespace atelier {
namespace {

std::string mount(const char* name, size_t side) {
  const char* path =
      std::getenv(fmt::format("ATELIER_TEST_{}_{}", name, side == 0 ? "A" : "B").c_str());
  return path == nullptr ? "" : path;
}

// The parameter is the middle of the names of the two variables that name the mounts.
class SharedFolder : public testing::TestWithParam<const char*> {
 protected:
  SharedFolder() {
    std::random_device random;
    const std::string folder = fmt::format("/races-{:08x}{:08x}", random(), random());
    for (size_t side = 0; side < stores_.size(); ++side) {
      stores_.at(side) = open_local_store(mount(GetParam(), side) + folder).value();
    }
  }
  ObjectStore& store(size_t side) { return *stores_.at(side); }
  static size_t other(size_t side) { return 1 - side; }
  std::string get(size_t side, std::string_view key) {
    const auto bytes = store(side).get(key);
    return bytes.ok() ? std::string(as_text(*bytes)) : bytes.error().message;
  }
  // Calls work(side) on both sides at once, so often.
  template <class Work>
  static void race(int rounds, Work work) {
    std::barrier start(2);
    std::vector<std::jthread> threads;
    for (size_t side = 0; side < 2; ++side) {
      threads.emplace_back([&, side] {
        for (int round = 0; round < rounds; ++round) {
          start.arrive_and_wait();
          work(side, round);
        }
      });
    }
  }

 private:
  std::array<std::unique_ptr<ObjectStore>, 2> stores_;
};

TEST_P(SharedFolder, OneOfTwoPutIfAbsentWins) {
  constexpr int kRounds = 2000;
  std::array<std::vector<bool>, 2> written;
  race(kRounds, [&](size_t side, int round) {
    const std::string key = fmt::format("claims/{:06}", round);
    const auto outcome =
        store(side).put(key, as_bytes(side == 0 ? "a" : "b"), Condition::if_absent());
    ASSERT_TRUE(outcome.ok()) << outcome.error().message;
    written.at(side).push_back(outcome->written);
  });
  std::array<int, 2> won{};
  for (int round = 0; round < kRounds; ++round) {
    ASSERT_NE(written[0].at(round), written[1].at(round)) << round;
    const size_t winner = written[0].at(round) ? 0 : 1;
    ++won.at(winner);
    ASSERT_EQ(get(other(winner), fmt::format("claims/{:06}", round)), winner == 0 ? "a" : "b");
  }
  EXPECT_EQ(list_all(store(0), "claims/").value().size(), size_t{kRounds});
  EXPECT_GT(won[0], 0) << "there was no race";
  EXPECT_GT(won[1], 0) << "there was no race";
}

TEST_P(SharedFolder, IfMatchLosesNoUpdate) {
  constexpr int kEach = 300;
  ASSERT_TRUE(store(0).put("counter", {}, Condition::if_absent()).value().written);
  race(1, [&](size_t side, int) {
    for (int done = 0; done < kEach;) {
      const auto info = store(side).head("counter").value();
      ASSERT_TRUE(info.has_value());
      const auto old = store(side).get("counter", {}, info->etag);
      if (!old.ok()) {
        ASSERT_EQ(old.error().code, Code::conflict) << old.error().message;
        continue;
      }
      const std::string next = std::string(as_text(*old)) + (side == 0 ? "a" : "b");
      const auto put = store(side).put("counter", as_bytes(next), Condition::if_match(info->etag));
      ASSERT_TRUE(put.ok()) << put.error().message;
      if (put->written) ++done;
    }
  });
  const std::string all = get(0, "counter");
  EXPECT_EQ(std::count(all.begin(), all.end(), 'a'), kEach);
  EXPECT_EQ(std::count(all.begin(), all.end(), 'b'), kEach);
  EXPECT_EQ(get(1, "counter"), all);
}

// With an always between look and rename, an if_match must not write: what it wrote would hide that
// of the other one, who was told that it stands.
TEST_P(SharedFolder, AnIfMatchNeverHidesAPutThatCameBefore) {
  constexpr int kRounds = 400;
  std::array<std::vector<std::string>, 2> etags;  // of the first put; what the other one wanted
  race(kRounds, [&](size_t side, int round) {
    const std::string key = fmt::format("k/{}", round);
    if (side == 0) {
      etags[0].push_back(store(0).put(key, as_bytes("first"), Condition::if_absent()).value().etag);
      ASSERT_TRUE(store(0).put(key, as_bytes("stands"), Condition::always()).value().written);
    } else {
      std::optional<ObjectInfo> info;
      while (!info) info = store(1).head(key).value();
      etags[1].push_back(info->etag);
      ASSERT_TRUE(store(1).put(key, as_bytes("hides"), Condition::if_match(info->etag)).ok());
    }
  });
  int races = 0;
  for (int round = 0; round < kRounds; ++round) {
    if (etags[0].at(round) != etags[1].at(round)) continue;  // the other one came late
    ++races;
    ASSERT_EQ(get(0, fmt::format("k/{}", round)), "stands") << round;
  }
  EXPECT_GT(races, kRounds / 10) << "there was no race";
}

TEST_P(SharedFolder, WhatWasPutIsThereForTheNeighbour) {
  for (int round = 0; round < 200; ++round) {
    const size_t side = static_cast<size_t>(round % 2);
    const std::string text = fmt::format("text {}", round * 37);
    // The neighbour knows what was there before, and that some things were not.
    EXPECT_FALSE(store(other(side)).head(fmt::format("new/{}", round)).value().has_value());
    static_cast<void>(store(other(side)).head("one"));
    static_cast<void>(list_all(store(other(side)), "").value());
    const std::string etag =
        store(side).put("one", as_bytes(text), Condition::always()).value().etag;
    ASSERT_TRUE(
        store(side).put(fmt::format("new/{}", round), {}, Condition::if_absent()).value().written);
    EXPECT_EQ(list_all(store(other(side)), "new/").value().size(), round + 1U);
    EXPECT_EQ(store(other(side)).head("one").value().value().etag, etag);
    EXPECT_EQ(get(other(side), "one"), text);
    EXPECT_EQ(as_text(store(other(side)).get("one", {}, etag).value()), text);
    EXPECT_TRUE(store(other(side)).head(fmt::format("new/{}", round)).value().has_value());
  }
}

TEST_P(SharedFolder, WhatWasRemovedIsGoneForTheNeighbour) {
  for (int round = 0; round < 100; ++round) {
    const size_t side = static_cast<size_t>(round % 2);
    ASSERT_TRUE(store(side).put("f/k", as_bytes("x"), Condition::if_absent()).value().written);
    EXPECT_EQ(list_all(store(other(side)), "f/").value().size(), 1U);
    auto source = open_object(store(other(side)), "f/k").value();
    ASSERT_TRUE(store(side).remove("f/k").value());
    EXPECT_FALSE(store(other(side)).head("f/k").value().has_value());
    EXPECT_FALSE(store(other(side)).get("f/k").ok());
    std::array<std::byte, 1> one{};
    EXPECT_EQ(source->read_at(0, one).error().code, Code::conflict);
    EXPECT_FALSE(store(other(side)).remove("f/k").value());
    EXPECT_TRUE(list_all(store(other(side)), "").value().empty());
  }
}

TEST_P(SharedFolder, AReaderSeesOneVersionWhole) {
  constexpr int kVersions = 300;
  const auto version = [](int i) { return std::string(1000 + 211 * (i % 40), char('a' + i % 26)); };
  ASSERT_TRUE(store(0).put("v", as_bytes(version(0)), Condition::always()).value().written);
  std::atomic<bool> over{false};
  race(1, [&](size_t side, int) {
    if (side == 0) {
      for (int i = 0; i < kVersions; ++i) {
        EXPECT_TRUE(store(0).put("v", as_bytes(version(i)), Condition::always()).value().written);
      }
      over = true;
    } else {
      std::set<char> seen;
      while (!over || seen.empty()) {
        const auto bytes = store(1).get("v");
        ASSERT_TRUE(bytes.ok()) << bytes.error().message;
        const std::string text(as_text(*bytes));
        ASSERT_EQ(text.find_first_not_of(text[0]), std::string::npos) << "two versions in one";
        ASSERT_EQ((text.size() - 1000) % 211, 0U) << "half a version";
        seen.insert(text[0]);
      }
      EXPECT_GT(seen.size(), 3U) << "there was no race";
    }
  });
}

TEST_P(SharedFolder, UploadsOfBothSidesToOneName) {
  for (int round = 0; round < 50; ++round) {
    const std::string key = fmt::format("u/{}", round);
    std::array<bool, 2> written{};
    race(1, [&](size_t side, int) {
      auto upload = store(side).begin_upload(key).value();
      ASSERT_TRUE(upload->append(std::vector<std::byte>(100'000, std::byte(side))).ok());
      written.at(side) = upload->commit(Condition::if_absent()).value().written;
    });
    ASSERT_NE(written[0], written[1]);
    const size_t winner = written[0] ? 0 : 1;
    EXPECT_TRUE(store(other(winner)).get(key).value() ==
                std::vector<std::byte>(100'000, std::byte(winner)));
  }
}

TEST_P(SharedFolder, PutsAndRemovesOfOneFolderDoNotHurtEachOther) {
  race(300, [&](size_t side, int) {
    const std::string key = fmt::format("deep/er/{}", side);
    const auto put = store(side).put(key, as_bytes("x"), Condition::always());
    ASSERT_TRUE(put.ok()) << put.error().message;
    const auto removed = store(side).remove(key);
    ASSERT_TRUE(removed.ok()) << removed.error().message;
    EXPECT_TRUE(*removed);
  });
  EXPECT_TRUE(list_all(store(0), "").value().empty());
}

std::vector<const char*> mounts() {
  if (mount("SHARED", 0).empty()) return {};
  return {"SHARED", "SHARED_PLAIN"};
}
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SharedFolder);
INSTANTIATE_TEST_SUITE_P(Mounts, SharedFolder, testing::ValuesIn(mounts()),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace atelier
