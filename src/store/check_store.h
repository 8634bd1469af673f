// SPDX-License-Identifier: Apache-2.0
// Whether a store does what a run asks of it, found out with one small object.
#pragma once

#include <chrono>

#include "base/clock.h"
#include "store/object_store.h"

namespace atelier {

struct StoreCheck {
  // A second put-if-absent was told of the first. Otherwise two workers may score the same chunk:
  // time is lost, nothing else.
  bool conditions = false;
  // Its clock minus ours, as far as that can be told: within a round trip, and to a second where
  // the store gives whole seconds.
  std::chrono::milliseconds clock_ahead{0};
  // Of a put, a get and a remove of a kilobyte: the median.
  std::chrono::microseconds round_trip{0};
  // Of an output that may be written and not removed: where the object stays. Else empty.
  std::string left;
};

// What credentials of it must allow: all that a run's folder needs, or what an output does.
enum class StoreRole { runs, output };

// Puts an object under a name that nobody else uses, puts it again, looks for it, lists it (not of
// an output), reads it and removes it. Errors: those of the store; internal: what was put is not
// what is there.
Result<StoreCheck> check_store(ObjectStore& store, const Clock& clock,
                               StoreRole role = StoreRole::runs);

}  // namespace atelier
