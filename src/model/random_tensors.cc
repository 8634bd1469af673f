// SPDX-License-Identifier: Apache-2.0
// Random graphs on tensors of any shape and type.
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "model/random_graph_builder.h"

namespace atelier::model {
namespace {

using namespace random_graphs;

class Tensors {
 public:
  explicit Tensors(uint32_t seed) : b_(seed) {
    Ints shape(static_cast<size_t>(1 + b_.draw(4)));
    for (int64_t& d : shape) d = 1 + b_.draw(6);
    last_ = b_.input(shape, Ints(shape.size(), -1));
    all_.push_back(last_);
  }

  RandomGraph run() {
    const int64_t steps = 3 + b_.draw(8);
    for (int64_t i = 0; i < steps; ++i) step();
    if (all_.size() == 1) unary();
    if (b_.draw(4) == 0)
      b_.output(all_[static_cast<size_t>(1 + b_.draw(static_cast<int64_t>(all_.size()) - 1))]);
    b_.output(last_);
    return b_.take();
  }

 private:
  int64_t rank() const { return static_cast<int64_t>(last_.shape.size()); }
  int64_t count() const {
    int64_t n = 1;
    for (int64_t d : last_.shape) n *= d;
    return n;
  }
  int64_t axis() { return b_.draw(rank()); }
  int64_t& at(Ints& shape, int64_t axis) { return shape[static_cast<size_t>(axis)]; }
  void then(std::string name, Ints shape) {
    last_ = {std::move(name), std::move(shape)};
    all_.push_back(last_);
  }
  void same(std::string name) { then(std::move(name), Ints(last_.shape)); }

  void step() {
    if (b_.draw(7) == 0) last_ = b_.pick(all_);
    if (rank() == 0) return unsqueeze();
    switch (b_.draw(15)) {
      case 0: return unary();
      case 1: return matmul();
      case 2: return gemm();
      case 3: return transpose();
      case 4: return reshape();
      case 5: return gather();
      case 6: return reduce();
      case 7: return concat();
      case 8: return same(b_.node("Softmax", {last_.name}, {{"axis", axis() - rank()}}));
      case 9: return unsqueeze();
      case 10: return squeeze();
      case 11: return expand();
      case 12: return slice();
      case 13: return binary();
      default: return where();
    }
  }

