// SPDX-License-Identifier: Apache-2.0
#include "run/ledger.h"

#include <algorithm>

#include "run/clean_up.h"
#include "run/ledger_records.h"

namespace atelier::run {
namespace {

using nlohmann::json;

constexpr size_t kLongestError = 4000;

std::string chunk_name(int chunk) { return fmt::format("{:06d}", chunk); }

Result<bool> put_absent(ObjectStore& store, const std::string& key, const json& record) {
  const std::string text = record_text(record);
  return TRY(store.put(key, as_bytes(text), Condition::if_absent())).written;
}

}  // namespace

Ledger::Ledger(ObjectStore& store, const Clock& clock, Setup setup)
    : store_(store),
      clock_(clock),
      setup_(std::move(setup)),
      chunks_(static_cast<size_t>(std::max(0, setup_.chunks))),
      own_next_(begin_of(setup_.share.k)),
      begun_(clock.now()) {}

std::string Ledger::key(std::string_view name) const {
  return setup_.run_id + "/" + std::string(name);
}

std::string Ledger::claim_key(int chunk, int generation) const {
  return key(fmt::format("chunks/{}.claim.{}", chunk_name(chunk), generation));
}

int Ledger::begin_of(int k) const {
  return static_cast<int>(int64_t{setup_.chunks} * k / std::max(1, setup_.share.n));
}

Result<Ledger::Answer> Ledger::claim() {
  Answer answer;
  if (TRY(is_cancelled())) {
    answer.next = Next::cancelled;
    return answer;
  }
  if (!listed_) {
    TRY(check_stands(store_, setup_.run_id));
    TRY(refresh());
  }
  listed_ = true;
  while (own_next_ < begin_of(setup_.share.k + 1)) {
    // Counted only when it was tried: an error here comes back to the same chunk.
    const bool ours = TRY(try_chunk(own_next_, answer.claim));
    ++own_next_;
    if (ours) {
      answer.next = Next::claimed;
      return answer;
    }
  }
  TRY(refresh());
  if (TRY(help(answer.claim))) {
    answer.next = Next::claimed;
  } else if (nothing_left()) {
    answer.next = Next::settled;
  }
  return answer;
}

// Not for each of many short chunks.
Result<bool> Ledger::is_cancelled() {
  constexpr std::chrono::seconds kPause(2);
  const Clock::Duration now = clock_.now();
  if (cancel_looked_ && now - *cancel_looked_ < kPause) return false;
  if (TRY(cancelled())) return true;
  cancel_looked_ = now;
  return false;
}

bool Ledger::nothing_left() const {
  for (int chunk = 0; chunk < setup_.chunks; ++chunk) {
    if (!chunks_[static_cast<size_t>(chunk)].settled && !held_.contains(chunk)) return false;
  }
  return true;
}

Result<bool> Ledger::help(Claim& claim) {
  for (const int chunk : helping_order()) {
    if (TRY(try_chunk(chunk, claim))) return true;
  }
  // What is held, perhaps by the dead.
  for (int chunk = 0; chunk < setup_.chunks; ++chunk) {
    const Chunk& known = chunks_[static_cast<size_t>(chunk)];
    if (!known.settled && known.generation > 0 && TRY(try_chunk(chunk, claim))) return true;
  }
  return false;
}

std::vector<int> Ledger::helping_order() const {
  std::vector<std::vector<int>> shares;
  for (int k = 0; k < setup_.share.n; ++k) {
    std::vector<int> left;
    for (int chunk = begin_of(k + 1) - 1; chunk >= begin_of(k); --chunk) {
      const Chunk& known = chunks_[static_cast<size_t>(chunk)];
      if (!known.settled && known.generation == 0) left.push_back(chunk);
    }
    shares.push_back(std::move(left));
  }
  std::stable_sort(shares.begin(), shares.end(),
                   [](const auto& a, const auto& b) { return a.size() > b.size(); });
  std::vector<int> order;
  for (const auto& share : shares) order.insert(order.end(), share.begin(), share.end());
  return order;
}

Result<void> Ledger::refresh() {
  const std::string chunks = key("chunks/");
  for (const ObjectInfo& object : TRY(list_all(store_, chunks))) {
    RecordName name;
    if (!parse_record_name(std::string_view(object.key).substr(chunks.size()), name)) continue;
    if (name.chunk >= setup_.chunks) continue;
    Chunk& chunk = chunks_[static_cast<size_t>(name.chunk)];
    if (name.commit) chunk.settled = true;
    if (name.generation > chunk.generation) {
      chunk.generation = name.generation;
      chunk.read = false;
    }
  }
  const std::string failed = key("failed/");
  for (const ObjectInfo& object : TRY(list_all(store_, failed))) {
    RecordName name;
    if (!parse_record_name(std::string_view(object.key).substr(failed.size()), name)) continue;
    if (name.chunk < setup_.chunks) chunks_[static_cast<size_t>(name.chunk)].settled = true;
  }
  return {};
}

Result<bool> Ledger::is_settled(int chunk) {
  Chunk& known = chunks_[static_cast<size_t>(chunk)];
  if (known.settled) return true;
  for (const char* folder : {"chunks", "failed"}) {
    if (TRY(store_.head(key(fmt::format("{}/{}.json", folder, chunk_name(chunk)))))) {
      known.settled = true;
      return true;
    }
  }
  return false;
}

Result<bool> Ledger::try_chunk(int chunk, Claim& claim) {
  const Chunk& known = chunks_[static_cast<size_t>(chunk)];
  if (held_.contains(chunk) || known.settled) return false;
  // Nobody settles what nobody claimed: that the first claim can be put says all.
  if (known.generation == 0) return take(chunk, false, claim);
  TRY(read_claim(chunk));
  const bool others = !known.holder.empty() && known.holder != setup_.worker;
  // Most are asked about most often by those that wait: one call while their holders live.
  const Holder holder = others ? TRY(look_at(known.holder)) : Holder::left;
  if (others && holder == Holder::alive) return false;
  if (TRY(is_settled(chunk))) return false;
  if (known.holder == setup_.worker) return adopt(chunk, claim);
  return take(chunk, holder == Holder::lost, claim);
}

bool Ledger::adopt(int chunk, Claim& claim) {
  const Chunk& known = chunks_[static_cast<size_t>(chunk)];
  claim = {chunk, known.generation, known.attempt, known.losses};
  return held_.insert(chunk).second;
}

Result<void> Ledger::read_claim(int chunk) {
  Chunk& known = chunks_[static_cast<size_t>(chunk)];
  if (known.read) return {};
  const std::string record_key = claim_key(chunk, known.generation);
  const auto record = TRY(read_record(store_, record_key));
  if (!record) return damaged_record(store_.url(record_key), "it is gone");
  try {
    known.holder = record->at("worker").get<std::string>();
    known.attempt = std::max(1, record->at("attempt").get<int>());
    known.losses = std::max(0, record->at("losses").get<int>());
  } catch (const json::exception& e) {
    return damaged_record(store_.url(record_key), e.what());
  }
  known.read = true;
  return {};
}

Result<Ledger::Holder> Ledger::look_at(const std::string& worker) {
  const std::string beat_key = key("workers/" + worker + ".beat");
  const auto info = TRY(store_.head(beat_key));
  const std::string etag = info ? info->etag : "";
  const auto [it, first] = workers_.try_emplace(worker);
  Seen& seen = it->second;
  if (first || etag != seen.etag) {
    Seen now{etag, clock_.now(), false, false, {}};
    if (const auto beat = TRY(read_record(store_, beat_key))) {
      try {
        now.left = beat->at("left").get<bool>();
        now.lost = beat->value("lost", false);
        now.origin = origin_of(beat->at("origin"));
      } catch (const json::exception& e) {
        return damaged_record(store_.url(beat_key), e.what());
      }
    }
    seen = std::move(now);
  }
  if (seen.lost) return Holder::lost;
  if (seen.left) return Holder::left;
  if (setup_.is_dead(seen.origin)) return Holder::lost;
  return clock_.now() - seen.changed >= setup_.policy.claim_timeout ? Holder::lost : Holder::alive;
}

Result<bool> Ledger::take(int chunk, bool lost, Claim& claim) {
  Chunk& known = chunks_[static_cast<size_t>(chunk)];
  const int losses = known.losses + (lost ? 1 : 0);
  if (losses > setup_.policy.max_losses) {
    known.losses = losses;
    TRY(give_up(chunk, fmt::format("{} workers vanished while they scored it.", losses)));
    return false;
  }
  const int generation = known.generation + 1;
  const json record = {{"worker", setup_.worker}, {"attempt", known.attempt}, {"losses", losses}};
  const bool ours = TRY(put_absent(store_, claim_key(chunk, generation), record));
  known.generation = generation;
  known.read = ours;
  if (!ours) return false;
  known.holder = setup_.worker;
  known.losses = losses;
  return adopt(chunk, claim);
}

Result<bool> Ledger::give_up(int chunk, const std::string& error) {
  Chunk& known = chunks_[static_cast<size_t>(chunk)];
  const json record = {{"attempts", known.attempt},
                       {"losses", known.losses},
                       {"worker", setup_.worker},
                       {"error", error.substr(0, kLongestError)}};
  const bool ours =
      TRY(put_absent(store_, key(fmt::format("failed/{}.json", chunk_name(chunk))), record));
  known.settled = true;
  return ours;
}

Result<std::optional<ChunkFailure>> Ledger::give_back(const Claim& claim, bool failed,
                                                      const std::string& error) {
  Chunk& known = chunks_[static_cast<size_t>(claim.chunk)];
  if (failed && claim.attempt >= setup_.policy.max_attempts) {
    known.attempt = claim.attempt;
    known.losses = claim.losses;
    TRY(give_up(claim.chunk, error));
    held_.erase(claim.chunk);
    return std::optional(
        ChunkFailure{claim.chunk, claim.attempt, claim.losses, setup_.worker, error});
  }
  const json record = {{"worker", ""},
                       {"attempt", claim.attempt + (failed ? 1 : 0)},
                       {"losses", claim.losses},
                       {"from", setup_.worker},
                       {"error", error.substr(0, kLongestError)}};
  // A conflict: somebody took it over meanwhile.
  TRY(put_absent(store_, claim_key(claim.chunk, claim.generation + 1), record));
  known.generation = std::max(known.generation, claim.generation + 1);
  known.read = false;
  held_.erase(claim.chunk);
  return std::optional<ChunkFailure>();
}

Result<void> Ledger::beat(uint64_t frames, bool left) {
  const json record = {{"worker", setup_.worker},
                       {"origin", to_record(setup_.origin)},
                       {"count", ++beats_},
                       {"seconds", std::chrono::duration<double>(clock_.now() - begun_).count()},
                       {"left", left},
                       {"frames", frames}};
  const std::string text = record.dump() + "\n";
  TRY(store_.put(key("workers/" + setup_.worker + ".beat"), as_bytes(text), Condition::always()));
  return {};
}

Result<std::vector<ChunkFailure>> Ledger::failures() {
  std::vector<ChunkFailure> found;
  const std::string folder = key("failed/");
  for (const ObjectInfo& object : TRY(list_all(store_, folder))) {
    RecordName name;
    if (!parse_record_name(std::string_view(object.key).substr(folder.size()), name)) continue;
    if (TRY(store_.head(key("chunks/" + chunk_name(name.chunk) + ".json")))) continue;
    const auto record = TRY(read_record(store_, object.key));
    if (!record) continue;
    try {
      found.push_back({name.chunk, record->at("attempts").get<int>(),
                       record->at("losses").get<int>(), record->at("worker").get<std::string>(),
                       record->at("error").get<std::string>()});
    } catch (const json::exception& e) {
      return damaged_record(store_.url(object.key), e.what());
    }
  }
  return found;
}

Result<size_t> Ledger::retry_failures() {
  const auto failed = TRY(failures());
  TRY(refresh());
  for (const ChunkFailure& failure : failed) {
    if (failure.chunk >= setup_.chunks) continue;
    Chunk& known = chunks_[static_cast<size_t>(failure.chunk)];
    const json record = {{"worker", ""}, {"attempt", 1}, {"losses", 0}};
    // A conflict: somebody else does the same.
    TRY(put_absent(store_, claim_key(failure.chunk, known.generation + 1), record));
    TRY(store_.remove(key(fmt::format("failed/{}.json", chunk_name(failure.chunk)))));
    known = {};
  }
  TRY(store_.remove(key("cancel.json")));
  return failed.size();
}

Result<void> Ledger::cancel(const std::string& reason) {
  TRY(put_absent(store_, key("cancel.json"), {{"reason", reason}}));
  return {};
}

Result<bool> Ledger::cancelled() { return TRY(store_.head(key("cancel.json"))).has_value(); }

}  // namespace atelier::run
