// SPDX-License-Identifier: Apache-2.0
#include "run/model_parcel.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>

#include "store/big_endian.h"

namespace atelier::run {
namespace {

using Bytes = std::vector<std::byte>;
using Shared = std::shared_ptr<const Bytes>;

constexpr size_t kLengthBytes = 8;

// A parcel is fields, each with its length before it: the name, the URL, the toml ("-" or "+" and
// its text), the model, then for each other file its name and its bytes.
void put_field(Bytes& parcel, std::span<const std::byte> field) {
  std::array<std::byte, kLengthBytes> length{};
  put_big_endian(field.size(), length);
  parcel.insert(parcel.end(), length.begin(), length.end());
  parcel.insert(parcel.end(), field.begin(), field.end());
}

struct Field {
  size_t begin = 0;
  size_t size = 0;
};

Result<std::vector<Field>> fields_of(const Bytes& parcel) {
  std::vector<Field> fields;
  for (size_t at = 0; at < parcel.size();) {
    const size_t left = parcel.size() - at;
    const uint64_t size =
        left < kLengthBytes ? 0 : get_big_endian(std::span(parcel).subspan(at, kLengthBytes));
    if (left < kLengthBytes || size > left - kLengthBytes) {
      return make_error(Code::corrupt, "A model that another worker sent is cut off.");
    }
    fields.push_back({at + kLengthBytes, size});
    at += kLengthBytes + size;
  }
  return fields;
}

class PartSource final : public ByteSource {
 public:
  PartSource(Shared bytes, Field part) : bytes_(std::move(bytes)), part_(part) {}
  uint64_t size() const override { return part_.size; }
  Result<size_t> read_at(uint64_t offset, std::span<std::byte> into) override {
    if (offset >= part_.size) return size_t{0};
    const size_t count = std::min<size_t>(into.size(), part_.size - offset);
    const auto begin = bytes_->begin() + static_cast<ptrdiff_t>(part_.begin + offset);
    std::copy_n(begin, count, into.begin());
    return count;
  }

 private:
  const Shared bytes_;
  const Field part_;
};

}  // namespace

Result<std::vector<std::byte>> pack_model(const ModelFiles& files,
                                          const std::vector<std::string>& beside) {
  constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();
  Bytes parcel;
  put_field(parcel, as_bytes(files.name));
  put_field(parcel, as_bytes(files.url));
  const std::string toml = files.toml ? "+" + *files.toml : "-";
  put_field(parcel, as_bytes(toml));
  put_field(parcel, TRY(read_all(*files.onnx, kAny, files.name)));
  for (const std::string& name : beside) {
    const auto source = TRY(files.open_beside(name));
    put_field(parcel, as_bytes(name));
    put_field(parcel, TRY(read_all(*source, kAny, name)));
  }
  return parcel;
}

Result<ModelFiles> unpack_model(std::vector<std::byte> parcel) {
  const auto bytes = std::make_shared<const Bytes>(std::move(parcel));
  const std::vector<Field> fields = TRY(fields_of(*bytes));
  const auto text = [&](size_t i) {
    return std::string(as_text(std::span(*bytes).subspan(fields[i].begin, fields[i].size)));
  };
  constexpr size_t kFirstBeside = 4;
  if (fields.size() < kFirstBeside || fields.size() % 2 != 0 || text(2).empty()) {
    return make_error(Code::corrupt, "A model that another worker sent has no such parts.");
  }
  ModelFiles files;
  files.name = text(0);
  files.url = text(1);
  if (const std::string toml = text(2); toml.front() == '+') files.toml = toml.substr(1);
  files.onnx = std::make_unique<PartSource>(bytes, fields[3]);
  std::map<std::string, Field> beside;
  for (size_t i = kFirstBeside; i < fields.size(); i += 2) beside[text(i)] = fields[i + 1];
  files.open_beside = [bytes, beside, name = files.name](
                          const std::string& location) -> Result<std::unique_ptr<ByteSource>> {
    const auto found = beside.find(location);
    if (found != beside.end()) {
      return std::unique_ptr<ByteSource>(std::make_unique<PartSource>(bytes, found->second));
    }
    return make_error(Code::conflict,
                      "The model '{}' wants '{}' beside it, which it did not when the run was "
                      "prepared; start it again with `atelier run`.",
                      name, location);
  };
  return files;
}

}  // namespace atelier::run
