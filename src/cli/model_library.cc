// SPDX-License-Identifier: Apache-2.0
#include "cli/model_library.h"

#include <algorithm>
#include <cstdlib>
#include <system_error>

#include "base/file.h"
#include "base/read_ahead.h"
#include "cli/folders.h"
#include "cli/inputs.h"
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

Error too_long(const std::string& what, uint64_t size) {
  return make_error(Code::invalid_argument,
                    "The model '{}' is {} bytes long, more than the {} it may have.", what, size,
                    kLargestModel);
}

// An object and the store that it is read from.
class OwningSource final : public ByteSource {
 public:
  OwningSource(std::shared_ptr<ObjectStore> store, std::unique_ptr<ByteSource> source)
      : store_(std::move(store)), source_(std::move(source)) {}
  uint64_t size() const override { return source_->size(); }
  Result<size_t> read_at(uint64_t offset, std::span<std::byte> into) override {
    return source_->read_at(offset, into);
  }

 private:
  std::shared_ptr<ObjectStore> store_;  // goes last
  std::unique_ptr<ByteSource> source_;
};

// Nothing if there is none.
Result<std::unique_ptr<ByteSource>> open_if_there(const std::shared_ptr<ObjectStore>& store,
                                                  const std::string& key) {
  auto info = TRY(store->head(key));
  if (!info) return std::unique_ptr<ByteSource>();
  auto source = std::make_unique<ReadAheadSource>(open_seen(*store, *std::move(info)));
  return std::unique_ptr<ByteSource>(std::make_unique<OwningSource>(store, std::move(source)));
}

Result<run::ModelFiles> find_in_store(const std::string& text) {
  Place place = TRY(open_place(text));
  const std::shared_ptr<ObjectStore> store = std::move(place.store);
  run::ModelFiles files;
  files.name = fs::path(place.key).stem().string();
  files.url = place.location.url();
  files.onnx = TRY(open_if_there(store, place.key));
  if (!files.onnx) {
    return make_error(Code::invalid_argument, "There is no model '{}'; check its name.", files.url);
  }
  if (files.onnx->size() > kLargestModel) return too_long(files.url, files.onnx->size());
  const std::string spec_key = fs::path(place.key).replace_extension(".toml").string();
  auto spec = read_object(*store, spec_key, kLargestSpec);
  if (!spec.ok() && spec.error().code == Code::corrupt) {
    return Error{Code::invalid_argument, spec.error().message};
  }
  if (const auto bytes = TRY(std::move(spec))) files.toml = std::string(as_text(*bytes));
  // Keys cannot lead out of their folder.
  files.open_beside = [store](const std::string& location) -> Result<std::unique_ptr<ByteSource>> {
    auto source = TRY(open_if_there(store, location));
    if (source) return source;
    return make_error(Code::invalid_argument, "There are no weights '{}' beside the model.",
                      store->url(location));
  };
  return files;
}

Result<bool> is_in_store(const std::string& text) {
  if (text.find('/') == std::string::npos && !text.ends_with(".onnx")) return false;
  const Location location = TRY(parse_location(text));
  return !location.is_file() || TRY(is_encrypted(location));
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
  if (TRY(is_in_store(text))) return find_in_store(text);
  const fs::path path = TRY(find_model(text));
  run::ModelFiles files;
  files.name = path.stem().string();
  files.url = TRY(parse_location(path.string())).url();
  auto source = FileSource::open(path);
  if (!source.ok()) return as_argument_error(source.error());
  if ((*source)->size() > kLargestModel) return too_long(path.string(), (*source)->size());
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
