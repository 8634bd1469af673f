// SPDX-License-Identifier: Apache-2.0
// atelier probe INPUT: what Atelier sees in a file.
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/inputs.h"

namespace atelier::cli {
namespace {

using nlohmann::json;

std::string rational_text(Rational r) { return fmt::format("{}/{}", r.num, r.den); }

json video_json(const media::VideoFacts& v) {
  static constexpr const char* kRanges[] = {"unspecified", "limited", "full"};
  static constexpr const char* kSitings[] = {"unspecified", "left",        "center", "top_left",
                                             "top",         "bottom_left", "bottom"};
  return {{"width", v.width},
          {"height", v.height},
          {"sample_aspect_ratio", rational_text(v.sample_aspect_ratio)},
          {"pixel_format", v.source_pixel_format},
          {"depth", v.format.depth},
          {"matrix", v.color.matrix},
          {"primaries", v.color.primaries},
          {"transfer", v.color.transfer},
          {"range", kRanges[static_cast<size_t>(v.color.range)]},
          {"siting", kSitings[static_cast<size_t>(v.color.siting)]},
          {"rotation_degrees", v.rotation_degrees},
          {"interlaced", v.interlaced},
          {"attached_picture", v.attached_picture},
          {"hdr10", v.has_mastering_display || v.has_content_light},
          {"average_rate", rational_text(v.average_rate)}};
}

json stream_json(const media::StreamInfo& s) {
  json j = {{"index", s.index},
            {"kind", media::to_string(s.kind)},
            {"codec", s.codec},
            {"time_base", rational_text(s.time_base)},
            {"duration_seconds", s.duration_seconds ? json(*s.duration_seconds) : json(nullptr)},
            {"language", s.language},
            {"title", s.title},
            {"dispositions", s.dispositions}};
  if (s.kind == media::StreamKind::video) j["video"] = video_json(s.video);
  if (s.kind == media::StreamKind::audio) {
    j["sample_rate"] = s.sample_rate;
    j["channels"] = s.channels;
  }
  return j;
}

std::string video_line(const media::VideoFacts& v) {
  std::string line = fmt::format(", {}x{} {}", v.width, v.height, v.source_pixel_format);
  if (v.sample_aspect_ratio.num > 0 && v.sample_aspect_ratio.num != v.sample_aspect_ratio.den) {
    line += fmt::format(", SAR {}:{}", v.sample_aspect_ratio.num, v.sample_aspect_ratio.den);
  }
  if (v.average_rate.num > 0) line += fmt::format(", {:.3f} fps", v.average_rate.value());
  if (v.has_display_matrix && v.rotation_degrees != 0)
    line += fmt::format(", turned by {:g} degrees", v.rotation_degrees);
  if (v.interlaced) line += ", interlaced";
  if (v.attached_picture) line += ", cover art";
  if (v.has_mastering_display || v.has_content_light) line += ", HDR10";
  return line;
}

}  // namespace

Result<void> probe_command(const std::string& input, Console& console) {
  const Input opened = TRY(open_input(input));
  const media::MediaInfo& info = opened.info;
  json streams = json::array();
  for (const auto& stream : info.streams) streams.push_back(stream_json(stream));
  const json object = {
      {"input", opened.identity.url},
      {"container", info.container},
      {"duration_seconds", info.duration_seconds ? json(*info.duration_seconds) : json(nullptr)},
      {"video_stream", info.video_stream},
      {"chapters", info.chapters},
      {"metadata", info.metadata},
      {"streams", streams}};
  console.object(object.dump(2, ' ', false, json::error_handler_t::replace) + "\n");

  console.say(
      fmt::format("{}: {}{}", input, info.container,
                  info.duration_seconds ? fmt::format(", {:.3f} s", *info.duration_seconds) : ""));
  for (const auto& s : info.streams) {
    std::string line =
        fmt::format("  {}{}: {} {}", s.index, s.index == info.video_stream ? " (to be scored)" : "",
                    media::to_string(s.kind), s.codec);
    if (s.kind == media::StreamKind::video) line += video_line(s.video);
    if (s.kind == media::StreamKind::audio)
      line += fmt::format(", {} channels, {} Hz", s.channels, s.sample_rate);
    if (!s.language.empty()) line += ", " + s.language;
    console.say(line);
  }
  if (info.chapters > 0) console.say(fmt::format("  {} chapters", info.chapters));
  return {};
}

}  // namespace atelier::cli
