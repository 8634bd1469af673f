// SPDX-License-Identifier: Apache-2.0
#include "run/model_keeper.h"

#include <algorithm>

#include "base/hash.h"

namespace atelier::run {

Result<const model::LoadedModel*> ModelKeeper::load(ModelFiles files) {
  const std::vector<std::byte> bytes = TRY(read_model(files));
  std::string key =
      fmt::format("{} {} {}", sha256_hex(bytes), files.toml ? *files.toml : "-", files.name);
  if (model_ && key == key_) return &*model_;
  bool has_more_files = false;
  if (files.open_beside) {
    files.open_beside = [&has_more_files, open = files.open_beside](const std::string& location) {
      has_more_files = true;
      return open(location);
    };
  }
  kept_.clear();
  key_.clear();
  model_.reset();
  model_ = TRY(model::load_model(bytes, files.toml, files.name, files.open_beside));
  ++loads_;
  if (!has_more_files) key_ = std::move(key);
  return &*model_;
}

Result<std::shared_ptr<model::Runner>> ModelKeeper::runner(const model::RunnerOptions& options) {
  const auto kept = std::find_if(kept_.begin(), kept_.end(),
                                 [&](const Kept& one) { return one.options == options; });
  if (kept != kept_.end()) {
    std::shared_ptr<model::Runner> runner = std::move(kept->runner);
    kept_.erase(kept);
    return runner;
  }
  std::shared_ptr<model::Runner> runner =
      TRY(model::make_onednn_runner(model_->graph, model_->spec, options));
  ++made_;
  return runner;
}

void ModelKeeper::keep(const model::RunnerOptions& options, std::shared_ptr<model::Runner> runner) {
  constexpr size_t kMost = 2;
  constexpr int kMostKeeps = 100;
  runner->rest();
  if (++keeps_ > kMostKeeps) {
    kept_.clear();
    keeps_ = 0;
    return;
  }
  if (kept_.size() >= kMost) kept_.erase(kept_.begin());
  kept_.push_back({options, std::move(runner)});
}

}  // namespace atelier::run
