// SPDX-License-Identifier: Apache-2.0
#include "run/precision.h"

#include <algorithm>
#include <cmath>

#include "base/psnr.h"
#include "run/scorer.h"
#include "run/shot_runners.h"
#include "run/tuned_ways.h"

namespace atelier::run {
namespace {

constexpr uint64_t kSamples = 4;
// With a chunk for each sample, no more frames than this are decoded to get it.
constexpr uint64_t kMostSkipped = 8;
// Errors of layers do not quite add up.
constexpr double kMargin = 0.75;
constexpr int kMostVerified = 3;

double squared(double psnr) { return std::pow(10, -psnr / 10); }

// Evenly over the video: (2 s + 1) / (2 kSamples) of its frames come before sample s.
Result<std::vector<media::DecodedFrame>> sample_frames(const Manifest& manifest, ByteSource& input,
                                                       const media::MediaInfo& info, int threads) {
  std::vector<media::DecodedFrame> frames;
  const uint64_t total = manifest.frames_expected();
  uint64_t before = 0;
  for (const ChunkPlan& chunk : manifest.chunks) {
    std::vector<uint64_t> wanted;
    for (uint64_t s = 0; s < std::min(kSamples, total); s++) {
      const uint64_t at = (2 * s + 1) * total / (2 * std::min(kSamples, total));
      if (at >= before && at < before + chunk.frames) wanted.push_back(at - before);
    }
    before += chunk.frames;
    if (wanted.empty()) continue;
    if (wanted.size() == 1) wanted[0] = std::min(wanted[0], kMostSkipped);
    const auto reader =
        TRY(media::FrameReader::open(input, info, read_request(manifest, chunk, threads)));
    for (uint64_t i = 0; i <= wanted.back(); i++) {
      auto frame = TRY(reader->next());
      if (!frame) break;
      if (std::find(wanted.begin(), wanted.end(), i) == wanted.end()) continue;
      frames.push_back(*std::move(frame));
    }
  }
  return frames;
}

class Search {
 public:
  Search(const Manifest& manifest, const RunnerFactory& make, int threads,
         const std::function<void()>& scored_one)
      : manifest_(manifest), make_(make), threads_(threads), scored_one_(scored_one) {}

  Result<void> sample(ByteSource& input, const media::MediaInfo& info, model::Runner& exact) {
    frames_ = TRY(sample_frames(manifest_, input, info, threads_));
    std::vector<FrameView> in, out;
    for (const media::DecodedFrame& frame : frames_) {
      in.push_back(frame.view);
      expected_.push_back(picture());
      out.push_back(expected_.back().view());
    }
    model::RunnerOptions options;
    options.threads = threads_;
    ShotRunners runners(manifest_.shots, make_, options);
    for (size_t begin = 0, end = 0; begin < in.size(); begin = end) {
      const size_t shot = runners.shot_of(frames_[begin].pts);
      while (end < in.size() && runners.shot_of(frames_[end].pts) == shot) ++end;
      model::Runner* runner =
          manifest_.shots.empty() ? &exact : TRY(runners.at(frames_[begin].pts));
      merge(TRY(runner->observe(std::span(in).subspan(begin, end - begin),
                                std::span(out).subspan(begin, end - begin), scored_one_)));
    }
    return {};
  }

  // The most layers whose pictures are at least `target` dB from those of f32; no ranges if there
  // are none.
  Result<ChosenPrecision> find(double target) {
    ChosenPrecision chosen;
    chosen.frames = frames_.size();
    if (frames_.empty()) return chosen;
    std::vector<double> psnr = TRY(quality(all_, std::nullopt));
    for (std::string& node : in_int8_) candidates_[std::move(node)] = 0;
    if (candidates_.empty()) return chosen;
    first_psnr_ = *std::min_element(psnr.begin(), psnr.end());
    if (first_psnr_ >= target) {
      for (const auto& [node, error] : candidates_) chosen.ranges[node] = all_.at(node);
      chosen.name = model::Precision::int8;
      chosen.sampled_psnr = first_psnr_;
      return chosen;
    }
    TRY(measure_each(std::min_element(psnr.begin(), psnr.end()) - psnr.begin()));
    std::vector<std::string> kept = cheapest(target);
    for (int i = 0; i < kMostVerified && !kept.empty(); i++, kept.pop_back()) {
      model::Ranges ranges;
      for (const std::string& node : kept) ranges[node] = all_.at(node);
      psnr = TRY(quality(ranges, std::nullopt));
      const double worst = *std::min_element(psnr.begin(), psnr.end());
      if (worst < target) continue;
      chosen.name = model::Precision::int8;
      chosen.ranges = std::move(ranges);
      chosen.sampled_psnr = worst;
      return chosen;
    }
    return chosen;
  }

