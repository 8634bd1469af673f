// SPDX-License-Identifier: Apache-2.0
// Where `--model` looks: a file, an object in a store, or the name of a model that was installed.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/model_file.h"
#include "run/model_files.h"

namespace atelier::cli {

// $ATELIER_MODELS, $XDG_DATA_HOME/atelier/models, share/atelier/models beside the program and one
// level up.
std::vector<std::filesystem::path> model_folders();

struct NamedModel {
  std::string name;
  std::filesystem::path path;  // of the .onnx file
};
// Every installed model, by name; the first folder that has a name wins.
std::vector<NamedModel> installed_models();

// The model's files, unread but for its toml. What lies in a store is read at the version that was
// found: if it is replaced meanwhile, reads answer conflict. Errors: as load_model; unavailable.
Result<run::ModelFiles> find_model_files(const std::string& text);

// A text with a '/' or ending in ".onnx" is a location, otherwise a name. The toml beside it is
// read if it is there. Errors: invalid_argument naming the file, or the names there are.
Result<model::LoadedModel> load_model(const std::string& text);

}  // namespace atelier::cli
