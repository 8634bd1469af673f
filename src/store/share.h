// SPDX-License-Identifier: Apache-2.0
// Links that lend one object for some time to whoever has them. A link permits one thing, reading
// or writing, of one object: it can neither list, nor remove, nor reach another object, and it ends
// by itself. Nobody can take it back before, but by taking back what signed it.
#pragma once

#include <chrono>
#include <string>

#include "base/clock.h"
#include "store/credentials.h"
#include "store/location.h"

namespace atelier {

enum class Access {
  read,   // GET; of Azure also HEAD
  write,  // PUT, whether the object is there or not
};

struct Link {
  std::string url;  // whole and encoded: a secret until it expires
  std::chrono::system_clock::time_point expires;
};

// Of an object: a container or a folder is never lent, since such a link would reach whatever
// comes there later. What is to be read must be there. The time is in whole seconds and rounded
// down; Azure's is counted by the service's clock, S3's by ours, unless the service said that ours
// is wrong. What signs the link bounds it: 7 days for an identity of Azure's and for S3 (where
// temporary keys may end before), 365 for an account's key. Errors: invalid_argument (a file, no
// object's name, a place that is encrypted here, a time beyond those bounds, a credential that
// cannot sign: a SAS, or none; access denied), invalid_input (nothing to read there), unavailable.
Result<Link> share_link(const Location& object, Access access, std::chrono::seconds lasts,
                        const Credentials& credentials, Clock& clock, const Notes& notes);

}  // namespace atelier
