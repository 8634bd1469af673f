// SPDX-License-Identifier: Apache-2.0
#include "run/ledger_view.h"

#include <algorithm>
#include <map>

#include "run/ledger_records.h"

namespace atelier::run {
namespace {

using nlohmann::json;

// A claim's generation, or a chunk that was given up.
struct Entry {
  int generation = 0;
  const ObjectInfo* object = nullptr;
};

struct ChunkEntries {
  bool committed = false;
  std::vector<Entry> claims;  // by generation
  const ObjectInfo* given_up = nullptr;
};

std::vector<ChunkEntries> sort_out(const std::vector<ObjectInfo>& objects, const std::string& run,
                                   int chunks) {
  std::vector<ChunkEntries> entries(static_cast<size_t>(std::max(0, chunks)));
  for (const ObjectInfo& object : objects) {
    const std::string_view path = std::string_view(object.key).substr(run.size());
    const bool failed = path.starts_with("failed/");
    if (!failed && !path.starts_with("chunks/")) continue;
    RecordName name;
    if (!parse_record_name(path.substr(7), name) || name.chunk >= chunks) continue;
    ChunkEntries& chunk = entries[static_cast<size_t>(name.chunk)];
    if (failed) {
      chunk.given_up = &object;
    } else if (name.commit) {
      chunk.committed = true;
    } else {
      chunk.claims.push_back({name.generation, &object});
    }
  }
  for (ChunkEntries& chunk : entries) {
    std::sort(chunk.claims.begin(), chunk.claims.end(),
              [](const Entry& a, const Entry& b) { return a.generation < b.generation; });
  }
  return entries;
}

class Reader {
 public:
  Reader(ObjectStore& store, WallTime now, const std::function<Liveness(const Origin&)>& liveness,
         LedgerView& view)
      : store_(store), now_(now), liveness_(liveness), view_(view) {}

  Result<void> read_chunk(int index, const ChunkEntries& entries) {
    ChunkView chunk;
    if (entries.given_up != nullptr) TRY(read_given_up(index, *entries.given_up, chunk));
    // The first claim of a committed chunk says no more than its commit.
    if (!entries.committed || entries.claims.size() > 1) {
      for (const Entry& claim : entries.claims) {
        const bool last = claim.generation == entries.claims.back().generation;
        TRY(read_claim(index, *claim.object, last && entries.given_up == nullptr, chunk));
      }
    }
    if (entries.committed) {
      chunk.state = ChunkView::State::done;
    } else if (entries.given_up != nullptr) {
      chunk.state = ChunkView::State::failed;
    }
    view_.chunks[static_cast<size_t>(index)] = chunk;
    return {};
  }

 private:
  Result<void> read_given_up(int index, const ObjectInfo& object, ChunkView& chunk) {
    const auto record = TRY(read_record(store_, object.key));
    if (!record) return {};  // taken back meanwhile
    try {
      chunk.attempts = record->at("attempts").get<int>();
      chunk.losses = record->at("losses").get<int>();
      chunk.worker = record->at("worker").get<std::string>();
      view_.failures.push_back({index, chunk.attempts, chunk.worker,
                                record->at("error").get<std::string>(), object.modified});
    } catch (const json::exception& e) {
      return damaged_record(store_.url(object.key), e.what());
    }
    return {};
  }

  // `holds`: it is the generation that counts.
  Result<void> read_claim(int index, const ObjectInfo& object, bool holds, ChunkView& chunk) {
    const auto record = TRY(read_record(store_, object.key));
    if (!record) return {};
    try {
      const std::string worker = record->at("worker").get<std::string>();
      const int attempt = record->at("attempt").get<int>();
      if (worker.empty()) {
        // Freed: after a failure the next attempt has the next number.
        const int before = attempt - 1;
        const std::string error = record->value("error", std::string());
        if (before >= 1 && !error.empty() && before == began_) {
          view_.failures.push_back(
              {index, before, record->value("from", std::string()), error, object.modified});
        }
        began_ = 0;
        if (holds) chunk.attempts = before;
        return {};
      }
      began_ = attempt;
      if (!holds) return {};
      chunk.worker = worker;
      chunk.attempts = attempt;
      chunk.losses = record->at("losses").get<int>();
      if (is_at_work(worker)) chunk.state = ChunkView::State::scoring;
    } catch (const json::exception& e) {
      return damaged_record(store_.url(object.key), e.what());
    }
    return {};
  }

