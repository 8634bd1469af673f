// SPDX-License-Identifier: Apache-2.0
// A bucket of Amazon S3, or of a server that speaks its protocol, as an object store: the objects
// below a prefix.
//
// Writes: up to 8 MiB are one PUT; more are parts of 8 MiB and larger, several at a time, and a
// CompleteMultipartUpload, before which nothing can be seen. Every body goes with its SHA-256,
// which is signed and which the server checks. An upload that is dropped is aborted; what a process
// leaves that is killed is swept away by clean-up (stale_uploads.h), or by a rule of the bucket's
// ("AbortIncompleteMultipartUpload").
// Reads: ranges with If-Match, several at a time; an object that comes in one request is checked by
// its etag where that is the MD5 of the content (etag_check.h). Lists: from any text on, at the
// cost of one call for a thousand objects; directory buckets, whose lists have no order, are not
// for this.
//
// What differs from other kinds:
// - Conditions are the server's where it has them; elsewhere they are advisory (s3_conditions.h).
// - An etag is a hash of the content (but for some encryptions): it changes when the content does,
//   not with every write. So if_match takes an object that was changed and changed back for the
//   same one.
// - DELETE does not say whether an object was there: remove looks first, and two that remove one
//   object at the same time may both hear that it was there.
// - "Absent" needs the permission to list the bucket (s3_service.h).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "store/object_store.h"
#include "store/s3/s3_service.h"

namespace atelier::s3 {

struct Options {
  Bucket bucket;
  std::string prefix;  // "" or "a/b/"; part of every object's name
  // Told once, in a sentence, at the first conditional write, if the server has no such writes:
  // then claims are advisory. May be null; called from any thread that writes.
  std::function<void(const std::string& sentence)> note;
};

// Asks nothing of the server. The clock must outlive the store. Errors: invalid_argument (a prefix
// that is none, a bucket's name, region or address that is none).
Result<std::unique_ptr<ObjectStore>> open_s3_store(Options options, Clock& clock);

}  // namespace atelier::s3
