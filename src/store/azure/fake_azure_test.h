// SPDX-License-Identifier: Apache-2.0
// For tests: a store over a service that obeys, or has the trouble that it is told to have.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/azure/azure_store.h"
#include "store/azure/fake_azure.h"

namespace atelier::azure {

// What is said in place of the fake's answer; nothing: it answers as it should.
using Trouble = std::function<std::optional<TestAnswer>(const TestRequest& request)>;

inline std::optional<TestAnswer> fine() { return std::nullopt; }

inline bool is_write(const TestRequest& request) { return request.method == "PUT"; }

class FakeAzureTest : public testing::Test {
 protected:
  ~FakeAzureTest() override { store_.reset(); }

  void open(Trouble trouble, Credential credential = {}, std::string prefix = {}) {
    store_.reset();
    fake_ = std::make_unique<FakeAzure>();
    server_ = std::make_unique<TestServer>(
        [this, trouble = std::move(trouble)](const TestRequest& request) {
          if (auto answer = trouble(request)) return *std::move(answer);
          return fake_->answer(request);
        });
    Account account;
    account.name = "acct";
    account.endpoint = server_->url() + "/acct";
    account.credential = std::move(credential);
    store_ = open_azure_store(std::move(account), {"box", std::move(prefix)}, clock_);
  }
  void open_with(const TestAnswer& answer, Credential credential = {}) {
    open([answer](const TestRequest&) { return answer; }, std::move(credential));
  }

  FakeAzure& fake() { return *fake_; }
  ObjectStore& store() { return *store_; }
  FakeClock& clock() { return clock_; }
  std::vector<TestRequest> requests() const { return server_->requests(); }
  Result<PutOutcome> put(std::string_view key, std::string_view text,
                         const Condition& condition = Condition::always()) {
    return store_->put(key, as_bytes(text), condition);
  }
  // Of every verb, that which it ends with.
  std::vector<Error> errors_of_all() {
    std::vector<Error> errors;
    const auto add = [&](const auto& result) {
      if (!result.ok()) errors.push_back(result.error());
    };
    add(store_->head("k"));
    add(store_->get("k"));
    add(put("k", "x"));
    add(store_->list("", "", 1));
    add(store_->remove("k"));
    return errors;
  }
  std::vector<std::string> all_keys(std::string_view prefix, std::string after, size_t limit) {
    std::vector<std::string> keys;
    for (int pages = 0; pages < 100; ++pages) {
      const ListPage page = store_->list(prefix, after, limit).value();
      for (const ObjectInfo& info : page.objects) keys.push_back(info.key);
      after = page.next;
      if (after.empty()) break;
    }
    return keys;
  }

 private:
  FakeClock clock_;
  std::unique_ptr<FakeAzure> fake_;
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<ObjectStore> store_;
};

}  // namespace atelier::azure
