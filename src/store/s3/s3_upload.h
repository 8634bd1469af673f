// SPDX-License-Identifier: Apache-2.0
// An object that is sent in parts.
#pragma once

#include <memory>
#include <string>

#include "store/object_store.h"
#include "store/s3/s3_conditions.h"
#include "store/s3/s3_service.h"

namespace atelier::s3 {

// Begins no upload at the server before it must: what fits into one request is put by one. `key` is
// as the service stores it. Keeps references to both, which must outlive it.
std::unique_ptr<Upload> make_s3_upload(Service& service, ConditionalWrites& conditions,
                                       std::string key);

}  // namespace atelier::s3
