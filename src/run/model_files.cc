// SPDX-License-Identifier: Apache-2.0
#include "run/model_files.h"

#include <limits>

namespace atelier::run {

Result<std::vector<std::byte>> read_model(const ModelFiles& files) {
  auto bytes = read_all(*files.onnx, std::numeric_limits<uint64_t>::max(),
                        fmt::format("The model '{}'", files.name));
  if (!bytes.ok()) {
    const Error& error = bytes.error();
    return Error{error.code == Code::invalid_input ? Code::invalid_argument : error.code,
                 error.message};
  }
  return bytes;
}

Result<model::LoadedModel> load_model(const ModelFiles& files) {
  const std::vector<std::byte> bytes = TRY(read_model(files));
  return model::load_model(bytes, files.toml, files.name, files.open_beside);
}

}  // namespace atelier::run
