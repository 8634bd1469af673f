// SPDX-License-Identifier: Apache-2.0
#include "run/prepare.h"

#include <cmath>
#include <numeric>

#include "media/encoder_choice.h"
#include "media/hdr.h"

namespace atelier::run {
namespace {

int scaled_side(int64_t wanted_other, int side, int other, int shift) {
  const int64_t exact = (wanted_other * side + other / 2) / other;
  const int64_t step = int64_t{1} << shift;
  return static_cast<int>(std::max(step, (exact + step / 2) / step * step));
}

// Terms of at most 16 bits: what every container can hold.
Rational reduced(int64_t num, int64_t den) {
  const int64_t common = std::gcd(num, den);
  num /= common;
  den /= common;
  while (num > 65535 || den > 65535) {
    num = (num + 1) / 2;
    den = (den + 1) / 2;
  }
  return {static_cast<int>(num), static_cast<int>(den)};
}

Rational fitted_aspect(const media::VideoFacts& video, model::Size output) {
  const Rational sar =
      video.sample_aspect_ratio.num > 0 ? video.sample_aspect_ratio : Rational{1, 1};
  return reduced(int64_t{sar.num} * video.width * output.height,
                 int64_t{sar.den} * video.height * output.width);
}

// The source's own colour, unless the codec wants YUV of an RGB source: then BT.709, limited range,
// as every player takes it. JPEG has no tags: everybody reads it as full range BT.601 (JFIF 1.02).
ColorSpec coded_color(const std::string& codec, const media::VideoFacts& video,
                      const PixelFormat& format) {
  ColorSpec color = video.color;
  if (format.family == PixelFormat::Family::rgb && video.format.family != format.family) {
    return {.matrix = 0, .primaries = 2, .transfer = 2, .range = ColorSpec::Range::full};
  }
  if (codec == "mjpeg") {
    color.matrix = color.matrix == 5 ? 5 : 6;
    color.range = ColorSpec::Range::full;
    return color;
  }
  if (format.family == PixelFormat::Family::yuv &&
      video.format.family == PixelFormat::Family::rgb) {
    color.matrix = 1;
    color.range = ColorSpec::Range::limited;
  }
  return color;
}

Result<media::EncodeSettings> encode_settings(const Parameters& parameters,
                                              const media::VideoFacts& video, const SizePlan& size,
                                              Rational time_base, media::HdrMetadata hdr,
                                              std::vector<std::string>& notes) {
  media::EncodeSettings settings;
  settings.codec = parameters.codec;
  settings.crf = parameters.crf;
  settings.preset = parameters.preset;
  settings.options = parameters.encoder_options;
  const auto constants = media::encoder_constants(parameters.codec);
  settings.threads = constants.threads;
  settings.fixed = constants.fixed;
  settings.width = size.output.width;
  settings.height = size.output.height;
  const auto choice = TRY(
      media::choose_format(parameters.codec, video.format, size.output.width, size.output.height));
  if (!choice.note.empty()) notes.push_back(choice.note);
  settings.format = choice.format;
  if (choice.format.family == PixelFormat::Family::gray) {
    notes.push_back(
        fmt::format("The video is gray and {} keeps it so: colours of the painting are left out; "
                    "libx264 keeps them.",
                    parameters.codec));
  }
  if (parameters.codec == "mjpeg") {
    notes.push_back("mjpeg is written in full range, BT.601: players read JPEG in no other way.");
  }
  settings.color = coded_color(parameters.codec, video, choice.format);
  settings.sample_aspect_ratio = size.sample_aspect_ratio;
  settings.time_base = time_base;
  settings.frame_rate = video.average_rate;
  settings.hdr = std::move(hdr);
  return settings;
}

// Where the readable part of a truncated file ends, in ticks from its first frame.
int64_t readable_ticks(const media::PacketScan& scan) {
  std::optional<int64_t> first;
  for (const media::VideoPacket& packet : scan.packets) {
    if (!packet.discard) first = std::min(first.value_or(packet.pts), packet.pts);
  }
  return first ? std::max<int64_t>(0, scan.readable_until - *first) : 0;
}

}  // namespace

Result<void> check_scan(const media::PacketScan& scan, const media::TimeRange& range,
                        const std::string& name, std::vector<std::string>& notes) {
  const int64_t readable = scan.truncated ? readable_ticks(scan) : 0;
  if (scan.truncated && !(range.to && ticks_at_or_after(*range.to, scan.time_base) <= readable)) {
    const double seconds = MediaTime{readable, scan.time_base}.seconds();
    return make_error(Code::invalid_input,
                      "'{}' is truncated: only its first {:.3f} seconds can be read whole; copy it "
                      "again, or score the part that is there with --to.",
                      name, std::floor(seconds * 1000) / 1000);
  }
  if (scan.cut_off && !scan.truncated) {
    notes.push_back(
        fmt::format("The end of '{}' is missing: it is cut off; what is there is scored.", name));
  }
  if (scan.damaged_packets > 0) {
    notes.push_back(fmt::format("{} packet{} of '{}' {} damaged; what decodes is scored.",
                                scan.damaged_packets, scan.damaged_packets == 1 ? "" : "s", name,
                                scan.damaged_packets == 1 ? "is" : "are"));
  }
  return {};
}

Result<void> check_video(const media::MediaInfo& info, const std::string& name, bool deinterlace) {
  if (info.video_stream < 0) {
    return make_error(Code::invalid_input, "'{}' holds no video, only {} other stream(s).", name,
                      info.streams.size());
  }
  const auto& video = info.streams[static_cast<size_t>(info.video_stream)].video;
  if (video.width <= 0 || video.height <= 0) {
    return make_error(
        Code::invalid_input,
        "'{}' does not say how large its pictures are: no key frame was found in its beginning.",
        name);
  }
  if (video.fields_are_pictures) {
    return make_error(
        Code::invalid_input,
        "'{}' codes each field as a picture (interlaced HEVC), which cannot be scored: "
        "convert it to whole frames first.",
        name);
  }
  if (video.interlaced && !deinterlace) {
    return make_error(
        Code::invalid_input,
        "'{}' is interlaced and fields cannot be scored as frames; add --deinterlace.", name);
  }
  return {};
}

Result<SizePlan> plan_size(const media::VideoFacts& video, int wanted_width, int wanted_height,
                           model::Runner& runner) {
  SizePlan plan;
  plan.sample_aspect_ratio = video.sample_aspect_ratio;
  if (wanted_width == 0 && wanted_height == 0) {
    plan.scored = {video.width, video.height};
    plan.output = TRY(runner.output_size(plan.scored));
    return plan;
  }
  model::Size wanted{wanted_width, wanted_height};
  if (wanted.width == 0)
    wanted.width =
        scaled_side(wanted.height, video.width, video.height, video.format.chroma_shift_x);
  if (wanted.height == 0)
    wanted.height =
        scaled_side(wanted.width, video.height, video.width, video.format.chroma_shift_y);
  plan.scored = wanted;
  plan.output = TRY(runner.output_size(wanted));
  if (plan.output != wanted && plan.output.width > 0 && plan.output.height > 0) {
    // A network that enlarges: give it the smaller frame.
    plan.scored = {static_cast<int>(int64_t{wanted.width} * wanted.width / plan.output.width),
                   static_cast<int>(int64_t{wanted.height} * wanted.height / plan.output.height)};
    if (plan.scored.width < 1 || plan.scored.height < 1 ||
        TRY(runner.output_size(plan.scored)) != wanted) {
      return make_error(Code::invalid_argument,
                        "The network cannot give pictures of {}x{}: choose multiples of its scale.",
                        wanted.width, wanted.height);
    }
    plan.output = wanted;
  }
  if (wanted_width != 0 && wanted_height != 0)
    plan.sample_aspect_ratio = fitted_aspect(video, wanted);
  return plan;
}

Result<Manifest> prepare(const PrepareRequest& request, ByteSource& input,
                         const media::MediaInfo& info, model::Runner& runner, RunFolder& folder,
                         std::stop_token stop) {
  if (auto standing = TRY(folder.read_manifest())) return *std::move(standing);
  return folder.write_manifest(
      TRY(plan_run(request, input, info, runner, folder.run_id(), std::move(stop))));
}

namespace {

// The network's, and what decoder, queues and encoder hold: at most so many frames of at most eight
// bytes a pixel (x264 with its lookahead holds most), and the program itself.
Result<uint64_t> scorer_bytes(const SizePlan& size, model::Runner& runner) {
  constexpr uint64_t kFrames = 32;
  constexpr uint64_t kProgram = uint64_t{64} << 20;
  const auto pixels = [](model::Size s) {
    return static_cast<uint64_t>(s.width) * static_cast<uint64_t>(s.height);
  };
  return TRY(runner.memory(size.scored)) + kProgram +
         kFrames * 4 * (pixels(size.scored) + pixels(size.output));
}

}  // namespace

Result<Manifest> plan_run(const PrepareRequest& request, ByteSource& input,
                          const media::MediaInfo& info, model::Runner& runner,
                          const std::string& run_id, std::stop_token stop) {
  const media::StreamInfo& stream = info.streams.at(static_cast<size_t>(info.video_stream));

  Manifest manifest;
  manifest.run_id = run_id;
  manifest.input = request.input;
  manifest.model = request.model;
  manifest.parameters = request.parameters;
  manifest.video_stream = info.video_stream;
  const SizePlan size =
      TRY(plan_size(stream.video, request.parameters.width, request.parameters.height, runner));
  manifest.scored_size = size.scored;

  const media::PacketScan scan =
      TRY(media::scan_packets(input, info, request.parameters.range, stop));
  TRY(check_scan(scan, request.parameters.range, request.input.name, manifest.notes));
  if (stream.video.alpha_lost) {
    manifest.notes.push_back(
        fmt::format("'{}' has an alpha channel that cannot be decoded here; it is dropped.",
                    request.input.name));
  }
  manifest.time_base = scan.time_base;
  manifest.chunks =
      TRY(plan_chunks(scan, request.parameters.range, request.parameters.chunk_seconds,
                      request.parameters.deinterlace));
  manifest.copied = scan.copied;
  manifest.damaged_packets = scan.damaged_packets;
  manifest.encode =
      TRY(encode_settings(request.parameters, stream.video, size, scan.time_base,
                          TRY(media::read_hdr_metadata(input, info)), manifest.notes));
  // An encoder that refuses its settings says so before anything is scored.
  MemorySink nowhere;
  TRY(media::FrameWriter::create(manifest.encode, nowhere));
  manifest.plan = TRY(runner.plan(size.scored));
  if (const model::Tiling tiling = TRY(runner.tiling(size.scored)); tiling.count > 1) {
    manifest.notes.push_back(
        fmt::format("To save memory each frame is scored in {} tiles of {}x{}.", tiling.count,
                    tiling.size.width, tiling.size.height));
  }
  manifest.scorer_bytes = TRY(scorer_bytes(size, runner));
  manifest.isa = model::isa_name();
  manifest.tools = media::library_versions();
  manifest.tools.merge(model::library_versions());
  return manifest;
}

}  // namespace atelier::run
