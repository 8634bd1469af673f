// SPDX-License-Identifier: Apache-2.0
// Scores frames with a network.
#pragma once

#include <atomic>
#include <compare>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/frame.h"
#include "base/result.h"
#include "model/graph.h"
#include "model/model_spec.h"
#include "model/ways.h"

namespace atelier::model {

struct Size {
  int width = 0;
  int height = 0;
  auto operator<=>(const Size&) const = default;
};

// One step of the numeric plan. Bits depend on nothing else: a runner made elsewhere with the same
// steps gives the same.
struct PlanStep {
  std::string node;            // name in the graph, e.g. "conv1"
  std::string op;              // e.g. "Conv+Relu"
  std::string algorithm;       // "direct", "winograd_f4x3", "gemm", "own"
  std::string implementation;  // oneDNN's name, e.g. "jit:avx2", or ours
  bool operator==(const PlanStep&) const = default;
};

// Of the steps that compute in int8, and in bf16.
inline constexpr const char* kInt8Algorithm = "direct_int8";
inline constexpr const char* kBf16Algorithm = "direct_bf16";

struct LayerTime {
  PlanStep step;
  double seconds = 0;  // median
  double gflop =
      0;  // arithmetic of the layer as the model states it, in 1e9 operations (a MAC is two)
};

// What convolutions compute in. bf16: those that are faster so take activations and weights with
// eight bits of precision, and sum in floats. int8: those whose input has a range, and that are
// faster so, take bytes and sum exactly in 32 bits; others are as RunnerOptions::wide says. All
// else is f32.
enum class Precision { f32, bf16, int8 };
inline const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::f32: return "f32";
    case Precision::bf16: return "bf16";
    case Precision::int8: return "int8";
  }
  return "f32";
}

inline std::optional<Precision> precision_named(std::string_view name) {
  for (const Precision precision : {Precision::f32, Precision::bf16, Precision::int8}) {
    if (name == name_of(precision)) return precision;
  }
  return std::nullopt;
}

// What a tensor holds, but for a few values that are better cut off.
struct Range {
  float low = 0;
  float high = 0;
  bool operator==(const Range&) const = default;
};
using Ranges = std::map<std::string, Range>;  // of inputs of convolutions, by the node's name

// The parts that a frame is scored in. A network that looks at near pixels alone is, where the
// frame would take too much memory; the result is that of the whole, bit for bit.
struct Tiling {
  Size size;      // of the network's input for each
  int count = 1;  // 1: the frame as a whole
  bool operator==(const Tiling&) const = default;
};

// Of what an InstanceNormalization normalises, by channel.
struct ChannelStatistics {
  std::vector<float> mean, variance;  // variance of the population
  bool operator==(const ChannelStatistics&) const = default;
};
using Statistics = std::map<std::string, ChannelStatistics>;  // by the node's name

struct RunnerOptions {
  int threads = 0;  // 0: one per core; never changes the bits
  // Obey this plan for frames of its size; empty: choose. Errors then: invalid_argument if this
  // processor has no such implementation.
  std::vector<PlanStep> plan;
  Precision precision = Precision::f32;  // unless there is a plan to obey
  Ranges ranges{};                       // for int8, as observe() gave them
  Precision wide = Precision::f32;       // of int8's layers without a range: f32 or bf16
  // Bytes of activations beyond which a frame is cut into tiles; 0: by the size of the frame alone,
  // the same on every machine.
  uint64_t tile_bytes = 0;
  // Normalisations of these nodes take no statistics of their own: see fix_statistics.h.
  Statistics statistics{};
  Choices choices{};  // unless there is a plan to obey: what tune() measured
  // Convolutions, by name, that are in f32 whatever `precision` and `wide` say.
  std::set<std::string> in_f32{};
  // By a convolution's name, before rule and `choices`, if it has that way: to try what would not
  // be planned on this processor.
  Choices forced{};
  // How many of the threads score the next frame; null: all. Others may change it at any time.
  std::shared_ptr<const std::atomic<int>> team{};

