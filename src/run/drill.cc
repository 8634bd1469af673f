// SPDX-License-Identifier: Apache-2.0
#include "run/drill.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "run/ledger_records.h"

namespace atelier::run {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr std::array<const char*, kDrillSteps + 1> kStepNames = {"read manifest",
                                                                 "look for removal",
                                                                 "look for cancel",
                                                                 "list records",
                                                                 "look for commit",
                                                                 "claim",
                                                                 "take over",
                                                                 "read claim",
                                                                 "read beat",
                                                                 "give back",
                                                                 "beat",
                                                                 "leave",
                                                                 "decode",
                                                                 "score",
                                                                 "encode",
                                                                 "put result",
                                                                 "commit",
                                                                 "other"};
constexpr std::array<const char*, kAccidents + 1> kAccidentNames = {"none", "killed", "frozen",
                                                                    "store fault"};

// The value that is so named. Throws json::exception where there is none.
template <class Enum, size_t N>
Enum named(const std::array<const char*, N>& names, const json& name) {
  const auto text = name.get<std::string>();
  for (size_t i = 0; i < N; ++i) {
    if (text == names[i]) return static_cast<Enum>(i);
  }
  throw json::other_error::create(501, "unknown name '" + text + "'", nullptr);
}

int leading_number(std::string_view text) {
  int number = 0;
  size_t digits = 0;
  for (; digits < text.size() && digits < 9 && text[digits] >= '0' && text[digits] <= '9';
       ++digits) {
    number = number * 10 + (text[digits] - '0');
  }
  return digits == 0 ? -1 : number;
}

bool is_read(StoreVerb verb) { return verb == StoreVerb::head || verb == StoreVerb::get; }

DrillStep step_of_chunk(StoreVerb verb, std::string_view name, std::string_view text) {
  RecordName record;
  if (!parse_record_name(name, record)) {
    return name.ends_with(".nut") ? DrillStep::result : DrillStep::other;
  }
  if (record.commit) return is_read(verb) ? DrillStep::look : DrillStep::commit;
  if (is_read(verb)) return DrillStep::read_claim;
  if (text.find(R"("worker":"")") != std::string_view::npos) return DrillStep::give_back;
  return record.generation > 1 ? DrillStep::take_over : DrillStep::claim;
}

bool can_happen(Accident accident, DrillStep step, const DrillChances& chances) {
  switch (accident) {
    case Accident::killed: return chances.kill > 0;
    case Accident::frozen: return chances.freeze > 0;
    case Accident::fault: return chances.store_faults > 0 && !is_stage(step);
    case Accident::none: break;
  }
  return false;
}

bool is_chance(double p) { return std::isfinite(p) && p >= 0 && p <= 1; }

}  // namespace

const char* to_string(DrillStep step) { return kStepNames[static_cast<size_t>(step)]; }
const char* to_string(Accident accident) { return kAccidentNames[static_cast<size_t>(accident)]; }

DrillPlace drill_place(StoreVerb verb, std::string_view name, std::string_view text) {
  constexpr std::string_view kChunks = "chunks/";
  constexpr std::string_view kFailed = "failed/";
  constexpr std::string_view kWorkers = "workers/";
  if (verb == StoreVerb::remove) return {};
  if (verb == StoreVerb::list) {
    const bool records = name == kChunks || name == kFailed;
    return {records ? DrillStep::list : DrillStep::other, -1};
  }
  if (name == "manifest.json" && is_read(verb)) return {DrillStep::manifest, -1};
  if (name == "removing.json" && is_read(verb)) return {DrillStep::removal, -1};
  if (name == "cancel.json" && is_read(verb)) return {DrillStep::cancel, -1};
  if (name.starts_with(kChunks)) {
    name.remove_prefix(kChunks.size());
    return {step_of_chunk(verb, name, text), leading_number(name)};
  }
  if (name.starts_with(kFailed) && is_read(verb)) {
    return {DrillStep::look, leading_number(name.substr(kFailed.size()))};
  }
  if (name.starts_with(kWorkers)) {
    if (is_read(verb)) return {DrillStep::read_beat, -1};
    const bool left = text.find(R"("left":true)") != std::string_view::npos;
    return {left ? DrillStep::leave : DrillStep::beat, -1};
  }
  return {};
}

std::string to_json(const DrillOrders& o) {
  const json j = {{"seed", o.seed},
                  {"worker", o.worker},
                  {"life", o.life},
                  {"mortal", o.mortal},
                  {"kill", o.chances.kill},
                  {"freeze", o.chances.freeze},
                  {"store_faults", o.chances.store_faults},
                  {"claim_timeout_ms", o.claim_timeout.count()},
                  {"folder", o.folder}};
  return j.dump(-1, ' ', false, json::error_handler_t::replace);
}

