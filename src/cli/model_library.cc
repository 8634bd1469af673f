// SPDX-License-Identifier: Apache-2.0
#include "cli/model_library.h"

#include <algorithm>
#include <cstdlib>
#include <system_error>

#include "base/file.h"
#include "cli/folders.h"
#include "store/location.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;

// Protobuf itself stops at 2 GiB.
constexpr uint64_t kLargestModel = (2ull << 30) - 1;
constexpr uint64_t kLargestSpec = 1u << 20;

Result<fs::path> find_model(const std::string& text) {
  if (text.starts_with("file:")) return TRY(parse_location(text)).path;
  if (text.find('/') != std::string::npos || text.ends_with(".onnx")) return fs::path(text);
  std::string known;
  for (const NamedModel& model : installed_models()) {
    if (model.name == text) return model.path;
    known += (known.empty() ? "" : ", ") + model.name;
  }
  return make_error(Code::invalid_argument,
                    "There is no model named '{}'; installed are: {}. A file is given as its path.",
                    text, known.empty() ? "none" : known);
}

Error as_argument_error(Error error) {
  if (error.code == Code::invalid_input) error.code = Code::invalid_argument;
  return error;
}

}  // namespace

std::vector<fs::path> model_folders() {
  std::vector<fs::path> folders;
  if (const char* own = std::getenv("ATELIER_MODELS"); own != nullptr && *own != '\0')
    folders.emplace_back(own);
  folders.push_back(data_home() / "models");
  const fs::path program = program_folder();
  folders.push_back(program / "share/atelier/models");
  folders.push_back(program.parent_path() / "share/atelier/models");
  return folders;
}

std::vector<NamedModel> installed_models() {
  std::vector<NamedModel> models;
  for (const fs::path& folder : model_folders()) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder, ignored)) {
      if (entry.path().extension() != ".onnx") continue;
      const std::string name = entry.path().stem().string();
      const bool known =
          std::any_of(models.begin(), models.end(), [&](const auto& m) { return m.name == name; });
      if (!known) models.push_back({name, entry.path()});
    }
  }
  std::sort(models.begin(), models.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return models;
}

Result<run::ModelFiles> find_model_files(const std::string& text) {
  const fs::path path = TRY(find_model(text));
  run::ModelFiles files;
  files.name = path.stem().string();
  files.url = TRY(parse_location(path.string())).url();
  auto source = FileSource::open(path);
  if (!source.ok()) return as_argument_error(source.error());
  if ((*source)->size() > kLargestModel) {
    return make_error(Code::invalid_argument,
                      "The model '{}' is {} bytes long, more than the {} it may have.",
                      path.string(), (*source)->size(), kLargestModel);
  }
  files.onnx = std::move(source).value();
  const fs::path spec_path = fs::path(path).replace_extension(".toml");
  std::error_code ignored;
  if (fs::exists(spec_path, ignored)) {
    auto spec_source = FileSource::open(spec_path);
    if (!spec_source.ok()) return as_argument_error(spec_source.error());
    auto spec = read_all(**spec_source, kLargestSpec, fmt::format("'{}'", spec_path.string()));
    if (!spec.ok()) return as_argument_error(spec.error());
    files.toml = std::string(as_text(*spec));
  }
  // Weights that the model keeps in files of its own folder.
  files.open_beside = [folder = path.parent_path()](
                          const std::string& location) -> Result<std::unique_ptr<ByteSource>> {
    auto file = FileSource::open_beneath(folder, location);
    if (!file.ok()) return as_argument_error(file.error());
    return std::unique_ptr<ByteSource>(std::move(file).value());
  };
  return files;
}

Result<model::LoadedModel> load_model(const std::string& text) {
  const run::ModelFiles files = TRY(find_model_files(text));
  return run::load_model(files);
}

}  // namespace atelier::cli
