// SPDX-License-Identifier: Apache-2.0
// A model's files as one run of bytes, for workers that get it from another one and not from a
// store of their own. Nothing in the files is parsed.
#pragma once

#include <vector>

#include "run/model_files.h"

namespace atelier::run {

// `beside`: what the model keeps its weights in, as ModelFiles::open_beside takes it. Errors: those
// of the files.
Result<std::vector<std::byte>> pack_model(const ModelFiles& files,
                                          const std::vector<std::string>& beside);
// The sources share the bytes and are safe from several threads. A file beside the model that was
// not packed is `conflict`. Errors: corrupt, if these are no such bytes.
Result<ModelFiles> unpack_model(std::vector<std::byte> parcel);

}  // namespace atelier::run
