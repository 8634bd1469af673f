// SPDX-License-Identifier: Apache-2.0
// The answers to ListObjectsV2 and ListMultipartUploads (Amazon S3 API Reference).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/object_store.h"

namespace atelier::s3 {

struct KeyPage {
  std::vector<ObjectInfo> objects;  // keys as the service stores them, decoded, in its order
  bool truncated = false;           // more follows
  std::string token;                // for the following page; servers may leave it out
};

// Reads what a stranger may have written. Errors: unavailable (it is no such answer).
Result<KeyPage> parse_key_page(std::string_view xml);

// An upload that is neither completed nor aborted.
struct OpenUpload {
  std::string key;  // as the service stores it
  std::string id;
  std::chrono::system_clock::time_point begun;
};
struct UploadPage {
  std::vector<OpenUpload> uploads;
  bool truncated = false;         // more follows, after:
  std::string next_key, next_id;  // as the service writes them
};
// Likewise.
Result<UploadPage> parse_upload_page(std::string_view xml);

}  // namespace atelier::s3
