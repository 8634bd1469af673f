// SPDX-License-Identifier: Apache-2.0
// The model that a scorer has in memory, kept for its next task: what is read, parsed and planned
// once need not be again. The bits are those of a fresh one: a runner's results do not depend on
// what it scored before (model/runner.h).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "run/model_files.h"
#include "run/runner_factory.h"

namespace atelier::run {

// One thread, as its runners.
class ModelKeeper {
 public:
  // The model of these files; valid until the next call. They are read and hashed each time:
  // another content is another model. One whose weights lie in other files is loaded each time.
  // Errors: those of load_model.
  Result<const model::LoadedModel*> load(ModelFiles files);
  // A runner of it: one that was made with the same options and that nobody has any more, or a new
  // one. No more than two are there because of this, those used last: as many as a task has at the
  // same time. Errors: those of model::make_onednn_runner.
  Result<std::shared_ptr<model::Runner>> runner(const model::RunnerOptions& options);
  // How often a model was parsed and a runner made, for tests.
  int loads() const { return loads_; }
  int made() const { return made_; }

 private:
  struct Made {
    model::RunnerOptions options;
    std::shared_ptr<model::Runner> runner;
  };
  void forget_oldest();

  std::string
      key_;  // of what is loaded: hash of the ONNX file, name and toml; empty: nothing is kept
  std::optional<model::LoadedModel> model_;
  std::vector<Made> runners_;  // the one used last is the last
  int loads_ = 0, made_ = 0;
};

}  // namespace atelier::run
