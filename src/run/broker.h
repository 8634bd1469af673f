// SPDX-License-Identifier: Apache-2.0
// The broker of one worker: hands out the chunks that have no commit record yet and commits what
// comes back. It holds the run folder and parses nothing that a stranger wrote.
#pragma once

#include <filesystem>

#include "run/run_folder.h"
#include "run/scorer.h"

namespace atelier::run {

class Broker final : public ChunkDesk {
 public:
  // `folder` and `manifest` must outlive it; `scratch` exists.
  Broker(RunFolder& folder, const Manifest& manifest, std::filesystem::path scratch)
      : folder_(folder), manifest_(manifest), scratch_(std::move(scratch)) {}

  Result<std::optional<ChunkPlan>> next() override;
  Result<void> commit(ChunkCommit commit, ScratchFile& result) override;
  Result<void> keep_frame(uint64_t number, const std::string& extension,
                          std::span<const std::byte> picture) override;
  const std::filesystem::path& scratch() const override { return scratch_; }

 private:
  RunFolder& folder_;
  const Manifest& manifest_;
  std::filesystem::path scratch_;
  size_t next_ = 0;
};

}  // namespace atelier::run
