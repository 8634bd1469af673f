// SPDX-License-Identifier: Apache-2.0
// The local store's ordered list. Used by local_store.cc alone.
#pragma once

#include <filesystem>

#include "store/object_store.h"

namespace atelier::local {

// As ObjectStore::list over the files below `root`; `limit` is at least 1.
Result<ListPage> list_files(const std::filesystem::path& root, std::string_view prefix,
                            std::string_view after, size_t limit);

}  // namespace atelier::local
