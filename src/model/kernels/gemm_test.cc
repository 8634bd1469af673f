// SPDX-License-Identifier: Apache-2.0
// Every set of vector instructions that this processor has gives the bits of the smallest.
#include "model/kernels/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "model/kernels/gemm_int8.h"
#include "model/kernels/tensor_view.h"
#include "model/processor.h"

namespace atelier::model::kernels {
namespace {

// Segments of a length that any instruction set takes.
constexpr int kPixels = 150, kSegments = 3, kLength = 2 * kTileBytes, kStride = 8;
constexpr int kSegmentStep = 1400;
constexpr int kOutBlock = 8 * kPixels + 16, kAddBlock = 8 * kPixels + 8;
constexpr float kUntouched = -77;

std::vector<float> noise(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> values(-1, 1);
  std::vector<float> made(count);
  for (float& v : made) v = values(random);
  return made;
}

struct Operands {
  std::vector<float> a = noise(kSegments * kSegmentStep, 1),
                     w = noise(size_t{32} * kSegments * kLength, 2);
  std::vector<uint8_t> bytes;
  std::vector<int8_t> weights;
  std::vector<float> bias = noise(32, 3), scale = noise(32, 4), add = noise(4 * kAddBlock, 5);
  std::vector<int64_t> offsets{0, kSegmentStep, 2 * kSegmentStep - 8};

  Operands() {
    for (const float v : a) bytes.push_back(static_cast<uint8_t>((v + 1) * 127.5F));
    for (const float v : w) weights.push_back(static_cast<int8_t>(v * 64));
    weights.resize(weights.size() + kWeightSlack);
  }
};

GemmArgs args_of(const Operands& o, const GemmArgs*) {
  GemmArgs args;
  args.a = o.a.data();
  args.w = o.w.data();
  return args;
}

Int8GemmArgs args_of(const Operands& o, const Int8GemmArgs*) {
  Int8GemmArgs args;
  args.a = o.bytes.data();
  args.w = o.weights.data();
  args.scale = o.scale.data();
  return args;
}

// What gemm_row writes, and what it does not.
template <class Args>
std::vector<float> made_by(Isa isa, const Operands& o, int pixels, int blocks, int kind) {
  std::vector<float> c(size_t{4} * kOutBlock, kUntouched);
  Args args = args_of(o, static_cast<const Args*>(nullptr));
  args.offsets = o.offsets.data();
  args.segments = kSegments;
  args.length = kLength;
  args.a_stride = kStride;
  args.c = c.data();
  args.c_stride = kLanes;
  args.c_block = kOutBlock;
  args.add_block = kAddBlock;
  if (kind & 1) args.epilogue.bias = o.bias.data();
  if (kind & 2) args.epilogue.add = o.add.data();
  if (kind & 4) args.epilogue.low = 0;
  if (kind & 8) args.epilogue.high = 1;
  const TileScope tiles(isa);
  gemm_row(isa, args, pixels, blocks);
  return c;
}

template <class Args>
void expect_same_bits(Isa isa) {
  const Operands o;
  for (int pixels = 1; pixels < kPixels; pixels++) {
    for (int blocks = 1; blocks <= 2; blocks++) {
      for (int kind = 0; kind < 16; kind++) {
        const auto expected = made_by<Args>(Isa::avx2, o, pixels, blocks, kind);
        const auto got = made_by<Args>(isa, o, pixels, blocks, kind);
        ASSERT_EQ(0, std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)))
            << pixels << " pixels, " << blocks << " blocks, epilogue " << kind;
        ASSERT_NE(got[0], kUntouched);
      }
    }
  }
}

bool skipped(bool supported, const char* what) {
  if (!supported) std::printf("SKIPPED: this processor has no %s\n", what);
  return !supported;
}

TEST(GemmRow, Avx512GivesTheBitsOfAvx2) {
  if (skipped(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"), "AVX-512")) {
    GTEST_SKIP() << "no AVX-512 here";
  }
  expect_same_bits<GemmArgs>(Isa::avx512);
}

TEST(GemmRow, FourBlocksAreTwoCallsOfTwo) {
  if (blocks_at_once(own_isa(), 4 * kLanes) < 4) GTEST_SKIP() << "no AVX-512 here";
  const Operands o;
  Operands second = o;  // what the second panel is made with
  second.w.erase(second.w.begin(), second.w.begin() + 16 * kSegments * kLength);
  second.bias.erase(second.bias.begin(), second.bias.begin() + 16);
  second.add.erase(second.add.begin(), second.add.begin() + 2 * kAddBlock);
  for (int pixels = 1; pixels < kPixels; pixels++) {
    for (int kind = 0; kind < 16; kind++) {
      const auto got = made_by<GemmArgs>(Isa::avx512, o, pixels, 4, kind);
      auto expected = made_by<GemmArgs>(Isa::avx2, o, pixels, 2, kind);
      const auto rest = made_by<GemmArgs>(Isa::avx2, second, pixels, 2, kind);
      std::copy_n(rest.begin(), 2 * kOutBlock, expected.begin() + 2 * kOutBlock);
      ASSERT_EQ(0, std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)))
          << pixels << " pixels, epilogue " << kind;
    }
  }
}

TEST(GemmRow, VnniGivesTheBitsOfAvx2) {
  if (skipped(__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vl"), "VNNI")) {
    GTEST_SKIP() << "no AVX-512 VNNI here";
  }
  expect_same_bits<Int8GemmArgs>(Isa::avx512_vnni);
}

TEST(GemmRow, AmxGivesTheBitsOfAvx2) {
  if (skipped(own_isa() == Isa::avx512_amx, "AMX, or its kernel grants none")) {
    GTEST_SKIP() << "no AMX here";
  }
  expect_same_bits<Int8GemmArgs>(Isa::avx512_amx);
}

}  // namespace
}  // namespace atelier::model::kernels
