// SPDX-License-Identifier: Apache-2.0
// Einsum as its definition reads: for every element of the output, the sum over the letters that it
// lacks of the product of all operands. No order of contraction is chosen, so the cost is the
// product of all dimensions.
#include <algorithm>
#include <array>
#include <map>

#include "model/ops/walk.h"

namespace atelier::model::ops {
namespace {

// The letters of a term, with one made-up letter for each axis that "..." stands for; those are
// numbered from the last axis, because they broadcast.
using Term = std::vector<int>;

struct Equation {
  std::vector<std::string> terms;
  std::string output;
  bool explicit_output = false;
};

Result<Equation> parse(const Call& call) {
  std::string text = call.node.attr_string("equation", "");
  std::erase(text, ' ');
  Equation equation;
  const size_t arrow = text.find("->");
  if (arrow != std::string::npos) {
    equation.explicit_output = true;
    equation.output = text.substr(arrow + 2);
    text.resize(arrow);
  }
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    equation.terms.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  if (equation.terms.size() != call.inputs.size()) {
    return call.refuse("has an equation of {} terms", equation.terms.size());
  }
  return equation;
}

Result<Term> letters(const Call& call, std::string_view text, size_t ellipsis) {
  Term term;
  bool seen = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (text.substr(i, 3) == "..." && !seen) {
      for (size_t k = ellipsis; k-- > 0;) term.push_back(1000 + static_cast<int>(k));
      seen = true;
      i += 2;
    } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
      term.push_back(c);
    } else {
      return call.refuse("has an equation that cannot be read");
    }
  }
  return term;
}

struct Plan {
  std::vector<Term> terms;
  Term output;
  std::map<int, int64_t> sizes;
};

Result<Plan> plan(const Call& call) {
  const Equation equation = TRY(parse(call));
  Plan plan;
  std::map<int, int> uses;
  size_t widest = 0;
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    if (!call.has(i)) return call.refuse("lacks input {}", i);
    const Ints& shape = call.in(i).shape;
    const std::string& text = equation.terms[i];
    const size_t named = TRY(letters(call, text, 0)).size();
    const bool dots = text.find('.') != std::string::npos;
    if (named > shape.size() || (!dots && named != shape.size())) {
      return call.refuse("names other axes than input {} has", i);
    }
    widest = std::max(widest, shape.size() - named);
    plan.terms.push_back(TRY(letters(call, text, shape.size() - named)));
    for (size_t k = 0; k < shape.size(); ++k) {
      const int letter = plan.terms[i][k];
      ++uses[letter];
      int64_t& size = plan.sizes.try_emplace(letter, shape[k]).first->second;
      if (size != shape[k] && size != 1 && shape[k] != 1) {
        return call.refuse("gives one letter the sizes {} and {}", size, shape[k]);
      }
      if (size == 1) size = shape[k];
    }
  }
  if (equation.explicit_output) {
    plan.output = TRY(letters(call, equation.output, widest));
  } else {
    plan.output = TRY(letters(call, "...", widest));
    for (const auto& [letter, count] : uses) {
      if (letter < 1000 && count == 1) plan.output.push_back(letter);
    }
  }
  Term once = plan.output;
  std::sort(once.begin(), once.end());
  const bool twice = std::adjacent_find(once.begin(), once.end()) != once.end();
  for (const int letter : plan.output) {
    if (twice || !plan.sizes.contains(letter)) {
      return call.refuse("has an output that its terms do not make");
    }
  }
  return plan;
}

// Steps over `in` for a box with an axis for each letter; a letter used twice walks a diagonal.
Ints term_steps(const Tensor& in, const Term& term, const Term& box) {
  const Ints own = strides(in.shape);
  Ints steps(box.size(), 0);
  for (size_t i = 0; i < box.size(); ++i) {
    for (size_t k = 0; k < term.size(); ++k) {
      if (term[k] == box[i] && in.shape[k] != 1) steps[i] += own[k];
    }
  }
  return steps;
}

constexpr size_t kMostTerms = 4;

Result<Values> einsum(const Call& call) {
  if (call.inputs.size() > kMostTerms) return call.refuse("has more than {} terms", kMostTerms);
  const Plan p = TRY(plan(call));
  Term summed;
  for (const auto& [letter, size] : p.sizes) {
    if (std::find(p.output.begin(), p.output.end(), letter) == p.output.end()) {
      summed.push_back(letter);
    }
  }
  Ints shape;
  Ints inner;
  for (const int letter : p.output) shape.push_back(p.sizes.at(letter));
  for (const int letter : summed) inner.push_back(p.sizes.at(letter));
  Tensor out = TRY(call.make(call.in(0).type, shape));
  // A few letters can ask for more products than anyone will wait for.
  double work = 1;
  for (const auto& [letter, size] : p.sizes) work *= static_cast<double>(size);
  if (work > 0x1p40) return call.refuse("would compute {} products", work);
  std::array<Ints, kMostTerms> outer_steps;
  std::array<Ints, kMostTerms> inner_steps;
  const size_t terms = p.terms.size();
  for (size_t i = 0; i < kMostTerms; ++i) {
    outer_steps[i] = i < terms ? term_steps(call.in(i), p.terms[i], p.output) : Ints(shape.size());
    inner_steps[i] = i < terms ? term_steps(call.in(i), p.terms[i], summed) : Ints(inner.size());
  }
  const Walk<kMostTerms> sums(inner, inner_steps);
  const bool ints = out.is_int();
  Walk<kMostTerms>(shape, outer_steps).each([&](int64_t index, const auto& base) {
    double sum = 0;
    uint64_t int_sum = 0;
    sums.each(
        [&](int64_t, const auto& at) {
          double factor = 1;
          uint64_t int_factor = 1;
          for (size_t i = 0; i < terms; ++i) {
            if (ints) {
              int_factor *= static_cast<uint64_t>(call.in(i).ints[at[i]]);
            } else {
              factor *= call.in(i).floats[at[i]];
            }
          }
          sum += factor;
          int_sum += int_factor;
        },
        base);
    if (ints) {
      out.ints[index] = wrap(out.type, static_cast<int64_t>(int_sum));
    } else {
      out.floats[index] = static_cast<float>(sum);
    }
  });
  return one(std::move(out));
}

constexpr Operator kOperators[] = {{"Einsum", 1, kMany, "ns", einsum}};

}  // namespace

std::span<const Operator> einsum_operators() { return kOperators; }

}  // namespace atelier::model::ops
