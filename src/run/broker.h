// SPDX-License-Identifier: Apache-2.0
// The broker of one worker: claims chunks in the ledger, hands them to the scorer, commits what
// comes back, and lets the others see that it lives. It holds the run folder and parses nothing
// that a stranger wrote.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <future>
#include <map>
#include <thread>

#include "base/mutex.h"
#include "run/ledger.h"
#include "run/run_folder.h"
#include "run/scorer.h"

namespace atelier::run {

// Beats as long as it lives, and says at the end that its worker left. A beat that cannot be
// written is left to the next one. The references must outlive it.
class Heart {
 public:
  // The first beat is written before this returns: a claim needs one.
  static Result<std::unique_ptr<Heart>> start(
      Ledger& ledger, const Progress& progress,
      std::chrono::milliseconds interval = std::chrono::seconds(5));
  ~Heart();

 private:
  Heart(Ledger& ledger, const Progress& progress, std::chrono::milliseconds interval);
  void beat_until(const std::stop_token& stop);

  Ledger& ledger_;
  const Progress& progress_;
  const std::chrono::milliseconds interval_;
  Mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;
};

// Uploads overlap scoring: what is committed is put by a thread of the broker's, one chunk at a
// time, while the scorer encodes the next one. So at most one result waits beside the one that is
// made.
//
// The scorer asks for a chunk when it has read the one before, and its queues hold many small
// pictures. Whoever is evicted would take along all that it has claimed, so no more than
// kMostInWork are handed out, besides the one whose result is on its way.
//
// When a scorer dies, one of the chunks that it had is to blame, and it is not known which. So they
// are scored again one at a time, as is every chunk that failed before: a death then has one cause.
class Broker final : public ChunkDesk {
 public:
  // The references must outlive it; `scratch` exists.
  Broker(RunFolder& folder, const Manifest& manifest, Ledger& ledger, std::filesystem::path scratch)
      : folder_(folder), manifest_(manifest), ledger_(ledger), scratch_(std::move(scratch)) {}

  // Waits while enough is in work, and while other workers hold all that is left. Nothing: every
  // chunk is committed, given up, or was handed out by this broker. Errors: cancelled, those of the
  // ledger, that of an upload that failed.
  Result<std::optional<ChunkPlan>> next(std::stop_token stop) override;
  Result<std::unique_ptr<ScratchFile>> open_result(const ChunkPlan& chunk) override;
  // Returns when the upload has begun; `result` need not stay. Waits for the one before, whose
  // error it returns: then nothing was begun.
  Result<void> commit(ChunkCommit commit, ScratchFile& result) override;
  Result<void> keep_frame(uint64_t number, const std::string& extension,
                          std::span<const std::byte> picture) override;
  // One that cannot be written is lost: traces never stop a run.
  Result<void> keep_trace(int chunk, std::span<const Span> spans) override;

  // Waits until what was committed is put. Errors: those of the store, once.
  Result<void> settle();

  // The scorer ended before its work, for the reason `why`; no other call may be under way. Gives
  // back or sets aside what it had, so that the next scorer can go on. Errors: internal with `why`
  // if scorer after scorer ends before it has scored a chunk; those of settle().
  Result<void> scorer_ended(const std::string& why);

  // Of the chunks that were committed through this broker, and are put.
  uint64_t frames() const { return frames_; }
  StageSeconds seconds();

 private:
  ChunkPlan hand_out(const Claim& claim) REQUIRES(mutex_);
  Result<void> put(ChunkCommit commit, ByteSource& result);
  Result<void> put_and_tell(ChunkCommit commit, ByteSource& result);
  static constexpr size_t kMostInWork = 2;
  bool may_ask() const REQUIRES(mutex_) {
    return suspects_.empty() && !alone_ && in_work() < kMostInWork;
  }
  size_t in_work() const REQUIRES(mutex_) {
    return in_flight_.size() - (uploading_ ? in_flight_.count(*uploading_) : 0);
  }

  RunFolder& folder_;
  const Manifest& manifest_;
  Ledger& ledger_;
  std::filesystem::path scratch_;
  Mutex mutex_;
  std::condition_variable_any changed_;
  std::map<int, Claim> in_flight_ GUARDED_BY(mutex_);  // handed out and not put
  std::optional<int> uploading_ GUARDED_BY(mutex_);    // the chunk whose result is on its way
  std::deque<Claim> suspects_ GUARDED_BY(mutex_);      // to be scored one at a time
  bool alone_ GUARDED_BY(mutex_) = false;              // what is in flight is a suspect
  int deaths_in_a_row_ GUARDED_BY(mutex_) = 0;
  std::atomic<uint64_t> frames_{0};
  StageSeconds seconds_ GUARDED_BY(mutex_);
  std::optional<Error> upload_failure_ GUARDED_BY(mutex_);  // nobody waits for what will not come
  std::future<Result<void>> upload_;  // of whoever commits; waited for at the end
};

// A name for this worker that no other process in the world has.
std::string make_worker_name();

}  // namespace atelier::run