DrillOrders orders_of_life(DrillOrders orders, int worker, int life) {
  constexpr int kMortalLives = 5;
  orders.worker = worker;
  orders.life = life;
  orders.mortal = orders.mortal && life < kMortalLives;
  return orders;
}

Result<DrillOrders> drill_orders_from_json(std::string_view text) {
  DrillOrders o;
  try {
    const json j = json::parse(text);
    o.seed = j.at("seed").get<uint64_t>();
    o.worker = j.at("worker").get<int>();
    o.life = j.at("life").get<int>();
    o.mortal = j.at("mortal").get<bool>();
    o.chances = {j.at("kill").get<double>(), j.at("freeze").get<double>(),
                 j.at("store_faults").get<double>()};
    o.claim_timeout = milliseconds(j.at("claim_timeout_ms").get<int64_t>());
    o.folder = j.at("folder").get<std::string>();
    constexpr size_t kKeys = 9;
    const bool known = j.is_object() && j.size() == kKeys;
    const DrillChances& c = o.chances;
    if (known && o.worker >= 1 && o.life >= 0 && is_chance(c.kill) && is_chance(c.freeze) &&
        is_chance(c.store_faults) && is_chance(c.kill + c.freeze + c.store_faults) &&
        o.claim_timeout > milliseconds(0) && o.claim_timeout <= std::chrono::hours(1) &&
        o.folder.starts_with('/')) {
      return o;
    }
  } catch (const json::exception&) {
    // Said below.
  }
  return make_error(Code::invalid_argument, "--drill takes what `atelier drill` gives, not '{}'.",
                    text);
}

DrillDraw draw_accident(const DrillOrders& orders, DrillStep step, uint64_t nth) {
  std::seed_seq sequence{
      static_cast<uint32_t>(orders.seed),   static_cast<uint32_t>(orders.seed >> 32),
      static_cast<uint32_t>(orders.worker), static_cast<uint32_t>(orders.life),
      static_cast<uint32_t>(step),          static_cast<uint32_t>(nth),
      static_cast<uint32_t>(nth >> 32)};
  std::mt19937_64 random(sequence);
  const auto uniform = [&random] { return static_cast<double>(random() >> 11) * 0x1p-53; };
  const DrillChances& c = orders.chances;
  DrillDraw draw;
  const double u = uniform();
  if (u < c.kill) {
    draw.accident = Accident::killed;
  } else if (u < c.kill + c.freeze) {
    draw.accident = Accident::frozen;
  } else if (u < c.kill + c.freeze + c.store_faults && !is_stage(step)) {
    draw.accident = Accident::fault;
  }
  draw.scorer = uniform() < (is_stage(step) ? 0.75 : 0.5);
  draw.after = uniform() < 0.5;
  draw.length = uniform();
  return draw;
}

milliseconds drill_hang_timeout(milliseconds claim_timeout) {
  // One that only starts is not stuck, also on a busy machine.
  return std::max<milliseconds>(std::chrono::seconds(2), claim_timeout * 4);
}

milliseconds freeze_length(const DrillDraw& draw, milliseconds timeout) {
  if (draw.scorer && draw.length < 0.25) return drill_hang_timeout(timeout) * 3 / 2;
  return milliseconds(
      static_cast<int64_t>(static_cast<double>(timeout.count()) * (1.2 + 1.2 * draw.length)));
}

std::vector<std::pair<DrillStep, Accident>> drill_aims(uint64_t seed, const DrillChances& chances) {
  constexpr uint64_t kAims = 4;  // of a seed: 5 * 4 are more than there are steps
  std::vector<std::pair<DrillStep, Accident>> aims;
  for (uint64_t i = 0; i < kAims; ++i) {
    const uint64_t nth = seed * kAims + i;
    const auto step = static_cast<DrillStep>(nth % kDrillSteps);
    std::vector<Accident> possible;
    for (const Accident accident : {Accident::killed, Accident::frozen, Accident::fault}) {
      if (can_happen(accident, step, chances)) possible.push_back(accident);
    }
    if (possible.empty()) continue;
    // By step, too, so that a few seeds see all kinds.
    aims.emplace_back(step, possible[(nth / kDrillSteps + nth % kDrillSteps) % possible.size()]);
  }
  return aims;
}

