// SPDX-License-Identifier: Apache-2.0
// Whatever instructions compute a direct convolution, in whatever form its output is wanted, the
// bits are those of AVX2.
#include "model/kernels/conv.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "model/kernels/bf16.h"
#include "model/kernels/moments.h"
#include "model/processor.h"

namespace atelier::model::kernels {
namespace {

constexpr int kThreads = 2;
constexpr Quantization kInput{0.02F, 110}, kOutput{0.05F, 128};

struct Layer {
  ConvShape shape;
  int height, width;  // of the input
  int pad;
};

int out_size(const ConvShape& s, bool vertical, int in, int pad) {
  const int kernel = vertical ? s.kernel_h : s.kernel_w;
  if (s.transposed) return (in - 1) * s.stride_h + kernel - 2 * pad;
  const int reach = (kernel - 1) * s.dilation_h + 1;
  return (in * s.enlarge + 2 * pad - reach) / s.stride_h + 1;
}

// A picture within its halo, all of it numbers, and what kernels may read behind it.
template <class Element>
struct Picture {
  Picture(int channels, int height, int width, int block, const Halo& halo) {
    view.channels = channels;
    view.height = height;
    view.width = width;
    view.block = block;
    view.row = int64_t{block} * (halo.left + width + halo.right);
    view.plane = view.row * (halo.top + height + halo.bottom);
    memory.resize(static_cast<size_t>(view.plane * view.groups() + kTileBytes));
    view.data = memory.data() + halo.top * view.row + int64_t{halo.left} * block;
  }
  std::vector<Element> memory;
  BasicView<Element> view;
};

// All that a convolution makes, in order.
struct Made {
  std::vector<float> floats, moments;
  std::vector<uint8_t> bytes;
  bool operator==(const Made& other) const {
    const auto same = [](const auto& a, const auto& b) {
      if (a.size() != b.size()) return false;
      return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof a[0]) == 0;
    };
    return same(floats, other.floats) && same(moments, other.moments) && bytes == other.bytes;
  }
};

enum class Wanted { floats, bytes, both };

struct Operands {
  std::vector<float> weights, bias, added;
  DirectWeights layout;
  Halo halo;
  int out_h, out_w;

  // Numbers in bytes, in bfloat16 or in floats.
  Operands(const Layer& layer, bool in_bytes) {
    const ConvShape& s = layer.shape;
    std::mt19937 random(static_cast<uint32_t>(s.in_channels * 100 + s.out_channels));
    std::uniform_real_distribution<float> values(-1, 1);
    const auto fill = [&](std::vector<float>& to, int64_t count) {
      to.resize(static_cast<size_t>(count));
      for (float& v : to) v = values(random);
    };
    fill(weights, int64_t{s.in_channels} * s.out_channels * s.kernel_h * s.kernel_w);
    fill(bias, s.out_channels);
    const int block = in_bytes ? byte_block(s.in_channels) : float_block(s.in_channels);
    layout = pack_direct(s, weights.data(), bias.data(), layer.pad, layer.pad, block);
    out_h = out_size(s, true, layer.height, layer.pad);
    out_w = out_size(s, false, layer.width, layer.pad);
    halo = direct_halo(layout, layer.height, layer.width, out_h, out_w);
    fill(added, int64_t{(s.out_channels + kLanes - 1) / kLanes * kLanes} * out_h * out_w);
  }
};

// Any bytes, any whole floats, or numbers in bfloat16.
void fill_input(std::vector<float>& memory, const Quantization&) {
  std::mt19937 random(7);
  for (float& v : memory) v = static_cast<float>(random() % 256);
}
void fill_input(std::vector<uint8_t>& memory, const Quantization& input) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> values(-3, 3);
  for (size_t i = 0; i < memory.size(); i++) {
    if (!input.bf16) {
      memory[i] = static_cast<uint8_t>(random() % 256);
    } else if (i % 2 == 1) {
      const uint16_t bits = to_bf16(values(random));
      memory[i - 1] = static_cast<uint8_t>(bits & 0xFF);
      memory[i] = static_cast<uint8_t>(bits >> 8);
    }
  }
}

template <class Element>
Made make(Isa isa, const Layer& layer, Wanted wanted, const Quantization& input = kInput,
          const Quantization& output = kOutput) {
  constexpr bool kBytes = std::is_same_v<Element, uint8_t>;
  Operands o(layer, kBytes);
  const int in_block = o.layout.in_block * (kBytes ? input.bytes() : 1);
  Picture<Element> in(layer.shape.in_channels, layer.height, layer.width, in_block, o.halo);
  fill_input(in.memory, input);
  const int channels = layer.shape.out_channels;
  Picture<float> out(channels, o.out_h, o.out_w, float_block(channels), {});
  Picture<uint8_t> bytes(channels, o.out_h, o.out_w, byte_block(channels) * output.bytes(), {});
  Made made;
  ConvEpilogue epilogue;
  TensorView other = out.view;
  if (channels >= kLanes) {
    other.data = o.added.data();
    epilogue.add = &other;
    made.moments.resize(static_cast<size_t>(moments_floats(channels, kLanes, o.out_h)));
    epilogue.moments = made.moments.data();
  }
  epilogue.low = 0;
  if (wanted != Wanted::floats) {
    epilogue.bytes = &bytes.view;
    epilogue.quantization = output;
  }
  if (wanted == Wanted::bytes) out.view.data = nullptr;
  const int width = wanted == Wanted::bytes ? o.out_w : 0;
  std::vector<float> scratch(static_cast<size_t>(direct_scratch(o.layout, width) * kThreads + 16));
  if constexpr (kBytes) {
    const NarrowWeights weights = narrow_direct(isa, o.layout, input);
    conv_direct(isa, in.view, weights, epilogue, scratch.data(), out.view, kThreads);
  } else {
    conv_direct(isa, in.view, o.layout, epilogue, scratch.data(), out.view, kThreads);
  }
  made.floats = out.memory;
  made.bytes = bytes.memory;
  return made;
}

