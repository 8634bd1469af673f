// SPDX-License-Identifier: Apache-2.0
// For tests: a store over a server that obeys, or has the trouble that it is told to have.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "store/s3/fake_s3.h"

namespace atelier::s3 {

// What goes wrong before, or in place of, what the server does; nothing: it answers as it should.
using Trouble = std::function<std::optional<TestAnswer>(const TestRequest& request)>;

// A fake server with trouble in front of it, and a store on it.
class FakeS3Test : public testing::Test {
 protected:
  void open(Trouble trouble, FakeS3::Conditions conditions = FakeS3::Conditions::obeyed) {
    fake_ = std::make_unique<FakeS3>(conditions);
    server_ = std::make_unique<TestServer>(
        [this, trouble = std::move(trouble)](const TestRequest& request) {
          if (auto answer = trouble(request)) return *std::move(answer);
          return fake_->answer(request);
        });
    Options options = options_for(*server_);
    options.note = [this](const std::string& sentence) { notes_.push_back(sentence); };
    store_ = open_s3_store(std::move(options), clock_).value();
  }
  // A server that always says the same.
  void open_with(const TestAnswer& answer) {
    open([answer](const TestRequest&) { return answer; });
  }
  ~FakeS3Test() override { store_.reset(); }

  FakeS3& fake() { return *fake_; }
  ObjectStore& store() { return *store_; }
  FakeClock& clock() { return clock_; }
  std::vector<TestRequest> requests() const { return server_->requests(); }
  const std::vector<std::string>& notes() const { return notes_; }
  Result<PutOutcome> put(std::string_view key, std::string_view text,
                         const Condition& condition = Condition::always()) {
    return store_->put(key, as_bytes(text), condition);
  }

 private:
  FakeClock clock_;
  std::vector<std::string> notes_;
  std::unique_ptr<FakeS3> fake_;
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<ObjectStore> store_;
};

inline std::optional<TestAnswer> fine() { return std::nullopt; }

// The nth request (from 0) that `wanted` is true of.
inline Trouble at(int nth, std::function<bool(const TestRequest&)> wanted, TestAnswer answer) {
  auto seen = std::make_shared<std::atomic<int>>(0);
  return [=](const TestRequest& request) {
    return wanted(request) && (*seen)++ == nth ? std::optional(answer) : fine();
  };
}

inline bool is_write(const TestRequest& request) { return request.method == "PUT"; }

}  // namespace atelier::s3
