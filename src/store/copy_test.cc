// SPDX-License-Identifier: Apache-2.0
#include "store/copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>

#include "store/counting_store.h"
#include "store/faulty_store.h"
#include "store/local_store.h"
#include "store/memory_store.h"
#include "store/retrying_store.h"
#include "store/test_folder.h"

namespace atelier {
namespace {

using testing::HasSubstr;

constexpr size_t kLarge = (size_t{20} << 20) + 7;

std::vector<std::byte> content(size_t size, unsigned seed) {
  std::vector<std::byte> bytes(size);
  uint32_t state = seed * 2654435761u + 1;
  for (std::byte& byte : bytes) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<std::byte>(state >> 24);
  }
  return bytes;
}

// Flips a bit of all that is appended, and tells of it.
class DamagingStore final : public ObjectStore {
 public:
  explicit DamagingStore(ObjectStore& inner) : inner_(inner) {}
  bool damages = true;
  std::optional<Error> cannot_remove;
  std::function<void()> on_append, after_get;

  Result<std::optional<ObjectInfo>> head(std::string_view key) override { return inner_.head(key); }
  Result<std::vector<std::byte>> get(std::string_view key, ByteRange range,
                                     std::string_view if_match) override {
    auto bytes = inner_.get(key, range, if_match);
    if (after_get) after_get();
    return bytes;
  }
  Result<PutOutcome> put(std::string_view key, std::span<const std::byte> bytes,
                         const Condition& condition) override {
    return inner_.put(key, bytes, condition);
  }
  Result<ListPage> list(std::string_view prefix, std::string_view after, size_t limit) override {
    return inner_.list(prefix, after, limit);
  }
  Result<bool> remove(std::string_view key) override {
    return cannot_remove ? Result<bool>(*cannot_remove) : inner_.remove(key);
  }
  Result<bool> decides_conditions(std::string_view key) override {
    return inner_.decides_conditions(key);
  }
  RetryPolicy retries() const override { return inner_.retries(); }
  std::string url(std::string_view key) const override { return inner_.url(key); }
  Result<std::unique_ptr<Upload>> begin_upload(std::string_view key) override {
    return std::unique_ptr<Upload>(
        std::make_unique<DamagingUpload>(*this, TRY(inner_.begin_upload(key))));
  }

 private:
  class DamagingUpload final : public Upload {
   public:
    DamagingUpload(DamagingStore& store, std::unique_ptr<Upload> inner)
        : store_(store), inner_(std::move(inner)) {}
    Result<void> append(std::span<const std::byte> bytes) override {
      std::vector<std::byte> copy(bytes.begin(), bytes.end());
      if (store_.damages && !copy.empty()) copy.back() ^= std::byte{1};
      TRY(inner_->append(copy));
      if (store_.on_append) store_.on_append();
      return {};
    }
    Result<PutOutcome> commit(const Condition& condition) override {
      return inner_->commit(condition);
    }
    void abort() override { inner_->abort(); }

   private:
    DamagingStore& store_;
    std::unique_ptr<Upload> inner_;
  };
  ObjectStore& inner_;
};

class CopyObjects : public testing::Test {
 protected:
  void put(ObjectStore& store, const std::string& key, const std::vector<std::byte>& bytes) {
    ASSERT_TRUE(store.put(key, bytes, Condition::always()).value().written);
  }
  Result<CopyTotals> copy(ObjectStore& from, ObjectStore& to, const CopyOptions& options = {}) {
    std::vector<CopyItem> items;
    for (const ObjectInfo& info : list_all(from, "").value()) {
      items.push_back({info, "to/" + info.key});
    }
    return copy_objects(from, to, items, options, clock_, stop_.get_token());
  }

