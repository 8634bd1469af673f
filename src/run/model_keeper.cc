// SPDX-License-Identifier: Apache-2.0
#include "run/model_keeper.h"

#include <algorithm>
#include <limits>

#include "base/hash.h"

namespace atelier::run {

Result<const model::LoadedModel*> ModelKeeper::load(ModelFiles files) {
  auto bytes = read_all(*files.onnx, std::numeric_limits<uint64_t>::max(), "");
  std::string key;
  // What cannot be read is load_model's to tell.
  if (bytes.ok()) {
    key = fmt::format("{} {} {}", sha256_hex(*bytes), files.toml ? *files.toml : "-", files.name);
    if (model_ && key == key_) return &*model_;
    files.onnx = std::make_unique<MemorySource>(std::move(bytes).value());
  }
  bool has_more_files = false;
  if (files.open_beside) {
    files.open_beside = [&has_more_files, open = files.open_beside](const std::string& location) {
      has_more_files = true;
      return open(location);
    };
  }
  runners_.clear();
  key_.clear();
  model_.reset();
  model_ = TRY(load_model(files));
  ++loads_;
  if (!has_more_files) key_ = std::move(key);
  return &*model_;
}

Result<std::shared_ptr<model::Runner>> ModelKeeper::runner(const model::RunnerOptions& options) {
  const auto known = std::find_if(runners_.begin(), runners_.end(), [&](const Made& made) {
    return made.runner.use_count() == 1 && made.options == options;
  });
  if (known != runners_.end()) {
    std::rotate(known, known + 1, runners_.end());
    return runners_.back().runner;
  }
  forget_oldest();
  std::shared_ptr<model::Runner> runner =
      TRY(model::make_onednn_runner(model_->graph, model_->spec, options));
  ++made_;
  runners_.push_back({options, runner});
  return runner;
}

// Before another one takes memory. One that is at work goes when its user is done with it.
void ModelKeeper::forget_oldest() {
  constexpr size_t kMost = 2;
  while (runners_.size() >= kMost) runners_.erase(runners_.begin());
}

}  // namespace atelier::run
