// SPDX-License-Identifier: Apache-2.0
// The steps of import_onnx, in the order in which it takes them. Internal to src/model.
//
// Idea: libonnx (checker, shape inference, opset converter) is not hardened against hostile files:
// it divides by strides, follows names it has not checked, and prints about operators that it does
// not know. So it sees a model only after our own checks passed.
// `name` is how the user knows the model; it starts every sentence.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/graph.h"
#include "model/onnx_proto.h"

namespace atelier::model {

// Opsets taken, and the one that older models are converted to.
inline constexpr int64_t kOldestOpset = 7;
inline constexpr int64_t kNewestOpset = 17;
inline constexpr int64_t kCommonOpset = 13;

// 1. Walks the protobuf wire format without allocating and refuses files that would swell when
// parsed: at most 200,000 nested messages and strings, and 16 MiB of parts that we do not read.
Result<void> scan_wire(std::span<const std::byte> file, std::string_view name);

// 2. Operators, opset, types, sizes, names: everything that later steps and libonnx rely on.
Result<void> check_hostile(const onnx::ModelProto& model, std::string_view name);

// The opset of the default domain; 0 if the model names none or two.
int64_t opset_of(const onnx::ModelProto& model);

// 3. Constant nodes become initialisers; Identity and Dropout go; ImageScaler, Affine and Crop
// (experimental operators of opset 9 and lower) become Mul, Add and Slice.
Result<void> rewrite_old_operators(onnx::ModelProto& model, std::string_view name);
void constants_to_initializers(onnx::GraphProto& graph);

// 4. Checked protobuf to Graph: values, attributes and shapes are copied as they are.
Result<Graph> to_graph(const onnx::ModelProto& model, std::string_view name);

// 5. Drops what no output needs, gives every node a unique name, writes out default attributes,
// and refuses forms that the runners do not execute. See Graph for the result. `shapes` are those
// that shape inference found, by value name.
Result<void> normalise(Graph& graph, const std::map<std::string, std::vector<int64_t>>& shapes,
                       std::string_view name);

// Shapes that the model carries for its inputs, outputs and values; -1 where unknown.
std::map<std::string, std::vector<int64_t>> shapes_of(const onnx::ModelProto& model);

// A name from a file made fit for a message: control characters replaced, long names cut.
std::string printable(std::string_view text);
// "node 'conv1' (Conv)"; by its first output where it has no name.
std::string describe(const onnx::NodeProto& node);
std::string describe(const Node& node);

// How many elements, or -1 for negative dimensions, a rank over 8, or more than 2^40.
int64_t checked_count(std::span<const int64_t> shape);

}  // namespace atelier::model
