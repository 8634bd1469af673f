// SPDX-License-Identifier: Apache-2.0
// Elements taken from, or put at, places that another tensor names. Every index is checked.
#include <algorithm>

#include "model/ops/walk.h"

namespace atelier::model::ops {
namespace {

// 0 to size - 1, counted from the end if negative.
Result<int64_t> place(const Call& call, int64_t index, int64_t size) {
  if (index < -size || index >= size) {
    return call.refuse("takes index {} of an axis of {}", index, size);
  }
  return index < 0 ? index + size : index;
}

Result<Values> gather(const Call& call) {
  const Tensor& in = call.in(0);
  const Tensor& indices = call.in(1);
  const size_t rank = in.shape.size();
  const size_t axis = TRY(call.axis(call.node.attr_int("axis", 0), rank));
  const int64_t outer = product(in.shape, 0, axis);
  const int64_t inner = product(in.shape, axis + 1, rank);
  const int64_t size = in.shape[axis];
  Ints shape(in.shape.begin(), in.shape.begin() + static_cast<std::ptrdiff_t>(axis));
  shape.insert(shape.end(), indices.shape.begin(), indices.shape.end());
  shape.insert(shape.end(), in.shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1,
               in.shape.end());
  Tensor out = TRY(call.make(in.type, shape));
  Ints places;
  for (const int64_t index : indices.ints) places.push_back(TRY(place(call, index, size)));
  const auto count = static_cast<int64_t>(places.size());
  if (out.count() == 0) return one(std::move(out));
  with_elements(in, out, [&](const auto* from, auto* to) {
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = 0; i < count; ++i) {
        std::copy_n(from + (o * size + places[i]) * inner, inner, to + (o * count + i) * inner);
      }
    }
  });
  return one(std::move(out));
}

// Steps over `data` for each element of `indices`, the axis left out.
Result<Ints> element_steps(const Call& call, const Ints& data, const Ints& indices, size_t axis) {
  if (data.size() != indices.size()) {
    return call.refuse("gets {} axes and indices of {}", data.size(), indices.size());
  }
  for (size_t i = 0; i < data.size(); ++i) {
    if (i != axis && indices[i] > data[i]) return call.refuse("gets more indices than elements");
  }
  Ints steps = strides(data);
  steps[axis] = 0;
  return steps;
}

Result<Ints> element_places(const Call& call, const Tensor& data, const Tensor& indices) {
  const size_t axis = TRY(call.axis(call.node.attr_int("axis", 0), data.shape.size()));
  const Ints steps = TRY(element_steps(call, data.shape, indices.shape, axis));
  const int64_t step = strides(data.shape)[axis];
  Ints places(indices.ints.size());
  for (size_t i = 0; i < places.size(); ++i) {
    places[i] = TRY(place(call, indices.ints[i], data.shape[axis])) * step;
  }
  Walk<1>(indices.shape, {steps}).each([&](int64_t i, const auto& at) { places[i] += at[0]; });
  return places;
}

Result<Values> gather_elements(const Call& call) {
  const Tensor& in = call.in(0);
  const Ints places = TRY(element_places(call, in, call.in(1)));
  Tensor out = TRY(call.make(in.type, call.in(1).shape));
  with_elements(in, out, [&](const auto* from, auto* to) {
    for (size_t i = 0; i < places.size(); ++i) to[i] = from[places[i]];
  });
  return one(std::move(out));
}

// Offsets of the blocks that rows of `indices` name: the first `batch` axes run in step with the
// data, then come as many axes as a row has entries.
Result<Ints> block_offsets(const Call& call, const Tensor& data, const Tensor& indices,
                           size_t batch) {
  const size_t width = static_cast<size_t>(indices.shape.back());
  const Ints steps = strides(data.shape);
  const int64_t batches = product(data.shape, 0, batch);
  const int64_t rows = product(indices.shape, 0, indices.shape.size() - 1);
  const int64_t batch_step = batch == 0 ? 0 : steps[batch - 1];
  Ints offsets(static_cast<size_t>(rows));
  for (int64_t row = 0; row < rows; ++row) {
    int64_t at = batches == 0 ? 0 : row / (rows / batches) * batch_step;
    for (size_t k = 0; k < width; ++k) {
      const int64_t index = indices.ints[static_cast<size_t>(row) * width + k];
      at += TRY(place(call, index, data.shape[batch + k])) * steps[batch + k];
    }
    offsets[row] = at;
  }
  return offsets;
}

