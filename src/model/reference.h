// SPDX-License-Identifier: Apache-2.0
// The slow, obvious runner that fast ones are compared with; tests only.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "model/graph.h"

namespace atelier::model {

// Runs `graph` as ONNX's page of each operator reads: one loop per index, sums in double, one
// thread. Inputs and outputs by name, NCHW float32. Every value stays in memory until the end.
// Errors: invalid_argument if an input is missing or the shapes do not fit the graph.
Result<std::map<std::string, Tensor>> run_reference(const Graph& graph,
                                                    const std::map<std::string, Tensor>& inputs);

}  // namespace atelier::model
