// SPDX-License-Identifier: Apache-2.0
// The operator cases of the ONNX project's backend test, as Debian's libonnx-testdata has them:
// a model, its inputs and the outputs that are right; tests only.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/graph.h"

namespace atelier::model {

struct ConformanceCase {
  std::string name;  // "node/test_add"
  std::filesystem::path folder;
};

// All of them, by name; none if the package is not installed.
std::vector<ConformanceCase> conformance_cases();

struct ConformanceData {
  std::string model;  // the file
  std::vector<Tensor> inputs;
  std::vector<Tensor> outputs;
};
// Errors: invalid_argument, a value is not a tensor of a type that Atelier has.
Result<ConformanceData> read_case(const ConformanceCase& test_case);

// Types and shapes must be equal, and so must integers; floats as the ONNX project compares them:
// 1e-7 + 1e-3 of the right value. Empty if all is well, else what differs.
std::string difference(const Tensor& right, const Tensor& actual);

// Why a case is not claimed to pass; empty for one that is.
std::string_view not_claimed(std::string_view case_name);
// The patterns behind it that fit none of the names.
std::vector<std::string> stale_patterns(const std::vector<std::string>& case_names);

}  // namespace atelier::model
