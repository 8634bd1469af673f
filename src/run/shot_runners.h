// SPDX-License-Identifier: Apache-2.0
// The network of each shot: the run's network with the shot's statistics. One thread.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "run/manifest.h"
#include "run/runner_factory.h"

namespace atelier::run {

class ShotRunners {
 public:
  // Runners are made with `options` and the statistics of one of `shots`, which must outlive this;
  // without shots there is one runner for all frames. Only the runner used last is kept: frames
  // come shot after shot, and making one costs about as much as scoring a frame.
  ShotRunners(const std::vector<Shot>& shots, RunnerFactory make, model::RunnerOptions options)
      : shots_(shots), make_(std::move(make)), options_(std::move(options)) {}

  // The shot that a frame of this time belongs to.
  size_t shot_of(int64_t pts) const;
  // The runner for it; valid until the next call. Errors: those of making it.
  Result<model::Runner*> at(int64_t pts);
  // The runner used last, or null; there is none then.
  std::shared_ptr<model::Runner> take() { return std::move(runner_); }
  const model::RunnerOptions& options() const { return options_; }  // of it

 private:
  const std::vector<Shot>& shots_;
  const RunnerFactory make_;
  model::RunnerOptions options_;
  std::shared_ptr<model::Runner> runner_;
  size_t shot_ = 0;
};

}  // namespace atelier::run
