// SPDX-License-Identifier: Apache-2.0
// The choice of a precision, with a real network and a real video.
#include "run/precision.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/psnr.h"
#include "media/test_video.h"
#include "model/test_net.h"
#include "run/prepare.h"
#include "run/scorer.h"

namespace atelier::run {
namespace {

using testing::HasSubstr;

// Three convolutions that gain by int8, the last one to a picture.
model::Graph network(int64_t kernel) {
  model::Net net(5, 3);
  const int64_t pad = kernel / 2;
  net.conv({.out = 16, .kernel = kernel, .pad = pad}).norm().then("Relu");
  net.conv({.out = 16, .kernel = kernel, .pad = pad}).norm().then("Relu");
  net.conv({.out = 3, .kernel = kernel, .pad = pad}).then("Tanh");
  net.then("Mul", {net.given({1}, {120})}).then("Add", {net.given({1}, {128})});
  return net.graph();
}

struct Job {
  explicit Job(int frames, const model::Graph& net = network(5)) : graph(net) {
    media::test::TestVideo video;
    video.frames = frames;
    video.width = 48;
    video.height = 32;
    source = std::make_unique<MemorySource>(media::test::make_video(video));
    info = media::probe(*source, "in.mp4").value();
    spec.name = "net";
    spec.input = graph.inputs[0].name;
    spec.output = graph.outputs[0].name;
    make = [this](model::RunnerOptions options) -> Result<std::shared_ptr<model::Runner>> {
      made++;
      options.forced = forced;
      return std::shared_ptr<model::Runner>(TRY(model::make_onednn_runner(graph, spec, options)));
    };
  }

  Manifest plan(const std::string& precision, double min_psnr) {
    PrepareRequest request;
    request.input.name = "in.mp4";
    request.input.size = source->size();
    request.model.name = "net";
    request.parameters.precision = precision;
    request.parameters.min_psnr = min_psnr;
    request.parameters.chunk_seconds = 1;
    exact = make({}).value();
    Manifest manifest = plan_run(request, *source, info, *exact, "0123456789abcdef", {}).value();
    f32_plan = manifest.plan;
    f32_bytes = manifest.scorer_bytes;
    made = 0;
    const auto chosen =
        choose_precision(manifest, *source, info, *exact, make, 2, [this] { scored++; });
    EXPECT_TRUE(chosen.ok()) << chosen.error().message;
    return manifest;
  }

  model::Graph graph;
  model::ModelSpec spec;
  std::unique_ptr<MemorySource> source;
  media::MediaInfo info;
  // As if this processor gained by bf16.
  void gain_by_bf16() {
    for (const model::Node& node : graph.nodes) {
      if (node.op == "Conv") forced[node.name] = model::kBf16Algorithm;
    }
  }

