// SPDX-License-Identifier: Apache-2.0
// The run folder: the only state that must survive. Everything in it is written once, atomically; a
// chunk counts as done when, and only when, its commit record is there.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "run/manifest.h"
#include "run/trace.h"
#include "store/object_store.h"

namespace atelier::run {

// Who removes the run puts it first and takes it away last; see clean_up.h.
inline constexpr const char* kRemovingName = "removing.json";

// Seconds that each stage worked on a chunk (not waited).
struct StageSeconds {
  double decode = 0;
  double score = 0;
  double encode = 0;
};

// chunks/000007.json
struct ChunkCommit {
  int index = 0;
  std::string object;  // key of the encoded chunk inside the run folder; empty when no frame could
                       // be decoded
  std::string sha256;
  int64_t first_pts = 0;  // of the first frame, in the input video stream's time base
  uint64_t bytes = 0;
  uint64_t frames = 0;         // decoded, scored and encoded
  uint64_t decode_errors = 0;  // see media::ReadReport
  uint64_t retimed = 0;        // likewise
  uint64_t interlaced = 0;     // likewise
  uint64_t repeated = 0;       // of `frames`: equal to the one before, so not scored again
  uint64_t captions_lost = 0;  // see media::EncodeReport
  StageSeconds seconds;
  std::string worker;  // who scored it; empty, and the attempt 0, in the records of older versions
  int attempt = 0;     // see Claim
};

std::string to_json(const ChunkCommit& commit);
// Errors: corrupt naming the chunk.
Result<ChunkCommit> commit_from_json(int chunk, std::string_view text);

// Keeps a reference to the store, which must outlive it. Safe from several threads.
class RunFolder {
 public:
  // By the clock it waits before it uploads a result again.
  RunFolder(ObjectStore& store, std::string run_id, Clock& clock = system_clock())
      : store_(store), clock_(clock), run_id_(std::move(run_id)) {}

  const std::string& run_id() const { return run_id_; }
  std::string url() const { return store_.url(run_id_); }

  Result<std::optional<Manifest>> read_manifest();
  // Puts the manifest unless there is one; returns the one that stands. Chunks that lie there
  // without a manifest are removed: nobody knows what they were scored with.
  Result<Manifest> write_manifest(const Manifest& manifest);

  // A record that was read once is not asked for again: the first one stands.
  Result<std::optional<ChunkCommit>> read_commit(int chunk);
  // The chunks that have a commit record, by one list.
  Result<std::set<int>> committed_chunks();
  // The two-step commit: the result's bytes first, then the record that names them. If somebody
  // else committed the chunk first, theirs stands and is returned.
  Result<ChunkCommit> commit_chunk(ChunkCommit commit, ByteSource& result);
  // The same for unpainted/000007.json, what stands in for a chunk that was given up (unpainted.h).
  Result<std::optional<ChunkCommit>> read_unpainted(int chunk);
  Result<ChunkCommit> commit_unpainted(ChunkCommit commit, ByteSource& result);
  // The bytes of a committed chunk, checked against their hash. Errors: corrupt naming the chunk.
  Result<std::unique_ptr<ByteSource>> open_chunk(const ChunkCommit& commit);

  // frames/00000001.png: number counts from 1.
  Result<void> put_frame(uint64_t number, const std::string& extension,
                         std::span<const std::byte> picture);
  // logs/<worker>/000001.log: a piece of what its scorers printed.
  Result<void> put_log(const std::string& worker, int segment, std::string_view text);
  // trace/<worker>/000007.json, see run/trace.h.
  Result<void> put_trace(const std::string& worker, int chunk, std::string_view text);
  // Of every worker, by name. Errors: corrupt naming the object.
  Result<std::vector<WorkerTrace>> read_traces();
  // engine.json: the engine's job (report.h), overwritten by the next one.
  Result<void> put_engine(std::string_view json);
  Result<std::optional<std::string>> read_engine();
  Result<void> put_report(std::string_view json);
  Result<std::optional<std::string>> read_report();
  // Removes everything in the folder, commit records first and the manifest after all of them: cut
  // short, it leaves a run in which less is done.
  Result<void> clear();

 private:
  Result<std::optional<ChunkCommit>> read_commit_of(int chunk, const std::string& name);
  Result<ChunkCommit> commit_as(const std::string& name, ChunkCommit commit, ByteSource& result);
  Result<std::unique_ptr<ByteSource>> read_chunk(const ChunkCommit& commit);
  Error gone(const ChunkCommit& commit) const;
  Error damaged(const ChunkCommit& commit) const;
  Result<void> remove_in_order(std::vector<ObjectInfo> objects);
  std::string key(std::string_view name) const { return run_id_ + "/" + std::string(name); }
  Result<std::optional<std::string>> read_text(const std::string& key);
  ObjectStore& store_;
  Clock& clock_;
  std::string run_id_;
  Mutex mutex_;
  std::map<int, ChunkCommit> commits_ GUARDED_BY(mutex_);  // that are known to stand
};

}  // namespace atelier::run
