// SPDX-License-Identifier: Apache-2.0
// The requests that write one object, whole or in parts ("Uploading and copying objects using
// multipart upload", Amazon S3 User Guide), each sent once unless it says otherwise. Keys are as
// the service stores them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/object_store.h"
#include "store/s3/s3_list.h"
#include "store/s3/s3_service.h"

namespace atelier::s3 {

// The key of what is found is left empty. Errors: those of Service::call; unavailable (a conflict
// that has to do with no condition, an upload that is gone: begin another), invalid_argument (the
// server does not know how).
Result<std::optional<ObjectInfo>> head_object(Service& service, const std::string& key);
Result<PutOutcome> put_object(Service& service, const std::string& key,
                              std::span<const std::byte> bytes, const Condition& condition);
// The same for whoever asks whether the server knows how.
struct TriedWrite {
  PutOutcome outcome;
  std::string unknown;  // how the server says that it does not (is_unknown_request); empty: it does
};
Result<TriedWrite> try_put_object(Service& service, const std::string& key,
                                  std::span<const std::byte> bytes, const Condition& condition);
// Repeated. An absent object is no error.
Result<void> delete_object(Service& service, const std::string& key);

// Repeated: the id of an upload, which exists until it is completed or aborted. An answer that is
// lost leaves an upload that nobody knows of but list_uploads.
Result<std::string> begin_multipart(Service& service, const std::string& key);
// Repeated. `number` counts from 1; returns the part's etag.
Result<std::string> send_part(Service& service, const std::string& key, const std::string& id,
                              size_t number, std::span<const std::byte> bytes);
// Of all parts, by their etags in order. The server may say 200 before it knows, and then that it
// went wrong.
Result<PutOutcome> complete_multipart(Service& service, const std::string& key,
                                      const std::string& id, const std::vector<std::string>& etags,
                                      const Condition& condition);
Result<TriedWrite> try_complete_multipart(Service& service, const std::string& key,
                                          const std::string& id,
                                          const std::vector<std::string>& etags,
                                          const Condition& condition);
// Repeated for seconds. One that is gone is no error. What goes wrong is left to whoever sweeps
// away what is old.
Result<void> abort_multipart(Service& service, const std::string& key, const std::string& id);

struct OpenUploads {
  std::vector<OpenUpload> uploads;
  std::chrono::system_clock::time_point now;  // by the server's clock, if it says so
};
// Repeated: all of keys that begin with `prefix`, a thousand a request.
Result<OpenUploads> list_uploads(Service& service, const std::string& prefix);

}  // namespace atelier::s3
