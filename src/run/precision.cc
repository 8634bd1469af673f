// SPDX-License-Identifier: Apache-2.0
#include "run/precision.h"

#include <algorithm>
#include <cmath>
#include <set>

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

  // What is fastest and at least `target` dB from f32: int8 if `bytes` are allowed, in as many
  // layers as that takes, else bf16, likewise; f32 if there is nothing.
  Result<ChosenPrecision> find(double target, bool bytes) {
    if (frames_.empty()) return ChosenPrecision();
    wide_ = model::Precision::bf16;
    size_t worst = 0;
    Errors in_bytes;
    if (bytes) {
      const std::vector<double> psnr = TRY(quality(model::Precision::int8, all_, std::nullopt));
      worst = worst_of(psnr);
      for (std::string& node : in_int8_) in_bytes[std::move(node)] = 0;
      if (!in_bytes.empty()) first_psnr_ = psnr[worst];
      if (!in_bytes.empty() && psnr[worst] >= target) {
        return chosen(model::Precision::int8, psnr[worst], names(in_bytes));
      }
    }
    const std::vector<double> half = TRY(quality(model::Precision::bf16, {}, std::nullopt));
    const std::vector<std::string> in_half = in_bf16_;
    const double half_psnr = half[worst_of(half)];
    if (!bytes && !in_half.empty()) first_psnr_ = half_psnr;
    if (in_half.empty() || half_psnr < target) wide_ = model::Precision::f32;
    const double base = wide_ == model::Precision::bf16 ? squared(half[worst]) : 0;
    for (auto& [node, error] : in_bytes) {
      const auto psnr = TRY(quality(model::Precision::int8, {{node, all_.at(node)}}, worst));
      error = std::max(0.0, squared(psnr.front()) - base);
    }
    std::vector<std::string> kept = cheapest(in_bytes, target, base);
    for (int i = 0; i < kMostVerified && !kept.empty(); i++, kept.pop_back()) {
      const auto psnr = TRY(quality(model::Precision::int8, ranges_of(kept), std::nullopt));
      const double least = psnr[worst_of(psnr)];
      if (least >= target) return chosen(model::Precision::int8, least, kept);
    }
    if (wide_ == model::Precision::bf16) return chosen(model::Precision::bf16, half_psnr, {});
    return find_some_in_bf16(target, in_half, worst_of(half));
  }

  // Of what was tried first; nothing if no layer gains.
  std::optional<double> first_psnr() const { return first_psnr_; }
  // Of the layers without a range.
  model::Precision wide() const { return wide_; }
  // Those that are neither in int8 nor in bf16 though they could be.
  const std::set<std::string>& in_f32() const { return in_f32_; }

 private:
  // Of layers in a narrow precision: what each adds to the squared error of all others as wide as
  // they may be.
  using Errors = std::map<std::string, double>;

  // All of `layers` in bf16 are too far away: as many as are not.
  Result<ChosenPrecision> find_some_in_bf16(double target, const std::vector<std::string>& layers,
                                            size_t worst) {
    Errors errors;
    for (const std::string& node : layers) {
      in_f32_ = all_but({node}, layers);
      errors[node] = squared(TRY(quality(model::Precision::bf16, {}, worst)).front());
    }
    std::vector<std::string> kept = cheapest(errors, target, 0);
    for (int i = 0; i < kMostVerified && !kept.empty(); i++, kept.pop_back()) {
      in_f32_ = all_but(kept, layers);
      const auto psnr = TRY(quality(model::Precision::bf16, {}, std::nullopt));
      const double least = psnr[worst_of(psnr)];
      if (least >= target) return chosen(model::Precision::bf16, least, {});
    }
    ChosenPrecision none;
    none.frames = frames_.size();
    return none;
  }

  static std::set<std::string> all_but(const std::vector<std::string>& kept,
                                       const std::vector<std::string>& layers) {
    std::set<std::string> others(layers.begin(), layers.end());
    for (const std::string& node : kept) others.erase(node);
    return others;
  }

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

  static size_t worst_of(const std::vector<double>& psnr) {
    return static_cast<size_t>(std::min_element(psnr.begin(), psnr.end()) - psnr.begin());
  }

  static std::vector<std::string> names(const Errors& layers) {
    std::vector<std::string> all;
    for (const auto& layer : layers) all.push_back(layer.first);
    return all;
  }

  model::Ranges ranges_of(const std::vector<std::string>& nodes) const {
    model::Ranges ranges;
    for (const std::string& node : nodes) ranges[node] = all_.at(node);
    return ranges;
  }

  ChosenPrecision chosen(model::Precision name, double psnr,
                         const std::vector<std::string>& in_int8) const {
    return {name, ranges_of(in_int8), psnr, frames_.size()};
  }

  // PSNR of every sampled frame, or of one.
  Result<std::vector<double>> quality(model::Precision precision, const model::Ranges& ranges,
                                      std::optional<size_t> frame) {
    model::RunnerOptions options;
    options.threads = threads_;
    options.precision = precision;
    options.ranges = ranges;
    options.wide = wide_;
    options.in_f32 = in_f32_;
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
    in_bf16_.clear();
    for (const model::PlanStep& step : TRY(runner->plan(manifest_.scored_size))) {
      if (step.algorithm == model::kInt8Algorithm) in_int8_.push_back(step.node);
      if (step.algorithm == model::kBf16Algorithm) in_bf16_.push_back(step.node);
    }
    return psnr;
  }

  // The least wrong first, as many as the target allows.
  static std::vector<std::string> cheapest(const Errors& errors, double target, double base) {
    std::vector<std::pair<double, std::string>> order;
    for (const auto& [node, error] : errors) order.emplace_back(error, node);
    std::sort(order.begin(), order.end());
    std::vector<std::string> kept;
    double sum = base;
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
  model::Precision wide_ = model::Precision::f32;
  std::vector<std::string> in_int8_, in_bf16_;  // of the runner asked last
  std::set<std::string> in_f32_;
  std::optional<double> first_psnr_;
};

}  // namespace

