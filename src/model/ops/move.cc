// SPDX-License-Identifier: Apache-2.0
// Operators that put elements at other places by a rule for each axis: all are copies of boxes.
#include <algorithm>

#include "model/ops/walk.h"

namespace atelier::model::ops {
namespace {

Result<Values> transpose(const Call& call) {
  const Tensor& in = call.in(0);
  const size_t rank = in.shape.size();
  Ints order = call.node.attr_ints("perm", {});
  if (order.empty()) {
    for (size_t i = rank; i-- > 0;) order.push_back(static_cast<int64_t>(i));
  }
  const auto axes = TRY(call.axes(order, rank));
  if (axes.size() != rank) return call.refuse("orders {} axes of {}", axes.size(), rank);
  const Ints steps = strides(in.shape);
  Ints shape;
  Ints read;
  for (const size_t axis : axes) {
    shape.push_back(in.shape[axis]);
    read.push_back(steps[axis]);
  }
  Tensor out = TRY(call.make(in.type, shape));
  copy_box(shape, in, {0, read}, out, {0, strides(shape)});
  return one(std::move(out));
}

Result<Values> expand(const Call& call) {
  const Tensor& in = call.in(0);
  const Ints wanted = TRY(call.ints(1));
  TRY(call.elements(wanted));
  return one(TRY(expand_to(call, in, TRY(broadcast_shape(call, in.shape, wanted)))));
}

Result<Values> tile(const Call& call) {
  const Tensor& in = call.in(0);
  const Ints repeats = TRY(call.ints(1));
  if (repeats.size() != in.shape.size()) return call.refuse("repeats {} axes", repeats.size());
  const Ints steps = strides(in.shape);
  Ints shape;
  Ints box;
  Ints read;
  for (size_t i = 0; i < repeats.size(); ++i) {
    int64_t d = 0;
    if (repeats[i] < 0 || __builtin_mul_overflow(repeats[i], in.shape[i], &d)) {
      return call.refuse("repeats an axis of {} {} times", in.shape[i], repeats[i]);
    }
    shape.push_back(d);
    box.insert(box.end(), {repeats[i], in.shape[i]});
    read.insert(read.end(), {0, steps[i]});
  }
  Tensor out = TRY(call.make(in.type, shape));
  if (out.count() > 0) copy_box(box, in, {0, read}, out, {0, strides(box)});
  return one(std::move(out));
}

Result<Values> concat(const Call& call) {
  const Tensor& first = call.in(0);
  const size_t axis = TRY(call.axis(call.node.attr_int("axis", 0), first.shape.size()));
  Ints shape = first.shape;
  shape[axis] = 0;
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    if (!call.has(i)) return call.refuse("lacks input {}", i);
    Ints other = call.in(i).shape;
    if (other.size() != shape.size()) return call.refuse("joins tensors of other shapes");
    shape[axis] += other[axis];
    other[axis] = first.shape[axis];
    if (other != first.shape) return call.refuse("joins tensors of other shapes");
  }
  Tensor out = TRY(call.make(first.type, shape));
  const Ints steps = strides(shape);
  int64_t base = 0;
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    const Tensor& in = call.in(i);
    copy_box(in.shape, in, {0, strides(in.shape)}, out, {base, steps});
    base += in.shape[axis] * steps[axis];
  }
  return one(std::move(out));
}

Result<Values> split(const Call& call) {
  const Tensor& in = call.in(0);
  const size_t axis = TRY(call.axis(call.node.attr_int("axis", 0), in.shape.size()));
  const auto parts = static_cast<int64_t>(call.node.outputs.size());
  Ints sizes = call.node.attr_ints("split", {});
  if (call.has(1)) sizes = TRY(call.ints(1));
  if (sizes.empty() && parts > 0) {
    // Equal parts; the last is smaller where they do not divide (num_outputs of opset 18).
    const int64_t each = (in.shape[axis] + parts - 1) / parts;
    for (int64_t i = 0; i < parts; ++i) {
      sizes.push_back(std::clamp<int64_t>(in.shape[axis] - i * each, 0, each));
    }
  }
  int64_t rest = in.shape[axis];
  for (const int64_t size : sizes) {
    if (size < 0 || size > rest) return call.refuse("splits an axis of {} wrongly", in.shape[axis]);
    rest -= size;
  }
  if (rest != 0 || static_cast<int64_t>(sizes.size()) != parts) {
    return call.refuse("splits an axis of {} wrongly", in.shape[axis]);
  }
  const Ints steps = strides(in.shape);
  Values values;
  int64_t base = 0;
  for (const int64_t size : sizes) {
    Ints shape = in.shape;
    shape[axis] = size;
    values.push_back(TRY(call.make(in.type, shape)));
    copy_box(shape, in, {base, steps}, values.back(), {0, strides(shape)});
    base += size * steps[axis];
  }
  return values;
}

