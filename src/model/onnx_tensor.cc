// SPDX-License-Identifier: Apache-2.0
// TensorProto to Tensor. Every count is compared with the bytes that are there before anything is
// allocated, so that a tensor costs at most eight bytes for each byte of the file (int8 weights are
// kept as integers of any width).
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "model/onnx_import_steps.h"

namespace atelier::model {
namespace {

static_assert(std::endian::native == std::endian::little, "raw_data is little endian");

constexpr size_t kMaxLocation = 1024;

struct Layout {
  int64_t bytes;  // of one element in raw_data
  int64_t low, high;
};

Layout layout(ElementType type) {
  switch (type) {
    case ElementType::f32: return {4, 0, 0};
    case ElementType::f16: return {2, 0, 0};
    case ElementType::f64: return {8, 0, 0};
    case ElementType::i8: return {1, INT8_MIN, INT8_MAX};
    case ElementType::u8: return {1, 0, UINT8_MAX};
    case ElementType::i16: return {2, INT16_MIN, INT16_MAX};
    case ElementType::u16: return {2, 0, UINT16_MAX};
    case ElementType::i32: return {4, INT32_MIN, INT32_MAX};
    case ElementType::u32: return {4, 0, UINT32_MAX};
    case ElementType::i64: return {8, INT64_MIN, INT64_MAX};
    case ElementType::u64: return {8, INT64_MIN, INT64_MAX};  // its 64 bits are kept
    case ElementType::boolean: return {1, 0, 1};
  }
  return {8, 0, 0};
}

// How many elements are in the typed field that onnx.proto names for this type.
int64_t typed_count(const onnx::TensorProto& tensor, ElementType type) {
  switch (type) {
    case ElementType::f32: return tensor.float_data_size();
    case ElementType::f64: return tensor.double_data_size();
    case ElementType::i64: return tensor.int64_data_size();
    case ElementType::u32:
    case ElementType::u64: return tensor.uint64_data_size();
    default: return tensor.int32_data_size();
  }
}

// IEEE 754 binary16; exact.
float from_half(uint16_t half) {
  const int exponent = (half >> 10) & 31;
  const auto fraction = static_cast<float>(half & 1023);
  float value = 0;
  if (exponent == 31) {
    value = fraction == 0 ? std::numeric_limits<float>::infinity()
                          : std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    value = std::ldexp(fraction, -24);
  } else {
    value = std::ldexp(1024.0F + fraction, exponent - 25);
  }
  return (half & 0x8000) != 0 ? -value : value;
}

template <class T>
T element_at(const std::byte* bytes, size_t i) {
  T value;
  std::memcpy(&value, bytes + i * sizeof(T), sizeof(T));
  return value;
}

// Converts elements [first, first + count) from raw bytes.
void convert(ElementType type, const std::byte* bytes, size_t count, size_t first, Tensor& into) {
  if (type == ElementType::f32) {
    if (count > 0) std::memcpy(into.floats.data() + first, bytes, count * sizeof(float));
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    const size_t to = first + i;
    switch (type) {
      case ElementType::f16: into.floats[to] = from_half(element_at<uint16_t>(bytes, i)); break;
      case ElementType::f64:
        into.floats[to] = static_cast<float>(element_at<double>(bytes, i));
        break;
      case ElementType::i8: into.ints[to] = element_at<int8_t>(bytes, i); break;
      case ElementType::u8: into.ints[to] = element_at<uint8_t>(bytes, i); break;
      case ElementType::i16: into.ints[to] = element_at<int16_t>(bytes, i); break;
      case ElementType::u16: into.ints[to] = element_at<uint16_t>(bytes, i); break;
      case ElementType::i32: into.ints[to] = element_at<int32_t>(bytes, i); break;
      case ElementType::u32: into.ints[to] = element_at<uint32_t>(bytes, i); break;
      case ElementType::boolean: into.ints[to] = element_at<uint8_t>(bytes, i) != 0; break;
      default: into.ints[to] = element_at<int64_t>(bytes, i);
    }
  }
}

// The same from the typed field; false if a number does not fit. int32_data holds the bits of
// float16.
bool convert_typed(const onnx::TensorProto& tensor, ElementType type, Tensor& into) {
  const auto ints = [&](const auto& values) {
    const Layout range = layout(type);
    for (int i = 0; i < values.size(); ++i) {
      const auto value = static_cast<int64_t>(values[i]);
      if (value < range.low || value > range.high) return false;
      into.ints[static_cast<size_t>(i)] = value;
    }
    return true;
  };
  switch (type) {
    case ElementType::f32:
      into.floats.assign(tensor.float_data().begin(), tensor.float_data().end());
      return true;
    case ElementType::f64:
      for (int i = 0; i < tensor.double_data_size(); ++i) {
        into.floats[static_cast<size_t>(i)] = static_cast<float>(tensor.double_data(i));
      }
      return true;
    case ElementType::f16:
      for (int i = 0; i < tensor.int32_data_size(); ++i) {
        const int32_t bits = tensor.int32_data(i);
        if (bits < 0 || bits > UINT16_MAX) return false;
        into.floats[static_cast<size_t>(i)] = from_half(static_cast<uint16_t>(bits));
      }
      return true;
    case ElementType::i64: return ints(tensor.int64_data());
    case ElementType::u32:
    case ElementType::u64: return ints(tensor.uint64_data());
    default: return ints(tensor.int32_data());
  }
}

Tensor empty_tensor(const onnx::TensorProto& proto) {
  Tensor tensor;
  tensor.type = element_type(proto.data_type()).value_or(ElementType::f32);
  tensor.shape.assign(proto.dims().begin(), proto.dims().end());
  const auto count = static_cast<size_t>(checked_count(tensor.shape));
  if (tensor.is_int()) {
    tensor.ints.resize(count);
  } else {
    tensor.floats.resize(count);
  }
  return tensor;
}

bool is_external(const onnx::TensorProto& tensor) {
  return tensor.data_location() == onnx::TensorProto::EXTERNAL;
}

// Where a tensor's bytes are in another file.
struct Place {
  std::string location;
  int64_t offset = 0;
  std::optional<int64_t> length;
};

std::optional<int64_t> number(const std::string& text) {
  if (text.empty() || text.size() > 18) return {};
  int64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return {};
    value = value * 10 + (c - '0');
  }
  return value;
}

bool stays_inside(const std::string& location) {
  if (location.empty() || location.size() > kMaxLocation || location.front() == '/') return false;
  if (location.find('\0') != std::string::npos || location.find('\\') != std::string::npos)
    return false;
  for (size_t at = 0; at <= location.size();) {
    const size_t end = std::min(location.find('/', at), location.size());
    const std::string_view part(location.data() + at, end - at);
    if (part.empty() || part == "..") return false;
    at = end + 1;
  }
  return true;
}

Result<Place> place_of(const onnx::TensorProto& tensor, const std::string& what,
                       std::string_view name) {
  Place place;
  bool good = true;
  for (const auto& entry : tensor.external_data()) {
    if (entry.key() == "location") place.location = entry.value();
    if (entry.key() != "offset" && entry.key() != "length") continue;
    const auto value = number(entry.value());
    good = good && value.has_value();
    if (entry.key() == "offset") place.offset = value.value_or(0);
    if (entry.key() == "length") place.length = value;
  }
  if (!good) {
    return make_error(Code::invalid_argument,
                      "'{}': {} is stored in another file at an impossible offset or length.", name,
                      what);
  }
  if (!stays_inside(place.location)) {
    return make_error(Code::invalid_argument,
                      "'{}': {} is stored in another file, '{}', which is not inside the model's "
                      "folder; put it there.",
                      name, what, printable(place.location));
  }
  return place;
}

}  // namespace

