// SPDX-License-Identifier: Apache-2.0
// Shapes of what moves, cuts and joins elements without computing with them.
#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "model/infer.h"

namespace atelier::model {
namespace {

Inferred reshape(const NodeView& n) {
  const TensorType* data = TRY(n.input(0));
  const auto wanted = TRY(n.ints(1));
  if (!wanted) {
    return one(data->type, Shape(static_cast<size_t>(TRY(n.length(1))), -1));
  }
  const bool copy_zero = n.node.attr_int("allowzero", 0) == 0;
  Shape shape;
  int64_t rest = 1;            // product of what is given
  std::optional<size_t> open;  // the dimension that -1 leaves open
  bool known = true;
  for (size_t i = 0; i < wanted->size(); ++i) {
    int64_t d = (*wanted)[i];
    if (d == 0 && copy_zero) {
      if (i >= data->shape.size()) return n.refuse("copies a dimension that its input lacks");
      d = data->shape[i];
      known = known && d >= 0;
    } else if (d == -1) {
      if (open) return n.refuse("leaves two dimensions open");
      open = i;
      shape.push_back(-1);
      continue;
    }
    if (d < -1) return n.refuse("has a strange shape");
    shape.push_back(d);
    if (d >= 0) rest = product(Shape{rest, d});
  }
  const int64_t count = product(data->shape);
  if (count < 0 || !known) return one(data->type, std::move(shape));
  if (open && rest > 0 && count % rest == 0) {
    shape[*open] = count / rest;
  } else if (open || rest != count) {
    return n.refuse(
        fmt::format("cannot make {} numbers of {}{}", count, open ? "a multiple of " : "", rest));
  }
  return one(data->type, std::move(shape));
}

Inferred transpose(const NodeView& n) {
  const TensorType* data = TRY(n.input(0));
  const size_t rank = data->shape.size();
  Shape order(rank);
  for (size_t i = 0; i < rank; ++i) order[i] = static_cast<int64_t>(rank - 1 - i);
  order = n.node.attr_ints("perm", order);
  Shape shape;
  std::set<size_t> seen;
  for (int64_t axis : order) {
    const size_t a = TRY(n.axis(axis, rank));
    seen.insert(a);
    shape.push_back(data->shape[a]);
  }
  if (seen.size() != rank || order.size() != rank) return n.refuse("has a strange perm");
  return one(data->type, std::move(shape));
}

Inferred flatten(const NodeView& n) {
  const TensorType* data = TRY(n.input(0));
  const auto rank = static_cast<int64_t>(data->shape.size());
  int64_t axis = n.node.attr_int("axis", 1);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis > rank) return n.refuse("has a strange axis");
  const std::span<const int64_t> all(data->shape);
  const auto cut = static_cast<size_t>(axis);
  return one(data->type, {product(all.first(cut)), product(all.subspan(cut))});
}

Result<std::set<size_t>> axes_of(const NodeView& n, const Shape& axes, size_t rank) {
  std::set<size_t> found;
  for (int64_t axis : axes) found.insert(TRY(n.axis(axis, rank)));
  if (found.size() != axes.size()) return n.refuse("names an axis twice");
  return found;
}

Inferred squeeze(const NodeView& n) {
  const TensorType* data = TRY(n.input(0));
  std::set<size_t> axes;
  if (n.has(1)) {
    axes = TRY(axes_of(n, TRY(n.constant_ints(1)), data->shape.size()));
  } else {
    for (size_t i = 0; i < data->shape.size(); ++i) {
      if (data->shape[i] == -1) {
        return n.refuse("drops dimensions that are known only while running");
      }
      if (data->shape[i] == 1) axes.insert(i);
    }
  }
  Shape shape;
  for (size_t i = 0; i < data->shape.size(); ++i) {
    if (!axes.contains(i)) {
      shape.push_back(data->shape[i]);
    } else if (data->shape[i] != 1 && data->shape[i] != -1) {
      return n.refuse(fmt::format("drops a dimension of {}", data->shape[i]));
    }
  }
  return one(data->type, std::move(shape));
}

Inferred unsqueeze(const NodeView& n) {
  const TensorType* data = TRY(n.input(0));
  const Shape wanted = TRY(n.constant_ints(1));
  if (wanted.size() > 32) return n.refuse("has strange axes");
  const size_t rank = data->shape.size() + wanted.size();
  const auto axes = TRY(axes_of(n, wanted, rank));
  Shape shape;
  for (size_t i = 0, from = 0; i < rank; ++i) {
    shape.push_back(axes.contains(i) ? 1 : data->shape[from++]);
  }
  return one(data->type, std::move(shape));
}

Inferred concat(const NodeView& n) {
  const TensorType* first = TRY(n.input(0));
  const size_t axis = TRY(n.axis(n.node.attr_int("axis", 0), first->shape.size()));
  Shape shape = first->shape;
  for (size_t i = 1; i < n.types.size(); ++i) {
    TRY(n.same_type(0, i));
    const Shape& other = n.types[i]->shape;
    if (other.size() != shape.size()) return n.refuse("joins tensors of several ranks");
    for (size_t d = 0; d < shape.size(); ++d) {
      if (d == axis) {
        shape[d] = shape[d] < 0 || other[d] < 0 ? -1 : shape[d] + other[d];
        if (shape[d] > int64_t{1} << 40) return n.refuse("joins too much");
      } else if (shape[d] == -1) {
        shape[d] = other[d];
      } else if (other[d] != -1 && other[d] != shape[d]) {
        return n.refuse(fmt::format("joins {} and {} along another dimension", shape[d], other[d]));
      }
    }
  }
  return one(first->type, std::move(shape));
}

Inferred split(const NodeView& n) {
  const TensorType* data = TRY(n.input(0));
  const size_t axis = TRY(n.axis(n.node.attr_int("axis", 0), data->shape.size()));
  const size_t count = n.node.outputs.size();
  const int64_t whole = data->shape[axis];
  Shape parts(count, -1);
  if (n.has(1)) {
    if (const auto given = TRY(n.ints(1))) {
      parts = *given;
      int64_t sum = 0;
      for (int64_t part : parts) {
        if (part < 0 || part > int64_t{1} << 31) return n.refuse("has strange parts");
        sum += part;
      }
      if (parts.size() != count || (whole != -1 && sum != whole)) {
        return n.refuse(fmt::format("has parts that do not add up to {}", whole));
      }
    }
  } else if (whole != -1) {
    if (whole % static_cast<int64_t>(count) != 0) {
      return n.refuse(fmt::format("cannot split {} into {} equal parts", whole, count));
    }
    parts.assign(count, whole / static_cast<int64_t>(count));
  }
  std::vector<TensorType> outputs(count, *data);
  for (size_t i = 0; i < count; ++i) outputs[i].shape[axis] = parts[i];
  return outputs;
}

// How many elements a Slice keeps of `size` (Operators.md, Slice).
int64_t sliced(int64_t size, int64_t start, int64_t end, int64_t step) {
  const auto from_end = [&](int64_t v) { return v < 0 ? (v < -size ? int64_t{-1} : v + size) : v; };
  if (step > 0) {
    start = std::clamp<int64_t>(from_end(start), 0, size);
    end = std::clamp<int64_t>(from_end(end), 0, size);
    return end <= start ? 0 : (end - start - 1) / step + 1;
  }
  if (size == 0) return 0;
  // Below the first element is where a slice that runs backwards ends, never where it starts.
  start = std::clamp<int64_t>(from_end(start), 0, size - 1);
  end = std::clamp<int64_t>(from_end(end), -1, size - 1);
  if (end >= start) return 0;
  return step < -size ? 1 : (start - end - 1) / -step + 1;
}

Inferred slice(const NodeView& n) {
  const TensorType* data = TRY(n.input(0));
  Shape shape = data->shape;
  const auto starts = TRY(n.ints(1));
  const auto ends = TRY(n.ints(2));
  const auto steps = TRY(n.ints(4));
  const auto count = static_cast<size_t>(TRY(n.length(1)));
  Shape axes(count);
  for (size_t i = 0; i < count; ++i) axes[i] = static_cast<int64_t>(i);
  if (n.has(3)) axes = TRY(n.constant_ints(3));
  if (axes.size() != count || TRY(n.length(2)) != static_cast<int64_t>(count) ||
      (n.has(4) && TRY(n.length(4)) != static_cast<int64_t>(count))) {
    return n.refuse("has strange bounds");
  }
  std::set<size_t> seen;
  for (size_t i = 0; i < count; ++i) {
    const size_t axis = TRY(n.axis(axes[i], shape.size()));
    if (!seen.insert(axis).second) return n.refuse("names an axis twice");
    const int64_t step = steps ? (*steps)[i] : n.has(4) ? 0 : 1;
    if (steps && step == 0) return n.refuse("has a step of zero");
    const bool known = starts && ends && step != 0 && shape[axis] >= 0;
    shape[axis] = known ? sliced(shape[axis], (*starts)[i], (*ends)[i], step) : -1;
  }
  return one(data->type, std::move(shape));
}

Inferred expand(const NodeView& n) {
  const TensorType* data = TRY(n.input(0));
  const auto wanted = TRY(n.ints(1));
  Shape target = wanted ? *wanted : Shape(static_cast<size_t>(TRY(n.length(1))), -1);
  if (wanted && std::any_of(target.begin(), target.end(), [](int64_t d) { return d < 0; })) {
    return n.refuse("has a strange shape");
  }
  if (wanted) return one(data->type, TRY(broadcast(n, data->shape, target)));
  return one(data->type, Shape(std::max(target.size(), data->shape.size()), -1));
}

Inferred tile(const NodeView& n) {
  const TensorType* data = TRY(n.input(0));
  const auto repeats = TRY(n.ints(1));
  Shape shape = data->shape;
  if (!repeats) return one(data->type, Shape(shape.size(), -1));
  if (repeats->size() != shape.size()) return n.refuse("has strange repeats");
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t times = (*repeats)[i];
    if (times < 0 || !modest(times)) return n.refuse("has strange repeats");
    if (shape[i] >= 0) shape[i] = product(Shape{shape[i], times});
  }
  return one(data->type, std::move(shape));
}