struct Cut {
  int64_t start = 0;
  int64_t step = 1;
  int64_t length = 0;
};

Cut cut(int64_t size, int64_t start, int64_t end, int64_t step) {
  if (start < 0) start += size;
  if (end < 0) end += size;
  Cut cut;
  if (step > 0) {
    cut.start = std::clamp<int64_t>(start, 0, size);
    end = std::clamp<int64_t>(end, 0, size);
    cut.length = end > cut.start ? (end - cut.start - 1) / step + 1 : 0;
  } else {
    if (size == 0) return cut;
    step = std::max(step, -INT64_MAX);
    cut.start = std::clamp<int64_t>(start, 0, size - 1);
    end = std::clamp<int64_t>(end, -1, size - 1);
    cut.length = end < cut.start ? (cut.start - end - 1) / -step + 1 : 0;
  }
  cut.step = cut.length > 1 ? step : 1;  // a step that is not taken may be of any size
  return cut;
}

Result<Values> slice(const Call& call) {
  const Tensor& in = call.in(0);
  const Ints starts = TRY(call.ints(1));
  const Ints ends = TRY(call.ints(2));
  Ints listed;
  for (size_t i = 0; i < starts.size(); ++i) listed.push_back(static_cast<int64_t>(i));
  if (call.has(3)) listed = TRY(call.ints(3));
  Ints steps(starts.size(), 1);
  if (call.has(4)) steps = TRY(call.ints(4));
  const size_t count = starts.size();
  if (ends.size() != count || listed.size() != count || steps.size() != count) {
    return call.refuse("gets starts, ends, axes and steps of different lengths");
  }
  const auto axes = TRY(call.axes(listed, in.shape.size()));
  Ints shape = in.shape;
  View read{0, strides(in.shape)};
  for (size_t i = 0; i < count; ++i) {
    if (steps[i] == 0) return call.refuse("takes steps of 0");
    const size_t axis = axes[i];
    const Cut found = cut(in.shape[axis], starts[i], ends[i], steps[i]);
    shape[axis] = found.length;
    if (found.length > 0) read.base += found.start * read.steps[axis];
    read.steps[axis] *= found.step;
  }
  Tensor out = TRY(call.make(in.type, shape));
  if (out.count() > 0) copy_box(shape, in, read, out, {0, strides(shape)});
  return one(std::move(out));
}

Result<int64_t> block_size(const Call& call) {
  const int64_t block = call.node.attr_int("blocksize", 0);
  if (call.in(0).shape.size() != 4) return call.refuse("gets no picture");
  if (block < 1 || block > 1 << 20) return call.refuse("has blocks of {}", block);
  return block;
}

Result<Values> depth_to_space(const Call& call) {
  const Tensor& in = call.in(0);
  const int64_t b = TRY(block_size(call));
  const std::string mode = call.node.attr_string("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") return call.refuse("has an unknown mode");
  if (in.shape[1] % (b * b) != 0) return call.refuse("gets {} channels", in.shape[1]);
  const int64_t channels = in.shape[1] / (b * b);
  const int64_t h = in.shape[2];
  const int64_t w = in.shape[3];
  Tensor out = TRY(call.make(in.type, {in.shape[0], channels, h * b, w * b}));
  // The output as [N, C, H, b, W, b].
  const bool column = mode == "CRD";
  const int64_t plane = h * w;
  const int64_t channel_step = column ? b * b * plane : plane;
  const int64_t offset_step = column ? plane : channels * plane;
  const Ints box{in.shape[0], channels, h, b, w, b};
  const Ints read{in.shape[1] * plane, channel_step, w, b * offset_step, 1, offset_step};
  copy_box(box, in, {0, read}, out, {0, strides(box)});
  return one(std::move(out));
}

Result<Values> space_to_depth(const Call& call) {
  const Tensor& in = call.in(0);
  const int64_t b = TRY(block_size(call));
  const int64_t channels = in.shape[1];
  if (in.shape[2] % b != 0 || in.shape[3] % b != 0) {
    return call.refuse("cuts a picture of {}x{} into blocks of {}", in.shape[3], in.shape[2], b);
  }
  const int64_t h = in.shape[2] / b;
  const int64_t w = in.shape[3] / b;
  Tensor out = TRY(call.make(in.type, {in.shape[0], channels * b * b, h, w}));
  // The output as [N, b, b, C, H, W].
  const int64_t plane = in.shape[2] * in.shape[3];
  const Ints box{in.shape[0], b, b, channels, h, w};
  const Ints read{channels * plane, in.shape[3], 1, plane, in.shape[3] * b, b};
  copy_box(box, in, {0, read}, out, {0, strides(box)});
  return one(std::move(out));
}

