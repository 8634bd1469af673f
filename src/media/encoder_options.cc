// SPDX-License-Identifier: Apache-2.0
#include "media/encoder_options.h"

#include <fmt/ranges.h>
#include <x264.h>
#include <x265.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <set>

#include "media/av.h"
#include "media/encoder_format.h"

extern "C" {
#include <libavutil/mastering_display_metadata.h>
#include <libavutil/opt.h>
}

namespace atelier::media {
namespace {

// Options of libav itself (not of one encoder) that mean the same on every machine.
constexpr std::string_view kGeneric =
    " b bt g qcomp qblur qmin qmax qdiff bf maxrate minrate bufsize refs keyint_min sc_threshold "
    "me_range trellis b_qfactor b_qoffset i_qfactor i_qoffset coder context level profile "
    "rc_init_occupancy nr cmp subcmp mbcmp mbd lmin lmax global_quality compression_level slices "
    "b_strategy mblmin mblmax dia_size last_pred pre_dia_size subq lumi_mask dark_mask ";

// ---------------------------------------------------------------------------------- looking up

Error unknown(const EncodeSettings& settings, std::string_view key) {
  return make_error(Code::invalid_argument,
                    "The encoder {} has no option '{}': leave it out of --encoder-opts.",
                    settings.codec, key);
}

Error bad_value(const EncodeSettings& settings, std::string_view key, std::string_view value) {
  return make_error(Code::invalid_argument,
                    "The encoder {} does not take '{}' for its option '{}': correct "
                    "--encoder-opts.",
                    settings.codec, value, key);
}

Result<void> try_x264(const EncodeSettings& settings, const std::string& key,
                      const std::string& value) {
  x264_param_t parameters;
  x264_param_default(&parameters);
  const int done = x264_param_parse(&parameters, key.c_str(), value.c_str());
  x264_param_cleanup(&parameters);
  if (done == X264_PARAM_BAD_NAME) return unknown(settings, key);
  if (done < 0) return bad_value(settings, key, value);
  return {};
}

Result<void> try_x265(const EncodeSettings& settings, const std::string& key,
                      const std::string& value) {
  const std::unique_ptr<x265_param, void (*)(x265_param*)> parameters(x265_param_alloc(),
                                                                      x265_param_free);
  if (!parameters) throw std::bad_alloc();
  x265_param_default(parameters.get());
  parameters->logLevel = X265_LOG_NONE;
  const int done = x265_param_parse(parameters.get(), key.c_str(), value.c_str());
  if (done == X265_PARAM_BAD_NAME) return unknown(settings, key);
  if (done < 0) return bad_value(settings, key, value);
  return {};
}

// SVT-AV1 and libaom are asked by opening a small encoder with this option alone.
Result<void> try_opening(const EncodeSettings& settings, const std::string& key,
                         const std::string& value) {
  const AVCodec* codec = TRY(find_encoder(settings.codec));
  CodecContextPtr context(avcodec_alloc_context3(codec));
  if (!context) throw std::bad_alloc();
  context->width = context->height = 64;
  context->pix_fmt = AV_PIX_FMT_YUV420P;
  context->time_base = {1, 25};
  context->framerate = {25, 1};
  context->thread_count = 1;
  context->err_recognition = AV_EF_EXPLODE;  // otherwise SVT-AV1's wrapper only warns
  AVDictionary* options = nullptr;
  const std::string library(find_traits(settings.codec)->library_key);
  std::string text = key + "=" + value;
  if (settings.codec == "libsvtav1") text = "lp=1:" + text;
  av_dict_set(&options, library.c_str(), text.c_str(), 0);
  av_dict_set(&options, settings.codec == "libsvtav1" ? "preset" : "cpu-used", "8", 0);
  const int opened = avcodec_open2(context.get(), codec, &options);
  av_dict_free(&options);
  if (opened >= 0) {
    close_encoder(std::move(context), false);
    return {};
  }
  return make_error(Code::invalid_argument,
                    "The encoder {} has no option '{}' that takes '{}': correct --encoder-opts.",
                    settings.codec, key, value);
}

Result<void> check_library_option(const EncodeSettings& settings, const std::string& key,
                                  const std::string& value) {
  const std::string_view why = why_refused(settings.codec, key);
  if (!why.empty()) {
    return make_error(Code::invalid_argument, "--encoder-opts cannot set '{}': {}.", key, why);
  }
  // Any other word is a file's name, and a file may be another one elsewhere.
  if (settings.codec == "libx264" && option_name(key) == "cqm" && value != "flat" &&
      value != "jvt") {
    return bad_value(settings, key, value);
  }
  if (settings.codec == "libx264") return try_x264(settings, key, value);
  if (settings.codec == "libx265") return try_x265(settings, key, value);
  return try_opening(settings, key, value);
}

bool is_library_key(const EncodeSettings& settings, std::string_view key) {
  const EncoderTraits* traits = find_traits(settings.codec);
  return !traits->library_key.empty() &&
         (key == traits->library_key || (settings.codec == "libx264" && key == "x264opts"));
}

// "a=1:b:c=3", as the libraries write it; a value itself cannot hold a colon.
template <class F>
Result<void> for_each_pair(std::string_view text, F&& visit) {
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find(':'));
    const size_t equals = pair.find('=');
    if (!pair.empty()) {
      TRY(visit(std::string(pair.substr(0, equals)),
                equals == std::string_view::npos ? "1" : std::string(pair.substr(equals + 1))));
    }
    text.remove_prefix(std::min(text.size(), pair.size() + 1));
  }
  return {};
}

