// SPDX-License-Identifier: Apache-2.0
// Objects copied from one store to another, of whatever kinds.
//
// Each is read once, in pieces of 8 MiB at one etag, hashed on the way (SHA-256), written under a
// condition, and read back: so what stands under the new name is what was read, or it is removed
// and an error says so. What is there already is compared byte by byte and skipped if it is the
// same: so the same call goes on after one that was cut short. Of one large object it begins anew,
// unless the kind of the destination keeps what arrived (azure/azure_store.h).
//
// Cost: reads twice what it writes. Memory: about 64 MiB for four objects of up to 8 MiB, which go
// at the same time; about 100 MiB for a larger one, which go one after the other, and 200 MiB for
// one of 40 GiB, whose parts are larger (remote_transfer.h).
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "store/object_store.h"

namespace atelier {

struct CopyItem {
  ObjectInfo from;  // as listed: only this version is copied
  std::string to;   // key at the destination
};

struct CopyTotals {
  uint64_t objects = 0;  // that were written
  uint64_t bytes = 0;    // of them
  uint64_t skipped = 0;  // objects that were there already
  bool operator==(const CopyTotals&) const = default;
};

struct CopyOptions {
  bool replace = false;  // what is there and differs; otherwise that is an error
  // Told of what is done so far, from several threads; may be null. What is skipped counts, too.
  std::function<void(uint64_t objects, uint64_t bytes)> progress;
};

// Stops at the first error, which is returned after what is under way has ended; what was written
// until then stays. Errors: conflict (the source changed, or somebody wrote to the destination
// meanwhile), invalid_argument (something else is there), corrupt (a copy was not what was read,
// and is removed if it can be), cancelled, and those of the stores.
Result<CopyTotals> copy_objects(ObjectStore& from, ObjectStore& to,
                                const std::vector<CopyItem>& items, const CopyOptions& options,
                                Clock& clock, const std::stop_token& stop);

}  // namespace atelier
