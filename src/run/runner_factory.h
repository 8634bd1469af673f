// SPDX-License-Identifier: Apache-2.0
// Makes runners of the run's network, or gives one that was kept with the same options. Whoever has
// one has it alone.
#pragma once

#include <functional>
#include <memory>

#include "model/runner.h"

namespace atelier::run {

using RunnerFactory =
    std::function<Result<std::shared_ptr<model::Runner>>(const model::RunnerOptions&)>;

}  // namespace atelier::run