  std::unique_ptr<ObjectStore> from_ = make_memory_store(), to_ = make_memory_store();
  FakeClock clock_;
  std::stop_source stop_;
};

TEST_F(CopyObjects, BytesAreTheSameBetweenKinds) {
  const TestFolder folder;
  const auto local = open_local_store(folder.path() / "copy").value();
  const std::map<std::string, std::vector<std::byte>> objects = {
      {"empty", {}},
      {"odd/ %41#\xff\u00e9", content(7, 1)},
      {"piece", content(size_t{8} << 20, 2)},
      {"large", content(kLarge, 3)}};
  uint64_t bytes = 0;
  for (const auto& [key, value] : objects) {
    put(*from_, key, value);
    bytes += value.size();
  }
  std::atomic<uint64_t> objects_said{0}, bytes_said{0};
  CopyOptions options;
  options.progress = [&](uint64_t n, uint64_t b) {
    objects_said = n;
    bytes_said = b;
  };
  EXPECT_EQ(copy(*from_, *local, options).value(), (CopyTotals{4, bytes, 0}));
  EXPECT_EQ(objects_said, 4u);
  EXPECT_EQ(bytes_said, bytes);
  for (const auto& [key, value] : objects) EXPECT_EQ(local->get("to/" + key).value(), value) << key;
  EXPECT_EQ(copy(*local, *to_).value().objects, 4u);
  for (const auto& [key, value] : objects) EXPECT_EQ(to_->get("to/to/" + key).value(), value);
}

TEST_F(CopyObjects, WhatIsThereAlreadyIsSkippedAndNotWritten) {
  for (int i = 0; i < 30; ++i) put(*from_, "n" + std::to_string(i), content(100, i));
  put(*from_, "large", content(kLarge, 99));
  put(*to_, "to/n7", content(100, 7));
  put(*to_, "to/large", content(kLarge, 99));
  CountingStore counting(*to_);
  EXPECT_EQ(copy(*from_, counting).value(), (CopyTotals{29, 2900, 2}));
  EXPECT_EQ(counting.counts().of(StoreVerb::commit), 29u);
  EXPECT_EQ(copy(*from_, counting).value(), (CopyTotals{0, 0, 31}));
  EXPECT_EQ(counting.counts().of(StoreVerb::commit), 29u);
}

TEST_F(CopyObjects, SomethingElseIsReplacedOnlyWhenAsked) {
  for (const size_t size : {size_t{5}, size_t{6}, kLarge}) {
    put(*from_, "x", content(size, 1));
    put(*to_, "to/x", content(6, 2));
    const auto refused = copy(*from_, *to_);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Code::invalid_argument);
    EXPECT_THAT(refused.error().message, HasSubstr("--force"));
    EXPECT_EQ(to_->get("to/x").value(), content(6, 2));
    CopyOptions options;
    options.replace = true;
    EXPECT_EQ(copy(*from_, *to_, options).value(), (CopyTotals{1, size, 0}));
    EXPECT_EQ(to_->get("to/x").value(), content(size, 1));
  }
}

TEST_F(CopyObjects, ADamagedCopyThatCannotBeRemovedIsSaidToBeDamaged) {
  put(*from_, "x", content(100, 1));
  DamagingStore damaging(*to_);
  damaging.cannot_remove = Error{Code::unavailable, "Away."};
  const auto damaged = copy(*from_, damaging);
  ASSERT_FALSE(damaged.ok());
  EXPECT_EQ(damaged.error().code, Code::corrupt);
  EXPECT_THAT(damaged.error().message, HasSubstr("could not be removed (Away.)"));
}

TEST_F(CopyObjects, WhatAnotherWroteInPlaceOfADamagedCopyStays) {
  put(*from_, "x", content(100, 1));
  DamagingStore damaging(*to_);
  damaging.after_get = [&] { put(*to_, "to/x", content(7, 2)); };
  EXPECT_EQ(copy(*from_, damaging).error().code, Code::conflict);
  EXPECT_EQ(to_->get("to/x").value(), content(7, 2));
}

TEST_F(CopyObjects, ADamagedCopyIsRemovedAndSaid) {
  for (const size_t size : {size_t{100}, kLarge}) {
    put(*from_, "x", content(size, 1));
    DamagingStore damaging(*to_);
    const auto damaged = copy(*from_, damaging);
    ASSERT_FALSE(damaged.ok());
    EXPECT_EQ(damaged.error().code, Code::corrupt);
    EXPECT_FALSE(to_->head("to/x").value());
    damaging.damages = false;
    EXPECT_EQ(copy(*from_, damaging).value().objects, 1u);
    ASSERT_TRUE(to_->remove("to/x").value());
  }
}