Result<Values> gather_nd(const Call& call) {
  const Tensor& in = call.in(0);
  const Tensor& indices = call.in(1);
  const int64_t wanted = call.node.attr_int("batch_dims", 0);
  const size_t rank = in.shape.size();
  if (indices.shape.empty() || wanted < 0 || wanted >= static_cast<int64_t>(rank) ||
      wanted >= static_cast<int64_t>(indices.shape.size())) {
    return call.refuse("has batch_dims of {}", wanted);
  }
  const auto batch = static_cast<size_t>(wanted);
  const int64_t width = indices.shape.back();
  if (width < 1 || width > static_cast<int64_t>(rank - batch) ||
      !std::equal(in.shape.begin(), in.shape.begin() + wanted, indices.shape.begin())) {
    return call.refuse("gets indices of another shape");
  }
  const size_t used = batch + static_cast<size_t>(width);
  Ints shape(indices.shape.begin(), indices.shape.end() - 1);
  shape.insert(shape.end(), in.shape.begin() + static_cast<std::ptrdiff_t>(used), in.shape.end());
  Tensor out = TRY(call.make(in.type, shape));
  if (indices.count() == 0) return one(std::move(out));
  const Ints offsets = TRY(block_offsets(call, in, indices, batch));
  const int64_t block = product(in.shape, used, rank);
  with_elements(in, out, [&](const auto* from, auto* to) {
    for (size_t i = 0; i < offsets.size(); ++i) {
      std::copy_n(from + offsets[i], block, to + static_cast<int64_t>(i) * block);
    }
  });
  return one(std::move(out));
}

enum class Reduction { none, add, mul, max, min };

Result<Reduction> reduction(const Call& call) {
  const std::string name = call.node.attr_string("reduction", "none");
  if (name == "none") return Reduction::none;
  if (name == "add") return Reduction::add;
  if (name == "mul") return Reduction::mul;
  if (name == "max") return Reduction::max;
  if (name == "min") return Reduction::min;
  return call.refuse("has an unknown reduction");
}

float reduced(Reduction how, ElementType, float old, float update) {
  switch (how) {
    case Reduction::add: return old + update;
    case Reduction::mul: return old * update;
    case Reduction::max: return std::max(old, update);
    case Reduction::min: return std::min(old, update);
    default: return update;
  }
}

int64_t reduced(Reduction how, ElementType type, int64_t old, int64_t update) {
  const auto a = static_cast<uint64_t>(old);
  const auto b = static_cast<uint64_t>(update);
  const bool less = type == ElementType::u64 ? a < b : old < update;
  switch (how) {
    case Reduction::add: return wrap(type, static_cast<int64_t>(a + b));
    case Reduction::mul: return wrap(type, static_cast<int64_t>(a * b));
    case Reduction::max: return less ? update : old;
    case Reduction::min: return less ? old : update;
    default: return update;
  }
}

Result<Values> scatter_elements(const Call& call) {
  const Tensor& updates = call.in(2);
  if (updates.shape != call.in(1).shape) return call.refuse("gets other updates than indices");
  const Reduction how = TRY(reduction(call));
  const Ints places = TRY(element_places(call, call.in(0), call.in(1)));
  Tensor out = call.in(0);
  with_elements(updates, out, [&](const auto* from, auto* to) {
    for (size_t i = 0; i < places.size(); ++i) {
      to[places[i]] = reduced(how, out.type, to[places[i]], from[i]);
    }
  });
  return one(std::move(out));
}

Result<Values> scatter_nd(const Call& call) {
  const Tensor& indices = call.in(1);
  const Tensor& updates = call.in(2);
  Tensor out = call.in(0);
  const size_t rank = out.shape.size();
  if (indices.shape.empty() || indices.shape.back() < 1 ||
      indices.shape.back() > static_cast<int64_t>(rank)) {
    return call.refuse("gets indices of another shape");
  }
  const auto used = static_cast<size_t>(indices.shape.back());
  Ints wanted(indices.shape.begin(), indices.shape.end() - 1);
  wanted.insert(wanted.end(), out.shape.begin() + static_cast<std::ptrdiff_t>(used),
                out.shape.end());
  if (updates.shape != wanted) return call.refuse("gets updates of another shape");
  const Reduction how = TRY(reduction(call));
  const Ints offsets = TRY(block_offsets(call, out, indices, 0));
  const int64_t block = product(out.shape, used, rank);
  with_elements(updates, out, [&](const auto* from, auto* to) {
    for (size_t i = 0; i < offsets.size(); ++i) {
      for (int64_t k = 0; k < block; ++k) {
        auto& value = to[offsets[i] + k];
        value = reduced(how, out.type, value, from[static_cast<int64_t>(i) * block + k]);
      }
    }
  });
  return one(std::move(out));
}