std::string describe(const DrillEvent& e) {
  std::string text = fmt::format("worker {}.{}: ", e.worker, e.life);
  const char* moment = e.after ? "after" : "before";
  if (e.accident == Accident::fault) {
    text += fmt::format("{} {}", e.after ? "answer lost at" : "store failed at",
                        to_string(e.place.step));
  } else {
    text += fmt::format("{} {} {} {}", e.scorer ? "scorer" : "broker", to_string(e.accident),
                        is_stage(e.place.step) ? "during" : moment, to_string(e.place.step));
  }
  if (e.place.chunk >= 0) text += fmt::format(" of chunk {}", e.place.chunk);
  if (e.accident == Accident::frozen) text += fmt::format(" for {} ms", e.length.count());
  return text;
}

std::string to_line(const DrillEvent& e) {
  const json j = {{"what", to_string(e.accident)},
                  {"step", to_string(e.place.step)},
                  {"chunk", e.place.chunk},
                  {"scorer", e.scorer},
                  {"after", e.after},
                  {"worker", e.worker},
                  {"life", e.life},
                  {"length_ms", e.length.count()},
                  {"at_ms", e.at.count()}};
  return j.dump() + "\n";
}

Result<std::vector<DrillEvent>> drill_events(std::string_view lines) {
  std::vector<DrillEvent> events;
  while (!lines.empty()) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    try {
      const json j = json::parse(lines.substr(0, end));
      DrillEvent e;
      e.accident = named<Accident>(kAccidentNames, j.at("what"));
      e.place = {named<DrillStep>(kStepNames, j.at("step")), j.at("chunk").get<int>()};
      e.scorer = j.at("scorer").get<bool>();
      e.after = j.at("after").get<bool>();
      e.worker = j.at("worker").get<int>();
      e.life = j.at("life").get<int>();
      e.length = milliseconds(j.at("length_ms").get<int64_t>());
      e.at = milliseconds(j.at("at_ms").get<int64_t>());
      if (e.place.step == DrillStep::other || e.accident == Accident::none) {
        return make_error(Code::corrupt, "The drill's log tells of nothing: '{}'.",
                          lines.substr(0, end));
      }
      events.push_back(e);
    } catch (const json::exception& error) {
      return make_error(Code::corrupt, "The drill's log is damaged ({}).", error.what());
    }
    lines.remove_prefix(std::min(lines.size(), end + 1));
  }
  return events;
}

Drill::Drill(DrillOrders orders, DrillHands& hands, const Clock& clock)
    : orders_(std::move(orders)),
      hands_(hands),
      clock_(clock),
      aims_(drill_aims(orders_.seed, orders_.chances)) {}

Accident Drill::aimed_at(DrillStep step) const {
  for (const auto& [aimed, accident] : aims_) {
    if (aimed == step) return accident;
  }
  return Accident::none;
}

bool Drill::is_spared(const DrillDraw& draw) {
  if (draw.accident == Accident::fault) return false;
  if (draw.accident == Accident::frozen && ++freezes_ > kMostFreezes) return true;
  if (draw.scorer) return ++scorers_ > kMostScorers;
  return draw.accident == Accident::killed && !orders_.mortal;
}

DrillDraw Drill::next(const DrillPlace& place) {
  if (place.step == DrillStep::other) return {};
  DrillDraw draw = draw_accident(orders_, place.step, seen_[static_cast<size_t>(place.step)]++);
  draw.scorer = draw.scorer && hands_.has_scorer();
  const Accident aimed = aimed_at(place.step);
  // One that cannot be killed leaves the aim to others.
  const bool meant = aimed != Accident::none && (orders_.mortal || aimed != Accident::killed);
  if (meant && hands_.is_first(place.step)) draw.accident = aimed;
  if (draw.accident == Accident::fault) draw.scorer = false;
  if (draw.accident != Accident::none && is_spared(draw)) return {};
  return draw;
}

void Drill::happen(const DrillDraw& draw, const DrillPlace& place) {
  if (draw.accident == Accident::none) return;
  DrillEvent event;
  event.accident = draw.accident;
  event.place = place;
  event.scorer = draw.scorer;
  event.after = draw.after;
  event.worker = orders_.worker;
  event.life = orders_.life;
  event.at = std::chrono::duration_cast<milliseconds>(clock_.now());
  if (draw.accident == Accident::frozen) event.length = freeze_length(draw, orders_.claim_timeout);
  // A broker cannot tell what has happened to it.
  if (!draw.scorer) hands_.tell(event);
  if (draw.accident == Accident::fault) return;
  if (hands_.hurt(draw.scorer, draw.accident, event.length) && draw.scorer) hands_.tell(event);
}

void Drill::progressed() { scorers_ = 0; }

}  // namespace atelier::run