  double first_psnr() const { return first_psnr_; }
  bool gains() const { return !candidates_.empty(); }

 private:
  void merge(const model::Ranges& ranges) {
    for (const auto& [node, range] : ranges) {
      model::Range& all = all_[node];  // {0, 0} at first: every range contains zero
      all = {std::min(all.low, range.low), std::max(all.high, range.high)};
    }
  }

  FrameBuffer picture() const {
    const media::EncodeSettings& encode = manifest_.encode;
    return FrameBuffer(encode.width, encode.height, encode.format, encode.color);
  }

  // PSNR of every sampled frame, or of one.
  Result<std::vector<double>> quality(const model::Ranges& ranges, std::optional<size_t> frame) {
    model::RunnerOptions options;
    options.threads = threads_;
    options.precision = model::Precision::int8;
    options.ranges = ranges;
    ShotRunners runners(manifest_.shots, make_, options);
    model::Runner* runner = nullptr;
    std::vector<double> psnr;
    for (size_t i = frame.value_or(0); i < (frame ? *frame + 1 : frames_.size()); i++) {
      FrameBuffer made = picture();
      runner = TRY(runners.at(frames_[i].pts));
      TRY(runner->score(frames_[i].view, made.view()));
      scored_one_();
      psnr.push_back(squared_error(expected_[i].view(), made.view()).psnr());
    }
    in_int8_.clear();
    for (const model::PlanStep& step : TRY(runner->plan(manifest_.scored_size))) {
      if (step.algorithm == model::kInt8Algorithm) in_int8_.push_back(step.node);
    }
    return psnr;
  }

  Result<void> measure_each(ptrdiff_t frame) {
    for (auto& [node, error] : candidates_) {
      const auto psnr = TRY(quality({{node, all_.at(node)}}, static_cast<size_t>(frame)));
      error = squared(psnr.front());
    }
    return {};
  }

  // The least wrong first, as many as the target allows.
  std::vector<std::string> cheapest(double target) const {
    std::vector<std::pair<double, std::string>> order;
    for (const auto& [node, error] : candidates_) order.emplace_back(error, node);
    std::sort(order.begin(), order.end());
    std::vector<std::string> kept;
    double sum = 0;
    for (const auto& [error, node] : order) {
      sum += error;
      if (sum > kMargin * squared(target)) break;
      kept.push_back(node);
    }
    return kept;
  }

  const Manifest& manifest_;
  const RunnerFactory& make_;
  const int threads_;
  const std::function<void()>& scored_one_;
  std::vector<media::DecodedFrame> frames_;
  std::vector<FrameBuffer> expected_;
  model::Ranges all_;
  std::vector<std::string> in_int8_;          // of the runner asked last
  std::map<std::string, double> candidates_;  // what int8 gains, and the squared error of each
  double first_psnr_ = 0;
};

}  // namespace

Result<void> choose_precision(Manifest& manifest, ByteSource& input, const media::MediaInfo& info,
                              model::Runner& exact, const RunnerFactory& make, int threads,
                              const std::function<void()>& scored_one) {
  const Parameters& wanted = manifest.parameters;
  const bool by_name = wanted.precision == "int8";
  if (!by_name && (wanted.precision != "auto" || manifest.frames_expected() < kAutoFrames)) {
    return {};
  }
  Search search(manifest, make, threads, scored_one);
  TRY(search.sample(input, info, exact));
  const double target = by_name ? wanted.min_psnr : std::max(wanted.min_psnr, kAutoPsnr);
  manifest.precision = TRY(search.find(target));
  if (manifest.precision.name == model::Precision::int8) {
    model::RunnerOptions options;
    options.threads = threads;
    options.precision = model::Precision::int8;
    options.ranges = manifest.precision.ranges;
    ShotRunners runners(manifest.shots, make, options);
    model::Runner* runner = TRY(runners.at(manifest.chunks.front().first_pts));
    TRY(take_plan(manifest, *runner, TRY(exact.memory(manifest.scored_size))));
  } else if (by_name && !search.gains()) {
    manifest.notes.push_back("No layer of this network gains by int8; it is scored in f32.");
  } else if (by_name) {
    manifest.notes.push_back(fmt::format(
        "int8 gives only {:.1f} dB PSNR against f32 on frames of this video, --min-psnr asks for "
        "{:g}; it is scored in f32.",
        search.first_psnr(), target));
  }
  return {};
}

}  // namespace atelier::run