  bool operator==(const RunnerOptions&) const = default;
};

// One thread calls it; it runs `threads` inside. Plans are cached per frame size.
class Runner {
 public:
  virtual ~Runner() = default;
  // Output size for an input frame of this size. invalid_argument if the network takes only other
  // sizes, or gives no image: the sentence says which size to ask for (--size WxH).
  virtual Result<Size> output_size(Size input) = 0;
  // Scores one frame: network, colour conversion, padding and cropping. `out` has output_size() and
  // any format. Equal frames (same_picture) have equal results, whatever was scored in between.
  virtual Result<void> score(const FrameView& in, FrameView& out) = 0;
  // As many frames as `out`, in order; as score() each, to the bit. Small ones may be faster so.
  virtual Result<void> score_several(std::span<const FrameView> in, std::span<FrameView> out) = 0;
  // How many frames of this size score_several() can hold at once; 1: it takes one by one.
  virtual Result<int> most_at_once(Size input) = 0;
  // Runs plain tensors, NCHW float32, by input name; returns all outputs of the graph by name.
  virtual Result<std::map<std::string, Tensor>> run(
      const std::map<std::string, Tensor>& inputs) = 0;
  // The plan used for frames of this size, or for each of their tiles.
  virtual Result<std::vector<PlanStep>> plan(Size input) = 0;
  // Times every layer on frames of this size, `repeats` times; of all tiles together.
  virtual Result<std::vector<LayerTime>> time_layers(Size input, int repeats) = 0;
  // Scores `in` into `out`, as many, and says what the inputs of convolutions held: the ranges for
  // int8. A black and a white picture are scored besides for the convolutions that no other comes
  // before: their input may be anything from black to white, whatever these frames show.
  // `scored_one` is called after each picture.
  virtual Result<Ranges> observe(std::span<const FrameView> in, std::span<FrameView> out,
                                 const std::function<void()>& scored_one) = 0;
  // Scores `in` for what its normalisations see: the statistics of all these frames together, of
  // every InstanceNormalization of single pictures with constant parameters; nothing for others.
  // `scored_one` is called after each picture.
  virtual Result<Statistics> measure(std::span<const FrameView> in,
                                     const std::function<void()>& scored_one) = 0;
  // Measures the ways of all convolutions of which the choices that this runner was made with say
  // nothing, for frames of this size (model/tuning.h): first in floats, then, if `int8`, in bytes
  // against the best of floats. Its own plans stay as they are. `ran_one` is called after each
  // frame's worth. Errors: those of planning; out of memory.
  virtual Result<std::vector<TunedLayer>> tune(Size input, bool int8,
                                               const std::function<void()>& ran_one) = 0;
  // Arithmetic for one frame of this size as the model states it, in 1e9 operations (a MAC is two).
  virtual Result<double> gflop(Size input) = 0;
  // Bytes of the arena, packed weights and pictures in between for frames of this size.
  virtual Result<uint64_t> memory(Size input) = 0;
  // How frames of this size are cut.
  virtual Result<Tiling> tiling(Size input) = 0;
  // Gives back the memory that frames take; plans and weights stay, and the next frame takes it
  // again.
  virtual void rest() {}
};

// float32 on oneDNN: blocked layouts kept through the graph, bias, ReLU and adds fused, one arena.
Result<std::unique_ptr<Runner>> make_onednn_runner(const Graph& graph, const ModelSpec& spec,
                                                   const RunnerOptions& options);

// Names and versions of the libraries used, for the manifest.
std::map<std::string, std::string> library_versions();
// "avx2" or "avx512_core": what oneDNN may use here; recorded so that bits can be compared.
std::string isa_name();
// Processor, oneDNN and version of our kernels: what was tuned elsewhere says nothing here.
std::string tuning_machine();

}  // namespace atelier::model