  void unary() {
    switch (b_.draw(6)) {
      case 0: return same(b_.node("Erf", {last_.name}));
      case 1: return same(b_.node("Sqrt", {b_.node("Abs", {last_.name})}));
      case 2: return same(b_.node("Exp", {b_.node("Tanh", {last_.name})}));
      case 3: return same(b_.node("Pow", {last_.name, b_.scalar(2)}));
      case 4: return same(b_.node("Sigmoid", {last_.name}));
      default: return same(b_.node("Relu", {last_.name}));
    }
  }
  void matmul() {
    const int64_t inner = last_.shape.back(), out = 1 + b_.draw(7);
    const float reach = 1.5F / std::sqrt(static_cast<float>(inner));
    Ints shape = last_.shape;
    shape.back() = out;
    then(b_.node("MatMul", {last_.name, b_.floats({inner, out}, -reach, reach)}), shape);
  }
  void gemm() {
    const int64_t cut = b_.draw(rank() + 1);
    int64_t rows = 1, inner = 1;
    for (int64_t i = 0; i < rank(); ++i) (i < cut ? rows : inner) *= at(last_.shape, i);
    const std::string flat = b_.node("Flatten", {last_.name}, {{"axis", cut}});
    const int64_t out = 1 + b_.draw(9), transposed = b_.draw(2);
    const float reach = 1.5F / std::sqrt(static_cast<float>(inner));
    const Ints weights = transposed != 0 ? Ints{out, inner} : Ints{inner, out};
    std::vector<std::string> inputs{flat, b_.floats(weights, -reach, reach)};
    if (b_.coin()) inputs.push_back(b_.floats(b_.coin() ? Ints{out} : Ints{1, 1}, -1, 1));
    then(b_.node("Gemm", inputs, {{"transB", transposed}, {"alpha", b_.real(0.5F, 2)}}),
         {rows, out});
  }
  void transpose() {
    Ints perm;
    for (int64_t i = 0; i < rank(); ++i) {
      perm.insert(perm.begin() + b_.draw(i + 1), i);
    }
    Ints shape;
    for (const int64_t p : perm) shape.push_back(at(last_.shape, p));
    then(b_.node("Transpose", {last_.name}, {{"perm", perm}}), shape);
  }
  // The last two dimensions as one, by a shape that the graph computes.
  void reshape() {
    if (rank() < 2) return unary();
    const std::string shape = b_.node("Shape", {last_.name});
    Ints first, kept(last_.shape.begin(), last_.shape.end() - 2);
    for (int64_t i = 0; i + 2 < rank(); ++i) first.push_back(i);
    const std::string joined = b_.ints({-1});
    const std::string target =
        first.empty()
            ? joined
            : b_.node("Concat",
                      {b_.node("Gather", {shape, b_.ints(first)}, {{"axis", int64_t{0}}}), joined},
                      {{"axis", int64_t{0}}});
    kept.push_back(last_.shape.back() * last_.shape[last_.shape.size() - 2]);
    then(b_.node("Reshape", {last_.name, target}), kept);
  }
  void gather() {
    const int64_t a = axis(), size = at(last_.shape, a);
    Ints indices;
    for (int64_t i = 0; i < 1 + b_.draw(4); ++i) indices.push_back(b_.draw(2 * size) - size);
    Ints shape = last_.shape;
    at(shape, a) = static_cast<int64_t>(indices.size());
    then(b_.node("Gather", {last_.name, b_.ints(indices)}, {{"axis", a}}), shape);
  }
  void reduce() {
    const int64_t a = axis(), keep = b_.draw(2);
    Ints shape = last_.shape;
    if (keep != 0) {
      at(shape, a) = 1;
    } else {
      shape.erase(shape.begin() + a);
    }
    const std::vector<std::string> ops{"ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2"};
    if (b_.draw(3) == 0) {
      return then(b_.node("ReduceSum", {last_.name, b_.ints({a - rank()})}, {{"keepdims", keep}}),
                  shape);
    }
    then(b_.node(b_.pick(ops), {last_.name}, {{"axes", Ints{a}}, {"keepdims", keep}}), shape);
  }
  void concat() {
    if (count() > 2000) return unary();
    const int64_t a = axis();
    Ints shape = last_.shape;
    at(shape, a) *= 2;
    const std::string other = b_.node("Neg", {last_.name});
    then(b_.node("Concat", {last_.name, other}, {{"axis", a - rank()}}), shape);
  }
  void unsqueeze() {
    if (rank() >= 5) return unary();
    const int64_t a = b_.draw(rank() + 1);
    Ints shape = last_.shape;
    shape.insert(shape.begin() + a, 1);
    then(b_.node("Unsqueeze", {last_.name, b_.ints({a})}), shape);
  }
  void squeeze() {
    Ints shape;
    for (const int64_t d : last_.shape) {
      if (d != 1) shape.push_back(d);
    }
    then(b_.node("Squeeze", {last_.name}), shape);
  }
  void expand() {
    if (count() > 500) return unary();
    Ints shape = last_.shape;
    if (b_.coin()) {
      shape.insert(shape.begin(), 1 + b_.draw(3));
      if (shape.size() > 5) return unary();
      return then(b_.node("Expand", {last_.name, b_.ints(shape)}), shape);
    }
    Ints times;
    for (int64_t& d : shape) {
      times.push_back(1 + b_.draw(2));
      d *= times.back();
    }
    then(b_.node("Tile", {last_.name, b_.ints(times)}), shape);
  }
  void slice() {
    const int64_t a = axis(), size = at(last_.shape, a), start = b_.draw(size);
    const bool back = b_.coin();
    Ints shape = last_.shape;
    at(shape, a) = back ? start + 1 : size - start;
    then(b_.node("Slice", {last_.name, b_.ints({start}), b_.ints({back ? -1000 : 1000}),
                           b_.ints({a}), b_.ints({back ? -1 : 1})}),
         shape);
  }
  void binary() {
    const std::vector<std::string> ops{"Add", "Sub", "Mul", "Div", "Max", "Min"};
    Ints shape(last_.shape.begin() + b_.draw(rank()), last_.shape.end());
    for (int64_t& d : shape) d = b_.draw(3) == 0 ? 1 : d;
    same(b_.node(b_.pick(ops), {last_.name, b_.floats(shape, 0.5F, 2)}));
  }
  void where() {
    Tensor mask;
    mask.type = ElementType::boolean;
    mask.shape = last_.shape;
    for (int64_t i = 0; i < count(); ++i) mask.ints.push_back(b_.draw(2));
    same(b_.node("Where", {b_.keep(std::move(mask)), last_.name, b_.scalar(b_.real(-1, 1))}));
  }

  Builder b_;
  Made last_;
  std::vector<Made> all_;
};

}  // namespace

RandomGraph random_tensor_graph(uint32_t seed) { return Tensors(seed).run(); }

}  // namespace atelier::model
