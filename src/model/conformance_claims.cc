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

constexpr const char* kOlder = "an operator in a form older than that of opset 17";

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
    {"node/test_@(celu_expanded|convtranspose_with_kernel|depthtospace_crd_mode)", kOlder},
    {"node/test_@(depthtospace_dcr_mode|dropout_default_old|dropout_random_old)", kOlder},
    {"node/test_@(dynamicquantizelinear_expanded)", kOlder},
    {"node/test_@(dynamicquantizelinear_max_adjusted_expanded)", kOlder},
    {"node/test_@(dynamicquantizelinear_min_adjusted_expanded|pow_types_float)", kOlder},
    {"node/test_@(pow_types_int|reduce_log_sum)", kOlder},
    {"node/test_@(resize_downsample_sizes_nearest_tf_half_pixel_for_nn)", kOlder},
    {"node/test_@(scatter_with_axis|scatter_without_axis|unsqueeze_axis_3)", kOlder},
    {"node/test_@(upsample_nearest)", kOlder},
    {"pytorch-converted/test_@(ConstantPad2d|Conv1d|Conv1d_dilated|Conv1d_groups)", kOlder},
    {"pytorch-converted/test_@(Conv1d_pad1|Conv1d_pad1size1|Conv1d_pad2)", kOlder},
    {"pytorch-converted/test_@(Conv1d_pad2size1|Conv1d_stride|Conv2d|Conv2d_depthwise)", kOlder},
    {"pytorch-converted/test_@(Conv2d_depthwise_padded|Conv2d_depthwise_strided)", kOlder},
    {"pytorch-converted/test_@(Conv2d_depthwise_with_multiplier|Conv2d_dilated)", kOlder},
    {"pytorch-converted/test_@(Conv2d_groups|Conv2d_groups_thnn|Conv2d_no_bias)", kOlder},
    {"pytorch-converted/test_@(Conv2d_padding|Conv2d_strided|Conv3d|Conv3d_dilated)", kOlder},
    {"pytorch-converted/test_@(Conv3d_dilated_strided|Conv3d_groups|Conv3d_no_bias)", kOlder},
    {"pytorch-converted/test_@(Conv3d_stride|Conv3d_stride_padding|ConvTranspose2d)", kOlder},
    {"pytorch-converted/test_@(ConvTranspose2d_no_bias|Embedding|Embedding_sparse)", kOlder},
    {"pytorch-converted/test_@(LeakyReLU|LeakyReLU_with_negval|Linear_no_bias)", kOlder},
    {"pytorch-converted/test_@(LogSoftmax|MaxPool1d|MaxPool1d_stride|MaxPool2d)", kOlder},
    {"pytorch-converted/test_@(MaxPool3d|MaxPool3d_stride|MaxPool3d_stride_padding)", kOlder},
    {"pytorch-converted/test_@(PixelShuffle|ReLU|ReflectionPad2d|ReplicationPad2d)", kOlder},
    {"pytorch-converted/test_@(Sigmoid|Softmax|Softmin|Tanh|ZeroPad2d|log_softmax_dim3)", kOlder},
    {"pytorch-converted/test_@(log_softmax_lastdim|softmax_functional_dim3)", kOlder},
    {"pytorch-converted/test_@(softmax_lastdim)", kOlder},
    {"pytorch-operator/test_operator_@(chunk|clip|concat2|conv|convtranspose|exp)", kOlder},
    {"pytorch-operator/test_operator_@(flatten|index|max|maxpool|min|pad|permute2)", kOlder},
    {"pytorch-operator/test_operator_@(reduced_mean|reduced_mean_keepdim|reduced_sum)", kOlder},
    {"pytorch-operator/test_operator_@(reduced_sum_keepdim|repeat|repeat_dim_overflow)", kOlder},
    {"pytorch-operator/test_operator_@(sqrt|symbolic_override_nested|view)", kOlder},
    {"simple/test_@(expand_shape_model1|expand_shape_model2|expand_shape_model3)", kOlder},
    {"simple/test_@(expand_shape_model4|sign_model|single_relu_model)", kOlder},
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
