// SPDX-License-Identifier: Apache-2.0
#include "run/tuning_cache.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "model/runner.h"

namespace atelier::run {
namespace {

using nlohmann::json;

// A network has dozens of keys for each size of frame, thread count and precision.
constexpr size_t kMostChoices = 10'000;
constexpr size_t kLongestText = 500;
constexpr size_t kMostBytes = size_t{8} << 20;

bool is_plain(const std::string& text) {
  return !text.empty() && text.size() <= kLongestText &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 32 && c < 127; });
}

}  // namespace

std::string choices_to_json(const model::Choices& choices) {
  return json{{"machine", model::tuning_machine()}, {"choices", choices}}.dump(1) + "\n";
}

Result<model::Choices> choices_from_json(std::string_view text) {
  try {
    if (text.size() > kMostBytes) return make_error(Code::corrupt, "The choices are too long.");
    auto choices = json::parse(text).at("choices").get<model::Choices>();
    const auto plain = [](const auto& choice) {
      return is_plain(choice.first) && is_plain(choice.second);
    };
    if (choices.size() > kMostChoices || !std::all_of(choices.begin(), choices.end(), plain)) {
      return make_error(Code::corrupt, "The choices are too many or too long.");
    }
    return choices;
  } catch (const json::exception& e) {
    return make_error(Code::corrupt, "The choices are damaged ({}).", e.what());
  }
}

TuningCache::TuningCache(ObjectStore& store)
    : store_(store),
      key_("tuning/" + sha256_hex(as_bytes(model::tuning_machine())).substr(0, 16) + ".json") {}

model::Choices TuningCache::known() {
  const auto bytes = store_.get(key_, {0, kMostBytes + 1});
  if (!bytes.ok()) return {};
  auto choices = choices_from_json(as_text(*bytes));
  return choices.ok() ? *std::move(choices) : model::Choices();
}

Result<void> TuningCache::keep(const model::Choices& measured) {
  model::Choices all = measured;
  all.merge(known());
  // Of a cache that is full what is new is kept.
  if (all.size() > kMostChoices) all = measured;
  TRY(store_.put(key_, as_bytes(choices_to_json(all)), Condition::always()));
  return {};
}

}  // namespace atelier::run
