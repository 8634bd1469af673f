// SPDX-License-Identifier: Apache-2.0
// Which pixel format an encoder gets. The formats an encoder has are asked of libav at run time: a
// libx264 can be built for 8 bits alone.
#include "media/encoder_format.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "media/av.h"
#include "media/frame_writer.h"

namespace atelier::media {
namespace {

using Family = PixelFormat::Family;

// What changing `wanted` into `have` costs, worst first; less is better.
using Cost = std::tuple<bool, int, int, int, bool, int, int>;

int family_cost(Family wanted, Family have) {
  if (wanted == have) return 0;
  if (wanted == Family::gray) return have == Family::yuv ? 1 : 2;
  if (have == Family::gray) return 100;
  return 10;  // a matrix, rounded
}

Cost cost_of(const PixelFormat& wanted, const PixelFormat& have) {
  // Of gray, no chroma can be lost, and 4:2:0 is what every player shows.
  const bool gray = wanted.family == Family::gray;
  const int want_x = gray ? 1 : wanted.chroma_shift_x;
  const int want_y = gray ? 1 : wanted.chroma_shift_y;
  const int have_x = have.chroma_shift_x;
  const int have_y = have.chroma_shift_y;
  return {wanted.alpha && !have.alpha,
          family_cost(wanted.family, have.family),
          std::max(0, wanted.depth - have.depth),
          std::max(0, have_x - want_x) + std::max(0, have_y - want_y),
          have.alpha && !wanted.alpha,
          std::max(0, have.depth - wanted.depth),
          std::max(0, want_x - have_x) + std::max(0, want_y - have_y)};
}

bool holds_size(const PixelFormat& format, int width, int height) {
  return (width % (1 << format.chroma_shift_x)) == 0 &&
         (height % (1 << format.chroma_shift_y)) == 0;
}

const char* subsampling_name(const PixelFormat& format) {
  if (format.chroma_shift_x == 0) return format.chroma_shift_y == 0 ? "4:4:4" : "4:4:0";
  if (format.chroma_shift_x == 1) return format.chroma_shift_y == 0 ? "4:2:2" : "4:2:0";
  return "4:1:1";
}

std::string what_is_lost(const std::string& codec, const PixelFormat& wanted,
                         const PixelFormat& got, bool odd) {
  std::string note;
  const auto add = [&](std::string text) { note += (note.empty() ? "" : " ") + std::move(text); };
  if (wanted.alpha && !got.alpha) {
    add(
        fmt::format("{} has no transparency: the alpha channel is dropped; '--codec ffv1' keeps it "
                    "in Matroska.",
                    codec));
  }
  if (wanted.family == Family::rgb && got.family == Family::yuv) {
    add(fmt::format("{} stores RGB as Y'CbCr {}; '--codec ffv1' keeps RGB.", codec,
                    subsampling_name(got)));
  }
  if (got.depth < wanted.depth) {
    add(fmt::format("{} holds {} of the video's {} bits a sample.", codec, got.depth,
                    wanted.depth));
  }
  if (odd && wanted.family == Family::yuv && got.family == Family::yuv) {
    add(
        fmt::format("H.264 has no {} with an odd size: it is written as {}, which some players "
                    "cannot show; an even '--size' avoids that.",
                    subsampling_name(wanted), subsampling_name(got)));
  }
  return note;
}

// Planar, what FrameView can show; the packed formats only where the writer packs.
std::optional<PixelFormat> view_format(AVPixelFormat format) {
  if (format == AV_PIX_FMT_BGR0) return PixelFormat{Family::rgb, 8, 0, 0, false};
  if (format == AV_PIX_FMT_BGRA) return PixelFormat{Family::rgb, 8, 0, 0, true};
  const PixelFormat described = describe(format);
  if (to_av(described) != format) return std::nullopt;
  return described;
}

}  // namespace

Result<const AVCodec*> find_encoder(const std::string& name) {
  const AVCodec* codec =
      name == "libx264" || name == "ffv1" ? avcodec_find_encoder_by_name(name.c_str()) : nullptr;
  if (!codec || !codec->pix_fmts) {
    return make_error(Code::invalid_argument, "There is no encoder '{}': use libx264 or ffv1.",
                      name);
  }
  return codec;
}

AVPixelFormat encoder_pixel_format(const AVCodec& codec, const PixelFormat& format) {
  for (const AVPixelFormat* p = codec.pix_fmts; *p != AV_PIX_FMT_NONE; ++p) {
    if (view_format(*p) == format) return *p;
  }
  return AV_PIX_FMT_NONE;
}

Result<FormatChoice> choose_format(const std::string& codec, const PixelFormat& wanted, int width,
                                   int height) {
  const AVCodec* encoder = TRY(find_encoder(codec));
  const bool h264 = codec == "libx264";
  std::optional<PixelFormat> best;
  for (const AVPixelFormat* p = encoder->pix_fmts; *p != AV_PIX_FMT_NONE; ++p) {
    const std::optional<PixelFormat> have = view_format(*p);
    // FFV1 loses a column of 4:1:1 whose width is no multiple of 4 (seen in libav 5.1).
    const bool whole_chroma = h264 || (have && have->chroma_shift_x > 1);
    if (!have || (h264 && have->family == Family::gray) ||
        (whole_chroma && !holds_size(*have, width, height))) {
      continue;
    }
    if (!best || cost_of(wanted, *have) < cost_of(wanted, *best)) best = have;
  }
  if (!best) {
    return make_error(Code::internal, "The encoder '{}' of this libav has no usable pixel format.",
                      codec);
  }
  const bool odd = h264 && !holds_size(wanted, width, height);
  return FormatChoice{*best, what_is_lost(codec, wanted, *best, odd)};
}

namespace {

// What would make the result depend on the machine, or x264 write files of its own.
bool is_fixed(std::string key) {
  std::replace(key.begin(), key.end(), '_', '-');  // x264 takes both
  static constexpr std::array<std::string_view, 9> kFixed = {"threads",
                                                             "lookahead-threads",
                                                             "sliced-threads",
                                                             "cpu-independent",
                                                             "non-deterministic",
                                                             "asm",
                                                             "stats",
                                                             "pass",
                                                             "dump-yuv"};
  return std::find(kFixed.begin(), kFixed.end(), key) != kFixed.end();
}

Result<void> check_fixed(const std::map<std::string, std::string>& options) {
  for (const auto& [key, value] : options) {
    std::string_view fixed = is_fixed(key) ? std::string_view(key) : std::string_view();
    if (key == "x264-params" || key == "x264opts") {
      // "a=1:b=2", a value itself cannot hold a colon
      for (std::string_view rest = value; !rest.empty();) {
        const std::string_view pair = rest.substr(0, rest.find(':'));
        const std::string_view name = pair.substr(0, pair.find('='));
        if (is_fixed(std::string(name))) fixed = name;
        rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
      }
    }
    if (!fixed.empty()) {
      return make_error(
          Code::invalid_argument,
          "--encoder-opts cannot set '{}': it is fixed so that every machine gives the same bits "
          "and no other file is written.",
          fixed);
    }
  }
  return {};
}

}  // namespace

Result<void> check_preset(const std::string& codec, const std::string& preset,
                          const std::map<std::string, std::string>& options) {
  TRY(check_fixed(options));
  if (codec != "libx264") return {};
  static constexpr std::array<std::string_view, 10> kPresets = {
      "ultrafast", "superfast", "veryfast", "faster",   "fast",
      "medium",    "slow",      "slower",   "veryslow", "placebo"};
  static constexpr std::array<std::string_view, 8> kTunes = {
      "film", "animation", "grain", "stillimage", "psnr", "ssim", "fastdecode", "zerolatency"};
  if (std::find(kPresets.begin(), kPresets.end(), preset) == kPresets.end()) {
    return make_error(Code::invalid_argument, "libx264 has no preset '{}'; it has {}.", preset,
                      fmt::join(kPresets, ", "));
  }
  const auto tune = options.find("tune");
  if (tune != options.end() &&
      std::find(kTunes.begin(), kTunes.end(), tune->second) == kTunes.end()) {
    return make_error(Code::invalid_argument, "libx264 has no tune '{}'; it has {}.", tune->second,
                      fmt::join(kTunes, ", "));
  }
  return {};
}

}  // namespace atelier::media
