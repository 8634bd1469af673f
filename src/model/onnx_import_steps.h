// SPDX-License-Identifier: Apache-2.0
// The steps of import_onnx, in the order in which it takes them. Internal to src/model.
//
// Idea: libonnx is not hardened against hostile files, so it sees a node only after our own checks
// passed, and then only to compare it with its operator's schema. Rewriting to opset 17, types and
// shapes are ours.
// `name` is how the user knows the model; it starts every sentence.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/graph.h"
#include "model/onnx_proto.h"

namespace atelier::model {

// Opsets taken; the newest is the one that older models are rewritten to.
inline constexpr int64_t kOldestOpset = 7;
inline constexpr int64_t kNewestOpset = 17;

// 1. Walks the protobuf wire format without allocating and refuses files that would swell when
// parsed: at most 200,000 nested messages and strings, no graphs inside nodes, and 1 MiB of parts
// that we do not read.
Result<void> scan_wire(std::span<const std::byte> file, std::string_view name);

// 2. Operators, opset, types, sizes, names: everything that later steps and libonnx rely on.
Result<void> check_hostile(const onnx::ModelProto& model, std::string_view name);

// The opset of the default domain; 0 if the model names none or two.
int64_t opset_of(const onnx::ModelProto& model);

// 3. Inputs, outputs and attributes of each node against its operator's schema at `opset`.
Result<void> check_schemas(onnx::ModelProto& model, int64_t opset, std::string_view name);

// 4. Checked protobuf to Graph: nodes as they are, except that Constant becomes an initializer.
// Takes the weights out of `model` as it goes.
Result<Graph> to_graph(onnx::ModelProto& model, std::string_view name,
                       const OpenExternal& open_external);

// 5. Every node of `opset` in its form of opset 17; Identity and Dropout go.
Result<void> upgrade(Graph& graph, int64_t opset, std::string_view name);

// 6. Drops what no output needs and gives every node a name of its own.
Result<void> tidy(Graph& graph, std::string_view name);

// Operators of the default domain that upgrade() turns into supported ones.
bool is_rewritten(std::string_view op, int64_t opset);
// Those among them that no schema describes: experimental ones of opset 9 and lower
// (onnx/docs/Operators.md before 1.5).
bool is_experimental(std::string_view op);

// Checks counts and sizes against each other; `what` is "initialiser 'w'".
Result<void> check_tensor(const onnx::TensorProto& tensor, const std::string& what,
                          std::string_view name);
// A tensor after check_tensor, whose bytes are in the file.
Result<Tensor> to_tensor(const onnx::TensorProto& tensor, const std::string& what,
                         std::string_view name);
// Reads a tensor from another file, each location opened once.
class ExternalWeights {
 public:
  ExternalWeights(const OpenExternal& open, std::string_view name) : open_(open), name_(name) {}
  Result<Tensor> read(const onnx::TensorProto& tensor, const std::string& what);

 private:
  Result<ByteSource*> source(const std::string& location, const std::string& what);
  const OpenExternal& open_;
  std::string_view name_;
  std::map<std::string, std::unique_ptr<ByteSource>> sources_;
};

// "node 'conv1' (Conv)"; by its first output where it has no name.
std::string describe(const onnx::NodeProto& node);

// How many elements, or -1 for negative dimensions, a rank over 8, or more than 2^40.
int64_t checked_count(std::span<const int64_t> shape);

}  // namespace atelier::model