int64_t checked_count(std::span<const int64_t> shape) {
  constexpr size_t kMaxRank = 8;
  constexpr int64_t kMaxDimension = int64_t{1} << 31;
  constexpr int64_t kMaxElements = int64_t{1} << 40;
  if (shape.size() > kMaxRank) return -1;
  int64_t count = 1;
  for (int64_t d : shape) {
    if (d < 0 || d > kMaxDimension) return -1;
    if (d != 0 && count > kMaxElements / d) return -1;
    count *= d;
  }
  return count;
}

Result<void> check_tensor(const onnx::TensorProto& tensor, const std::string& what,
                          std::string_view name) {
  const auto refuse = [&](std::string_view why) {
    return make_error(Code::invalid_argument, "'{}': {} {}.", name, what, why);
  };
  if (tensor.has_segment()) return refuse("is stored in segments, which is not supported");
  const auto type = element_type(tensor.data_type());
  if (!type) {
    return make_error(Code::invalid_argument,
                      "'{}': {} has data type {}, which is not supported: export the model in "
                      "float32 or float16.",
                      name, what,
                      onnx::TensorProto::DataType_IsValid(tensor.data_type())
                          ? onnx::TensorProto::DataType_Name(tensor.data_type())
                          : std::to_string(tensor.data_type()));
  }
  const int64_t count =
      checked_count(std::span(tensor.dims().data(), static_cast<size_t>(tensor.dims_size())));
  if (count < 0) return refuse("has an impossible shape");
  if (is_external(tensor)) {
    TRY(place_of(tensor, what, name));
    return {};
  }
  const auto bytes = static_cast<int64_t>(tensor.raw_data().size());
  const int64_t each = layout(*type).bytes;
  const int64_t stored = tensor.has_raw_data() ? bytes / each : typed_count(tensor, *type);
  if (stored != count || (tensor.has_raw_data() && bytes % each != 0)) {
    return make_error(Code::invalid_argument,
                      "'{}': {} should hold {} numbers but holds {}; the file is damaged.", name,
                      what, count, stored);
  }
  return {};
}