Inferred pad(const NodeView& n) {
  const TensorType* data = TRY(n.input(0));
  const size_t rank = data->shape.size();
  Shape shape = data->shape;
  const std::string mode = n.node.attr_string("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "edge") {
    return n.refuse(fmt::format("has mode '{}', which is not supported", printable(mode)));
  }
  if (n.has(2)) TRY(n.same_type(0, 2));
  const auto pads = TRY(n.ints(1));
  if (!pads) return one(data->type, Shape(rank, -1));
  if (pads->size() != 2 * rank) return n.refuse("has strange pads");
  for (size_t i = 0; i < rank; ++i) {
    const int64_t first = (*pads)[i], last = (*pads)[i + rank];
    if (!modest(first) || !modest(last)) return n.refuse("has strange pads");
    if (shape[i] < 0 || (first == 0 && last == 0)) continue;
    const bool short_of =
        mode == "reflect" ? std::max(first, last) >= shape[i] : mode == "edge" && shape[i] == 0;
    shape[i] += first + last;
    if (short_of || shape[i] < 0) return n.refuse_size();
  }
  return one(data->type, std::move(shape));
}

Result<int64_t> block_size(const NodeView& n) {
  const int64_t block = n.node.attr_int("blocksize", 0);
  if (block < 1 || block > 4096) return n.refuse("has a strange blocksize");
  if (TRY(n.input(0))->shape.size() != 4) {
    return n.refuse(fmt::format("has an input of {} dimensions instead of N, C, H, W",
                                n.types[0]->shape.size()));
  }
  return block;
}

