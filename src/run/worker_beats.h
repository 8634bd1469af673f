// SPDX-License-Identifier: Apache-2.0
// The beats of a run's workers, for whoever started those and watches them.
#pragma once

#include <map>
#include <string>

#include "store/object_store.h"

namespace atelier::run {

// Workers whose names begin so -> what changes with every beat. One list. Errors: those of the
// store.
Result<std::map<std::string, std::string>> beats_of(ObjectStore& store, const std::string& run_id,
                                                    const std::string& prefix);

// Says in a worker's place that it is lost, so that others take over its chunks at once and do not
// wait for it to keep silent. If it lives after all, its next beat says so. A worker that left in
// good order, or never beat, stays as it is. Errors: those of the store.
Result<void> bury(ObjectStore& store, const std::string& run_id, const std::string& worker);

}  // namespace atelier::run