Result<Tensor> to_tensor(const onnx::TensorProto& proto, const std::string& what,
                         std::string_view name) {
  if (is_external(proto)) {
    return make_error(Code::invalid_argument,
                      "'{}': {} is stored in another file, which only weights may be; save the "
                      "model as one file.",
                      name, what);
  }
  Tensor tensor = empty_tensor(proto);
  const auto count = static_cast<size_t>(tensor.count());
  if (proto.has_raw_data()) {
    convert(tensor.type, as_bytes(proto.raw_data()).data(), count, 0, tensor);
  } else if (!convert_typed(proto, tensor.type, tensor)) {
    return make_error(Code::invalid_argument, "'{}': {} holds numbers that are no {}.", name, what,
                      to_string(tensor.type));
  }
  return tensor;
}

Result<ByteSource*> ExternalWeights::source(const std::string& location, const std::string& what) {
  if (!open_) {
    return make_error(Code::invalid_argument,
                      "'{}': {} is stored in another file, '{}', which is not at hand; save the "
                      "model as one file.",
                      name_, what, printable(location));
  }
  auto& source = sources_[location];
  if (!source) source = TRY(open_(location));
  return source.get();
}

Result<Tensor> ExternalWeights::read(const onnx::TensorProto& proto, const std::string& what) {
  const Place place = TRY(place_of(proto, what, name_));
  ByteSource* file = TRY(source(place.location, what));
  const ElementType type = element_type(proto.data_type()).value_or(ElementType::f32);
  const auto each = static_cast<size_t>(layout(type).bytes);
  const int64_t count =
      checked_count(std::span(proto.dims().data(), static_cast<size_t>(proto.dims_size())));
  const auto wanted = static_cast<uint64_t>(count) * each;
  const auto offset = static_cast<uint64_t>(place.offset);
  const uint64_t there = offset > file->size() ? 0 : file->size() - offset;
  if (wanted > there || (place.length && static_cast<uint64_t>(*place.length) != wanted)) {
    return make_error(Code::invalid_argument,
                      "'{}': {} should be {} bytes at {} of '{}', but {}; the files do not belong "
                      "together, or one is damaged.",
                      name_, what, wanted, offset, printable(place.location),
                      wanted > there ? fmt::format("that file has {}", file->size())
                                     : fmt::format("the model says {}", *place.length));
  }
  Tensor tensor = empty_tensor(proto);
  std::vector<std::byte> buffer(std::min<uint64_t>(wanted, 1 << 20));
  for (uint64_t done = 0; done < wanted;) {
    const uint64_t part = std::min<uint64_t>(buffer.size(), wanted - done);
    for (uint64_t filled = 0; filled < part;) {
      const size_t got = TRY(
          file->read_at(offset + done + filled, std::span(buffer).subspan(filled, part - filled)));
      if (got == 0) {
        return make_error(Code::invalid_argument, "'{}': '{}' became shorter while it was read.",
                          name_, printable(place.location));
      }
      filled += got;
    }
    convert(type, buffer.data(), part / each, done / each, tensor);
    done += part;
  }
  return tensor;
}

}  // namespace atelier::model
