// SPDX-License-Identifier: Apache-2.0
#include "media/encoder_table.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

namespace atelier::media {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 10> kX26xPresets = {"ultrafast", "superfast", "veryfast", "faster",
                                                "fast",      "medium",    "slow",     "slower",
                                                "veryslow",  "placebo"};
constexpr std::array<Names, 8> kX264Tunes = {"film", "animation", "grain",      "stillimage",
                                             "psnr", "ssim",      "fastdecode", "zerolatency"};
constexpr std::array<Names, 6> kX265Tunes = {"animation", "grain",      "psnr",
                                             "ssim",      "fastdecode", "zerolatency"};
constexpr std::array<Names, 14> kSvtPresets = {"0", "1", "2", "3",  "4",  "5",  "6",
                                               "7", "8", "9", "10", "11", "12", "13"};
constexpr std::array<Names, 9> kAomPresets = {"0", "1", "2", "3", "4", "5", "6", "7", "8"};
// libvpx's "realtime" is not there: it may look at the clock.
constexpr std::array<Names, 7> kVp9Presets = {"best", "0", "1", "2", "3", "4", "5"};

// clang-format off
constexpr std::array kEncoders = {
    EncoderTraits{.name = "libx264", .family = "H.264", .crf_max = 51, .crf_default = 18,
                  .presets = kX26xPresets, .preset_default = "veryfast", .tunes = kX264Tunes,
                  .library_key = "x264-params", .threads = 4, .whole_chroma = true,
                  .keeps_captions = true},
    EncoderTraits{.name = "libx265", .family = "HEVC", .crf_max = 51, .crf_default = 20,
                  .presets = kX26xPresets, .preset_default = "veryfast", .tunes = kX265Tunes,
                  .library_key = "x265-params", .whole_chroma = true, .smallest_side = 16},
    EncoderTraits{.name = "libsvtav1", .family = "SVT-AV1", .crf_min = 1, .crf_max = 63,
                  .crf_default = 28, .presets = kSvtPresets, .preset_default = "8",
                  .library_key = "svtav1-params", .whole_chroma = true, .smallest_side = 64},
    EncoderTraits{.name = "libaom-av1", .family = "AV1", .crf_max = 63, .crf_default = 24,
                  .presets = kAomPresets, .preset_default = "6", .library_key = "aom-params",
                  .threads = 4},
    EncoderTraits{.name = "libvpx-vp9", .family = "VP9", .crf_max = 63, .crf_default = 24,
                  .presets = kVp9Presets, .preset_default = "4", .threads = 4},
    EncoderTraits{.name = "prores_ks", .family = "ProRes", .threads = 4},
    EncoderTraits{.name = "ffv1", .family = "FFV1", .threads = 4, .takes_gray = true,
                  .takes_rgb = true},
    EncoderTraits{.name = "mjpeg", .family = "JPEG", .crf_min = 1, .crf_max = 31,
                  .crf_default = 3},
    EncoderTraits{.name = "gif", .family = "GIF", .takes_rgb = true},
    EncoderTraits{.name = "png", .family = "PNG", .takes_rgb = true},
};
// clang-format on

constexpr std::string_view kMachine =
    "it is fixed so that every machine gives the same bits and no other file is written";
constexpr std::string_view kJoining = "chunks could not be joined with it";
constexpr std::string_view kVideo = "it follows from the video itself";

struct Refusal {
  std::string_view why;
  std::string_view keys;  // between blanks
};

// Of libav, for every encoder.
constexpr std::array kRefusedByAll = {
    Refusal{kMachine, " threads thread-type slices-threads debug passlogfile pass stats dump-yuv "},
    Refusal{kJoining,
            " flags flags2 strict err-detect export-side-data max-pixels time-base "
            "codec-whitelist timecode-frame-start gop-timecode field-order "
            "global-header "},
    Refusal{kVideo,
            " colorspace color-primaries color-trc color-range chroma-sample-location "
            "aspect pixel-format video-size s "},
};
constexpr std::array kRefusedByX26x = {
    Refusal{
        kMachine,
        // x264
        " lookahead-threads sliced-threads cpu-independent deterministic n-deterministic asm "
        "opencl opencl-clbin opencl-device log log-file log-file-level cqmfile qpfile psnr ssim "
        "verbose no-progress "
        // x265
        "pools numa-pools frame-threads wpp pmode pme lookahead-slices cpuid log-level csv "
        "csv-log-level info analysis-save analysis-load analysis-reuse-file "
        "analysis-reuse-mode analysis-reuse-level analysis-save-reuse-level "
        "analysis-load-reuse-level refine-analysis-type scale-factor refine-ctu-distortion "
        "analysis-mode lambda-file dhdr10-info scaling-list zonefile recon recon-depth "
        "input output video-signal-type-preset dolby-vision-rpu dolby-vision-profile "
        "nalu-file copy-pic slow-firstpass multi-pass-opt-analysis "
        "multi-pass-opt-distortion multi-pass-opt-rps svt fgo "},
    Refusal{
        kJoining,
        " open-gop no-open-gop repeat-headers annexb aud intra-refresh periodic-intra "
        "forced-idr nal-hrd hrd filler bluray-compat avcintra-class avcintra-flavor stitchable "
        "bitstream-start vfr-input force-cfr fake-interlaced frames seek eob eos temporal-layers "
        "uhd-bd single-sei opt-qp-pps opt-ref-list-length-pps opt-cu-delta-qp idr-recovery-sei "
        "chunk-start chunk-end radl gop-lookahead max-ausize-factor "},
    Refusal{kVideo,
            " sar range fullrange input-range colorprim transfer colormatrix chromaloc videoformat "
            "overscan crop-rect display-window overscan-info mastering-display master-display "
            "max-cll cll alternative-transfer atc-sei pic-struct interlaced interlace tff bff "
            "field fps timebase input-res input-csp input-depth output-depth bit-depth "
            "frame-packing level-idc hdr hdr10 hdr-opt hdr10-opt "},
};
constexpr std::array kRefusedByAv1 = {
    Refusal{kMachine,
            " lp pin unpin ss socket target-socket asm passes pass stats row-mt fp-mt "
            "fpf fp-mt-unit-test vmaf-model-path two-pass-input two-pass-output "
            "partition-info-path rate-distribution-info film-grain-table recon "
            "progress no-progress qpfile use-q-file roi-map-file "},
    Refusal{kJoining,
            " irefresh-type enable-fwd-kf fwd-kf-enabled sframe-dist sframe-mode annexb "
            "full-still-picture-hdr reduced-still-picture-hdr force-key-frames "
            "skip frames n nb error-resilient-frames resize-mode resize-denominator "
            "superres-mode enable-overlays annex-b save-as-annexb target-seq-level-idx "},
    Refusal{kVideo,
            " width height w h fps fps-num fps-denom input-depth color-format "
            "encoder-color-format profile enable-hdr color-primaries "
            "transfer-characteristics matrix-coefficients color-range "
            "chroma-sample-position mastering-display content-light colorspace "},
};
constexpr std::array kRefusedByVp9 = {
    Refusal{kMachine, " row-mt deadline quality "},
    Refusal{kJoining, " ts-parameters "},
};
constexpr std::array kRefusedByProres = {
    Refusal{kVideo, " profile vendor "},
};

constexpr std::array kRefusedByGif = {
    Refusal{kJoining, " gifflags global-palette gifimage "},
};

std::string_view look_up_in(std::span<const Refusal> refusals, std::string_view name) {
  const std::string padded = fmt::format(" {} ", name);
  for (const Refusal& refusal : refusals) {
    if (refusal.keys.find(padded) != std::string_view::npos) return refusal.why;
  }
  return {};
}

std::string_view look_up(std::string_view codec, std::string_view name) {
  const std::string_view why = look_up_in(kRefusedByAll, name);
  if (!why.empty()) return why;
  if (codec == "libx264" || codec == "libx265") return look_up_in(kRefusedByX26x, name);
  if (codec == "libsvtav1" || codec == "libaom-av1") return look_up_in(kRefusedByAv1, name);
  if (codec == "libvpx-vp9") return look_up_in(kRefusedByVp9, name);
  if (codec == "prores_ks") return look_up_in(kRefusedByProres, name);
  if (codec == "gif") return look_up_in(kRefusedByGif, name);
  return {};
}

}  // namespace

