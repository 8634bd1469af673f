// SPDX-License-Identifier: Apache-2.0
// The broker of one worker: claims chunks in the ledger, hands them to the scorer, commits what
// comes back, and lets the others see that it lives. It holds the run folder and parses nothing
// that a stranger wrote.
#pragma once

#include <condition_variable>
#include <filesystem>
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

class Broker final : public ChunkDesk {
 public:
  // The references must outlive it; `scratch` exists.
  Broker(RunFolder& folder, const Manifest& manifest, Ledger& ledger, std::filesystem::path scratch)
      : folder_(folder), manifest_(manifest), ledger_(ledger), scratch_(std::move(scratch)) {}

  // Waits while other workers hold all that is left. Nothing: every chunk is committed, given up,
  // or was handed out by this broker. Errors: cancelled, those of the ledger.
  Result<std::optional<ChunkPlan>> next(std::stop_token stop) override;
  Result<void> commit(ChunkCommit commit, ScratchFile& result) override;
  Result<void> keep_frame(uint64_t number, const std::string& extension,
                          std::span<const std::byte> picture) override;
  const std::filesystem::path& scratch() const override { return scratch_; }

 private:
  RunFolder& folder_;
  const Manifest& manifest_;
  Ledger& ledger_;
  std::filesystem::path scratch_;
};

// A name for this worker that no other process in the world has.
std::string make_worker_name();

}  // namespace atelier::run
