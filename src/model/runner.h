// SPDX-License-Identifier: Apache-2.0
// Scores frames with a network.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/frame.h"
#include "base/result.h"
#include "model/graph.h"
#include "model/model_spec.h"

namespace atelier::model {

struct Size {
  int width = 0;
  int height = 0;
  bool operator==(const Size&) const = default;
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

struct LayerTime {
  PlanStep step;
  double seconds = 0;  // median
  double gflop =
      0;  // arithmetic of the layer as the model states it, in 1e9 operations (a MAC is two)
};

struct RunnerOptions {
  int threads = 0;  // 0: one per core; never changes the bits
  // Obey this plan for frames of its size; empty: choose. Errors then: invalid_argument if this
  // processor has no such implementation.
  std::vector<PlanStep> plan;
};

// One thread calls it; it runs `threads` inside. Plans are cached per frame size.
class Runner {
 public:
  virtual ~Runner() = default;
  // Output size for an input frame of this size. invalid_argument if the network takes only other
  // sizes, or gives no image: the sentence says which size to ask for (--size WxH).
  virtual Result<Size> output_size(Size input) = 0;
  // Scores one frame: network, colour conversion, padding and cropping. `out` has output_size() and
  // any format.
  virtual Result<void> score(const FrameView& in, FrameView& out) = 0;
  // Runs plain tensors, NCHW float32, by input name; returns all outputs of the graph by name.
  virtual Result<std::map<std::string, Tensor>> run(
      const std::map<std::string, Tensor>& inputs) = 0;
  // The plan used for frames of this size.
  virtual Result<std::vector<PlanStep>> plan(Size input) = 0;
  // Times every layer on frames of this size, `repeats` times.
  virtual Result<std::vector<LayerTime>> time_layers(Size input, int repeats) = 0;
  // Arithmetic for one frame of this size as the model states it, in 1e9 operations (a MAC is two).
  virtual Result<double> gflop(Size input) = 0;
  // Bytes of the arena and packed weights for frames of this size.
  virtual Result<uint64_t> memory(Size input) = 0;
};

// float32 on oneDNN: blocked layouts kept through the graph, bias, ReLU and adds fused, one arena.
Result<std::unique_ptr<Runner>> make_onednn_runner(const Graph& graph, const ModelSpec& spec,
                                                   const RunnerOptions& options);

// Names and versions of the libraries used, for the manifest.
std::map<std::string, std::string> library_versions();
// "avx2" or "avx512_core": what oneDNN may use here; recorded so that bits can be compared.
std::string isa_name();

}  // namespace atelier::model
