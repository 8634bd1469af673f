// SPDX-License-Identifier: Apache-2.0
// The answer to List Blobs. Internal to azure/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/object_store.h"

namespace atelier::azure {

struct BlobPage {
  std::vector<ObjectInfo> blobs;  // keys are whole names of blobs, as they are stored
  std::string next_marker;        // empty at the end
};

// Errors: unavailable (this is no such answer).
Result<BlobPage> parse_blob_page(std::string_view xml);

}  // namespace atelier::azure
