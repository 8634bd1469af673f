// SPDX-License-Identifier: Apache-2.0
// The slow, obvious runner that fast ones are compared with; tests only.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "model/graph.h"

namespace atelier::model {

// evaluate() node after node: nothing folded, fused or planned, sums in double, one thread. Inputs
// and outputs by name, of any type and rank. Every value stays in memory until the end.
// Errors: invalid_argument if an input is missing or the shapes do not fit the graph.
Result<std::map<std::string, Tensor>> run_reference(const Graph& graph,
                                                    const std::map<std::string, Tensor>& inputs);

}  // namespace atelier::model
