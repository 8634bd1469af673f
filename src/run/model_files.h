// SPDX-License-Identifier: Apache-2.0
// A model as files that nobody has looked into yet: what a broker hands to a scorer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/model_file.h"

namespace atelier::run {

struct ModelFiles {
  std::string name;
  std::string url;  // of the ONNX file
  std::unique_ptr<ByteSource> onnx;
  std::optional<std::string> toml;
  model::OpenExternal open_beside;  // weights in other files
};

// The bytes of the ONNX file. Errors: invalid_argument where it cannot be read whole.
Result<std::vector<std::byte>> read_model(const ModelFiles& files);

// Reads and checks them. Errors: those of model::load_model; invalid_argument where a file cannot
// be read whole.
Result<model::LoadedModel> load_model(const ModelFiles& files);

}  // namespace atelier::run