Result<Values> one_hot(const Call& call) {
  const Tensor& indices = call.in(0);
  const Tensor& values = call.in(2);
  const double wanted = TRY(call.number(1));
  if (values.shape != Ints{2}) return call.refuse("needs two values");
  if (!(wanted >= 1) || wanted > static_cast<double>(call.options.max_elements)) {
    return call.refuse("has a depth of {}", wanted);
  }
  const auto depth = static_cast<int64_t>(wanted);
  const size_t axis = TRY(call.axis(call.node.attr_int("axis", -1), indices.shape.size() + 1));
  Ints shape = indices.shape;
  shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(axis), depth);
  Tensor out = TRY(call.make(values.type, shape));
  const int64_t inner = product(shape, axis + 1, shape.size());
  with_elements(values, out, [&](const auto* from, auto* to) {
    std::fill_n(to, out.count(), from[0]);
    for (int64_t i = 0; i < indices.count(); ++i) {
      double at =
          indices.is_int() ? to_double(indices.type, indices.ints[i]) : double{indices.floats[i]};
      if (at < 0) at += wanted;
      if (!(at >= 0 && at < wanted)) continue;
      to[(i / inner * depth + static_cast<int64_t>(at)) * inner + i % inner] = from[1];
    }
  });
  return one(std::move(out));
}

Result<Values> non_zero(const Call& call) {
  const Tensor& in = call.in(0);
  const auto rank = static_cast<int64_t>(in.shape.size());
  Ints found;
  for (int64_t i = 0; i < in.count(); ++i) {
    if (in.is_int() ? in.ints[i] != 0 : in.floats[i] != 0) found.push_back(i);
  }
  const auto count = static_cast<int64_t>(found.size());
  Tensor out = TRY(call.make(ElementType::i64, {rank, count}));
  const Ints steps = strides(in.shape);
  for (int64_t axis = 0; axis < rank; ++axis) {
    for (int64_t i = 0; i < count; ++i) {
      out.ints[axis * count + i] = found[i] / steps[axis] % in.shape[axis];
    }
  }
  return one(std::move(out));
}

Result<Values> compress(const Call& call) {
  Tensor in = call.in(0);
  if (call.node.attributes.find("axis") == call.node.attributes.end()) in.shape = {in.count()};
  const size_t rank = in.shape.size();
  const size_t axis = TRY(call.axis(call.node.attr_int("axis", 0), rank));
  const Tensor& condition = call.in(1);
  if (condition.shape.size() != 1 || condition.count() > in.shape[axis]) {
    return call.refuse("gets a condition of another length");
  }
  Ints kept;
  for (int64_t i = 0; i < condition.count(); ++i) {
    if (condition.ints[i] != 0) kept.push_back(i);
  }
  Ints shape = in.shape;
  shape[axis] = static_cast<int64_t>(kept.size());
  Tensor out = TRY(call.make(in.type, shape));
  const Ints read = strides(in.shape);
  const Ints write = strides(shape);
  Ints slab = shape;
  slab[axis] = 1;
  for (size_t i = 0; i < kept.size(); ++i) {
    copy_box(slab, in, {kept[i] * read[axis], read}, out,
             {static_cast<int64_t>(i) * write[axis], write});
  }
  return one(std::move(out));
}

constexpr Operator kOperators[] = {
    {"Compress", 2, 2, "ab", compress},
    {"Gather", 2, 2, "ai", gather},
    {"GatherElements", 2, 2, "ai", gather_elements},
    {"GatherND", 2, 2, "ai", gather_nd},
    {"NonZero", 1, 1, "a", non_zero},
    {"OneHot", 3, 3, "nna", one_hot},
    {"ScatterElements", 3, 3, "ais", scatter_elements},
    {"ScatterND", 3, 3, "ais", scatter_nd},
};

}  // namespace

std::span<const Operator> index_operators() { return kOperators; }

}  // namespace atelier::model::ops
