// SPDX-License-Identifier: Apache-2.0
// A model ready for a runner: its graph and its spec, checked against each other.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/graph.h"
#include "model/model_spec.h"

namespace atelier::model {

struct LoadedModel {
  Graph graph;
  ModelSpec spec;      // input and output are never empty
  std::string sha256;  // of the onnx bytes, followed by the weights that it keeps in other files
};

// Imports the model and checks it against its toml, or against a guessed spec where there is none.
// Where the spec leaves out input or output, the graph's only one is taken, or the only output that
// is a picture. Afterwards the input is [N, 3 or 1, H, W], and so is the output of a spec whose
// kind is image, unless what it is shows only when a frame arrives. Without a toml, frames that do
// not have the size that the model is fixed to are letterboxed. Errors: those of import_onnx and
// parse_model_spec; invalid_argument if a name is not in the graph or is ambiguous, if the input
// takes no picture, or if the output is none.
Result<LoadedModel> load_model(std::span<const std::byte> onnx,
                               const std::optional<std::string>& toml, std::string_view name,
                               const OpenExternal& open_external = {});

}  // namespace atelier::model
