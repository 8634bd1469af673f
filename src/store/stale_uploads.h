// SPDX-License-Identifier: Apache-2.0
// What uploads leave at a service that were begun and never ended, since their process was killed:
// parts that no list shows and that cost like objects.
#pragma once

#include <chrono>
#include <cstddef>

#include "base/clock.h"
#include "store/credentials.h"
#include "store/location.h"

namespace atelier {

struct StaleUploads {
  size_t found = 0;  // begun longer ago than was asked for
  size_t removed = 0;
};

// Looks below `place` for uploads that were begun at least `age` ago, by the service's clock, and
// removes them unless `only_look`. Only S3 keeps such for ever: Azure forgets blocks after a week,
// and a folder's unfinished files are its own writers' to remove. Nothing is looked for in a whole
// bucket: others may write there. Errors: invalid_argument (the
// credential may not list uploads), those of the service.
Result<StaleUploads> remove_stale_uploads(const Location& place, std::chrono::seconds age,
                                          bool only_look, const Credentials& credentials,
                                          Clock& clock, const Notes& notes);

}  // namespace atelier
