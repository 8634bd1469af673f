// SPDX-License-Identifier: Apache-2.0
// The calls of ObjectStore and Upload that reach a store, for decorators that tell them apart.
#pragma once

#include <cstddef>

namespace atelier {

enum class StoreVerb { head, get, put, begin_upload, append, commit, list, remove };
inline constexpr size_t kStoreVerbs = 8;

}  // namespace atelier
