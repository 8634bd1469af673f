// SPDX-License-Identifier: Apache-2.0
// The model that a scorer has in memory, kept for its next task: what is read, parsed and planned
// once need not be again. The bits are those of a fresh one: a runner's results do not depend on
// what it scored before (model/runner.h). Within a task nothing is kept that would not be there
// without this: the memory of two runners need not stand at once.
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
  // A runner of it: one that was kept with the same options, which is the caller's then, or a new
  // one. Errors: those of model::make_onednn_runner.
  Result<std::shared_ptr<model::Runner>> runner(const model::RunnerOptions& options);
  // Keeps a runner that runner() gave for these options, without the memory that its frames took;
  // the two kept last stay. Not for ever: a runner has a plan for each size that it met.
  void keep(const model::RunnerOptions& options, std::shared_ptr<model::Runner> runner);
  // How often a model was parsed and a runner made, for tests.
  int loads() const { return loads_; }
  int made() const { return made_; }

 private:
  struct Kept {
    model::RunnerOptions options;
    std::shared_ptr<model::Runner> runner;
  };

  std::string key_;  // of what is loaded: hash of the ONNX file, toml, name; empty: load it anew
  std::optional<model::LoadedModel> model_;
  std::vector<Kept> kept_;
  int loads_ = 0, made_ = 0;
  int keeps_ = 0;  // since kept_ was emptied
};

}  // namespace atelier::run
