// SPDX-License-Identifier: Apache-2.0
// atelier warm-runs: the other end of engine/warm_protocol.h.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

namespace atelier::cli {

// Does with `run`, which gives an exit code, what comes from `socket` until that ends, `stop` comes
// or a command fails; calls `look` each second in between. The process's exit code.
int serve_runs(int socket, const std::stop_token& stop,
               const std::function<int(std::vector<std::string>)>& run,
               const std::function<void()>& look);

}  // namespace atelier::cli
