// SPDX-License-Identifier: Apache-2.0
// What the operators of this folder share: one call of one node, checked element counts, threads.
#pragma once

#include <exception>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "model/ops/evaluate.h"

namespace atelier::model::ops {

using Ints = std::vector<int64_t>;
using Values = std::vector<Tensor>;

constexpr size_t kMaxRank = 32;

struct Call {
  const Node& node;
  std::span<const Tensor* const> inputs;
  const EvaluateOptions& options;

  bool has(size_t i) const { return i < inputs.size() && inputs[i] != nullptr; }
  // An input that the operator's entry in the table requires, or that has() found.
  const Tensor& in(size_t i) const { return *inputs[i]; }

  template <class... A>
  Error refuse(fmt::format_string<A...> why, A&&... a) const {
    return make_error(Code::invalid_argument, "node '{}' ({}) {}.", node.name, node.op,
                      fmt::format(why, std::forward<A>(a)...));
  }

  // All zero. Refused before anything is allocated if a dimension is negative or the elements are
  // more than the options allow. Dimensions of zero do not hide others: their product is bounded
  // too, so that steps over any tensor made here fit in 64 bits.
  Result<Tensor> make(ElementType type, Ints shape) const;
  Result<int64_t> elements(const Ints& shape) const;

  // -rank to rank-1, counted from the end if negative.
  Result<size_t> axis(int64_t value, size_t rank) const;
  Result<std::vector<size_t>> axes(const Ints& values, size_t rank) const;  // each once
  // The integers of an input of rank 0 or 1.
  Result<Ints> ints(size_t input) const;
  // The only element of an input, a float or an integer as its type says.
  Result<double> number(size_t input) const;
  Result<int64_t> integer(size_t input) const;
};

using Function = Result<Values> (*)(const Call&);

// `types` has a letter for each input, the last standing for all that follow: f float, i integer, b
// bool, n any number, a anything, s as input 0, t as input 1. Floats of any width are alike.
struct Operator {
  const char* name;
  size_t min_inputs;  // so many must be there, not null
  size_t max_inputs;
  const char* types;
  Function function;
};
constexpr size_t kMany = 100000;

// One list a file.
std::span<const Operator> unary_operators();
std::span<const Operator> binary_operators();
std::span<const Operator> reduce_operators();
std::span<const Operator> conv_operators();
std::span<const Operator> pool_operators();
std::span<const Operator> norm_operators();
std::span<const Operator> resize_operators();
std::span<const Operator> shape_operators();
std::span<const Operator> move_operators();
std::span<const Operator> index_operators();
std::span<const Operator> create_operators();
std::span<const Operator> matmul_operators();
std::span<const Operator> quantize_operators();
std::span<const Operator> select_operators();
std::span<const Operator> einsum_operators();

Values one(Tensor tensor);

// In two's complement, as the type stores it; booleans become 0 or 1. uint64 keeps its 64 bits.
int64_t wrap(ElementType type, int64_t value);
int64_t saturate(ElementType type, double value);
double to_double(ElementType type, int64_t value);
// Round to nearest even, as a Cast to float16 does.
float round_to_half(float value);

Ints strides(const Ints& shape);
int64_t product(const Ints& shape, size_t begin, size_t end);

// Calls body(begin, end) for parts of [0, count) on up to `threads` threads. Each index must be
// computed alike wherever the parts begin.
template <class F>
void parallel(int threads, int64_t count, F body) {
  if (threads <= 1 || count <= 1) {
    if (count > 0) body(int64_t{0}, count);
    return;
  }
  const int64_t parts = std::min<int64_t>(threads, count);
  std::exception_ptr failure;
#pragma omp parallel for num_threads(static_cast <int>(parts)) schedule(static, 1)
  for (int64_t part = 0; part < parts; ++part) {
    try {
      const int64_t each = count / parts;
      const int64_t rest = count % parts;
      const int64_t begin = part * each + std::min(part, rest);
      body(begin, begin + each + (part < rest ? 1 : 0));
    } catch (...) {
#pragma omp critical(atelier_ops_failure)
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);  // only std::bad_alloc; evaluate() catches it
}

// f(from, to) with the elements of whichever kind the tensors have (both the same).
template <class F>
void with_elements(const Tensor& in, Tensor& out, F f) {
  if (in.is_int()) {
    f(in.ints.data(), out.ints.data());
  } else {
    f(in.floats.data(), out.floats.data());
  }
}

}  // namespace atelier::model::ops