// Where position `i` of a padded axis comes from; -1: from nowhere.
int64_t pad_source(const std::string& mode, int64_t i, int64_t size) {
  if (i >= 0 && i < size) return i;
  if (mode == "edge") return i < 0 ? 0 : size - 1;
  if (mode == "reflect") return i < 0 ? -i : 2 * (size - 1) - i;
  return -1;
}

Result<Ints> padded_shape(const Call& call, const Ints& pads, const std::string& mode) {
  const Ints& in = call.in(0).shape;
  const size_t rank = in.size();
  constexpr int64_t kMost = int64_t{1} << 40;
  if (pads.size() != 2 * rank) return call.refuse("pads {} sides of {}", pads.size(), 2 * rank);
  Ints shape;
  for (size_t i = 0; i < rank; ++i) {
    const int64_t begin = pads[i];
    const int64_t end = pads[rank + i];
    if (std::max(begin, end) > kMost || std::min(begin, end) < -kMost) {
      return call.refuse("pads by {} and {}", begin, end);
    }
    if (mode == "reflect" && std::max(begin, end) >= std::max<int64_t>(in[i], 1)) {
      return call.refuse("reflects more than the picture has");
    }
    if (mode == "edge" && in[i] == 0 && std::max(begin, end) > 0) {
      return call.refuse("repeats the edge of an empty axis");
    }
    shape.push_back(in[i] + begin + end);
  }
  return shape;
}

// Source offset of each position of each padded axis.
std::vector<Ints> pad_offsets(const Tensor& in, const Ints& pads, const Ints& shape,
                              const std::string& mode) {
  const Ints steps = strides(in.shape);
  std::vector<Ints> offsets(shape.size());
  for (size_t i = 0; i < shape.size(); ++i) {
    for (int64_t x = 0; x < shape[i]; ++x) {
      // What negative pads cut off on one side is there for the other side's padding.
      const int64_t from = pad_source(mode, x - pads[i], in.shape[i]);
      offsets[i].push_back(from < 0 || from >= in.shape[i] ? -1 : from * steps[i]);
    }
  }
  return offsets;
}

Result<Values> pad(const Call& call) {
  const Tensor& in = call.in(0);
  const std::string mode = call.node.attr_string("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "edge") {
    return call.refuse("has an unknown mode");
  }
  if (call.has(2) && call.in(2).count() != 1) return call.refuse("needs one value to pad with");
  const Ints pads = TRY(call.ints(1));
  const Ints shape = TRY(padded_shape(call, pads, mode));
  Tensor out = TRY(call.make(in.type, shape));
  const size_t rank = shape.size();
  if (rank == 0) return one(in);
  if (out.count() == 0) return one(std::move(out));
  const std::vector<Ints> offsets = pad_offsets(in, pads, shape, mode);
  const int64_t width = shape[rank - 1];
  const float float_value = call.has(2) && !in.is_int() ? call.in(2).floats[0] : 0;
  const int64_t int_value = call.has(2) && in.is_int() ? call.in(2).ints[0] : 0;
  with_elements(in, out, [&](const auto* from, auto* to) {
    using T = std::remove_pointer_t<decltype(to)>;
    const T fill = in.is_int() ? static_cast<T>(int_value) : static_cast<T>(float_value);
    parallel(call.options.threads, out.count() / width, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        int64_t base = 0;
        int64_t rest = row;
        for (size_t i = rank - 1; i-- > 0;) {
          const int64_t offset = offsets[i][rest % shape[i]];
          base = base < 0 || offset < 0 ? -1 : base + offset;
          rest /= shape[i];
        }
        for (int64_t x = 0; x < width; ++x) {
          const int64_t offset = offsets[rank - 1][x];
          to[row * width + x] = base < 0 || offset < 0 ? fill : from[base + offset];
        }
      }
    });
  });
  return one(std::move(out));
}

constexpr Operator kOperators[] = {
    {"Concat", 1, kMany, "as", concat},  {"DepthToSpace", 1, 1, "a", depth_to_space},
    {"Expand", 2, 2, "ai", expand},      {"Pad", 2, 3, "ais", pad},
    {"Slice", 3, 5, "ai", slice},        {"SpaceToDepth", 1, 1, "a", space_to_depth},
    {"Split", 1, 2, "ai", split},        {"Tile", 2, 2, "ai", tile},
    {"Transpose", 1, 1, "a", transpose},
};

}  // namespace

std::span<const Operator> move_operators() { return kOperators; }

}  // namespace atelier::model::ops
