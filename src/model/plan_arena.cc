// SPDX-License-Identifier: Apache-2.0
// Memory by lifetime: one value after the other, each at the lowest place that is free while it
// lives. The least that any order could need is the largest sum of values that live at once. The
// largest first meets it within a per cent for style networks; where many live long, another order
// may be nearer, so a few are tried. Quadratic in the number of values, of which there are dozens.
#include <algorithm>
#include <functional>

#include "model/plan.h"

namespace atelier::model {
namespace {

// More than any machine has; sums stay far from overflow.
constexpr int64_t kMostFloats = int64_t{1} << 42;

int64_t row_elements(const Value& v) {
  return (v.halo.left + v.shape.width + v.halo.right) * v.block;
}
int64_t plane_elements(const Value& v) {
  return (v.halo.top + v.shape.height + v.halo.bottom) * row_elements(v);
}
int64_t value_floats(const Value& v) {
  const int64_t elements = value_elements(v);
  // A cache line more between neighbours, and everything starts on one.
  return ((v.bytes ? (elements + 3) / 4 : elements) + 31) / 16 * 16;
}

template <class Element>
kernels::BasicView<Element> view_of(const Value& v, const Value& root, Element* data) {
  kernels::BasicView<Element> view;
  view.channels = static_cast<int>(v.shape.channels);
  view.height = static_cast<int>(v.shape.height);
  view.width = static_cast<int>(v.shape.width);
  view.block = v.block;
  view.row = row_elements(root);
  view.plane = plane_elements(root);
  view.data = data + v.group * view.plane + (root.halo.top + v.y) * view.row +
              (root.halo.left + v.x) * v.block;
  return view;
}

}  // namespace

int64_t value_elements(const Value& root) {
  return (root.shape.channels + root.block - 1) / root.block * plane_elements(root);
}

kernels::TensorView StepContext::view(int value) const {
  const Value& v = values[static_cast<size_t>(value)];
  const Value& root = values[static_cast<size_t>(v.root)];
  return view_of(v, root, arena + root.offset);
}

kernels::ByteView StepContext::byte_view(int value) const {
  const Value& v = values[static_cast<size_t>(value)];
  const Value& root = values[static_cast<size_t>(v.root)];
  return view_of(v, root, reinterpret_cast<uint8_t*>(arena + root.offset));
}

int64_t NetPlan::scratch_floats(int threads) const {
  int64_t most = 0;
  for (const Step& step : steps)
    most = std::max(most, step.scratch_shared + step.scratch_each * threads);
  return most;
}

int64_t WeightCache::floats() const {
  size_t sum = 0;
  for (const auto& [name, w] : winograd) sum += w->packed.size() + w->bias.size();
  for (const auto& [name, w] : direct) {
    sum += w->bias.size();
    for (const auto& phase : w->phases) sum += phase.packed.size();
  }
  for (const auto& [name, w] : narrow) {
    for (const auto& phase : w->phases)
      sum += phase.packed.size() / sizeof(float) + phase.scale.size() + phase.shift.size();
  }
  return static_cast<int64_t>(sum);
}

namespace {

// Places the roots in this order; what the arena takes then.
int64_t place(NetPlan& plan, const std::vector<size_t>& order) {
  std::vector<size_t> placed;  // by offset
  int64_t arena = 0;
  for (size_t i : order) {
    Value& value = plan.values[i];
    const int64_t size = value_floats(value);
    int64_t offset = 0;
    for (size_t j : placed) {
      const Value& other = plan.values[j];
      if (other.last < value.first || value.last < other.first) continue;
      if (other.offset >= offset + size) break;
      offset = std::max(offset, other.offset + value_floats(other));
    }
    if (size > kMostFloats || offset > kMostFloats) return kMostFloats;  // the runner refuses it
    value.offset = offset;
    const auto at = std::find_if(placed.begin(), placed.end(),
                                 [&](size_t j) { return plan.values[j].offset > offset; });
    placed.insert(at, i);
    arena = std::max(arena, offset + size);
  }
  return arena;
}

}  // namespace

void place_values(NetPlan& plan) {
  std::vector<size_t> roots;
  for (size_t i = 0; i < plan.values.size(); i++) {
    if (plan.values[i].root == static_cast<int>(i)) roots.push_back(i);
  }
  const auto size = [&](size_t i) { return static_cast<double>(value_floats(plan.values[i])); };
  const auto life = [&](size_t i) { return plan.values[i].last - plan.values[i].first + 1; };
  const std::vector<std::function<double(size_t)>> ranks{
      size, [&](size_t i) { return size(i) * life(i); },
      [&](size_t i) { return static_cast<double>(life(i)); },
      [&](size_t i) { return static_cast<double>(-plan.values[i].first); }};
  std::vector<size_t> best;
  int64_t least = 0;
  for (const auto& rank : ranks) {
    std::vector<size_t> order = roots;
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return rank(a) > rank(b); });
    const int64_t arena = place(plan, order);
    if (!best.empty() && arena >= least) continue;
    least = arena;
    best = std::move(order);
  }
  plan.arena_floats = place(plan, best);
}

}  // namespace atelier::model
