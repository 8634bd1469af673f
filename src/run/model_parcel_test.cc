// SPDX-License-Identifier: Apache-2.0
#include "run/model_parcel.h"

#include <gtest/gtest.h>

#include <map>

namespace atelier::run {
namespace {

std::vector<std::byte> bytes_of(std::string_view text) {
  return {as_bytes(text).begin(), as_bytes(text).end()};
}

ModelFiles some_files(std::optional<std::string> toml) {
  ModelFiles files;
  files.name = "wave\xff";  // names are bytes
  files.url = "file:///models/wave%FF.onnx";
  files.onnx = std::make_unique<MemorySource>(bytes_of("the graph"));
  files.toml = std::move(toml);
  files.open_beside = [](const std::string& location) -> Result<std::unique_ptr<ByteSource>> {
    return std::unique_ptr<ByteSource>(
        std::make_unique<MemorySource>(bytes_of("weights of " + location)));
  };
  return files;
}

std::string all_of(ByteSource& source) {
  return std::string(as_text(read_all(source, 1000, "it").value()));
}

TEST(ModelParcel, HoldsAllFilesByteForByte) {
  const auto parcel = pack_model(some_files("range = [0, 1]\n"), {"a.bin", "b/c.bin"}).value();
  const ModelFiles files = unpack_model(parcel).value();
  EXPECT_EQ(files.name, "wave\xff");
  EXPECT_EQ(files.url, "file:///models/wave%FF.onnx");
  EXPECT_EQ(files.toml, "range = [0, 1]\n");
  EXPECT_EQ(all_of(*files.onnx), "the graph");
  for (const char* name : {"b/c.bin", "a.bin", "a.bin"}) {
    EXPECT_EQ(all_of(*files.open_beside(name).value()), std::string("weights of ") + name);
  }
  std::vector<std::byte> part(5);
  EXPECT_EQ(files.onnx->read_at(4, part).value(), 5U);
  EXPECT_EQ(as_text(part), "graph");
  EXPECT_EQ(files.onnx->read_at(9, part).value(), 0U);
}

TEST(ModelParcel, AnAbsentTomlAndAnEmptyOneAreNotTheSame) {
  EXPECT_EQ(unpack_model(pack_model(some_files(std::nullopt), {}).value())->toml, std::nullopt);
  EXPECT_EQ(unpack_model(pack_model(some_files(""), {}).value())->toml, "");
}

TEST(ModelParcel, AFileThatWasNotPackedIsAConflict) {
  const ModelFiles files = unpack_model(pack_model(some_files(""), {"a.bin"}).value()).value();
  EXPECT_EQ(files.open_beside("other.bin").error().code, Code::conflict);
}

TEST(ModelParcel, OneThatIsCutOffAnywhereIsCorrupt) {
  const auto parcel = pack_model(some_files("x"), {"a.bin"}).value();
  for (size_t size = 0; size < parcel.size(); ++size) {
    auto cut = parcel;
    cut.resize(size);
    const auto files = unpack_model(std::move(cut));
    // Between two whole files it is another parcel.
    if (files.ok()) {
      EXPECT_FALSE(files->open_beside("a.bin").ok()) << size;
      continue;
    }
    EXPECT_EQ(files.error().code, Code::corrupt) << size;
  }
  EXPECT_EQ(unpack_model(std::vector<std::byte>(64, std::byte{0xff})).error().code, Code::corrupt);
}

}  // namespace
}  // namespace atelier::run
