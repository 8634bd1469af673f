// SPDX-License-Identifier: Apache-2.0
// Every set of vector instructions that this processor has gives the bits of the smallest.
#include "model/kernels/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "model/kernels/bf16.h"
#include "model/kernels/gemm_bf16.h"
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
  std::vector<uint8_t> bytes, halves;  // halves are of bfloat16
  std::vector<int8_t> weights, half_weights;
  std::vector<float> bias = noise(32, 3), scale = noise(32, 4), add = noise(4 * kAddBlock, 5);
  std::vector<int64_t> offsets{0, kSegmentStep, 2 * kSegmentStep - 8};

  Operands() {
    for (const float v : a) bytes.push_back(static_cast<uint8_t>((v + 1) * 127.5F));
    for (const float v : w) weights.push_back(static_cast<int8_t>(v * 64));
    weights.resize(weights.size() + kWeightSlack);
    // Of every size that a sum can tell from nothing, so that each rounding counts.
    for (size_t i = 0; i < a.size(); i++) {
      append(std::ldexp(a[i], static_cast<int>(i * 7 % 19) - 9), halves);
    }
    for (size_t i = 0; i < w.size(); i++) {
      append(std::ldexp(w[i], static_cast<int>(i * 5 % 13) - 6), half_weights);
    }
  }
  template <class Byte>
  static void append(float value, std::vector<Byte>& to) {
    const uint16_t bits = to_bf16(value);
    to.push_back(static_cast<Byte>(bits & 0xFF));
    to.push_back(static_cast<Byte>(bits >> 8));
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

Bf16GemmArgs args_of(const Operands& o, const Bf16GemmArgs*) {
  Bf16GemmArgs args;
  args.a = o.halves.data();
  args.w = o.half_weights.data();
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
  const TileScope tiles(isa, std::is_same_v<Args, Bf16GemmArgs>);
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

__attribute__((target("avx2,fma"))) void round_eight(const float* from, uint32_t* to) {
  _mm256_store_si256(reinterpret_cast<__m256i*>(to), to_bf16(_mm256_load_ps(from)));
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

template <class Args>
void expect_two_calls_of_two(Isa isa) {
  const Operands o;
  Operands second = o;  // what the second panel is made with
  second.w.erase(second.w.begin(), second.w.begin() + 16 * kSegments * kLength);
  second.weights.erase(second.weights.begin(), second.weights.begin() + 16 * kSegments * kLength);
  second.scale.erase(second.scale.begin(), second.scale.begin() + 16);
  second.bias.erase(second.bias.begin(), second.bias.begin() + 16);
  second.add.erase(second.add.begin(), second.add.begin() + 2 * kAddBlock);
  for (int pixels = 1; pixels < kPixels; pixels++) {
    for (int kind = 0; kind < 16; kind++) {
      const auto got = made_by<Args>(isa, o, pixels, 4, kind);
      auto expected = made_by<Args>(Isa::avx2, o, pixels, 2, kind);
      const auto rest = made_by<Args>(Isa::avx2, second, pixels, 2, kind);
      std::copy_n(rest.begin(), 2 * kOutBlock, expected.begin() + 2 * kOutBlock);
      ASSERT_EQ(0, std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)))
          << pixels << " pixels, epilogue " << kind;
    }
  }
}

TEST(GemmRow, FourBlocksAreTwoCallsOfTwo) {
  if (blocks_at_once(own_isa(), 4 * kLanes) < 4) GTEST_SKIP() << "no AVX-512 here";
  expect_two_calls_of_two<GemmArgs>(Isa::avx512);
}

TEST(GemmRow, FourBlocksOfBytesAreTwoCallsOfTwo) {
  if (own_isa() < Isa::avx512_vnni) GTEST_SKIP() << "no AVX-512 VNNI here";
  EXPECT_EQ(int8_blocks_at_once(Isa::avx512_vnni, 4 * kLanes), 4);
  EXPECT_EQ(int8_blocks_at_once(Isa::avx512_amx, 4 * kLanes), 2);
  expect_two_calls_of_two<Int8GemmArgs>(Isa::avx512_vnni);
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
  expect_same_bits<Bf16GemmArgs>(Isa::avx512_amx);
}

float number_at(const uint8_t* halves, int i) {
  return from_bf16(static_cast<uint16_t>(halves[2 * i] | halves[2 * i + 1] << 8));
}

// One output as the manual of tdpbf16ps has it.
float sum_of(const Operands& o, int pixel, int lane, int lanes) {
  const auto* w = reinterpret_cast<const uint8_t*>(o.half_weights.data());
  float sum = 0;
  for (int s = 0; s < kSegments; s++) {
    const uint8_t* a = o.halves.data() + o.offsets[static_cast<size_t>(s)] + pixel * kStride;
    for (int tile = 0; tile < kLength / kTileBytes; tile++, a += kTileBytes) {
      float even = 0, odd = 0;
      for (int k = 0; k < kTileBytes / 4; k++, w += 4 * lanes) {
        even = std::fma(number_at(a, 2 * k), number_at(w, 2 * lane), even);
        odd = std::fma(number_at(a, 2 * k + 1), number_at(w, 2 * lane + 1), odd);
      }
      sum += even + odd;
    }
  }
  return sum;
}

TEST(GemmRow, Bf16AddsInTheOrderThatIsDocumented) {
  const Operands o;
  for (const Isa isa : {Isa::avx2, own_isa()}) {
    for (const int pixels : {1, 2, 17, 70}) {
      for (const int blocks : {1, 2}) {
        const auto got = made_by<Bf16GemmArgs>(isa, o, pixels, blocks, 0);
        for (int p = 0; p < pixels; p++) {
          for (int lane = 0; lane < 8 * blocks; lane++) {
            ASSERT_EQ(got[static_cast<size_t>(lane / 8 * kOutBlock + p * kLanes + lane % 8)],
                      sum_of(o, p, lane, 8 * blocks))
                << "pixel " << p << " of " << pixels << ", lane " << lane;
          }
        }
      }
    }
  }
}

// Numbers whose products are below the normal ones: what a matrix unit takes for zero.
TEST(GemmRow, Bf16TakesWhatIsTinyForZeroEverywhere) {
  Operands o;
  for (size_t i = 0; i < o.a.size(); i++) {
    const uint16_t bits = to_bf16(std::ldexp(o.a[i], -64 - static_cast<int>(i % 5)));
    o.halves[2 * i] = static_cast<uint8_t>(bits & 0xFF);
    o.halves[2 * i + 1] = static_cast<uint8_t>(bits >> 8);
  }
  for (size_t i = 0; i < o.w.size(); i++) {
    const uint16_t bits = to_bf16(std::ldexp(o.w[i], -58 - static_cast<int>(i % 3)));
    o.half_weights[2 * i] = static_cast<int8_t>(bits & 0xFF);
    o.half_weights[2 * i + 1] = static_cast<int8_t>(bits >> 8);
  }
  const auto expected = made_by<Bf16GemmArgs>(Isa::avx2, o, 40, 2, 0);
  const auto got = made_by<Bf16GemmArgs>(own_isa(), o, 40, 2, 0);
  EXPECT_EQ(0, std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)));
  EXPECT_GT(std::count(got.begin(), got.end(), 0.0F), 10);
  for (const float v : got) EXPECT_TRUE(v == 0 || std::isnormal(v)) << v;
}

