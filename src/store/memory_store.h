// SPDX-License-Identifier: Apache-2.0
// A store in this process's memory: the twin that tests and dry runs use. One lock, whole objects.
#pragma once

#include <memory>

#include "store/object_store.h"

namespace atelier {

// Unlike a folder, it can hold "a" and "a/b" together, as cloud stores can.
std::unique_ptr<ObjectStore> make_memory_store();

}  // namespace atelier