TEST_F(CopyObjects, ASourceThatChangesIsAConflictAndNothingIsWritten) {
  put(*from_, "x", content(kLarge, 1));
  DamagingStore watched(*to_);
  watched.damages = false;
  watched.on_append = [&] { put(*from_, "x", content(kLarge, 2)); };
  const auto copied = copy(*from_, watched);
  ASSERT_FALSE(copied.ok());
  EXPECT_EQ(copied.error().code, Code::conflict);
  EXPECT_FALSE(to_->head("to/x").value());
}

TEST_F(CopyObjects, WhoWritesMeanwhileWins) {
  put(*from_, "x", content(100, 1));
  DamagingStore watched(*to_);
  watched.damages = false;
  watched.on_append = [&] { put(*to_, "to/x", content(100, 1)); };
  EXPECT_EQ(copy(*from_, watched).value(), (CopyTotals{0, 0, 1})) << "they wrote the same";
  ASSERT_TRUE(to_->remove("to/x").value());
  watched.on_append = [&] { put(*to_, "to/x", content(100, 2)); };
  EXPECT_FALSE(copy(*from_, watched).ok());
  EXPECT_EQ(to_->get("to/x").value(), content(100, 2));
  CopyOptions options;
  options.replace = true;
  watched.on_append = [&] { put(*to_, "to/x", content(100, 3)); };
  EXPECT_EQ(copy(*from_, watched, options).error().code, Code::conflict);
  EXPECT_EQ(to_->get("to/x").value(), content(100, 3));
}

TEST_F(CopyObjects, AnUploadThatWasLostIsBegunAgain) {
  put(*from_, "x", content(kLarge, 1));
  FaultyStore faulty(*to_, scripted_faults({{StoreVerb::append, 1, Fault::before},
                                            {StoreVerb::commit, 0, Fault::before}}));
  uint64_t said = 0;
  CopyOptions options;
  options.progress = [&](uint64_t, uint64_t bytes) { said = bytes; };
  EXPECT_EQ(copy(*from_, faulty, options).value().objects, 1u);
  EXPECT_EQ(said, kLarge);
  EXPECT_EQ(faulty.faults(), 2u);
}

TEST_F(CopyObjects, AnUploadIsBegunAgainAsLongAsItsStoreIsAskedAgain) {
  put(*from_, "k", content(kLarge, 1));
  std::vector<ScriptedFault> script;
  for (uint64_t nth = 0; nth < 20; ++nth) script.push_back({StoreVerb::append, nth, Fault::before});
  const auto copy_within = [&](std::chrono::seconds budget) {
    FaultyStore faulty(*to_, scripted_faults(script));
    RetryPolicy policy;
    policy.attempts = 1000;
    policy.budget = budget;
    RetryingStore patient(faulty, clock_, policy);
    const auto begin = clock_.now();
    const auto done = copy(*from_, patient);
    EXPECT_LE(clock_.now() - begin, budget);
    return done;
  };
  EXPECT_EQ(copy_within(std::chrono::seconds(4)).error().code, Code::unavailable);
  EXPECT_EQ(copy_within(std::chrono::minutes(5)).value().objects, 1u);
}

TEST_F(CopyObjects, AfterAnInterruptTheSameCallGoesOn) {
  for (int i = 0; i < 30; ++i) put(*from_, "n" + std::to_string(i), content(100, i));
  CopyOptions options;
  options.progress = [&](uint64_t objects, uint64_t) {
    if (objects == 9) stop_.request_stop();
  };
  EXPECT_EQ(copy(*from_, *to_, options).error().code, Code::cancelled);
  const uint64_t done = list_all(*to_, "").value().size();
  EXPECT_LT(done, 30u);
  stop_ = std::stop_source();
  EXPECT_EQ(copy(*from_, *to_).value(), (CopyTotals{30 - done, 100 * (30 - done), done}));
}

}  // namespace
}  // namespace atelier
