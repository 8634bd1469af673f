// SPDX-License-Identifier: Apache-2.0
#include "run/manifest.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "base/bytes.h"
#include "base/hash.h"

namespace atelier::run {
namespace {

using nlohmann::json;

json rational_json(Rational r) { return json::array({r.num, r.den}); }
Rational rational_from(const json& j) { return {j.at(0).get<int>(), j.at(1).get<int>()}; }

template <class T>
json optional_json(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}
template <class T>
std::optional<T> optional_from(const json& j) {
  return j.is_null() ? std::nullopt : std::optional<T>(j.get<T>());
}

json parameters_json(const Parameters& p) {
  json j = {{"chunk_seconds", p.chunk_seconds},
            {"from", optional_json(p.range.from)},
            {"to", optional_json(p.range.to)},
            {"width", p.width},
            {"height", p.height},
            {"codec", p.codec},
            {"crf", p.crf},
            {"preset", p.preset},
            {"encoder_options", p.encoder_options},
            {"keep_frames", p.keep_frames},
            {"deinterlace", p.deinterlace},
            {"precision", p.precision},
            {"min_psnr", p.min_psnr}};
  // Runs of older versions keep their id.
  if (p.norm != "frame") j["norm"] = p.norm;
  if (p.tune != "auto") j["tune"] = p.tune;
  return j;
}

Parameters parameters_from(const json& j) {
  Parameters p;
  p.chunk_seconds = j.at("chunk_seconds").get<double>();
  p.range.from = optional_from<double>(j.at("from"));
  p.range.to = optional_from<double>(j.at("to"));
  p.width = j.at("width").get<int>();
  p.height = j.at("height").get<int>();
  p.codec = j.at("codec").get<std::string>();
  p.crf = j.at("crf").get<int>();
  p.preset = j.at("preset").get<std::string>();
  p.encoder_options = j.at("encoder_options").get<std::map<std::string, std::string>>();
  p.keep_frames = j.at("keep_frames").get<std::string>();
  p.deinterlace = j.value("deinterlace", false);
  p.precision = j.value("precision", p.precision);  // older versions had f32 alone
  p.min_psnr = j.value("min_psnr", p.min_psnr);
  p.norm = j.value("norm", p.norm);
  p.tune = j.value("tune", p.tune);
  return p;
}

json precision_json(const ChosenPrecision& p) {
  json ranges = json::object();
  for (const auto& [node, range] : p.ranges) ranges[node] = json::array({range.low, range.high});
  return {{"name", model::name_of(p.name)},
          {"ranges", ranges},
          {"sampled_psnr", p.sampled_psnr},
          {"frames", p.frames}};
}

ChosenPrecision precision_from(const json& manifest) {
  ChosenPrecision p;
  if (!manifest.contains("precision")) return p;
  const json& j = manifest.at("precision");
  const auto name = model::precision_named(j.at("name").get<std::string>());
  p.name = name.value_or(model::Precision::f32);
  for (const auto& [node, range] : j.at("ranges").items()) {
    p.ranges[node] = {range.at(0).get<float>(), range.at(1).get<float>()};
  }
  p.sampled_psnr = j.at("sampled_psnr").get<double>();
  p.frames = j.at("frames").get<uint64_t>();
  return p;
}

std::string floats_text(const std::vector<float>& values) {
  return to_base64(std::as_bytes(std::span(values)));
}

std::vector<float> floats_from(const json& text) {
  const std::vector<std::byte> bytes = from_base64(text.get<std::string>());
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

// Statistics decide bits: their bytes are kept as they are (IEEE 754, little-endian).
json shots_json(const std::vector<Shot>& shots) {
  json list = json::array();
  for (const Shot& shot : shots) {
    json statistics = json::object();
    for (const auto& [node, s] : shot.statistics) {
      statistics[node] = json::array({floats_text(s.mean), floats_text(s.variance)});
    }
    list.push_back({{"first_pts", shot.first_pts}, {"statistics", statistics}});
  }
  return list;
}

std::vector<Shot> shots_from(const json& manifest) {
  std::vector<Shot> shots;
  if (!manifest.contains("shots")) return shots;
  for (const json& j : manifest.at("shots")) {
    Shot shot;
    shot.first_pts = j.at("first_pts").get<int64_t>();
    for (const auto& [node, s] : j.at("statistics").items()) {
      shot.statistics[node] = {floats_from(s.at(0)), floats_from(s.at(1))};
    }
    shots.push_back(std::move(shot));
  }
  std::sort(shots.begin(), shots.end(),
            [](const Shot& a, const Shot& b) { return a.first_pts < b.first_pts; });
  return shots;
}

json color_json(const ColorSpec& c) {
  return {{"matrix", c.matrix},
          {"primaries", c.primaries},
          {"transfer", c.transfer},
          {"range", static_cast<int>(c.range)},
          {"siting", static_cast<int>(c.siting)}};
}

ColorSpec color_from(const json& j) {
  ColorSpec c;
  c.matrix = j.at("matrix").get<uint8_t>();
  c.primaries = j.at("primaries").get<uint8_t>();
  c.transfer = j.at("transfer").get<uint8_t>();
  c.range = static_cast<ColorSpec::Range>(j.at("range").get<uint8_t>());
  c.siting = static_cast<ColorSpec::Siting>(j.at("siting").get<uint8_t>());
  return c;
}

json format_json(const PixelFormat& f) {
  return {{"family", static_cast<int>(f.family)},
          {"depth", f.depth},
          {"chroma_shift_x", f.chroma_shift_x},
          {"chroma_shift_y", f.chroma_shift_y},
          {"alpha", f.alpha}};
}

PixelFormat format_from(const json& j) {
  PixelFormat f;
  f.family = static_cast<PixelFormat::Family>(j.at("family").get<uint8_t>());
  f.depth = j.at("depth").get<uint8_t>();
  f.chroma_shift_x = j.at("chroma_shift_x").get<uint8_t>();
  f.chroma_shift_y = j.at("chroma_shift_y").get<uint8_t>();
  f.alpha = j.at("alpha").get<bool>();
  return f;
}

json encode_json(const media::EncodeSettings& e) {
  return {{"codec", e.codec},
          {"crf", e.crf},
          {"preset", e.preset},
          {"options", e.options},
          {"fixed", e.fixed},
          {"threads", e.threads},
          {"width", e.width},
          {"height", e.height},
          {"format", format_json(e.format)},
          {"color", color_json(e.color)},
          {"sample_aspect_ratio", rational_json(e.sample_aspect_ratio)},
          {"time_base", rational_json(e.time_base)},
          {"frame_rate", rational_json(e.frame_rate)},
          {"mastering_display", to_base64(e.hdr.mastering_display)},
          {"content_light", to_base64(e.hdr.content_light)}};
}

media::EncodeSettings encode_from(const json& j) {
  media::EncodeSettings e;
  e.codec = j.at("codec").get<std::string>();
  e.crf = j.at("crf").get<int>();
  e.preset = j.at("preset").get<std::string>();
  e.options = j.at("options").get<std::map<std::string, std::string>>();
  e.fixed = j.value("fixed", e.fixed);  // absent in the first manifests: libx264's and ffv1's own
  e.threads = j.at("threads").get<int>();
  e.width = j.at("width").get<int>();
  e.height = j.at("height").get<int>();
  e.format = format_from(j.at("format"));
  e.color = color_from(j.at("color"));
  e.sample_aspect_ratio = rational_from(j.at("sample_aspect_ratio"));
  e.time_base = rational_from(j.at("time_base"));
  e.frame_rate = rational_from(j.at("frame_rate"));
  e.hdr.mastering_display = from_base64(j.at("mastering_display").get<std::string>());
  e.hdr.content_light = from_base64(j.at("content_light").get<std::string>());
  return e;
}

json chunks_json(const std::vector<ChunkPlan>& chunks) {
  json list = json::array();
  for (const ChunkPlan& c : chunks) {
    list.push_back({{"first_pts", c.first_pts},
                    {"end_pts", optional_json(c.end_pts)},
                    {"key_dts", optional_json(c.key_dts)},
                    {"context_pts", optional_json(c.context_pts)},
                    {"last_pts", optional_json(c.last_pts)},
                    {"first_frame", c.first_frame},
                    {"frames", c.frames}});
  }
  return list;
}

std::vector<ChunkPlan> chunks_from(const json& list) {
  std::vector<ChunkPlan> chunks;
  for (const json& j : list) {
    ChunkPlan c;
    c.index = static_cast<int>(chunks.size());
    c.first_pts = j.at("first_pts").get<int64_t>();
    c.end_pts = optional_from<int64_t>(j.at("end_pts"));
    c.key_dts = optional_from<int64_t>(j.at("key_dts"));
    if (j.contains("context_pts")) c.context_pts = optional_from<int64_t>(j.at("context_pts"));
    if (j.contains("last_pts")) c.last_pts = optional_from<int64_t>(j.at("last_pts"));
    c.first_frame = j.at("first_frame").get<uint64_t>();
    c.frames = j.at("frames").get<uint64_t>();
    chunks.push_back(c);
  }
  return chunks;
}

json plan_json(const std::vector<model::PlanStep>& plan) {
  json list = json::array();
  for (const auto& s : plan) {
    list.push_back({{"node", s.node},
                    {"op", s.op},
                    {"algorithm", s.algorithm},
                    {"implementation", s.implementation}});
  }
  return list;
}

std::vector<model::PlanStep> plan_from(const json& list) {
  std::vector<model::PlanStep> plan;
  for (const json& j : list) {
    plan.push_back({j.at("node").get<std::string>(), j.at("op").get<std::string>(),
                    j.at("algorithm").get<std::string>(),
                    j.at("implementation").get<std::string>()});
  }
  return plan;
}

json copied_json(const std::vector<media::CopiedStream>& copied) {
  json list = json::array();
  for (const auto& s : copied)
    list.push_back({{"index", s.index}, {"sha256", s.sha256}, {"packets", s.packets}});
  return list;
}

std::vector<media::CopiedStream> copied_from(const json& list) {
  std::vector<media::CopiedStream> copied;
  for (const json& j : list) {
    copied.push_back({j.at("index").get<int>(), j.at("sha256").get<std::string>(),
                      j.at("packets").get<uint64_t>()});
  }
  return copied;
}

json identity_json(const InputIdentity& input) {
  return {{"url", input.url},
          {"name", percent_encoded(input.name)},
          {"etag", input.etag},
          {"size", input.size}};
}

json identity_json(const ModelIdentity& model) {
  return {{"name", model.name}, {"sha256", model.sha256}, {"spec", model.spec}, {"url", model.url}};
}

Manifest manifest_from(const json& j) {
  Manifest m;
  m.run_id = j.at("run_id").get<std::string>();
  const json& input = j.at("input");
  m.input = {input.at("url").get<std::string>(),
             percent_decoded(input.at("name").get<std::string>()),
             input.at("etag").get<std::string>(), input.at("size").get<uint64_t>()};
  m.output = j.value("output", "");
  const json& model = j.at("model");
  m.model = {model.at("name").get<std::string>(), model.at("sha256").get<std::string>(),
             model.at("spec").get<std::string>(), model.value("url", "")};
  m.parameters = parameters_from(j.at("parameters"));
  m.video_stream = j.at("video_stream").get<int>();
  m.time_base = rational_from(j.at("time_base"));
  m.scored_size = {j.at("scored_size").at(0).get<int>(), j.at("scored_size").at(1).get<int>()};
  m.encode = encode_from(j.at("encode"));
  m.chunks = chunks_from(j.at("chunks"));
  m.plan = plan_from(j.at("plan"));
  m.precision = precision_from(j);
  m.shots = shots_from(j);
  m.copied = copied_from(j.at("copied"));
  m.damaged_packets = j.at("damaged_packets").get<uint64_t>();
  m.scorer_bytes = j.value("scorer_bytes", uint64_t{0});
  m.isa = j.at("isa").get<std::string>();
  m.tools = j.at("tools").get<std::map<std::string, std::string>>();
  m.notes = j.at("notes").get<std::vector<std::string>>();
  return m;
}

}  // namespace

uint64_t Manifest::frames_expected() const {
  uint64_t total = 0;
  for (const ChunkPlan& chunk : chunks) total += chunk.frames;
  return total;
}

std::string make_run_id(const InputIdentity& input, const ModelIdentity& model,
                        const Parameters& parameters) {
  const json key = {{"format", kFormatVersion}, {"etag", input.etag},
                    {"size", input.size},       {"model", model.sha256},
                    {"spec", model.spec},       {"parameters", parameters_json(parameters)}};
  return sha256_hex(as_bytes(key.dump())).substr(0, 16);
}

std::string to_json(const Manifest& m) {
  json j = {{"format", kFormatVersion},
            {"run_id", m.run_id},
            {"input", identity_json(m.input)},
            {"output", m.output},
            {"model", identity_json(m.model)},
            {"parameters", parameters_json(m.parameters)},
            {"video_stream", m.video_stream},
            {"time_base", rational_json(m.time_base)},
            {"scored_size", json::array({m.scored_size.width, m.scored_size.height})},
            {"encode", encode_json(m.encode)},
            {"chunks", chunks_json(m.chunks)},
            {"plan", plan_json(m.plan)},
            {"precision", precision_json(m.precision)},
            {"copied", copied_json(m.copied)},
            {"damaged_packets", m.damaged_packets},
            {"scorer_bytes", m.scorer_bytes},
            {"isa", m.isa},
            {"tools", m.tools},
            {"notes", m.notes}};
  if (!m.shots.empty()) j["shots"] = shots_json(m.shots);
  return j.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<Manifest> manifest_from_json(std::string_view text) {
  try {
    const json j = json::parse(text);
    const int format = j.at("format").get<int>();
    if (format != kFormatVersion) {
      return make_error(Code::conflict,
                        "The run was prepared in format {} and this program writes format {}: "
                        "finish it with the version "
                        "that began it, or start anew with --no-reuse.",
                        format, kFormatVersion);
    }
    return manifest_from(j);
  } catch (const json::exception& e) {
    return make_error(Code::corrupt,
                      "The run's manifest is damaged ({}); start anew with --no-reuse.", e.what());
  }
}

}  // namespace atelier::run
