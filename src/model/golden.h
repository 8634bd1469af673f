// SPDX-License-Identifier: Apache-2.0
// Reads tests/golden/*.golden, which tools/golden/golden.mjs made; tests only.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/graph.h"

namespace atelier::model {

struct Golden {
  std::string model;  // below shared/models, e.g. "dyn/wave.onnx"
  int64_t height = 0;
  int64_t width = 0;            // of the input
  std::vector<int64_t> output;  // C, H, W of the whole output
  int64_t step = 1;             // every step-th row and column of the output is in `values`
  std::vector<double> mean;     // of the whole output, by channel
  std::vector<double> deviation;
  std::vector<float> values;
};

// Errors: invalid_argument if the file is absent or not in the form that golden.mjs writes.
Result<Golden> read_golden(const std::filesystem::path& path);

// The picture that golden.mjs feeds: [1, 3, height, width], whole numbers 0..255.
Tensor golden_input(int64_t height, int64_t width);

// Largest difference over the largest golden value; infinity if the shapes differ or a value is
// not finite. `output` is [1, C, H, W].
double golden_difference(const Golden& golden, const Tensor& output);
// The same for mean and deviation of each channel, over the whole output.
double golden_statistics_difference(const Golden& golden, const Tensor& output);

}  // namespace atelier::model
