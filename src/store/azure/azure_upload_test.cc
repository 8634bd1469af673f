// SPDX-License-Identifier: Apache-2.0
// Uploads in blocks, and what becomes of writes whose answer is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "base/base64.h"
#include "base/hash.h"
#include "store/azure/fake_azure_test.h"
#include "store/retrying_store.h"

namespace atelier::azure {
namespace {

using testing::SizeIs;

class AzureWrites : public FakeAzureTest {};

std::vector<std::byte> large() {
  std::vector<std::byte> bytes((size_t{20} << 20) + 1);
  for (size_t i = 0; i < bytes.size(); i += 4096) bytes[i] = static_cast<std::byte>(i >> 12);
  return bytes;
}

bool is_block(const TestRequest& request) {
  return is_write(request) && request.query("comp") == "block";
}
bool is_commit(const TestRequest& request) {
  return is_write(request) && request.query("comp") == "blocklist";
}

TEST_F(AzureWrites, BlocksAreNamedAlikeAndListedInOrder) {
  open([](const TestRequest&) { return fine(); });
  const auto bytes = large();
  EXPECT_TRUE(store().put("k", bytes, Condition::if_absent()).value().written);
  ASSERT_THAT(fake().committed(), SizeIs(3));
  for (const std::string& name : fake().committed()) {
    EXPECT_EQ(from_base64(name).size(), from_base64(fake().committed()[0]).size());
    EXPECT_LE(from_base64(name).size(), 64U);
  }
  EXPECT_EQ(fake().blobs().at("k"), as_text(bytes));
  EXPECT_TRUE(store().get("k").value() == bytes);
  EXPECT_FALSE(store().put("k", bytes, Condition::if_absent()).value().written);
}

TEST_F(AzureWrites, ABlockListSaysTheMd5OfTheWhole) {
  open([](const TestRequest&) { return fine(); });
  const auto bytes = large();
  const auto upload = store().begin_upload("k").value();
  ASSERT_TRUE(upload->append(std::span(bytes).first(1000)).ok());
  ASSERT_TRUE(upload->append(std::span(bytes).subspan(1000)).ok());
  ASSERT_TRUE(upload->commit(Condition::always()).value().written);
  const auto all = requests();
  const auto commit = std::ranges::find_if(all, is_commit);
  ASSERT_NE(commit, all.end());
  EXPECT_EQ(commit->header("x-ms-blob-content-md5"), md5_base64(bytes));
}

TEST_F(AzureWrites, EveryPartOfALargeReadIsChecked) {
  std::atomic<int> damaged{-1};
  open([&](const TestRequest& request) -> std::optional<TestAnswer> {
    if (request.method != "GET" || request.header("x-ms-range").empty() || damaged-- != 0) {
      return fine();
    }
    TestAnswer answer = fake().answer(request);
    answer.bytes.back() ^= 1;
    return answer;
  });
  const auto bytes = large();
  ASSERT_TRUE(store().put("k", bytes, Condition::always()).value().written);
  EXPECT_TRUE(store().get("k").value() == bytes);
  for (const TestRequest& request : requests()) {
    if (request.method != "GET" || request.header("x-ms-range").empty()) continue;
    EXPECT_EQ(request.header("x-ms-range-get-content-md5"), "true");
  }
  for (const int nth : {1, 5}) {
    damaged = nth;
    EXPECT_EQ(store().get("k").error().code, Code::unavailable) << nth;
  }
}

TEST_F(AzureWrites, BlocksAreSentAgain) {
  std::atomic<int> seen{0};
  open([&](const TestRequest& request) {
    return is_block(request) && seen++ == 1 ? std::optional(http_answer(503)) : fine();
  });
  const auto bytes = large();
  EXPECT_TRUE(store().put("k", bytes, Condition::always()).value().written);
  EXPECT_TRUE(store().get("k").value() == bytes);
}

TEST_F(AzureWrites, BlocksThatAreWaitingAreNotSentAgain) {
  std::atomic<bool> broken{true};
  open([&](const TestRequest& request) {
    return is_commit(request) && broken ? std::optional(no_answer()) : fine();
  });
  const auto bytes = large();
  EXPECT_EQ(store().put("k", bytes, Condition::always()).error().code, Code::unavailable);
  broken = false;
  const size_t before = requests().size();
  EXPECT_TRUE(store().put("k", bytes, Condition::always()).value().written);
  EXPECT_EQ(requests().size(), before + 2) << "what is waiting, and the list";
  EXPECT_EQ(fake().blobs().at("k"), as_text(bytes));
}

TEST_F(AzureWrites, WhoMayNotReadSendsAllBlocks) {
  open([&](const TestRequest& request) {
    return request.method == "GET" ? std::optional(failure(403, "AuthorizationFailure")) : fine();
  });
  EXPECT_TRUE(store().put("k", large(), Condition::always()).value().written);
}

TEST_F(AzureWrites, BlocksThatAnotherUploadSweptAwayAreUnavailable) {
  open([](const TestRequest& request) {
    return is_commit(request) ? std::optional(failure(400, "InvalidBlockList")) : fine();
  });
  for (const Condition& condition :
       {Condition::always(), Condition::if_absent(), Condition::if_match("e")}) {
    EXPECT_EQ(store().put("k", large(), condition).error().code, Code::unavailable);
  }
}

TEST_F(AzureWrites, AnUploadEndsOnce) {
  open([](const TestRequest&) { return fine(); });
  auto upload = store().begin_upload("k").value();
  EXPECT_TRUE(upload->append(as_bytes("ab")).ok());
  EXPECT_TRUE(upload->append(as_bytes("c")).ok());
  EXPECT_TRUE(upload->commit(Condition::always()).value().written);
  EXPECT_EQ(upload->append(as_bytes("d")).error().code, Code::internal);
  EXPECT_EQ(upload->commit(Condition::always()).error().code, Code::internal);
  EXPECT_EQ(fake().blobs().at("k"), "abc");
  upload = store().begin_upload("l").value();
  EXPECT_TRUE(upload->append(as_bytes("ab")).ok());
  upload->abort();
  EXPECT_FALSE(upload->commit(Condition::always()).ok());
  EXPECT_FALSE(fake().blobs().contains("l"));
}

TEST_F(AzureWrites, ALostAnswerOfAPutIsFoundOut) {
  std::atomic<int> left{1};
  open([&](const TestRequest& request) -> std::optional<TestAnswer> {
    if (!is_write(request) || left-- <= 0) return fine();
    fake().answer(request);
    return no_answer();
  });
  RetryingStore retrying(store(), clock());
  EXPECT_TRUE(retrying.put("k", as_bytes("mine"), Condition::if_absent()).value().written);
  EXPECT_EQ(fake().writes(), 1U);
  EXPECT_FALSE(retrying.put("k", as_bytes("other"), Condition::if_absent()).value().written);
  EXPECT_EQ(fake().blobs().at("k"), "mine");
}

TEST_F(AzureWrites, ALostAnswerWhileAnotherWroteIsAConflict) {
  std::atomic<int> left{1};
  open([&](const TestRequest& request) -> std::optional<TestAnswer> {
    if (!is_write(request) || left-- <= 0) return fine();
    TestRequest other = request;
    other.body = "THEM";
    for (http::Header& header : other.headers) {
      if (header.name == "Content-MD5") header.value = md5_base64(as_bytes("THEM"));
    }
    fake().answer(other);
    return no_answer();
  });
  RetryingStore retrying(store(), clock());
  EXPECT_FALSE(retrying.put("k", as_bytes("mine"), Condition::if_absent()).value().written);
  EXPECT_EQ(fake().blobs().at("k"), "THEM");
}

TEST_F(AzureWrites, ALostAnswerOfACommitIsFoundOut) {
  open([&](const TestRequest& request) -> std::optional<TestAnswer> {
    if (!is_commit(request)) return fine();
    fake().answer(request);
    return no_answer();
  });
  RetryingStore retrying(store(), clock());
  const auto bytes = large();
  const auto upload = retrying.begin_upload("k").value();
  ASSERT_TRUE(upload->append(bytes).ok());
  EXPECT_TRUE(upload->commit(Condition::if_absent()).value().written);
  EXPECT_EQ(fake().writes(), 1U);
}

}  // namespace
}  // namespace atelier::azure
