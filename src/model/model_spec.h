// SPDX-License-Identifier: Apache-2.0
// What a model's file cannot say about itself: <stem>.toml beside <stem>.onnx.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace atelier::model {

// Keys of the toml file; all are optional.
//
//   name, title, licence   strings
//   input, output          names of the graph's input and output
//   color_order            "rgb" | "bgr"
//   range = [0, 255]       what black and white are, before mean and scale
//   mean, scale = [r,g,b]  the tensor is (value - mean) * scale, in the model's colour order
//   output_range           what black and white are in the output
//   output_kind            "image" | "tensor"
//   clamp = true           clip the input to range and the output image to output_range
//   size_multiple = 4      pad by reflection, crop after
//   halo = 0               pixels of context an output pixel depends on; 0 when statistics are
//                          global
//   fit                    frames of another size than the only one that the model takes:
//                          "letterbox": scaled to fit, the rest filled by reflection, scaled back
//                          "stretch": scaled to fill, scaled back
//                          "tile": cut into tiles of the model's size; at inner borders `halo`
//                          pixels are cut off, the rest of the overlap blends linearly
//                          absent: such frames are refused
//   overlap = 32           pixels that neighbouring tiles share, at least 2 * halo, below the
//                          model's size; absent: 2 * halo, or an eighth of the smaller side
//   channels = "luma"      the model, of one channel in and out, gets luma; chroma is enlarged
//                          beside it (bicubic). Absent: what one channel gives is a gray picture
struct ModelSpec {
  enum class Order { rgb, bgr };
  enum class Kind { image, tensor };
  enum class Fit { none, letterbox, stretch, tile };
  std::string name;
  std::string title;
  std::string licence;
  std::string input;
  std::string output;
  Order order = Order::rgb;
  std::array<float, 2> range{0, 255};
  std::array<float, 3> mean{0, 0, 0};
  std::array<float, 3> scale{1, 1, 1};
  std::array<float, 2> output_range{0, 255};
  Kind kind = Kind::image;
  bool clamp = false;
  int size_multiple = 1;
  int halo = 0;
  Fit fit = Fit::none;
  int overlap = 0;  // 0: not said
  bool luma = false;
  std::vector<std::string>
      guessed;  // what was not in the toml and mattered: one sentence each, for a warning
};

// `name` is used when the text has none. Unknown keys and wrong types are invalid_argument naming
// the key.
Result<ModelSpec> parse_model_spec(std::string_view toml_text, std::string_view name);
// Without a toml: RGB, 0..255, not clamped, and the sentence that says so.
ModelSpec guess_model_spec(std::string_view name);
// Canonical text, equal for equal specs: goes into the run id.
std::string to_canonical_text(const ModelSpec& spec);

}  // namespace atelier::model
