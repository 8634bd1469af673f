// SPDX-License-Identifier: Apache-2.0
// A frame in tiles is the whole frame, bit for bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "model/runner_testing.h"
#include "model/test_net.h"

namespace atelier::model {
namespace {

using ::testing::HasSubstr;
using Family = PixelFormat::Family;

constexpr PixelFormat kYuv420{};
constexpr PixelFormat kRgb16{Family::rgb, 16, 0, 0, false};

FrameBuffer noise_frame(Size size, PixelFormat format, uint32_t seed) {
  FrameBuffer frame(size.width, size.height, format, {});
  std::mt19937 random(seed);
  const FrameView& view = frame.view();
  for (int p = 0; p < format.planes(); p++) {
    const auto& plane = view.plane[static_cast<size_t>(p)];
    for (int y = 0; y < view.plane_height(p); y++) {
      for (int x = 0; x < view.plane_width(p); x++) {
        const auto value = static_cast<unsigned>(random()) % (1U << format.depth);
        if (format.bytes_per_sample() == 1) {
          (plane.data + y * plane.stride)[x] = static_cast<std::byte>(value);
        } else {
          reinterpret_cast<uint16_t*>(plane.data + y * plane.stride)[x] =
              static_cast<uint16_t>(value);
        }
      }
    }
  }
  return frame;
}

struct Job {
  Graph graph;
  ModelSpec spec;
  RunnerOptions options;
  PixelFormat in_format = kYuv420;
  PixelFormat out_format = kYuv420;
  Size size{203, 131};
};

// A network over pictures from 0 to 1.
Job job_of(const Graph& graph) {
  Job job{graph, {}, {}};
  job.spec.name = "net";
  job.spec.input = graph.inputs[0].name;
  job.spec.output = graph.outputs[0].name;
  job.spec.range = job.spec.output_range = {0, 1};
  job.options.threads = 2;
  return job;
}

constexpr uint64_t kNever = uint64_t{1} << 60;

struct Scored {
  FrameBuffer frame;
  Tiling tiling;
  std::vector<PlanStep> plan;
};

Scored score(Job job, uint64_t tile_bytes, int threads = 2) {
  job.options.tile_bytes = tile_bytes;
  job.options.threads = threads;
  const auto runner = make_onednn_runner(job.graph, job.spec, job.options).value();
  const FrameBuffer in = noise_frame(job.size, job.in_format, 5);
  const Size size = runner->output_size(job.size).value();
  Scored scored{noise_frame(size, job.out_format, 6), runner->tiling(job.size).value(),
                runner->plan(job.size).value()};
  for (int i = 0; i < 2; i++) {  // what was scored before leaves no trace
    const auto done = runner->score(in.view(), scored.frame.view());
    EXPECT_TRUE(done.ok()) << done.error().message;
  }
  return scored;
}

// In tiles of a third and of a seventh, by one thread and three.
int expect_same(const Job& job) {
  Job whole = job;
  whole.options.tile_bytes = kNever;
  const auto runner = make_onednn_runner(whole.graph, whole.spec, whole.options).value();
  const uint64_t bytes = runner->memory(job.size).value();
  const Scored expected = score(job, kNever);
  EXPECT_EQ(expected.tiling.count, 1);
  int most = 1;
  for (const auto& [part, threads] : {std::pair{3, 1}, {7, 3}}) {
    const Scored got = score(job, bytes / static_cast<uint64_t>(part), threads);
    EXPECT_TRUE(same_picture(expected.frame.view(), got.frame.view()))
        << got.tiling.count << " tiles of " << got.tiling.size.width << "x"
        << got.tiling.size.height;
    EXPECT_EQ(got.plan, expected.plan);
    most = std::max(most, got.tiling.count);
  }
  return most;
}

Net& fixed_norm(Net& net) {
  const int64_t c = net.channels();
  return net.then("Mul", {net.floats({1, c, 1, 1}, 0.5F, 1.5F)})
      .then("Add", {net.floats({1, c, 1, 1}, -0.5F, 0.5F)})
      .then("Relu");
}

// What a style network is made of, small.
Graph style_net(bool resizes) {
  Net net(7, 3);
  net.pad({8, 8, 8, 8}, "reflect").conv({16, 9, 1, 4});
  fixed_norm(net).conv({32, 3, 2, 1});
  fixed_norm(net);
  for (int i = 0; i < 2; i++) {
    const std::string before = net.last();
    net.conv({32, 3, 1, 1});
    fixed_norm(net).conv({32, 3, 1, 1}).then("Add", {before});
  }
  if (resizes) {
    net.then("Resize", {"", net.given({4}, {1, 1, 2, 2})},
             {{"mode", std::string("nearest")},
              {"coordinate_transformation_mode", std::string("asymmetric")},
              {"nearest_mode", std::string("floor")}});
    net.conv({16, 3, 1, 1});
  } else {
    net.transposed({16, 3, 2, 1}, 1);
  }
  fixed_norm(net).conv({3, 9, 1, 4}).slice({2, 3}, {8, 8}, {-8, -8}, {1, 1});
  return net.graph();
}

// Shows the last bits of what comes out, which a frame's codes would round away.
void show_last_bits(Net& net) {
  net.then("Mul", {net.given({}, {4096})});
  const std::string large = net.last();
  net.then("Floor");
  net.node("Sub", {large, net.last()});
}

TEST(TiledRunner, AStyleNetworkOnOddSizes) {
  for (const bool resizes : {false, true}) {
    Job job = job_of(style_net(resizes));
    for (const Size size : {Size{419, 317}, Size{320, 400}}) {
      job.size = size;
      EXPECT_GT(expect_same(job), 2);
    }
  }
}

TEST(TiledRunner, EveryFormatOfFrames) {
  Net net(3, 3);
  Job job = job_of(net.conv({8, 5, 1, 2}).then("Relu").conv({3, 3, 1, 1}).graph());
  std::vector<PixelFormat> formats{kRgb16, {Family::gray, 8, 0, 0, false}};
  for (const uint8_t depth : {uint8_t{8}, uint8_t{10}}) {
    for (const auto& [x, y] : {std::pair<uint8_t, uint8_t>{1, 1}, {1, 0}, {0, 0}, {2, 2}, {2, 0}}) {
      formats.push_back({Family::yuv, depth, x, y, depth == 8});
    }
  }
  for (const PixelFormat& format : formats) {
    SCOPED_TRACE(fmt::format("family {}, {} bits, shifts {} and {}",
                             static_cast<int>(format.family), format.depth, format.chroma_shift_x,
                             format.chroma_shift_y));
    job.in_format = job.out_format = format;
    // Taller than what counts as standard definition, in tiles that are not.
    for (const Size size : {Size{131, 597}, Size{130, 203}}) {
      job.size = size;
      EXPECT_GT(expect_same(job), 2);
    }
  }
}

TEST(TiledRunner, EverySitingOfChroma) {
  using Siting = ColorSpec::Siting;
  Net net(3, 3);
  const Job job = job_of(net.conv({3, 1, 1, 0}).graph());
  for (const Siting siting : {Siting::left, Siting::center, Siting::top_left, Siting::top,
                              Siting::bottom_left, Siting::bottom}) {
    for (const uint8_t shift : {uint8_t{1}, uint8_t{2}}) {
      const PixelFormat format{Family::yuv, 8, shift, shift, false};
      FrameBuffer in = noise_frame({203, 131}, format, 9);
      in.view().color.siting = siting;
      FrameBuffer made[2];
      for (const uint64_t bytes : {kNever, uint64_t{1}}) {
        RunnerOptions options;
        options.tile_bytes = bytes;
        const auto runner = make_onednn_runner(job.graph, job.spec, options).value();
        FrameBuffer out(203, 131, format, in.view().color);
        ASSERT_TRUE(runner->score(in.view(), out.view()).ok());
        made[bytes == 1] = std::move(out);
      }
      EXPECT_TRUE(same_picture(made[0].view(), made[1].view()));
    }
  }
}

TEST(TiledRunner, ANetworkThatEnlarges) {
  Net net(5, 3);
  net.conv({16, 5, 1, 2}).then("Relu").conv({16, 3, 1, 1}).then("Relu").conv({12, 3, 1, 1});
  net.then("DepthToSpace", {}, {{"blocksize", int64_t{2}}}).channels(3);
  Job job = job_of(net.graph());
  EXPECT_GT(expect_same(job), 2);
  job.in_format = job.out_format = kRgb16;
  EXPECT_GT(expect_same(job), 2);
}

TEST(TiledRunner, FramesThatArePaddedToAMultiple) {
  Net net(5, 3);
  net.conv({8, 3, 2, 1}).then("Relu").transposed({3, 2, 2, 0}, 0);
  Job job = job_of(net.graph());
  job.spec.size_multiple = 8;
  for (const int extra : {0, 1, 5, 7}) {
    job.size = {200 + extra, 160 - extra};
    EXPECT_GT(expect_same(job), 2);
  }
}

TEST(TiledRunner, LumaAlone) {
  Net net(5, 1);
  net.conv({16, 5, 1, 2}).then("Relu").conv({4, 3, 1, 1});
  net.then("DepthToSpace", {}, {{"blocksize", int64_t{2}}}).channels(1);
  Job job = job_of(net.graph());
  job.spec.luma = true;
  EXPECT_GT(expect_same(job), 2);
}

TEST(TiledRunner, InEightBits) {
  Job job = job_of(style_net(true));
  job.size = {319, 257};
  const auto exact = make_onednn_runner(job.graph, job.spec, job.options).value();
  const FrameBuffer in = noise_frame(job.size, kYuv420, 5);
  FrameBuffer out(job.size.width, job.size.height, kYuv420, {});
  job.options.ranges = exact->observe({&in.view(), 1}, {&out.view(), 1}, [] {}).value();
  job.options.precision = Precision::int8;
  EXPECT_GT(expect_same(job), 2);
}

TEST(TiledRunner, ARunnerInEightBitsHoldsNoWeightsInFloats) {
  // Weights are nearly all that a small frame takes.
  Job job = job_of(Net(1, 3).conv({256, 5, 1, 2}).conv({256, 5, 1, 2}).conv({3, 1, 1, 0}).graph());
  for (const Node& node : job.graph.nodes) job.options.ranges[node.name] = {-8, 8};
  const auto floats = make_onednn_runner(job.graph, job.spec, job.options).value();
  job.options.precision = Precision::int8;
  const auto bytes = make_onednn_runner(job.graph, job.spec, job.options).value();
  EXPECT_LT(bytes->memory({8, 8}).value() * 2, floats->memory({8, 8}).value());
}

// Size-preserving steps at a scale, down to half of it and up again.
class RandomNet {
 public:
  explicit RandomNet(uint32_t seed) : net_(seed, 3), random_(seed) {
    net_.conv({8 + draw(12), 1 + 2 * draw(3), 1, 0});  // smaller, until it is padded
  }
  Graph graph() {
    Net& net = net_;
    net.pad({6, 6, 6, 6}, draw(2) ? "reflect" : "edge");
    steps();
    if (draw(2)) {
      net.conv({8 + draw(24), 3, 2, 1});
      steps();
      up();
    }
    steps();
    net.conv({3, 1 + 2 * draw(3), 1, 2});
    show_last_bits(net);
    return net.graph();
  }

