// SPDX-License-Identifier: Apache-2.0
// The answers to List Blobs and Get Block List. Internal to azure/.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "store/object_store.h"

namespace atelier::azure {

struct BlobPage {
  std::vector<ObjectInfo> blobs;  // keys are whole names of blobs, as they are stored
  std::string next_marker;        // empty at the end
};

// Leaves out the folders of an account with a hierarchical namespace, which are listed as empty
// blobs. Errors: unavailable (this is no such answer).
Result<BlobPage> parse_blob_page(std::string_view xml);

// The blocks that arrived and are part of no blob yet: their sizes by their names, in base64 as
// they were sent. Empty if this is no such answer.
std::map<std::string, uint64_t> parse_waiting_blocks(std::string_view xml);

}  // namespace atelier::azure