// An option of the encoder in libav, its own or one of the general ones that are let through.
bool is_libav_option(const AVCodec& codec, const std::string& key) {
  if (codec.priv_class) {
    const void* options = &codec.priv_class;  // what av_opt_find wants for a class alone
    if (av_opt_find2(const_cast<void*>(options), key.c_str(), nullptr, 0, AV_OPT_SEARCH_FAKE_OBJ,
                     nullptr)) {
      return true;
    }
  }
  return kGeneric.find(" " + key + " ") != std::string_view::npos;
}

// One option under two spellings would leave the choice to the order that the encoder reads in.
Result<void> check_spellings(const EncodeSettings& settings) {
  std::set<std::string, std::less<>> seen;
  const auto see = [&](const std::string& key) -> Result<void> {
    const std::string name = option_name(key);
    if (seen.emplace(without_no(name)).second) return {};
    return make_error(Code::invalid_argument, "--encoder-opts names '{}' twice.", key);
  };
  for (const auto& [key, value] : settings.options) {
    if (is_library_key(settings, key)) {
      TRY(for_each_pair(value,
                        [&](const std::string& name, const std::string&) { return see(name); }));
    } else {
      TRY(see(key));
    }
  }
  return {};
}

Result<void> check_option(const EncodeSettings& settings, const AVCodec& codec,
                          const std::string& key, const std::string& value) {
  if (is_library_key(settings, key)) {
    return for_each_pair(value, [&](const std::string& name, const std::string& text) {
      return check_library_option(settings, name, text);
    });
  }
  const std::string_view why = why_refused(settings.codec, key);
  if (!why.empty()) {
    return make_error(Code::invalid_argument, "--encoder-opts cannot set '{}': {}.", key, why);
  }
  if (key == "crf" || key == "preset") {
    return make_error(Code::invalid_argument, "--encoder-opts cannot set '{0}': use --{0}.", key);
  }
  if (is_libav_option(codec, key)) return {};
  if (find_traits(settings.codec)->library_key.empty()) return unknown(settings, key);
  return check_library_option(settings, key, value);
}

Result<void> check_named(const EncodeSettings& settings, const char* what,
                         std::span<const std::string_view> names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) != names.end()) return {};
  return make_error(Code::invalid_argument, "{} has no {} '{}'; it has {}.", settings.codec, what,
                    name, fmt::join(names, ", "));
}

// ------------------------------------------------------------------------------------- making

long long in_units(AVRational value, int per_one) {
  return av_rescale(value.num, per_one, value.den == 0 ? 1 : value.den);
}

struct Hdr10 {
  bool has_display = false;
  AVMasteringDisplayMetadata display{};
  bool has_light = false;
  AVContentLightMetadata light{};
};

Hdr10 parse_hdr(const HdrMetadata& hdr) {
  Hdr10 parsed;
  if (hdr.mastering_display.size() == sizeof parsed.display) {
    std::memcpy(&parsed.display, hdr.mastering_display.data(), sizeof parsed.display);
    parsed.has_display = parsed.display.has_primaries && parsed.display.has_luminance;
  }
  parsed.has_light = hdr.content_light.size() >= sizeof parsed.light;
  if (parsed.has_light) std::memcpy(&parsed.light, hdr.content_light.data(), sizeof parsed.light);
  return parsed;
}

// x264's and x265's spelling of SMPTE ST 2086 and CTA-861.3: chromaticities in 1/50000, luminance
// in 1/10000 cd/m2 (H.264 D.2.29, H.265 D.3.28).
std::string hdr_in_units(const HdrMetadata& hdr, const char* display_key, const char* light_key) {
  const Hdr10 parsed = parse_hdr(hdr);
  std::string text;
  if (parsed.has_display) {
    const auto& p = parsed.display.display_primaries;
    const auto xy = [](const AVRational(&v)[2]) {
      return fmt::format("({},{})", in_units(v[0], 50000), in_units(v[1], 50000));
    };
    text +=
        fmt::format(":{}=G{}B{}R{}WP{}L({},{})", display_key, xy(p[1]), xy(p[2]), xy(p[0]),
                    xy(parsed.display.white_point), in_units(parsed.display.max_luminance, 10000),
                    in_units(parsed.display.min_luminance, 10000));
  }
  if (parsed.has_light) {
    text += fmt::format(":{}={},{}", light_key, parsed.light.MaxCLL, parsed.light.MaxFALL);
  }
  return text;
}

