// SPDX-License-Identifier: Apache-2.0
// Whether an object that came whole is what its etag says ("Common response headers", ETag, in the
// "Amazon S3 API Reference"): the MD5 of the content, as lower-case hex, unless the object was
// written in parts, or encrypted with a key of KMS or of the customer's. The protocol has no
// checksums of ranges; over TLS a range is as well protected as its ends are.
//
// Other servers may give etags that only look like an MD5. A fault on the way does not strike twice
// alike: an object that comes again with the same bytes is taken as it is, and where no etag ever
// was the MD5 of what came, none is looked at any more.
#pragma once

#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "base/mutex.h"

namespace atelier::s3 {

// Safe from several threads.
class EtagCheck {
 public:
  // Whether the bytes of a whole object can be believed; if not, read them again. `encryption` and
  // `customer_encryption` are what the answer says in x-amz-server-side-encryption and
  // x-amz-server-side-encryption-customer-algorithm.
  bool is_believable(std::string_view etag, std::string_view encryption,
                     std::string_view customer_encryption, std::span<const std::byte> bytes);

 private:
  Mutex mutex_;
  bool never_ GUARDED_BY(mutex_) = false;  // etags of this server are something else
  bool once_ GUARDED_BY(mutex_) = false;   // one was the MD5 of what came
  // Of what was not believed: its etag and the SHA-256 of what came.
  std::set<std::string> doubted_ GUARDED_BY(mutex_);
};

}  // namespace atelier::s3
