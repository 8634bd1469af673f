// SPDX-License-Identifier: Apache-2.0
#include "run/norm.h"

#include <algorithm>

#include "run/scorer.h"
#include "run/shot_runners.h"
#include "run/shots.h"
#include "run/tuned_ways.h"

namespace atelier::run {
namespace {

constexpr uint64_t kSamplesOfShot = 3;
constexpr uint64_t kMostSamples = 1500;
constexpr uint64_t kMostStatistics = uint64_t{16} << 20;  // bytes, in the manifest

using OnFrame = std::function<Result<void>(const media::DecodedFrame&)>;

// Every frame of the run, in order, as a scorer gets them.
Result<void> read_all(const Manifest& manifest, ByteSource& input, const media::MediaInfo& info,
                      int threads, const OnFrame& on_frame) {
  std::unique_ptr<media::FrameReader> reader;
  for (const ChunkPlan& chunk : manifest.chunks) {
    const media::ReadRequest request = read_request(manifest, chunk, threads);
    if (!reader || !reader->go_on(request)) {
      reader.reset();
      reader = TRY(media::FrameReader::open(input, info, request));
    }
    while (auto frame = TRY(reader->next())) TRY(on_frame(*frame));
  }
  return {};
}

bool normalises(const std::vector<model::PlanStep>& plan) {
  return std::any_of(plan.begin(), plan.end(), [](const model::PlanStep& step) {
    return step.op.starts_with("InstanceNormalization");
  });
}

uint64_t bytes_of(const model::Statistics& statistics) {
  uint64_t bytes = 1;
  for (const auto& [node, s] : statistics) bytes += 16 * s.mean.size() + node.size();
  return bytes;
}

}  // namespace

Result<void> choose_shots(Manifest& manifest, ByteSource& input, const media::MediaInfo& info,
                          model::Runner& by_frame, const RunnerFactory& make, int threads,
                          const std::function<void()>& step) {
  if (manifest.parameters.norm != "shot") return {};
  const auto nothing = [&]() -> Result<void> {
    manifest.notes.emplace_back(
        "--norm shot changes nothing: this network normalises nothing by its own statistics.");
    return {};
  };
  if (!normalises(manifest.plan)) return nothing();
  CutFinder finder;
  std::vector<int64_t> times;
  uint64_t bytes = 0;  // of one shot's statistics
  const OnFrame look = [&](const media::DecodedFrame& frame) -> Result<void> {
    if (times.empty()) bytes = bytes_of(TRY(by_frame.measure({&frame.view, 1}, step)));
    finder.add(signature_of(frame.view));
    times.push_back(frame.pts);
    step();
    return {};
  };
  TRY(read_all(manifest, input, info, threads, look));
  if (times.empty()) return {};

  // The manifest must stay readable: of too many cuts the strongest count.
  const std::vector<uint64_t> firsts =
      finder.shots(std::clamp<uint64_t>(kMostStatistics / bytes, 1, kMostSamples));
  std::vector<media::DecodedFrame> sampled;
  uint64_t number = 0;
  size_t shot = 0;
  const auto end_of = [&](size_t s) {
    return s + 1 < firsts.size() ? firsts[s + 1] : times.size();
  };
  const uint64_t samples = std::clamp<uint64_t>(kMostSamples / firsts.size(), 1, kSamplesOfShot);
  const OnFrame sample = [&](const media::DecodedFrame& frame) -> Result<void> {
    step();
    if (number >= times.size()) return {};
    const uint64_t begin = firsts[shot], length = end_of(shot) - begin;
    const uint64_t count = std::min(samples, length);
    for (uint64_t s = 0; s < count; s++) {
      if (number == begin + (2 * s + 1) * length / (2 * count)) sampled.push_back(frame);
    }
    if (++number < end_of(shot)) return {};
    std::vector<FrameView> views;
    for (const media::DecodedFrame& f : sampled) views.push_back(f.view);
    manifest.shots.push_back({times[begin], TRY(by_frame.measure(views, step))});
    sampled.clear();
    if (shot + 1 < firsts.size()) ++shot;
    return {};
  };
  TRY(read_all(manifest, input, info, threads, sample));
  if (manifest.shots.empty() || manifest.shots.front().statistics.empty()) {
    manifest.shots.clear();
    return nothing();
  }
  model::RunnerOptions options;
  options.threads = threads;
  ShotRunners runners(manifest.shots, make, options);
  model::Runner* fixed = TRY(runners.at(manifest.shots.front().first_pts));
  return take_plan(manifest, *fixed, TRY(by_frame.memory(manifest.scored_size)));
}

}  // namespace atelier::run