TEST(Bf16, RoundsToTheEvenOneAndNeverToWhatIsNoNumber) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::pair<float, float>> pairs{
      {0.0F, 0.0F},
      {-0.0F, 0.0F},
      {1.0F, 1.0F},
      {0x1.01p0F, 0x1.00p0F},  // half-way, down to the even one
      {0x1.03p0F, 0x1.04p0F},  // half-way, up to the even one
      {-0x1.0101p0F, -0x1.02p0F},
      {0x1p-126F, 0x1p-126F},
      {0x1.FFFFFCp-127F, 0.0F},  // below the normal ones
      {-1e-45F, 0.0F},
      {3.4e38F, kMostBf16},
      {-INFINITY, -kMostBf16},
      {INFINITY, kMostBf16},
      {kNan, 0.0F},
      {-kNan, 0.0F}};
  alignas(32) float eight[8];
  alignas(32) uint32_t made[8];
  for (const auto& [from, to] : pairs) {
    EXPECT_EQ(from_bf16(to_bf16(from)), to) << from;
    std::fill_n(eight, 8, from);
    round_eight(eight, made);
    for (const uint32_t bits : made) EXPECT_EQ(bits, to_bf16(from)) << from;
  }
}

}  // namespace
}  // namespace atelier::model::kernels