// SVT-AV1's spelling, in decimals (AV1 6.7.4).
std::string hdr_in_decimals(const HdrMetadata& hdr) {
  const Hdr10 parsed = parse_hdr(hdr);
  std::string text;
  if (parsed.has_display) {
    const auto& p = parsed.display.display_primaries;
    const auto xy = [](const AVRational(&v)[2]) {
      return fmt::format("({:.6f},{:.6f})", av_q2d(v[0]), av_q2d(v[1]));
    };
    text += fmt::format(":mastering-display=G{}B{}R{}WP{}L({:.4f},{:.4f})", xy(p[1]), xy(p[2]),
                        xy(p[0]), xy(parsed.display.white_point),
                        av_q2d(parsed.display.max_luminance), av_q2d(parsed.display.min_luminance));
  }
  if (parsed.has_light) {
    text += fmt::format(":content-light={},{}", parsed.light.MaxCLL, parsed.light.MaxFALL);
  }
  return text;
}

std::string hdr_parameters(const EncodeSettings& settings) {
  if (settings.codec == "libx264") return hdr_in_units(settings.hdr, "mastering-display", "cll");
  if (settings.codec == "libx265") return hdr_in_units(settings.hdr, "master-display", "max-cll");
  if (settings.codec == "libsvtav1") return hdr_in_decimals(settings.hdr);
  return {};
}

void set_quality(const EncodeSettings& settings, OptionMap& options) {
  const std::string crf = std::to_string(settings.crf);
  if (settings.codec == "mjpeg") {
    options["flags"] = "+qscale";
    options["global_quality"] = std::to_string(settings.crf * FF_QP2LAMBDA);
    options["qmin"] = "1";
    return;
  }
  if (find_traits(settings.codec)->crf_max > 0) options["crf"] = crf;
}

void set_preset(const EncodeSettings& settings, OptionMap& options) {
  if (settings.codec == "libaom-av1") {
    options["cpu-used"] = settings.preset;
  } else if (settings.codec == "libvpx-vp9") {
    options["deadline"] = settings.preset == "best" ? "best" : "good";
    if (settings.preset != "best") options["cpu-used"] = settings.preset;
  } else if (!find_traits(settings.codec)->presets.empty()) {
    options["preset"] = settings.preset;
  }
}

// FFV1's defaults here: intra only, checked, the faster coder where 8 bits allow it.
void set_ffv1(const EncodeSettings& settings, OptionMap& options) {
  // libav 5.1 writes pictures one sample wide or high wrong in version 3 (they decode as zeros);
  // version 1 has neither slices nor their checksums.
  const bool thin = settings.width < 2 || settings.height < 2;
  options["level"] = thin ? "1" : "3";
  options["coder"] = settings.format.depth > 8 ? "range_def" : "rice";
  options["context"] = "0";
  if (!thin) options["slicecrc"] = "1";
  options["g"] = "1";
}

}  // namespace

Result<void> check_options(const EncodeSettings& settings) {
  const AVCodec* codec = TRY(find_encoder(settings.codec));
  const EncoderTraits& traits = *find_traits(settings.codec);
  if (traits.crf_max > 0 && (settings.crf < traits.crf_min || settings.crf > traits.crf_max)) {
    return make_error(Code::invalid_argument, "--crf of {} is {} (best) to {}, not {}.",
                      settings.codec, traits.crf_min, traits.crf_max, settings.crf);
  }
  if (!traits.presets.empty()) {
    TRY(check_named(settings, "preset", traits.presets, settings.preset));
  }
  for (const auto& [key, value] : settings.options) {
    TRY(check_option(settings, *codec, key, value));
  }
  TRY(check_spellings(settings));
  // x264 prints on stderr by itself about a tune that it does not know.
  const auto tune = settings.options.find("tune");
  if (tune != settings.options.end() && !traits.tunes.empty()) {
    TRY(check_named(settings, "tune", traits.tunes, tune->second));
  }
  return {};
}

OptionMap encoder_options(const EncodeSettings& settings) {
  OptionMap options = settings.fixed.empty() ? fixed_options(settings.codec) : settings.fixed;
  const EncoderTraits& traits = *find_traits(settings.codec);
  set_quality(settings, options);
  set_preset(settings, options);
  if (settings.codec == "ffv1") set_ffv1(settings, options);
  const AVCodec* codec = avcodec_find_encoder_by_name(settings.codec.c_str());
  std::string library;
  for (const auto& [key, value] : settings.options) {
    if (is_library_key(settings, key)) {
      library += ":" + value;
    } else if (traits.library_key.empty() || is_libav_option(*codec, key)) {
      options[key] = value;
    } else {
      library += ":" + key + "=" + value;
    }
  }
  if (!traits.library_key.empty()) {
    std::string& text = options[std::string(traits.library_key)];
    text += hdr_parameters(settings) + library;
    if (text.starts_with(':')) text.erase(0, 1);
    if (text.empty()) options.erase(std::string(traits.library_key));
  }
  return options;
}

}  // namespace atelier::media