const EncoderTraits* find_traits(std::string_view codec) {
  const auto at = std::find_if(kEncoders.begin(), kEncoders.end(),
                               [&](const EncoderTraits& e) { return e.name == codec; });
  return at == kEncoders.end() ? nullptr : &*at;
}

std::string encoder_names() {
  std::array<std::string_view, kEncoders.size()> names;
  std::transform(kEncoders.begin(), kEncoders.end(), names.begin(),
                 [](const EncoderTraits& e) { return e.name; });
  return fmt::format("{}", fmt::join(names, ", "));
}

OptionMap fixed_options(std::string_view codec) {
  if (codec == "libx264") {
    return {{"forced-idr", "1"},
            {"x264-params", "cpu-independent=1:lookahead-threads=1:sliced-threads=0:open-gop=0"}};
  }
  if (codec == "libx265") {
    // `info` would write the processor's features into the stream.
    return {{"forced-idr", "1"},
            {"x265-params",
             "pools=4:frame-threads=1:lookahead-slices=0:lookahead-threads=0:wpp=1:pmode=0:pme=0:"
             "open-gop=0:repeat-headers=0:info=0:log-level=none"}};
  }
  if (codec == "libsvtav1") return {{"svtav1-params", "lp=1:pin=0:irefresh-type=2"}};
  if (codec == "libaom-av1") {
    return {{"row-mt", "1"}, {"tile-columns", "0"}, {"tile-rows", "0"}, {"usage", "good"}};
  }
  if (codec == "libvpx-vp9") {
    return {{"row-mt", "0"}, {"tile-columns", "2"}, {"tile-rows", "0"}, {"frame-parallel", "0"}};
  }
  if (codec == "prores_ks") return {{"vendor", "apl0"}, {"profile", "auto"}};
  if (codec == "mjpeg") return {{"huffman", "default"}};
  // Each frame whole and with its own colours, so that it stands wherever a chunk begins.
  if (codec == "gif") return {{"gifflags", "0"}, {"global_palette", "0"}, {"gifimage", "0"}};
  if (codec == "png") return {{"pred", "mixed"}};
  return {};
}

std::string option_name(std::string_view key) {
  std::string name(key.starts_with("--") ? key.substr(2) : key);
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

std::string_view without_no(std::string_view name) {
  if (name.starts_with("no-")) return name.substr(3);
  return name.starts_with("no") ? name.substr(2) : name;
}

std::string_view why_refused(std::string_view codec, std::string_view key) {
  const std::string name = option_name(key);
  const std::string_view why = look_up(codec, name);
  return why.empty() ? look_up(codec, without_no(name)) : why;
}

}  // namespace atelier::media