Inferred depth_to_space(const NodeView& n) {
  const int64_t block = TRY(block_size(n));
  const std::string mode = n.node.attr_string("mode", "DCR");
  const Shape& s = n.types[0]->shape;
  if ((mode != "DCR" && mode != "CRD") || (s[1] >= 0 && s[1] % (block * block) != 0)) {
    return n.refuse("has a strange blocksize or mode");
  }
  return one(n.types[0]->type, {s[0], s[1] < 0 ? -1 : s[1] / (block * block),
                                s[2] < 0 ? -1 : s[2] * block, s[3] < 0 ? -1 : s[3] * block});
}

Inferred space_to_depth(const NodeView& n) {
  const int64_t block = TRY(block_size(n));
  const Shape& s = n.types[0]->shape;
  if ((s[2] >= 0 && s[2] % block != 0) || (s[3] >= 0 && s[3] % block != 0)) {
    return n.refuse(fmt::format("wants rows and columns that are multiples of {}", block));
  }
  return one(n.types[0]->type, {s[0], s[1] < 0 ? -1 : s[1] * block * block,
                                s[2] < 0 ? -1 : s[2] / block, s[3] < 0 ? -1 : s[3] / block});
}

// One side of a resized tensor; float as in libonnx and others.
Result<int64_t> scaled(const NodeView& n, int64_t size, float part, float scale) {
  if (!(scale > 0) || scale > 1e6F || !(part >= 0) || part > 1e6F) {
    return n.refuse("has strange scales");
  }
  if (size < 0) return int64_t{-1};
  return static_cast<int64_t>(std::floor(static_cast<float>(size) * part * scale));
}