std::vector<Layer> layers() {
  std::vector<Layer> all;
  const auto add = [&](ConvShape shape, int height, int width, int pad) {
    all.push_back({shape, height, width, pad});
  };
  // Every width of a row from none to some tiles of pixels, and what remains of one.
  for (const int width : {1, 9, 15, 16, 17, 40, 64, 65, 100, 131}) {
    add({.in_channels = 32, .out_channels = 24, .kernel_h = 3, .kernel_w = 3}, 5, width, 1);
  }
  // Pictures of every number of channels, and the ways to look at them.
  for (const int channels : {1, 2, 3, 4, 5, 7, 9}) {
    add({.in_channels = channels, .out_channels = 16, .kernel_h = 9, .kernel_w = 9}, 11, 70, 4);
    add({.in_channels = channels,
         .out_channels = 8,
         .kernel_h = 3,
         .kernel_w = 3,
         .stride_h = 2,
         .stride_w = 2},
        12, 75, 1);
  }
  add({.in_channels = 32, .out_channels = 3, .kernel_h = 9, .kernel_w = 9}, 10, 90, 4);
  add({.in_channels = 20,
       .out_channels = 40,
       .kernel_h = 3,
       .kernel_w = 3,
       .dilation_h = 2,
       .dilation_w = 2},
      9, 50, 2);
  add({.in_channels = 64,
       .out_channels = 16,
       .kernel_h = 3,
       .kernel_w = 3,
       .stride_h = 2,
       .stride_w = 2,
       .transposed = true},
      7, 45, 1);
  add({.in_channels = 16, .out_channels = 12, .kernel_h = 3, .kernel_w = 3, .enlarge = 2}, 6, 40,
      1);
  add({.in_channels = 130, .out_channels = 17, .kernel_h = 1, .kernel_w = 1}, 3, 33, 0);
  return all;
}

std::string describe(const Layer& layer) {
  const ConvShape& s = layer.shape;
  return std::to_string(s.in_channels) + " to " + std::to_string(s.out_channels) + ", kernel " +
         std::to_string(s.kernel_h) + ", " + std::to_string(layer.width) + " wide";
}

std::vector<Isa> others_here() {
  std::vector<Isa> all;
  for (const Isa isa : {Isa::avx512, Isa::avx512_vnni, Isa::avx512_amx}) {
    if (isa <= own_isa()) all.push_back(isa);
  }
  return all;
}

TEST(ConvDirect, EveryInstructionSetGivesTheBitsOfAvx2) {
  for (const Layer& layer : layers()) {
    const Made floats = make<float>(Isa::avx2, layer, Wanted::floats);
    const Made bytes = make<uint8_t>(Isa::avx2, layer, Wanted::floats);
    const Made halves = make<uint8_t>(Isa::avx2, layer, Wanted::floats, kBf16);
    for (const Isa isa : others_here()) {
      EXPECT_TRUE(make<float>(isa, layer, Wanted::floats) == floats)
          << describe(layer) << " in floats, instructions " << static_cast<int>(isa);
      EXPECT_TRUE(make<uint8_t>(isa, layer, Wanted::floats) == bytes)
          << describe(layer) << " in bytes, instructions " << static_cast<int>(isa);
      EXPECT_TRUE(make<uint8_t>(isa, layer, Wanted::floats, kBf16) == halves)
          << describe(layer) << " in bfloat16, instructions " << static_cast<int>(isa);
    }
  }
}

TEST(ConvDirect, BytesAreTheSameWithAndWithoutTheFloats) {
  std::vector<Isa> all = others_here();
  all.push_back(Isa::avx2);
  for (const Layer& layer : layers()) {
    if (layer.shape.out_channels < kLanes) continue;
    for (const Isa isa : all) {
      const Made floats = make<uint8_t>(isa, layer, Wanted::floats);
      const Made both = make<uint8_t>(isa, layer, Wanted::both);
      const Made alone = make<uint8_t>(isa, layer, Wanted::bytes);
      EXPECT_EQ(both.floats, floats.floats) << describe(layer);
      EXPECT_EQ(both.bytes, alone.bytes) << describe(layer);
      EXPECT_EQ(both.moments, alone.moments) << describe(layer);
      // Something was written: not all of it is what memory begins with.
      EXPECT_GT(std::count(both.bytes.begin(), both.bytes.end(), kOutput.zero_point), 0);
      for (const Quantization& input : {kInput, kBf16}) {
        const Made halves = make<uint8_t>(isa, layer, Wanted::both, input, kBf16);
        EXPECT_EQ(halves.bytes, make<uint8_t>(isa, layer, Wanted::bytes, input, kBf16).bytes)
            << describe(layer);
        EXPECT_GT(halves.bytes.size(), both.bytes.size());
      }
    }
  }
}

}  // namespace
}  // namespace atelier::model::kernels
