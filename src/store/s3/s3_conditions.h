// SPDX-License-Identifier: Apache-2.0
// Conditional writes on servers that know them and on those that do not.
//
// Amazon's S3 obeys If-None-Match and If-Match on PUT and on CompleteMultipartUpload. Of other
// servers some refuse such a request (501, NotImplemented, InvalidArgument), and some take no
// notice of the condition and overwrite. Which it is is found out at the first write of each sort
// by trying it, on a scratch object beside the one that is to be written; its name begins with
// kReservedName, so that no list of ours shows it. Where the server does not obey, a write looks at
// the object, writes, and looks again whether it is its own that stands there. That is advisory: of
// two writers at the same time, both may be told that they wrote, and the one who is told of a
// conflict may have been seen by readers for a moment.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "store/object_store.h"
#include "store/s3/s3_objects.h"
#include "store/s3/s3_service.h"

namespace atelier::s3 {

// How an object is written: by one request, or by parts that are completed.
enum class Way { put, multipart };

// Safe from several threads; keeps a reference to the service.
class ConditionalWrites {
 public:
  // `note` is told once, in a sentence, if the server does not obey; may be null.
  using Note = std::function<void(const std::string& sentence)>;
  ConditionalWrites(Service& service, Note note) : service_(service), note_(std::move(note)) {}

  // Writes by `send`, which is to send the condition that it is given. Errors: those of `send`, of
  // looking, and of trying.
  using Send = std::function<Result<PutOutcome>(const Condition& condition)>;
  Result<PutOutcome> write(const std::string& key, Way way, const Condition& condition,
                           const Send& send);
  // Whether the server obeys both conditions of a PUT; tries them beside `key` if nobody knows yet.
  Result<bool> decides(const std::string& key);

 private:
  using Kind = Condition::Kind;
  // Whether the server obeys; tries it beside `key` if nobody knows yet.
  Result<bool> obeyed(const std::string& key, Way way, Kind kind);
  Result<bool> try_if_absent(const std::string& scratch, Way way);
  Result<bool> try_if_match(const std::string& scratch, Way way);
  Result<TriedWrite> write_scratch(const std::string& scratch, Way way, const Condition& condition);
  Result<std::string> write_unconditionally(const std::string& scratch, Way way);

  Service& service_;
  const Note note_;
  Mutex mutex_;  // held while trying: everybody needs to know
  std::map<std::pair<Way, Kind>, bool> known_ GUARDED_BY(mutex_);
  bool noted_ GUARDED_BY(mutex_) = false;
};

}  // namespace atelier::s3
