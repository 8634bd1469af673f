// SPDX-License-Identifier: Apache-2.0
#include "run/run_folder.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/read_ahead.h"
#include "run/ledger_records.h"

namespace atelier::run {
namespace {

using nlohmann::json;

// Far above any manifest (a chunk takes about 100 bytes), far below what would exhaust memory.
constexpr uint64_t kLargestRecord = 256u << 20;

// A chunk of a usual length is read once, to be hashed and to be joined; a longer one twice.
constexpr uint64_t kWholeChunk = uint64_t{32} << 20;

std::string chunk_name(int chunk) { return fmt::format("chunks/{:06d}", chunk); }
std::string unpainted_name(int chunk) { return fmt::format("unpainted/{:06d}", chunk); }

}  // namespace

std::string to_json(const ChunkCommit& c) {
  const json j = {
      {"object", c.object},
      {"sha256", c.sha256},
      {"first_pts", c.first_pts},
      {"bytes", c.bytes},
      {"frames", c.frames},
      {"decode_errors", c.decode_errors},
      {"retimed", c.retimed},
      {"interlaced", c.interlaced},
      {"repeated", c.repeated},
      {"captions_lost", c.captions_lost},
      {"seconds",
       {{"decode", c.seconds.decode}, {"score", c.seconds.score}, {"encode", c.seconds.encode}}},
      {"worker", c.worker},
      {"attempt", c.attempt}};
  return j.dump() + "\n";
}

Result<ChunkCommit> commit_from_json(int chunk, std::string_view text) {
  try {
    const json j = json::parse(text);
    ChunkCommit c;
    c.index = chunk;
    c.object = j.at("object").get<std::string>();
    c.sha256 = j.at("sha256").get<std::string>();
    c.first_pts = j.at("first_pts").get<int64_t>();
    c.bytes = j.at("bytes").get<uint64_t>();
    c.frames = j.at("frames").get<uint64_t>();
    c.decode_errors = j.at("decode_errors").get<uint64_t>();
    c.retimed = j.at("retimed").get<uint64_t>();
    c.interlaced = j.value("interlaced", uint64_t{0});
    c.repeated = j.value("repeated", uint64_t{0});
    c.captions_lost = j.value("captions_lost", uint64_t{0});
    const json& seconds = j.at("seconds");
    c.seconds = {seconds.at("decode").get<double>(), seconds.at("score").get<double>(),
                 seconds.at("encode").get<double>()};
    c.worker = j.value("worker", std::string());
    c.attempt = j.value("attempt", 0);
    return c;
  } catch (const json::exception& e) {
    return make_error(Code::corrupt,
                      "The record of chunk {} is damaged ({}); start anew with --no-reuse.", chunk,
                      e.what());
  }
}

Result<std::optional<std::string>> RunFolder::read_text(const std::string& key) {
  const auto bytes = TRY(read_object(store_, key, kLargestRecord));
  if (!bytes) return std::optional<std::string>();
  return std::optional(std::string(as_text(*bytes)));
}

Result<std::optional<Manifest>> RunFolder::read_manifest() {
  const auto text = TRY(read_text(key("manifest.json")));
  if (!text) return std::optional<Manifest>();
  return std::optional(TRY(manifest_from_json(*text)));
}

Result<Manifest> RunFolder::write_manifest(const Manifest& manifest) {
  // Listed before the manifest is looked for: whoever scored these cannot have had one.
  auto orphans = TRY(list_all(store_, key("chunks/")));
  if (!orphans.empty() && !TRY(store_.head(key("manifest.json")))) {
    TRY(remove_in_order(std::move(orphans)));
  }
  const std::string text = to_json(manifest);
  const PutOutcome outcome =
      TRY(store_.put(key("manifest.json"), as_bytes(text), Condition::if_absent()));
  if (outcome.written) return manifest;
  auto standing = TRY(read_manifest());
  if (!standing)
    return make_error(Code::unavailable, "The manifest of run {} came and went; run again.",
                      run_id_);
  return *std::move(standing);
}

Result<std::optional<ChunkCommit>> RunFolder::read_commit(int chunk) {
  {
    MutexLock lock(mutex_);
    if (const auto known = commits_.find(chunk); known != commits_.end()) {
      return std::optional(known->second);
    }
  }
  auto commit = TRY(read_commit_of(chunk, chunk_name(chunk)));
  MutexLock lock(mutex_);
  if (commit) commits_.insert_or_assign(chunk, *commit);
  return commit;
}

Result<std::set<int>> RunFolder::committed_chunks() {
  const std::string folder = key("chunks/");
  std::set<int> chunks;
  for (const ObjectInfo& object : TRY(list_all(store_, folder))) {
    RecordName name;
    const bool record = parse_record_name(std::string_view(object.key).substr(folder.size()), name);
    if (record && name.commit) chunks.insert(name.chunk);
  }
  return chunks;
}

Result<std::optional<ChunkCommit>> RunFolder::read_unpainted(int chunk) {
  return read_commit_of(chunk, unpainted_name(chunk));
}

Result<std::optional<ChunkCommit>> RunFolder::read_commit_of(int chunk, const std::string& name) {
  const auto text = TRY(read_text(key(name + ".json")));
  if (!text) return std::optional<ChunkCommit>();
  return std::optional(TRY(commit_from_json(chunk, *text)));
}

Result<ChunkCommit> RunFolder::commit_chunk(ChunkCommit commit, ByteSource& result) {
  const std::string name = chunk_name(commit.index);
  ChunkCommit standing = TRY(commit_as(name, std::move(commit), result));
  MutexLock lock(mutex_);
  commits_.insert_or_assign(standing.index, standing);
  return standing;
}

Result<ChunkCommit> RunFolder::commit_unpainted(ChunkCommit commit, ByteSource& result) {
  const std::string name = unpainted_name(commit.index);
  return commit_as(name, std::move(commit), result);
}

Result<ChunkCommit> RunFolder::commit_as(const std::string& name, ChunkCommit commit,
                                         ByteSource& result) {
  if (commit.frames > 0) {
    commit.object = fmt::format("{}-{}.nut", name, commit.sha256);
    TRY(put_source_repeatedly(store_, key(commit.object), result, Condition::always(), clock_));
  }
  const std::string record = to_json(commit);
  const PutOutcome outcome =
      TRY(store_.put(key(name + ".json"), as_bytes(record), Condition::if_absent()));
  if (outcome.written) return commit;
  auto standing = TRY(read_commit_of(commit.index, name));
  if (!standing)
    return make_error(Code::unavailable, "The record of chunk {} came and went; run again.",
                      commit.index);
  return *std::move(standing);
}

Error RunFolder::gone(const ChunkCommit& commit) const {
  return make_error(Code::corrupt, "Chunk {} ('{}') is gone; start anew with --no-reuse.",
                    commit.index, store_.url(key(commit.object)));
}

Error RunFolder::damaged(const ChunkCommit& commit) const {
  return make_error(Code::corrupt,
                    "Chunk {} ('{}') was damaged after it was written; start anew with --no-reuse.",
                    commit.index, store_.url(key(commit.object)));
}

Result<std::unique_ptr<ByteSource>> RunFolder::read_chunk(const ChunkCommit& commit) {
  auto bytes = store_.get(key(commit.object), {0, commit.bytes + 1});
  if (!bytes.ok() && bytes.error().code == Code::invalid_input) return gone(commit);
  std::vector<std::byte> all = TRY(std::move(bytes));
  if (all.size() != commit.bytes || sha256_hex(all) != commit.sha256) return damaged(commit);
  return std::unique_ptr<ByteSource>(std::make_unique<MemorySource>(std::move(all)));
}

Result<std::unique_ptr<ByteSource>> RunFolder::open_chunk(const ChunkCommit& commit) {
  if (commit.bytes <= kWholeChunk) return read_chunk(commit);
  auto opened = open_object(store_, key(commit.object));
  if (!opened.ok() && opened.error().code == Code::invalid_input) return gone(commit);
  std::unique_ptr<ByteSource> source = std::make_unique<ReadAheadSource>(TRY(std::move(opened)));
  if (source->size() != commit.bytes || TRY(sha256_hex(*source)) != commit.sha256) {
    return damaged(commit);
  }
  return source;
}

Result<void> RunFolder::put_frame(uint64_t number, const std::string& extension,
                                  std::span<const std::byte> picture) {
  TRY(store_.put(key(fmt::format("frames/{:08d}.{}", number, extension)), picture,
                 Condition::always()));
  return {};
}

Result<void> RunFolder::put_log(const std::string& worker, int segment, std::string_view text) {
  TRY(store_.put(key(fmt::format("logs/{}/{:06d}.log", worker, segment)), as_bytes(text),
                 Condition::always()));
  return {};
}

Result<void> RunFolder::put_trace(const std::string& worker, int chunk, std::string_view text) {
  TRY(store_.put(key(fmt::format("trace/{}/{:06d}.json", worker, chunk)), as_bytes(text),
                 Condition::always()));
  return {};
}

Result<std::vector<WorkerTrace>> RunFolder::read_traces() {
  const std::string folder = key("trace/");
  std::map<std::string, std::vector<Span>> workers;
  for (const ObjectInfo& object : TRY(list_all(store_, folder))) {
    const std::string name = object.key.substr(folder.size());
    const auto text = TRY(read_text(object.key));
    if (!text) continue;
    const auto spans = spans_from_json(*text);
    if (!spans.ok()) {
      return make_error(Code::corrupt, "'{}' is damaged; remove it.", store_.url(object.key));
    }
    auto& all = workers[name.substr(0, name.find('/'))];
    all.insert(all.end(), spans->begin(), spans->end());
  }
  std::vector<WorkerTrace> traces;
  for (auto& [worker, spans] : workers) traces.push_back({worker, std::move(spans)});
  return traces;
}

Result<void> RunFolder::put_engine(std::string_view json) {
  TRY(store_.put(key("engine.json"), as_bytes(json), Condition::always()));
  return {};
}

Result<std::optional<std::string>> RunFolder::read_engine() {
  return read_text(key("engine.json"));
}

Result<void> RunFolder::put_report(std::string_view json) {
  TRY(store_.put(key("report.json"), as_bytes(json), Condition::always()));
  return {};
}

Result<std::optional<std::string>> RunFolder::read_report() {
  return read_text(key("report.json"));
}

Result<void> RunFolder::clear() {
  {
    MutexLock lock(mutex_);
    commits_.clear();
  }
  return remove_in_order(TRY(list_all(store_, run_id_ + "/")));
}

Result<void> RunFolder::remove_in_order(std::vector<ObjectInfo> objects) {
  const auto place = [this](const ObjectInfo& object) {
    if (object.key == key(kRemovingName)) return 3;
    if (object.key == key("manifest.json")) return 2;
    // A record must never outlive what it names.
    return object.key.ends_with(".json") ? 0 : 1;
  };
  std::stable_sort(objects.begin(), objects.end(),
                   [&](const auto& a, const auto& b) { return place(a) < place(b); });
  for (const ObjectInfo& object : objects) TRY(store_.remove(object.key));
  return {};
}

}  // namespace atelier::run
