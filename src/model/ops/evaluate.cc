// SPDX-License-Identifier: Apache-2.0
#include "model/ops/evaluate.h"

#include <algorithm>
#include <new>
#include <unordered_map>

#include "model/ops/call.h"

namespace atelier::model {
namespace {

using ops::Call;
using ops::Operator;

using Table = std::unordered_map<std::string_view, const Operator*>;

const Table& table() {
  static const Table kTable = [] {
    Table all;
    for (const auto list :
         {ops::unary_operators(), ops::binary_operators(), ops::reduce_operators(),
          ops::conv_operators(), ops::pool_operators(), ops::norm_operators(),
          ops::resize_operators(), ops::shape_operators(), ops::move_operators(),
          ops::index_operators(), ops::create_operators(), ops::matmul_operators(),
          ops::quantize_operators(), ops::select_operators(), ops::einsum_operators()}) {
      for (const Operator& entry : list) all.emplace(entry.name, &entry);
    }
    return all;
  }();
  return kTable;
}

bool alike(const Tensor& a, const Tensor& b) { return a.is_int() ? a.type == b.type : !b.is_int(); }

bool type_fits(const Call& call, size_t i, char letter) {
  const Tensor& tensor = call.in(i);
  switch (letter) {
    case 'f': return !tensor.is_int();
    case 'i': return tensor.is_int() && tensor.type != ElementType::boolean;
    case 'b': return tensor.type == ElementType::boolean;
    case 'n': return tensor.type != ElementType::boolean;
    case 's': return alike(call.in(0), tensor);
    case 't': return alike(call.in(1), tensor);
    default: return true;
  }
}

Result<void> check_input(const Call& call, size_t i) {
  constexpr int64_t kMost = int64_t{1} << 40;  // so that no product of dimensions overflows
  const Tensor& tensor = call.in(i);
  int64_t bounded = 1;
  bool empty = false;
  for (const int64_t d : tensor.shape) {
    if (d < 0 || __builtin_mul_overflow(bounded, std::max<int64_t>(d, 1), &bounded) ||
        bounded > kMost) {
      return call.refuse("gets a shape as input {} that cannot be", i);
    }
    empty |= d == 0;
  }
  const auto count = static_cast<size_t>(empty ? 0 : bounded);
  const size_t floats = tensor.is_int() ? 0 : count;
  if (tensor.shape.size() > ops::kMaxRank || tensor.floats.size() != floats ||
      tensor.ints.size() != count - floats) {
    return call.refuse("gets other values than the shape of input {} says", i);
  }
  return {};
}

Result<void> check(const Call& call, const Operator& entry) {
  const size_t count = call.inputs.size();
  if (count < entry.min_inputs || count > entry.max_inputs || count != call.node.inputs.size()) {
    return call.refuse("has {} inputs", count);
  }
  const std::string_view types = entry.types;
  for (size_t i = 0; i < count; ++i) {
    if (!call.has(i)) {
      if (i < entry.min_inputs) return call.refuse("lacks input {}", i);
      continue;
    }
    TRY(check_input(call, i));
    if (!type_fits(call, i, types[std::min(i, types.size() - 1)])) {
      return call.refuse("cannot take {} as input {}", to_string(call.in(i).type), i);
    }
  }
  return {};
}

}  // namespace

bool can_evaluate(std::string_view op) { return table().contains(op); }

const std::vector<std::string>& evaluable_operators() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    for (const auto& [name, entry] : table()) names.emplace_back(name);
    std::sort(names.begin(), names.end());
    return names;
  }();
  return kNames;
}

Result<std::vector<Tensor>> evaluate(const Node& node, std::span<const Tensor* const> inputs,
                                     const EvaluateOptions& options) {
  const Call call{node, inputs, options};
  const auto found = table().find(node.op);
  if (found == table().end()) return call.refuse("is not an operator that is supported");
  TRY(check(call, *found->second));
  try {
    std::vector<Tensor> outputs = TRY(found->second->function(call));
    if (outputs.size() < node.outputs.size()) {
      return call.refuse("has {} outputs instead of {}", node.outputs.size(), outputs.size());
    }
    outputs.resize(node.outputs.size());
    return outputs;
  } catch (const std::bad_alloc&) {
    return call.refuse("needs more memory than there is");
  }
}

}  // namespace atelier::model
