// SPDX-License-Identifier: Apache-2.0
// Resize, one axis after the other: each output position of an axis is a weighted sum of at most
// four positions of the input. The intermediate values stay in double.
#include <algorithm>
#include <cmath>

#include "model/ops/walk.h"

namespace atelier::model::ops {
namespace {

struct Axis {
  int64_t in = 0;
  int64_t out = 0;
  double scale = 1;
  // in * scale, which may have a fraction where scales are given; of a crop: out.
  double length = 0;
  double roi_begin = 0;
  double roi_end = 1;
  bool unchanged() const { return in == out && scale == 1 && roi_begin == 0 && roi_end == 1; }
};

// What the attributes say.
struct Rules {
  std::string mode;
  std::string coordinates;
  std::string nearest;
  double cubic = -0.75;
  bool exclude_outside = false;
  float extrapolation = 0;
  bool crop() const { return coordinates == "tf_crop_and_resize"; }
};

Result<Rules> read_rules(const Call& call) {
  Rules rules;
  rules.mode = call.node.attr_string("mode", "nearest");
  rules.coordinates = call.node.attr_string("coordinate_transformation_mode", "half_pixel");
  rules.nearest = call.node.attr_string("nearest_mode", "round_prefer_floor");
  rules.cubic = call.node.attr_float("cubic_coeff_a", -0.75F);
  rules.exclude_outside = call.node.attr_int("exclude_outside", 0) != 0;
  rules.extrapolation = call.node.attr_float("extrapolation_value", 0);
  const auto known = [](const std::string& value, std::initializer_list<const char*> all) {
    return std::find(all.begin(), all.end(), value) != all.end();
  };
  if (!known(rules.mode, {"nearest", "linear", "cubic"})) {
    return call.refuse("has an unknown mode");
  }
  if (!known(rules.coordinates, {"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric",
                                 "tf_half_pixel_for_nn", "tf_crop_and_resize"})) {
    return call.refuse("has an unknown coordinate_transformation_mode");
  }
  if (!known(rules.nearest, {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"})) {
    return call.refuse("has an unknown nearest_mode");
  }
  return rules;
}

Result<std::vector<Axis>> read_axes(const Call& call, const Rules& rules) {
  const Tensor& in = call.in(0);
  const size_t rank = in.shape.size();
  const bool by_size = call.has(3) && call.in(3).count() > 0;
  const bool by_scale = call.has(2) && call.in(2).count() > 0;
  if (by_size == by_scale) return call.refuse("needs either scales or sizes");
  const Tensor& given = call.in(by_size ? 3 : 2);
  if (given.is_int() != by_size || given.shape != Ints{static_cast<int64_t>(rank)}) {
    return call.refuse("gets other sizes or scales than its input has axes");
  }
  const bool crop = rules.crop();
  if (crop && (!call.has(1) || call.in(1).is_int() || call.in(1).floats.size() != 2 * rank)) {
    return call.refuse("crops without a region");
  }
  std::vector<Axis> axes(rank);
  for (size_t i = 0; i < rank; ++i) {
    Axis& axis = axes[i];
    axis.in = in.shape[i];
    if (crop) {
      axis.roi_begin = call.in(1).floats[i];
      axis.roi_end = call.in(1).floats[rank + i];
      if (!std::isfinite(axis.roi_begin) || !std::isfinite(axis.roi_end)) {
        return call.refuse("crops a region that is not finite");
      }
    }
    if (by_size) {
      axis.out = given.ints[i];
      axis.scale =
          static_cast<double>(axis.out) / static_cast<double>(std::max(axis.in, int64_t{1}));
      axis.length = static_cast<double>(axis.out);
    } else {
      const float scale = given.floats[i];
      // In float, as exporters compute the size that they write: 10 * 0.7 is 7.
      const float part = crop ? static_cast<float>(axis.roi_end - axis.roi_begin) : 1.0F;
      const float size = std::floor(static_cast<float>(axis.in) * part * scale);
      if (!(scale > 0) || !(size >= 0 && size < 0x1p40F)) {
        return call.refuse("scales an axis of {} by {}", axis.in, scale);
      }
      axis.out = static_cast<int64_t>(size);
      axis.scale = scale;
      axis.length = crop ? size : axis.scale * static_cast<double>(axis.in);
    }
    if (axis.in == 0 && axis.out != 0) return call.refuse("makes something of an empty axis");
  }
  return axes;
}

// Where output position `x` lies on the axis of the input.
double source(const Axis& axis, const std::string& mode, double x) {
  const auto last = static_cast<double>(axis.in - 1);
  if (mode == "align_corners") return axis.length == 1 ? 0 : x * last / (axis.length - 1);
  if (mode == "asymmetric") return x / axis.scale;
  if (mode == "tf_half_pixel_for_nn") return (x + 0.5) / axis.scale;
  if (mode == "tf_crop_and_resize") {
    const double span = axis.roi_end - axis.roi_begin;
    return axis.length == 1 ? (axis.roi_begin + axis.roi_end) * last / 2
                            : axis.roi_begin * last + x * span * last / (axis.length - 1);
  }
  if (mode == "pytorch_half_pixel" && axis.out == 1) return 0;
  return (x + 0.5) / axis.scale - 0.5;
}

bool outside(const Axis& axis, const Rules& rules, double x) {
  return rules.crop() && (x < 0 || x > static_cast<double>(axis.in - 1));
}

int64_t nearest(const std::string& mode, double x) {
  const double down = std::floor(x);
  if (mode == "floor") return static_cast<int64_t>(down);
  if (mode == "ceil") return static_cast<int64_t>(std::ceil(x));
  const double rest = x - down;
  const bool up = mode == "round_prefer_ceil" ? rest >= 0.5 : rest > 0.5;
  return static_cast<int64_t>(down) + (up ? 1 : 0);
}

Result<Values> resize_nearest(const Call& call, const Rules& rules, const std::vector<Axis>& axes,
                              Tensor out) {
  const Tensor& in = call.in(0);
  const Ints steps = strides(in.shape);
  // Offset of each position of the output along each axis; -1 for one outside of a crop.
  std::vector<Ints> offsets(axes.size());
  for (size_t i = 0; i < axes.size(); ++i) {
    for (int64_t x = 0; x < axes[i].out; ++x) {
      if (axes[i].unchanged()) {  // whatever the rounding
        offsets[i].push_back(x * steps[i]);
        continue;
      }
      const double at = source(axes[i], rules.coordinates, static_cast<double>(x));
      const double bounded = std::clamp(at, -1.0, static_cast<double>(axes[i].in));
      const int64_t from = std::clamp<int64_t>(nearest(rules.nearest, bounded), 0, axes[i].in - 1);
      offsets[i].push_back(outside(axes[i], rules, at) ? -1 : from * steps[i]);
    }
  }
  const size_t rank = axes.size();
  const int64_t width = rank == 0 ? 1 : axes[rank - 1].out;
  const int64_t beyond = saturate(in.type, static_cast<double>(rules.extrapolation));
  with_elements(in, out, [&](const auto* from, auto* to) {
    using T = std::remove_pointer_t<decltype(to)>;
    const T fill = in.is_int() ? static_cast<T>(beyond) : static_cast<T>(rules.extrapolation);
    parallel(call.options.threads, out.count() / width, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        int64_t base = 0;
        int64_t rest = row;
        for (size_t i = rank; i-- > 1;) {
          const int64_t offset = offsets[i - 1][rest % axes[i - 1].out];
          base = base < 0 || offset < 0 ? -1 : base + offset;
          rest /= axes[i - 1].out;
        }
        for (int64_t x = 0; x < width; ++x) {
          const int64_t offset = rank == 0 ? 0 : offsets[rank - 1][x];
          to[row * width + x] = base < 0 || offset < 0 ? fill : from[base + offset];
        }
      }
    });
  });
  return one(std::move(out));
}

struct Mix {
  std::array<int64_t, 4> from{};
  std::array<double, 4> weight{};
  bool outside = false;
};

Mix mix(const Axis& axis, const Rules& rules, int64_t position) {
  Mix mix;
  const double exact = source(axis, rules.coordinates, static_cast<double>(position));
  mix.outside = outside(axis, rules, exact);
  // Beyond two positions outside all neighbours are the border.
  const double at = std::clamp(exact, -3.0, static_cast<double>(axis.in) + 2);
  const double down = std::floor(at);
  const double t = at - down;
  if (rules.mode == "linear") {
    mix.weight = {0, 1 - t, t, 0};
  } else {
    const double a = rules.cubic;
    const auto near = [a](double d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
    const auto far = [a](double d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
    mix.weight = {far(t + 1), near(t), near(1 - t), far(2 - t)};
  }
  double sum = 0;
  for (size_t i = 0; i < 4; ++i) {
    const int64_t from = static_cast<int64_t>(down) - 1 + static_cast<int64_t>(i);
    mix.from[i] = std::clamp<int64_t>(from, 0, axis.in - 1);
    if (rules.exclude_outside && mix.from[i] != from) mix.weight[i] = 0;
    sum += mix.weight[i];
  }
  if (rules.exclude_outside && sum != 0) {
    for (double& weight : mix.weight) weight /= sum;
  }
  return mix;
}

std::vector<Mix> mixes(const Axis& axis, const Rules& rules) {
  std::vector<Mix> all;
  all.reserve(static_cast<size_t>(axis.out));
  for (int64_t x = 0; x < axis.out; ++x) all.push_back(mix(axis, rules, x));
  return all;
}

// [outer, in, inner] to [outer, out, inner].
std::vector<double> resize_axis(const Call& call, const std::vector<double>& from, int64_t outer,
                                int64_t in, int64_t inner, const std::vector<Mix>& mixed) {
  const auto out = static_cast<int64_t>(mixed.size());
  std::vector<double> to(static_cast<size_t>(outer * out * inner));
  parallel(call.options.threads, outer * out, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const Mix& m = mixed[row % out];
      for (size_t k = 0; k < 4; ++k) {
        if (m.weight[k] == 0) continue;
        const double* line = from.data() + (row / out * in + m.from[k]) * inner;
        for (int64_t i = 0; i < inner; ++i) to[row * inner + i] += m.weight[k] * line[i];
      }
    }
  });
  return to;
}

Result<Values> resize_smooth(const Call& call, const Rules& rules, const std::vector<Axis>& axes,
                             Tensor out) {
  const Tensor& in = call.in(0);
  std::vector<double> values(in.floats.begin(), in.floats.end());
  if (in.is_int()) {
    for (const int64_t v : in.ints) values.push_back(to_double(in.type, v));
  }
  Ints shape = in.shape;
  std::vector<std::vector<Mix>> mixed(axes.size());
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i].unchanged()) continue;
    mixed[i] = mixes(axes[i], rules);
    shape[i] = axes[i].out;
    TRY(call.elements(shape));  // sizes between two axes may exceed both ends
    values = resize_axis(call, values, product(shape, 0, i), axes[i].in,
                         product(shape, i + 1, shape.size()), mixed[i]);
  }
  if (rules.crop()) {
    const Ints steps = strides(out.shape);
    for (size_t i = 0; i < axes.size(); ++i) {
      for (size_t x = 0; x < mixed[i].size(); ++x) {
        if (!mixed[i][x].outside) continue;
        Ints box = out.shape;
        box[i] = 1;
        Walk<1>(box, {steps})
            .each([&](int64_t, const auto& at) { values[at[0]] = rules.extrapolation; },
                  {static_cast<int64_t>(x) * steps[i]});
      }
    }
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (in.is_int()) {
      out.ints[i] = saturate(in.type, values[i]);
    } else {
      out.floats[i] = static_cast<float>(values[i]);
    }
  }
  return one(std::move(out));
}

Result<Values> resize(const Call& call) {
  const Rules rules = TRY(read_rules(call));
  const std::vector<Axis> axes = TRY(read_axes(call, rules));
  Ints shape;
  for (const Axis& axis : axes) shape.push_back(axis.out);
  Tensor out = TRY(call.make(call.in(0).type, shape));
  if (out.count() == 0) return one(std::move(out));
  return rules.mode == "nearest" ? resize_nearest(call, rules, axes, std::move(out))
                                 : resize_smooth(call, rules, axes, std::move(out));
}

constexpr Operator kOperators[] = {{"Resize", 1, 4, "nffi", resize}};

}  // namespace

std::span<const Operator> resize_operators() { return kOperators; }

}  // namespace atelier::model::ops