  bool is_at_work(const std::string& name) const {
    for (const WorkerView& worker : view_.workers) {
      if (worker.name != name) continue;
      if (worker.left) return false;
      const Liveness life = liveness_(worker.origin);
      return life == Liveness::alive ||
             (life == Liveness::unknown && now_ - worker.beat < kSilence);
    }
    return false;
  }

  ObjectStore& store_;
  const WallTime now_;
  const std::function<Liveness(const Origin&)>& liveness_;
  LedgerView& view_;
  int began_ = 0;  // attempt of the claim before
};

}  // namespace

Result<std::vector<WorkerView>> read_workers(ObjectStore& store,
                                             const std::vector<ObjectInfo>& objects) {
  constexpr std::string_view kFolder = "/workers/";
  constexpr std::string_view kEnd = ".beat";
  std::vector<WorkerView> workers;
  for (const ObjectInfo& object : objects) {
    const size_t at = object.key.find(kFolder);
    if (at == std::string::npos || at != object.key.find('/') || !object.key.ends_with(kEnd))
      continue;
    WorkerView worker;
    const size_t begin = at + kFolder.size();
    if (begin + kEnd.size() > object.key.size()) continue;
    worker.name = object.key.substr(begin, object.key.size() - kEnd.size() - begin);
    worker.beat = object.modified;
    const auto record = read_record(store, object.key);
    if (!record.ok() && record.error().code != Code::corrupt) return record.error();
    if (record.ok() && !*record) continue;  // gone meanwhile
    try {
      if (record.ok()) {
        worker.left = (*record)->at("left").get<bool>();
        worker.frames = (*record)->at("frames").get<uint64_t>();
        worker.seconds = (*record)->value("seconds", 0.0);
        worker.origin = origin_of((*record)->at("origin"));
      }
    } catch (const json::exception&) {
      worker.origin = {};  // whoever cannot be read may be alive
      worker.left = false;
    }
    workers.push_back(std::move(worker));
  }
  return workers;
}

Result<LedgerView> read_ledger(ObjectStore& store, const std::string& run_id, int chunks,
                               WallTime now,
                               const std::function<Liveness(const Origin&)>& liveness) {
  const std::string run = run_id + "/";
  LedgerView view;
  view.chunks.resize(static_cast<size_t>(std::max(0, chunks)));
  std::vector<ObjectInfo> objects;
  for (const char* folder : {"chunks/", "failed/", "workers/"}) {
    auto some = TRY(list_all(store, run + folder));
    objects.insert(objects.end(), some.begin(), some.end());
  }
  view.workers = TRY(read_workers(store, objects));
  const auto entries = sort_out(objects, run, chunks);
  for (int chunk = 0; chunk < chunks; ++chunk) {
    Reader reader(store, now, liveness, view);
    TRY(reader.read_chunk(chunk, entries[static_cast<size_t>(chunk)]));
  }
  std::stable_sort(view.failures.begin(), view.failures.end(),
                   [](const FailedAttempt& a, const FailedAttempt& b) { return a.when < b.when; });
  view.cancelled = TRY(store.head(run + "cancel.json")).has_value();
  return view;
}

const char* to_string(ChunkView::State state) {
  switch (state) {
    case ChunkView::State::waiting: return "waiting";
    case ChunkView::State::scoring: return "being scored";
    case ChunkView::State::done: return "done";
    case ChunkView::State::failed: return "failed";
  }
  return "";
}

}  // namespace atelier::run