Inferred resize(const NodeView& n) {
  const TensorType* data = TRY(n.input(0));
  const size_t rank = data->shape.size();
  Shape shape = data->shape;
  if (n.has(3) && n.types[3]->shape != Shape{0}) {
    const auto sizes = TRY(n.ints(3));
    if (!sizes) return one(data->type, Shape(rank, -1));
    const bool good =
        std::all_of(sizes->begin(), sizes->end(), [](int64_t s) { return s > 0 && modest(s); });
    if (sizes->size() != rank || !good) return n.refuse("has strange sizes");
    return one(data->type, *sizes);
  }
  if (!n.has(2)) return n.refuse("has neither scales nor sizes");
  const Tensor* scales = n.values[2];
  if (scales == nullptr) return one(data->type, Shape(rank, -1));
  if (scales->floats.size() != rank) return n.refuse("has strange scales");
  const bool crops =
      n.node.attr_string("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize";
  const Tensor* roi = crops && n.has(1) ? n.values[1] : nullptr;
  if (crops && (roi == nullptr || roi->floats.size() != 2 * rank)) {
    return n.refuse("has a strange roi");
  }
  for (size_t i = 0; i < rank; ++i) {
    const float part = crops ? roi->floats[rank + i] - roi->floats[i] : 1;
    shape[i] = TRY(scaled(n, shape[i], part, scales->floats[i]));
    if (shape[i] == 0 && data->shape[i] != 0) return n.refuse_size();
  }
  return one(data->type, std::move(shape));
}

Inferred trilu(const NodeView& n) {
  const TensorType type = *TRY(n.input(0));
  if (type.shape.size() < 2) return n.refuse("wants a matrix");
  return one(type.type, type.shape);
}

constexpr std::array kLayout = {
    InferRule{"Concat", concat},
    InferRule{"DepthToSpace", depth_to_space},
    InferRule{"Expand", expand},
    InferRule{"Flatten", flatten},
    InferRule{"Pad", pad},
    InferRule{"Reshape", reshape},
    InferRule{"Resize", resize},
    InferRule{"Slice", slice},
    InferRule{"SpaceToDepth", space_to_depth},
    InferRule{"Split", split},
    InferRule{"Squeeze", squeeze},
    InferRule{"Tile", tile},
    InferRule{"Transpose", transpose},
    InferRule{"Trilu", trilu},
    InferRule{"Unsqueeze", unsqueeze},
};

}  // namespace

std::span<const InferRule> layout_rules() { return kLayout; }

}  // namespace atelier::model
