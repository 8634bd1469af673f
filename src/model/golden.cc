// SPDX-License-Identifier: Apache-2.0
#include "model/golden.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>

namespace atelier::model {
namespace {

template <class T>
std::vector<T> list(const std::string& text, char separator) {
  std::vector<T> values;
  std::istringstream stream(text);
  for (std::string item; std::getline(stream, item, separator);) {
    T value{};
    std::istringstream(item) >> value;
    values.push_back(value);
  }
  return values;
}

}  // namespace

Result<Golden> read_golden(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::string line;
  std::getline(stream, line);
  std::istringstream words(line);
  std::string magic;
  int version = 0;
  words >> magic >> version;
  std::map<std::string, std::string> keys;
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    if (equals != std::string::npos) keys[word.substr(0, equals)] = word.substr(equals + 1);
  }
  Golden golden;
  golden.model = keys["model"];
  const auto size = list<int64_t>(keys["input"], 'x');
  const auto step = list<int64_t>(keys["step"], ',');
  golden.output = list<int64_t>(keys["output"], 'x');
  golden.mean = list<double>(keys["mean"], ',');
  golden.deviation = list<double>(keys["deviation"], ',');
  if (magic != "atelier-golden" || version != 1 || size.size() != 2 || step.size() != 1 ||
      golden.output.size() != 3) {
    return make_error(Code::invalid_argument, "'{}' is not a golden file.", path.string());
  }
  golden.height = size[0];
  golden.width = size[1];
  golden.step = step[0];
  const std::string bytes((std::istreambuf_iterator<char>(stream)), {});
  golden.values.resize(bytes.size() / sizeof(float));
  std::memcpy(golden.values.data(), bytes.data(), golden.values.size() * sizeof(float));
  return golden;
}

Tensor golden_input(int64_t height, int64_t width) {
  Tensor tensor;
  tensor.shape = {1, 3, height, width};
  for (int64_t c = 0; c < 3; ++c) {
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        const int64_t texture = (x * y * (c + 1)) % 23 * 4;
        const int64_t chequer = (((x >> 2) ^ (y >> 2)) & 1) * 60;
        const int64_t value = (x * 5 + y * 3 + c * 37 + texture + chequer) % 256;
        tensor.floats.push_back(static_cast<float>(value));
      }
    }
  }
  return tensor;
}

double golden_difference(const Golden& golden, const Tensor& output) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::vector<int64_t> shape{1, golden.output[0], golden.output[1], golden.output[2]};
  if (output.shape != shape) return kInfinity;
  double largest = 0;
  double difference = 0;
  size_t index = 0;
  for (int64_t c = 0; c < shape[1]; ++c) {
    for (int64_t y = 0; y < shape[2]; y += golden.step) {
      for (int64_t x = 0; x < shape[3]; x += golden.step, ++index) {
        const float value = output.floats[static_cast<size_t>((c * shape[2] + y) * shape[3] + x)];
        if (index >= golden.values.size() || !std::isfinite(value)) return kInfinity;
        largest = std::max(largest, std::abs(double{golden.values[index]}));
        difference = std::max(difference, std::abs(double{golden.values[index]} - value));
      }
    }
  }
  return index == golden.values.size() ? difference / largest : kInfinity;
}

double golden_statistics_difference(const Golden& golden, const Tensor& output) {
  const auto plane = static_cast<size_t>(golden.output[1] * golden.output[2]);
  double worst = 0;
  for (size_t c = 0; c < golden.mean.size(); ++c) {
    double mean = 0;
    double squares = 0;
    const float* from = output.floats.data() + c * plane;
    for (size_t i = 0; i < plane; ++i) mean += from[i];
    mean /= static_cast<double>(plane);
    for (size_t i = 0; i < plane; ++i) squares += (from[i] - mean) * (from[i] - mean);
    const double deviation = std::sqrt(squares / static_cast<double>(plane));
    const double scale = std::abs(golden.mean[c]) + golden.deviation[c];
    worst = std::max({worst, std::abs(mean - golden.mean[c]) / scale,
                      std::abs(deviation - golden.deviation[c]) / scale});
  }
  return worst;
}

}  // namespace atelier::model
