// SPDX-License-Identifier: Apache-2.0
// The store behind a location, whatever its kind.
#pragma once

#include <memory>

#include "base/clock.h"
#include "store/credentials.h"
#include "store/master_key.h"
#include "store/object_store.h"

namespace atelier {

// Of the folder, container or part of a container that `place` names; its keys are relative to
// that. It repeats what was unavailable (RetryingStore): a folder for seconds, a service as long as
// the credentials say (Credentials::Patience). Nothing is asked of a service yet. The clock must
// outlive it, and `notes`, which is kept, whatever it refers to; S3 calls it from any thread that
// writes. Errors: those of Credentials and of open_local_store.
Result<std::unique_ptr<ObjectStore>> open_store(const Location& place,
                                                const Credentials& credentials, Clock& clock,
                                                const Notes& notes);

// From now on `new_key` opens the encrypted place that `place` lies in, and the key that the
// credentials name does not; no object is written again. False if it was so already. Errors:
// invalid_argument (`place` is not encrypted), those of open_store and rotate_master_key.
Result<bool> change_master_key(const Location& place, const Credentials& credentials,
                               const MasterKey& new_key, Clock& clock, const Notes& notes);

// Another store key there for whatever is written by those who open the place from now on.
Result<void> add_store_key_to(const Location& place, const Credentials& credentials, Clock& clock,
                              const Notes& notes);

}  // namespace atelier
