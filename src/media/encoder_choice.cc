// SPDX-License-Identifier: Apache-2.0
#include "media/encoder_choice.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "media/container_fit.h"
#include "media/encoder_options.h"
#include "media/encoder_table.h"

namespace atelier::media {
namespace {

constexpr std::array kContainers = {Container::gif,  Container::png,   Container::jpeg,
                                    Container::mp4,  Container::mov,   Container::matroska,
                                    Container::webm, Container::mpegts};

std::string containers_for(const std::string& codec) {
  std::vector<std::string> names;
  for (const Container container : kContainers) {
    if (holds_codec(container, codec)) names.emplace_back(extension_of(container));
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

Result<void> check_container(const std::string& codec, Container container) {
  if (holds_codec(container, codec)) return {};
  std::vector<std::string> others;
  for (const std::string_view other : codecs_of(container)) others.emplace_back(other);
  return make_error(Code::invalid_argument,
                    "{} cannot hold {} video: write to {}, or use --codec {}.", name_of(container),
                    codec, containers_for(codec), fmt::join(others, ", "));
}

}  // namespace

Result<EncoderChoice> choose_encoder(const EncoderWish& wish, Container container) {
  EncoderChoice choice;
  choice.codec = wish.codec.empty() ? std::string(codecs_of(container).front()) : wish.codec;
  const EncoderTraits* traits = find_traits(choice.codec);
  if (!traits) {
    return make_error(Code::invalid_argument, "There is no encoder '{}': use one of {}.",
                      choice.codec, encoder_names());
  }
  TRY(check_container(choice.codec, container));
  if (traits->crf_max > 0) {
    choice.crf = wish.crf.value_or(traits->crf_default);
  } else if (wish.crf) {
    choice.notes.push_back(
        fmt::format("{} has no quality to choose: --crf is ignored.", choice.codec));
  }
  if (!traits->presets.empty()) {
    choice.preset = wish.preset.value_or(std::string(traits->preset_default));
  } else if (wish.preset) {
    choice.notes.push_back(fmt::format("{} has no presets: --preset is ignored.", choice.codec));
  }
  EncodeSettings settings;
  settings.codec = choice.codec;
  settings.crf = choice.crf;
  settings.preset = choice.preset;
  settings.options = wish.options;
  TRY(check_options(settings));
  return choice;
}

EncoderConstants encoder_constants(const std::string& codec) {
  const EncoderTraits* traits = find_traits(codec);
  return {traits ? traits->threads : 1, fixed_options(codec)};
}

}  // namespace atelier::media