  RunnerFactory make;
  model::Choices forced;
  int made = 0;    // runners, by choose_precision
  int scored = 0;  // pictures, by it
  std::shared_ptr<model::Runner> exact;
  std::vector<model::PlanStep> f32_plan;
  uint64_t f32_bytes = 0;
};

int64_t in_int8(const Manifest& manifest) {
  return std::count_if(manifest.plan.begin(), manifest.plan.end(), [](const model::PlanStep& step) {
    return step.algorithm == model::kInt8Algorithm;
  });
}

void expect_f32(const Manifest& manifest, const Job& job) {
  EXPECT_EQ(manifest.precision.name, model::Precision::f32);
  EXPECT_TRUE(manifest.precision.ranges.empty());
  EXPECT_EQ(manifest.plan, job.f32_plan);
  EXPECT_EQ(manifest.scorer_bytes, job.f32_bytes);
}

TEST(ChoosePrecision, F32IsNotQuestioned) {
  Job job(40);
  expect_f32(job.plan("f32", 0), job);
  EXPECT_EQ(job.made, 0);
}

TEST(ChoosePrecision, AShortVideoIsNotWorthTrying) {
  Job job(40);
  expect_f32(job.plan("auto", 0), job);
  EXPECT_EQ(job.made, 0);
}

TEST(ChoosePrecision, Int8IsTakenWhereItIsNearEnough) {
  Job job(60);
  const Manifest manifest = job.plan("int8", 20);
  EXPECT_EQ(manifest.precision.name, model::Precision::int8);
  EXPECT_EQ(manifest.precision.frames, 4u);
  EXPECT_EQ(job.scored, 4 + 2 + 4) << "in floats, black and white, in int8";
  EXPECT_EQ(in_int8(manifest), 3);
  EXPECT_GE(manifest.precision.sampled_psnr, 20);
  EXPECT_TRUE(manifest.notes.empty());
  EXPECT_NE(manifest.scorer_bytes, job.f32_bytes);

  // What the manifest says gives pictures as near as it says, by whoever reads it.
  const Manifest read = manifest_from_json(to_json(manifest)).value();
  model::RunnerOptions options;
  options.threads = 1;
  options.plan = read.plan;
  options.ranges = read.precision.ranges;
  const auto obeys = job.make(options).value();
  EXPECT_EQ(obeys->plan(read.scored_size).value(), manifest.plan);
  const auto reader =
      media::FrameReader::open(*job.source, job.info, read_request(read, read.chunks[0], 1))
          .value();
  const auto frame = reader->next().value();
  FrameBuffer a(48, 32, read.encode.format, read.encode.color),
      b(48, 32, read.encode.format, read.encode.color);
  ASSERT_TRUE(job.exact->score(frame->view, a.view()).ok());
  ASSERT_TRUE(obeys->score(frame->view, b.view()).ok());
  const double psnr = squared_error(a.view(), b.view()).psnr();
  EXPECT_NEAR(psnr, manifest.precision.sampled_psnr, 6);
  EXPECT_LT(psnr, kSamePicture) << "that was f32";
}

TEST(ChoosePrecision, LayersThatMatterStayInF32) {
  Job job(60);
  const double all = job.plan("int8", 0).precision.sampled_psnr;
  const Manifest manifest = job.plan("int8", all + 1);
  EXPECT_EQ(manifest.precision.name, model::Precision::int8);
  EXPECT_GE(manifest.precision.sampled_psnr, all + 1);
  EXPECT_LT(in_int8(manifest), 3);
  EXPECT_GE(in_int8(manifest), 1);
  EXPECT_EQ(manifest.precision.ranges.size(), static_cast<size_t>(in_int8(manifest)));
}

int64_t in_bf16(const Manifest& manifest) {
  return std::count_if(manifest.plan.begin(), manifest.plan.end(), [](const model::PlanStep& step) {
    return step.algorithm == model::kBf16Algorithm;
  });
}

// Whether bf16 gains anything on this processor.
bool has_bf16() {
  Job job(60);
  return job.plan("bf16", 0).precision.name == model::Precision::bf16;
}

TEST(ChoosePrecision, Bf16IsTakenWhereItGainsAndIsNearEnough) {
  Job job(60);
  job.gain_by_bf16();
  const Manifest manifest = job.plan("bf16", 30);
  EXPECT_EQ(manifest.precision.name, model::Precision::bf16);
  EXPECT_GE(manifest.precision.sampled_psnr, 30);
  EXPECT_TRUE(manifest.precision.ranges.empty());
  EXPECT_EQ(in_bf16(manifest), 3);
  EXPECT_TRUE(manifest.notes.empty());
  EXPECT_EQ(manifest_from_json(to_json(manifest))->precision.name, model::Precision::bf16);
  EXPECT_GT(manifest.precision.sampled_psnr, job.plan("int8", 0).precision.sampled_psnr);

  const Manifest refused = job.plan("bf16", 150);
  expect_f32(refused, job);
  ASSERT_EQ(refused.notes.size(), 1u);
  EXPECT_THAT(refused.notes[0], HasSubstr("--min-psnr asks for 150; it is scored in f32"));
}

TEST(ChoosePrecision, WhereBf16IsTooFarAsManyLayersAsFitAreInIt) {
  Job job(60);
  job.gain_by_bf16();
  const double all = job.plan("bf16", 0).precision.sampled_psnr;
  const Manifest manifest = job.plan("bf16", all + 1);
  EXPECT_EQ(manifest.precision.name, model::Precision::bf16);
  EXPECT_GE(manifest.precision.sampled_psnr, all + 1);
  EXPECT_LT(in_bf16(manifest), 3);
  EXPECT_GE(in_bf16(manifest), 1);
  EXPECT_TRUE(manifest.precision.ranges.empty());
  EXPECT_TRUE(manifest.notes.empty());
  // What is not in bf16 is as in floats.
  ASSERT_EQ(manifest.plan.size(), job.f32_plan.size());
  for (size_t i = 0; i < manifest.plan.size(); ++i) {
    const model::PlanStep& step = manifest.plan[i];
    if (step.op.find("Conv") == std::string::npos) continue;
    EXPECT_TRUE(step.algorithm == model::kBf16Algorithm || step == job.f32_plan[i]) << step.node;
  }
}

TEST(ChoosePrecision, WhereBf16GainsNothingItIsF32AndSaysSo) {
  if (has_bf16()) GTEST_SKIP() << "AMX here";
  Job job(60);
  const Manifest manifest = job.plan("bf16", 0);
  expect_f32(manifest, job);
  ASSERT_EQ(manifest.notes.size(), 1u);
  EXPECT_THAT(manifest.notes[0], HasSubstr("No layer of this network gains by bf16"));
}

TEST(ChoosePrecision, WhatCannotBeInInt8IsInBf16IfThatIsNearEnough) {
  Job job(60);
  job.gain_by_bf16();
  const double bytes = job.plan("int8", 0).precision.sampled_psnr;
  const double half = job.plan("bf16", 0).precision.sampled_psnr;
  const Manifest manifest = job.plan("int8", (bytes + half) / 2);
  EXPECT_GE(manifest.precision.sampled_psnr, (bytes + half) / 2);
  EXPECT_EQ(in_bf16(manifest) + in_int8(manifest), 3) << "none is in f32";
  EXPECT_GE(in_bf16(manifest), 1);
  if (manifest.precision.name != model::Precision::bf16) return;
  ASSERT_EQ(manifest.notes.size(), 1u);
  EXPECT_THAT(manifest.notes[0], HasSubstr("it is scored in bf16"));
}

TEST(ChoosePrecision, WhatIsNotNearEnoughIsF32AndSaysSo) {
  Job job(60);
  const Manifest manifest = job.plan("int8", 150);
  expect_f32(manifest, job);
  ASSERT_EQ(manifest.notes.size(), 1u);
  EXPECT_THAT(manifest.notes[0], HasSubstr("--min-psnr asks for 150"));
}

TEST(ChoosePrecision, ANetworkThatDoesNotGainSaysSo) {
  model::Net net(6, 3);
  net.conv({.out = 3, .kernel = 3});
  Job job(20, net.graph());
  const Manifest manifest = job.plan("int8", 20);
  expect_f32(manifest, job);
  ASSERT_EQ(manifest.notes.size(), 1u);
  EXPECT_THAT(manifest.notes[0], HasSubstr("No layer of this network gains"));
}

TEST(ChoosePrecision, AutoTakesWhatPassesOfALongVideo) {
  Job job(static_cast<int>(kAutoFrames));
  const Manifest manifest = job.plan("auto", 0);
  EXPECT_GT(job.made, 0);
  if (manifest.precision.name != model::Precision::f32) {
    EXPECT_GE(manifest.precision.sampled_psnr, kAutoPsnr);
    EXPECT_GE(in_int8(manifest) + in_bf16(manifest), 1);
  } else {
    expect_f32(manifest, job);
  }
  EXPECT_TRUE(manifest.notes.empty()) << "nobody asked for anything";
}

TEST(ChoosePrecision, AVideoOfOneFrameHasOneSample) {
  Job job(1);
  EXPECT_EQ(job.plan("int8", 0).precision.frames, 1u);
}

}  // namespace
}  // namespace atelier::run
