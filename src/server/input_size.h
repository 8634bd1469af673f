// SPDX-License-Identifier: Apache-2.0
// How large the input of a run is.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "store/location.h"
#include "store/object_store.h"

namespace atelier::server {

// Bytes of a file of this machine, a matter of microseconds; nothing where it is none, is not there
// or is no single file (numbered pictures).
std::optional<int64_t> size_of_file(const std::string& url);

// The same of an object, too: `open` gives the store of the folder that it lies in, which is asked
// once. Errors: those of `open` and of the store.
Result<std::optional<int64_t>> size_of_input(
    const std::string& url,
    const std::function<Result<std::unique_ptr<ObjectStore>>(const Location&)>& open);

}  // namespace atelier::server
