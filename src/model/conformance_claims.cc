// SPDX-License-Identifier: Apache-2.0
#include <fnmatch.h>

#include <algorithm>

#include "model/conformance.h"

namespace atelier::model {
namespace {

struct Claim {
  const char* pattern;  // of the whole name, as the shell with extglob reads it
  const char* reason;
};

constexpr const char* kOlder = "an operator in a form older than opset 7";
constexpr const char* kOther = "an operator that Atelier does not have";

constexpr Claim kNotClaimed[] = {
    {"node/test_cast?(like)_*BFLOAT16*", "bfloat16"},
    {"node/test_cast?(like)_*STRING*", "strings"},
    {"node/test_@(strnormalizer|tfidfvectorizer)_*", "strings and texts"},
    {"simple/test_strnorm_*", "strings and texts"},
    {"node/test_@(adagrad|adam|momentum|nesterov_momentum)*", "training"},
    {"simple/test_gradient_*", "training"},
    {"node/test_batchnorm_*_training_mode", "training"},
    {"node/test_training_dropout*", "training"},
    {"node/test_nllloss_!(*_expanded)", "training: a loss"},
    {"node/test_sce_*", "training: a loss"},
    {"node/test_bernoulli*", "random numbers"},
    {"node/test_@(gru|lstm|rnn|simple_rnn)_*", "recurrent operators"},
    {"node/test_@(if|loop|scan)*", "control flow"},
    {"node/test_range_*_expanded", "control flow"},
    {"node/test_@(identity_opt|identity_sequence|optional_|sequence_)*", "sequences and optionals"},
    {"simple/test_sequence_*", "sequences and optionals"},
    {"node/test_@(blackman|hamming|hann)window?(_symmetric)", "operators for sound"},
    {"node/test_@(dft|stft|melweightmatrix)*", "operators for sound"},
    {"node/test_@(det|gridsample|maxunpool|reversesequence|roialign|unique)_*", kOther},
    {"node/test_gridsample", kOther},
    {"pytorch-converted/test_@(AvgPool|BatchNorm|GLU|PReLU|PoissonNLLLLoss|Softsign)*", kOlder},
    {"pytorch-converted/test_Linear", kOlder},
    {"pytorch-operator/test_operator_@(add|basic|mm|non_float_params|params|pow)*", kOlder},
    {"node/test_constant", "an output that does not depend on the input"},
};

bool matches(const Claim& claim, const std::string& name) {
  return fnmatch(claim.pattern, name.c_str(), FNM_EXTMATCH) == 0;
}

}  // namespace

std::string_view not_claimed(std::string_view case_name) {
  const std::string name(case_name);
  for (const Claim& claim : kNotClaimed) {
    if (matches(claim, name)) return claim.reason;
  }
  return {};
}

std::vector<std::string> stale_patterns(const std::vector<std::string>& case_names) {
  std::vector<std::string> stale;
  for (const Claim& claim : kNotClaimed) {
    if (std::none_of(case_names.begin(), case_names.end(),
                     [&](const std::string& name) { return matches(claim, name); })) {
      stale.emplace_back(claim.pattern);
    }
  }
  return stale;
}

}  // namespace atelier::model