Result<void> choose_precision(Manifest& manifest, ByteSource& input, const media::MediaInfo& info,
                              model::Runner& exact, const RunnerFactory& make, int threads,
                              const std::function<void()>& scored_one) {
  const Parameters& wanted = manifest.parameters;
  const bool by_name = wanted.precision == "int8" || wanted.precision == "bf16";
  if (!by_name && (wanted.precision != "auto" || manifest.frames_expected() < kAutoFrames)) {
    return {};
  }
  Search search(manifest, make, threads, scored_one);
  TRY(search.sample(input, info, exact));
  const double target = by_name ? wanted.min_psnr : std::max(wanted.min_psnr, kAutoPsnr);
  manifest.precision = TRY(search.find(target, wanted.precision != "bf16"));
  const ChosenPrecision& chosen = manifest.precision;
  if (chosen.name != model::Precision::f32) {
    model::RunnerOptions options;
    options.threads = threads;
    options.precision = chosen.name;
    options.ranges = chosen.ranges;
    options.wide = search.wide();
    options.in_f32 = search.in_f32();
    ShotRunners runners(manifest.shots, make, options);
    model::Runner* runner = TRY(runners.at(manifest.chunks.front().first_pts));
    TRY(take_plan(manifest, *runner, TRY(exact.memory(manifest.scored_size))));
  }
  if (!by_name || model::name_of(chosen.name) == wanted.precision) return {};
  if (!search.first_psnr()) {
    manifest.notes.push_back(
        fmt::format("No layer of this network gains by {}; it is scored in {}.", wanted.precision,
                    model::name_of(chosen.name)));
  } else {
    manifest.notes.push_back(fmt::format(
        "{} gives only {:.1f} dB PSNR against f32 on frames of this video, --min-psnr asks for "
        "{:g}; it is scored in {}.",
        wanted.precision, *search.first_psnr(), target, model::name_of(chosen.name)));
  }
  return {};
}

}  // namespace atelier::run
