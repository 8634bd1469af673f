// SPDX-License-Identifier: Apache-2.0
// A walk over the protobuf wire format (protobuf.dev/programming-guides/encoding) that follows only
// the messages of onnx.proto which a model needs in number: graph, node, attribute, tensor, value.
// Cost: one pass over the tags; bulk data is skipped. Two bytes of an empty message become some
// hundred bytes once parsed, so the number of messages is what bounds memory.
#include <array>

#include "model/onnx_import_steps.h"

namespace atelier::model {
namespace {

enum class Kind : uint8_t {
  model,
  graph,
  node,
  attribute,
  tensor,
  value,
  type,
  tensor_type,
  shape,
  dimension,
  entry,  // StringStringEntryProto
  bulk,
  subgraph,
  opaque
};

constexpr int kMaxMessages = 200000;
constexpr uint64_t kMaxOpaqueBytes = 1u << 20;

struct Child {
  Kind parent;
  uint64_t field;
  Kind kind;
};
// Field numbers of onnx.proto. Bulk is what is stored at about its size: text, raw and packed data.
// Some fields are newer than libonnx 1.12, which keeps them as bytes.
constexpr std::array kChildren = {
    // ir: producer, domain, text, opset, graph, metadata
    Child{Kind::model, 2, Kind::bulk},       Child{Kind::model, 3, Kind::bulk},
    Child{Kind::model, 4, Kind::bulk},       Child{Kind::model, 6, Kind::bulk},
    Child{Kind::model, 8, Kind::entry},      Child{Kind::model, 7, Kind::graph},
    Child{Kind::model, 14, Kind::entry},     Child{Kind::graph, 1, Kind::node},
    Child{Kind::graph, 2, Kind::bulk},       Child{Kind::graph, 5, Kind::tensor},
    Child{Kind::graph, 10, Kind::bulk},      Child{Kind::graph, 11, Kind::value},
    Child{Kind::graph, 12, Kind::value},     Child{Kind::graph, 13, Kind::value},
    Child{Kind::graph, 16, Kind::entry},     Child{Kind::node, 1, Kind::bulk},
    Child{Kind::node, 2, Kind::bulk},        Child{Kind::node, 3, Kind::bulk},
    Child{Kind::node, 4, Kind::bulk},        Child{Kind::node, 5, Kind::attribute},
    Child{Kind::node, 6, Kind::bulk},        Child{Kind::node, 7, Kind::bulk},
    Child{Kind::node, 8, Kind::bulk},        Child{Kind::node, 9, Kind::entry},
    Child{Kind::attribute, 1, Kind::bulk},   Child{Kind::attribute, 4, Kind::bulk},
    Child{Kind::attribute, 5, Kind::tensor}, Child{Kind::attribute, 6, Kind::subgraph},
    Child{Kind::attribute, 7, Kind::bulk},   Child{Kind::attribute, 8, Kind::bulk},
    Child{Kind::attribute, 9, Kind::bulk},   Child{Kind::attribute, 11, Kind::subgraph},
    Child{Kind::attribute, 13, Kind::bulk},  Child{Kind::tensor, 1, Kind::bulk},
    Child{Kind::tensor, 4, Kind::bulk},      Child{Kind::tensor, 5, Kind::bulk},
    Child{Kind::tensor, 6, Kind::bulk},      Child{Kind::tensor, 7, Kind::bulk},
    Child{Kind::tensor, 8, Kind::bulk},      Child{Kind::tensor, 9, Kind::bulk},
    Child{Kind::tensor, 10, Kind::bulk},     Child{Kind::tensor, 11, Kind::bulk},
    Child{Kind::tensor, 12, Kind::bulk},     Child{Kind::tensor, 13, Kind::entry},
    Child{Kind::tensor, 16, Kind::entry},    Child{Kind::value, 1, Kind::bulk},
    Child{Kind::value, 2, Kind::type},       Child{Kind::value, 3, Kind::bulk},
    Child{Kind::value, 4, Kind::entry},      Child{Kind::type, 1, Kind::tensor_type},
    Child{Kind::type, 6, Kind::bulk},        Child{Kind::tensor_type, 2, Kind::shape},
    Child{Kind::shape, 1, Kind::dimension},  Child{Kind::dimension, 2, Kind::bulk},
    Child{Kind::dimension, 3, Kind::bulk},   Child{Kind::entry, 1, Kind::bulk},
    Child{Kind::entry, 2, Kind::bulk},
};

Kind kind_of(Kind parent, uint64_t field) {
  for (const Child& child : kChildren) {
    if (child.parent == parent && child.field == field) return child.kind;
  }
  return Kind::opaque;
}

class Walk {
 public:
  enum class End { ok, broken, too_much, subgraph };

