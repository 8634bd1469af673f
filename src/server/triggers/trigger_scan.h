// SPDX-License-Identifier: Apache-2.0
// What a trigger's place holds, made into receipts: lists and looks, and lets files settle.
//
// The idea: whatever is noticed, by a list or by a single look, goes one way: what the filters
// want and what has no receipt yet is recorded once it is whole. Of a file that is listed nobody
// knows whether it is; it counts as whole when size and etag were the same at two looks that are
// `settle` apart. What settles is in memory only: after a restart it settles anew, and nothing is
// missed. Tested by trigger_scan_test.cc without threads.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "server/triggers/receipts.h"
#include "store/object_store.h"

namespace atelier::server {

// One thread at a time. Errors of all: those of the store and of Receipts; what was found until
// then is recorded.
class TriggerScan {
 public:
  // All must outlive it. The store's keys are paths below the trigger's location.
  TriggerScan(const Trigger& trigger, ObjectStore& store, Receipts& receipts, const Clock& clock)
      : trigger_(trigger), store_(store), receipts_(receipts), clock_(clock) {}

  // All that is there. The number of receipts that are new. `go_on` is asked between pages; where
  // it says no, less was listed.
  Result<int64_t> scan(const std::function<bool()>& go_on);
  // Just these. `whole`: they need not settle.
  Result<int64_t> look(const std::set<std::string>& paths, bool whole);
  // Those that have been the same for long enough, if they still are.
  Result<int64_t> look_at_settled();

  // When the next of those will have been; unset if nothing settles.
  std::optional<Clock::Duration> next_settled() const;
  size_t settling() const { return settling_.size(); }
  // Objects that the filters want, by the last scan that came to its end.
  int64_t listed() const { return listed_; }

 private:
  struct Settling {
    uint64_t size = 0;
    std::string etag;
    Clock::Duration since{};
    uint64_t scan = 0;  // that saw it last
  };
  Result<int64_t> take(std::vector<ObjectInfo> infos, bool whole, bool has_metadata);
  bool is_settled(const Blob& blob, const std::map<std::string, Settling>& before);
  Result<std::vector<Blob>> with_metadata(std::vector<Blob> blobs);

  const Trigger& trigger_;
  ObjectStore& store_;
  Receipts& receipts_;
  const Clock& clock_;
  std::map<std::string, Settling> settling_;  // by path
  uint64_t scans_ = 0;
  int64_t listed_ = 0;
  int64_t listing_ = 0;
};

}  // namespace atelier::server
