// SPDX-License-Identifier: Apache-2.0
// For tests: the kinds of store and the decorators on which the contract is run.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "store/object_store.h"
#include "store/s3/fake_s3.h"
#include "store/test_folder.h"
#include "store/test_server.h"

namespace atelier {

class InstantClock final : public Clock {
 public:
  Duration now() const override { return Duration(now_); }
  void sleep_for(Duration duration) override { now_ += duration.count(); }

 private:
  std::atomic<int64_t> now_{0};
};

// A store and all that it stands on.
struct Rig {
  TestFolder folder;
  InstantClock clock;
  SystemClock system_clock;
  std::unique_ptr<s3::FakeS3> fake_s3;
  std::unique_ptr<TestServer> server;
  bool etags_are_hashes = false;
  std::atomic<bool> advisory{false};                 // conditions are, as a store found out
  std::vector<std::unique_ptr<ObjectStore>> stores;  // the last one is tested
  ~Rig() {
    while (!stores.empty()) stores.pop_back();
  }
  ObjectStore& top() { return *stores.back(); }
};

struct Kind {
  const char* name;
  std::function<void(Rig&)> build;
};

// Those of real services only where one was started (tests/net).
std::vector<Kind> contract_kinds();

}  // namespace atelier
