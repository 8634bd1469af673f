// SPDX-License-Identifier: Apache-2.0
// The plan of a network for one frame size: which kernels, in which order, over which memory.
// Internal to src/model; made by plan_build.cc, executed by runner_memory.cc.
//
// A plan is mixed: nodes in fast form (plan_fast.h) work on blocked values in one arena; all others
// are plain steps, which read and write dense tensors on the heap through evaluate(). A value that
// both kinds use is converted once. A network whose nodes are all fast has no plain step.
//
// Values are activations. Several may share memory: a normalisation works in place, a crop is a
// view of what it crops. The one that owns the memory is the root; its halo is what any reader of
// any of them needs. Memory is placed by lifetime (plan_arena.cc): two roots that never live at the
// same step may overlap.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/graph.h"
#include "model/kernels/conv.h"
#include "model/kernels/tensor_view.h"
#include "model/kernels/winograd.h"
#include "model/plan_shapes.h"
#include "model/runner.h"
#include "model/specialise.h"
#include "model/ways.h"

namespace atelier::model {

struct Value {
  std::string name;
  PictureShape shape;
  int block = kernels::kLanes;
  int root = 0;                     // index of the value that owns the memory
  int64_t group = 0, y = 0, x = 0;  // of this value's first pixel in the root
  bool view = false;                // a part of the root: must not be written, has no halo
  bool bytes = false;               // eight bits an element, or two bytes, as `quantization` says
  kernels::Quantization quantization;
  kernels::Halo halo;       // of a root
  int first = 0, last = 0;  // of a root: steps during which it must exist
  int64_t offset = 0;       // of a root: floats into the arena
};

// A tensor on the heap, freed after the last step that reads it.
struct PlainValue {
  std::string name;
  TensorType type;
};

// What a step sees while it runs.
struct StepContext {
  kernels::Isa isa;
  int threads;
  float* arena;
  float* scratch;
  const std::vector<Value>& values;
  std::vector<Tensor>& plain;  // one for each PlainValue, empty while it is not alive
  kernels::TensorView view(int value) const;
  kernels::ByteView byte_view(int value) const;
};

struct Step {
  PlanStep label;
  double gflop = 0;
  std::vector<int> reads;  // blocked values
  int writes = -1;         // -1: no blocked value
  int writes_bytes = -1;   // the same value, in bytes too; else -1
  // The input of a convolution in floats that could take it in eight bits, if its range were known;
  // else -1.
  int observed = -1;
  bool first = false;   // a convolution that no other comes before
  int normalised = -1;  // what an InstanceNormalization takes statistics of
  bool in_place = false;
  std::vector<int> plain_reads;
  std::vector<int> plain_writes;
  std::vector<int> frees;      // plain values that nobody needs any more
  int64_t scratch_shared = 0;  // floats
  int64_t scratch_each = 0;    // floats a thread
  std::function<Result<void>(const StepContext&)> run;
};

// A step that only scales, shifts or rounds what enters the network. Whoever fills the input from a
// frame may do it in the same pass (pixels.h): fill `value` instead and leave the step out.
struct Entry {
  int step = -1;
  int value = -1;                   // float planes, or bytes
  std::vector<float> scale, shift;  // per channel; empty: as it is
};

// A convolution that our own kernels compute, and how they could.
struct PlanLayer {
  std::string node;
  std::string key;                // Choices
  std::vector<std::string> ways;  // at most two, the one by rule first
  std::string way;                // the one that is planned
};

struct NetPlan {
  std::vector<Value> values;
  std::vector<Step> steps;
  std::vector<PlainValue> plain;
  std::map<std::string, int> inputs;  // blocked; what is not there is in plain_inputs
  std::map<std::string, int> outputs;
  std::map<std::string, Entry> entries;  // by input
  std::map<std::string, int> plain_inputs;
  std::map<std::string, int> plain_outputs;
  std::map<std::string, Tensor> constant_outputs;  // known before any input is
  std::vector<PlanLayer> layers;  // in the order of the graph; none where a plan is obeyed
  int64_t arena_floats = 0;
  int64_t plain_bytes = 0;  // most that plain values take at once, as far as shapes are known
  int64_t scratch_floats(int threads) const;
};

// Packed weights and what is known of them, kept from one frame size to the next.
struct WeightCache {
  std::map<std::string, std::shared_ptr<const kernels::WinogradWeights>> winograd;
  std::map<std::string, std::shared_ptr<const kernels::DirectWeights>> direct;
  std::map<std::string, std::shared_ptr<const kernels::NarrowWeights>> narrow;
  std::map<std::string, bool> winograd_admitted;
  int64_t floats() const;
};

// What there is to choose from.
struct PlanOptions {
  std::vector<PlanStep> wanted;  // empty, or the steps to obey
  Precision precision = Precision::f32;
  Ranges ranges;
  Precision wide = Precision::f32;
  kernels::Isa isa = kernels::Isa::avx2;
  int threads = 1;    // in the keys of layers
  Choices choices{};  // what was measured
  std::set<std::string> in_f32{};
  Choices forced{};  // by name of the node: before all choices, to measure
};

// Errors: invalid_argument: a step of `wanted` that cannot be had here.
Result<NetPlan> build_plan(ConcreteGraph graph, const PlanOptions& options, WeightCache& weights);

// Floats or bytes of a root with its halo; a cache line at least behind them is nobody else's.
int64_t value_elements(const Value& root);

// Sets the offset of every root and arena_floats.
void place_values(NetPlan& plan);

}  // namespace atelier::model
