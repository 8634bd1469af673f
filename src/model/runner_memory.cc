// SPDX-License-Identifier: Apache-2.0
// One arena, and the steps of a plan in order.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>

#include "model/kernels/shuffle.h"
#include "model/onednn_runner.h"

namespace atelier::model {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void clear_line_behind(const NetPlan& plan, const StepContext& context, int root) {
  const Value& v = plan.values[static_cast<size_t>(root)];
  std::byte* begin = reinterpret_cast<std::byte*>(context.arena + v.offset);
  std::fill_n(begin + value_elements(v), kernels::kTileBytes, std::byte{0});
}

void clear_halo(const NetPlan& plan, const StepContext& context, int value) {
  const Value& v = plan.values[static_cast<size_t>(value)];
  if (v.bytes) {
    kernels::fill_halo(context.byte_view(value), v.halo,
                       static_cast<uint8_t>(v.quantization.zero_point));
    // What the last pixel's products read behind it, times zero, must be a number.
    if (v.quantization.bf16) clear_line_behind(plan, context, v.root);
  } else {
    kernels::zero_halo(context.view(value), v.halo);
  }
}

}  // namespace

OnednnRunner::Floats OnednnRunner::allocate(int64_t floats) {
  constexpr size_t kHuge = size_t{2} << 20;
  const size_t bytes = (static_cast<size_t>(floats) * sizeof(float) + kHuge - 1) / kHuge * kHuge;
  Floats memory(static_cast<float*>(std::aligned_alloc(kHuge, bytes)));
  // A megapixel is read in strides of pages: large ones save a tenth of the time. Only a hint.
  if (memory) ::madvise(memory.get(), bytes, MADV_HUGEPAGE);
  return memory;
}

Result<StepContext> OnednnRunner::make_context(const NetPlan& plan) {
  // At least something, for plans whose steps are all plain.
  const int64_t floats = std::max<int64_t>(1, plan.arena_floats + plan.scratch_floats(threads_));
  if (floats > capacity_) {
    memory_.reset();
    memory_ = allocate(floats);
    capacity_ = memory_ ? floats : 0;
  }
  if (!memory_) {
    return make_error(Code::internal, "No memory for the {} MiB of a frame's activations.",
                      floats >> 18);
  }
  plain_.assign(plan.plain.size(), Tensor());
  return StepContext{isa_,        team(), memory_.get(), memory_.get() + plan.arena_floats,
                     plan.values, plain_};
}

Result<void> OnednnRunner::execute(const NetPlan& plan, const StepContext& context, int done,
                                   std::vector<std::vector<double>>* times) const {
  for (const auto& [name, value] : plan.inputs) clear_halo(plan, context, value);
  for (size_t i = 0; i < plan.steps.size(); i++) {
    const Step& step = plan.steps[i];
    if (observing_ && step.observed >= 0 && (step.first || !observing_->first_only)) {
      observing_->finders[step.label.node].see(context.view(step.observed));
    }
    if (measuring_ && step.normalised >= 0) {
      measuring_->see(step.label.node, context.view(step.normalised), threads_);
    }
    const double start = seconds_now();
    if (static_cast<int>(i) != done) TRY(step.run(context));
    if (!step.in_place && step.writes >= 0) clear_halo(plan, context, step.writes);
    if (step.writes_bytes >= 0) clear_halo(plan, context, step.writes_bytes);
    for (const int slot : step.frees) context.plain[static_cast<size_t>(slot)] = Tensor();
    if (times) (*times)[i].push_back(seconds_now() - start);
  }
  return {};
}

}  // namespace atelier::model