  // Of the innermost node and attribute that were entered; for a message.
  std::span<const std::byte> node() const { return node_; }
  std::span<const std::byte> attribute() const { return attribute_; }

  End message(std::span<const std::byte> bytes, Kind kind) {
    if (kind == Kind::node) node_ = bytes;
    if (kind == Kind::attribute) attribute_ = bytes;
    while (!bytes.empty()) {
      uint64_t tag = 0;
      uint64_t value = 0;
      if (!varint(bytes, tag) || (tag >> 3) == 0) return End::broken;
      switch (tag & 7) {
        case 0:
          if (!varint(bytes, value)) return End::broken;
          break;
        case 1:
          if (!skip(bytes, 8)) return End::broken;
          break;
        case 2: {
          if (!varint(bytes, value) || value > bytes.size()) return End::broken;
          const End end = field(bytes.first(value), kind_of(kind, tag >> 3));
          if (end != End::ok) return end;
          bytes = bytes.subspan(value);
          break;
        }
        case 5:
          if (!skip(bytes, 4)) return End::broken;
          break;
        default:  // groups: onnx.proto has none
          return End::broken;
      }
    }
    return End::ok;
  }

  // The text in `field` of a message that was walked; the last one, as protobuf takes it.
  static std::string text(std::span<const std::byte> bytes, uint64_t wanted) {
    std::string found;
    uint64_t tag = 0, value = 0;
    while (!bytes.empty() && varint(bytes, tag)) {
      const uint64_t kind = tag & 7;
      if (kind == 0 && !varint(bytes, value)) break;
      if (kind == 1 && !skip(bytes, 8)) break;
      if (kind == 5 && !skip(bytes, 4)) break;
      if (kind == 3 || kind == 4) break;
      if (kind != 2) continue;
      if (!varint(bytes, value) || value > bytes.size()) break;
      if (tag >> 3 == wanted) found = printable(as_text(bytes.first(value)));
      bytes = bytes.subspan(value);
    }
    return found;
  }

 private:
  End field(std::span<const std::byte> bytes, Kind kind) {
    if (++messages_ > kMaxMessages) return End::too_much;
    if (kind == Kind::bulk) return End::ok;
    if (kind == Kind::subgraph) return End::subgraph;
    if (kind != Kind::opaque) return message(bytes, kind);
    opaque_ += bytes.size();
    return opaque_ > kMaxOpaqueBytes ? End::too_much : End::ok;
  }
  static bool skip(std::span<const std::byte>& bytes, size_t count) {
    if (bytes.size() < count) return false;
    bytes = bytes.subspan(count);
    return true;
  }
  static bool varint(std::span<const std::byte>& bytes, uint64_t& value) {
    value = 0;
    for (size_t i = 0; i < 10 && i < bytes.size(); ++i) {
      const auto byte = std::to_integer<uint64_t>(bytes[i]);
      value |= (byte & 0x7f) << (7 * i);
      if (byte < 0x80) {
        bytes = bytes.subspan(i + 1);
        return true;
      }
    }
    return false;
  }
  std::span<const std::byte> node_;
  std::span<const std::byte> attribute_;
  int messages_ = 0;
  uint64_t opaque_ = 0;
};

// If, Loop and Scan run graphs inside the graph; so may operators of others.
Error subgraph_error(const Walk& walk, std::string_view name) {
  const std::string op = Walk::text(walk.node(), 4);
  std::string node = Walk::text(walk.node(), 3);
  if (node.empty()) node = Walk::text(walk.node(), 2);
  if (op == "If" || op == "Loop" || op == "Scan" || op == "SequenceMap") {
    return make_error(Code::invalid_argument,
                      "'{}' uses operator {} (node '{}'), which Atelier does not support.", name,
                      op, node);
  }
  return make_error(Code::invalid_argument,
                    "'{}': attribute '{}' of node '{}' ({}) is of a kind that is not supported.",
                    name, Walk::text(walk.attribute(), 1), node, op);
}

}  // namespace

Result<void> scan_wire(std::span<const std::byte> file, std::string_view name) {
  Walk walk;
  switch (walk.message(file, Kind::model)) {
    case Walk::End::ok: return {};
    case Walk::End::broken:
      return make_error(Code::invalid_argument, "'{}' is not an ONNX model, or it is truncated.",
                        name);
    case Walk::End::subgraph: return subgraph_error(walk, name);
    case Walk::End::too_much: break;
  }
  return make_error(Code::invalid_argument,
                    "'{}' has too many parts to be a model for pictures (the limit is {}).", name,
                    kMaxMessages);
}

}  // namespace atelier::model