 private:
  int64_t draw(int64_t below) { return static_cast<int64_t>(random_() % uint64_t(below)); }
  void steps() {
    for (int64_t i = draw(4); i >= 0; i--) step();
  }
  void step() {
    Net& net = net_;
    const std::string before = net.last();
    const int64_t c = net.channels();
    switch (draw(8)) {
      case 0: net.conv({8 + draw(24), 3, 1, 1}); return;
      case 1: net.conv({c, 3, 1, 1, 1, 1}).then("Add", {before}).then("Relu"); return;
      case 2: net.conv({8 + draw(9), 3, 1, 2, 2}); return;
      case 3:
        net.pad({1, 2, 1, 2}, "reflect")
            .conv({c, 3, 1, 0})
            .conv({c, 1, 1, 0})
            .slice({3}, {1}, {-1}, {1});
        return;
      case 4: fixed_norm(net); return;
      case 5: net.then("LeakyRelu", {}, {{"alpha", 0.25F}}); return;
      case 6:
        net.then("MaxPool", {}, {{"kernel_shape", Ints{3, 3}}, {"pads", Ints{1, 1, 1, 1}}});
        return;
      default:
        net.conv({5, 3, 1, 1}).then("Concat", {before}, {{"axis", int64_t{1}}}).channels(c + 5);
        return;
    }
  }
  void up() {
    Net& net = net_;
    switch (draw(3)) {
      case 0: net.transposed({8 + draw(9), 4, 2, 1}, 0); return;
      case 1:
        net.then("Resize", {"", net.given({4}, {1, 1, 2, 2})}, {{"mode", std::string("nearest")}});
        if (draw(2)) net.conv({8 + draw(9), 3, 1, 1});
        return;
      default:
        net.conv({32, 3, 1, 1}).then("DepthToSpace", {}, {{"blocksize", int64_t{2}}}).channels(8);
        return;
    }
  }
  using Ints = std::vector<int64_t>;
  Net net_;
  std::mt19937 random_;
};

TEST(TiledRunner, RandomNetworksToTheLastBit) {
  int cut = 0;
  for (uint32_t seed = 1; seed <= 16; seed++) {
    SCOPED_TRACE(seed);
    Job job = job_of(RandomNet(seed).graph());
    job.in_format = job.out_format = kRgb16;
    job.size = {150 + static_cast<int>(seed * 37 % 71), 140 + static_cast<int>(seed * 53 % 67)};
    cut += expect_same(job) > 1 ? 1 : 0;
  }
  EXPECT_GT(cut, 13);
}

TEST(TiledRunner, TimesAndArithmeticAreTheFrames) {
  Job job = job_of(style_net(false));
  job.size = {400, 320};
  const auto whole = make_onednn_runner(job.graph, job.spec, job.options).value();
  job.options.tile_bytes = 1;
  const auto tiled = make_onednn_runner(job.graph, job.spec, job.options).value();
  ASSERT_GT(tiled->tiling(job.size).value().count, 1);
  EXPECT_NEAR(*tiled->gflop(job.size) / *whole->gflop(job.size), 1, 0.15);
  EXPECT_LT(*tiled->memory(job.size), *whole->memory(job.size));
  const auto layers = tiled->time_layers(job.size, 1).value();
  EXPECT_EQ(layers.size(), tiled->plan(job.size).value().size());
}

TEST(TiledRunner, APlanToObeyIsThatOfTheTiles) {
  Job job = job_of(style_net(false));
  const Scored free = score(job, 1);
  job.options.plan = free.plan;
  const Scored obeyed = score(job, 1);
  EXPECT_TRUE(same_picture(free.frame.view(), obeyed.frame.view()));
}

TEST(TiledRunner, StatisticsOfTheFrameAreNotCut) {
  Net net(1, 3);
  net.conv({8, 3, 1, 1}).norm();
  std::vector<std::string> made;  // all are needed at the end
  for (int i = 0; i < 10; i++) made.push_back(net.conv({8, 3, 1, 1}).last());
  for (const std::string& value : made) net.then("Add", {value});
  const Job job = job_of(net.conv({3, 3, 1, 1}).graph());
  EXPECT_EQ(score(job, 1).tiling, (Tiling{job.size, 1}));
  const auto runner = make_onednn_runner(job.graph, job.spec, job.options).value();
  const auto refused = runner->plan({16000, 16000});
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("--size"));
}

TEST(TiledRunner, FramesOfUltraHighDefinitionKeepTheirBudget) {
  Net net(1, 3);
  net.conv({48, 9, 1, 4}).then("Relu").conv({24, 3, 1, 1}).then("Relu").conv({3, 9, 1, 4});
  const Job job = job_of(net.graph());
  const auto runner = make_onednn_runner(job.graph, job.spec, job.options).value();
  EXPECT_EQ(runner->tiling({1280, 720}).value(), (Tiling{{1280, 720}, 1}));
  EXPECT_LT(runner->memory({3840, 2160}).value(), uint64_t{2} << 30);
  EXPECT_LT(runner->memory({7680, 4320}).value(), uint64_t{4} << 30);
  EXPECT_GT(runner->tiling({7680, 4320}).value().count, 1);
}

}  // namespace
}  // namespace atelier::model
