// SPDX-License-Identifier: Apache-2.0
// Makes runners of the run's network.
#pragma once

#include <functional>
#include <memory>

#include "model/runner.h"

namespace atelier::run {

using RunnerFactory =
    std::function<Result<std::unique_ptr<model::Runner>>(const model::RunnerOptions&)>;

}  // namespace atelier::run
