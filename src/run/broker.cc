// SPDX-License-Identifier: Apache-2.0
#include "run/broker.h"

namespace atelier::run {

Result<std::optional<ChunkPlan>> Broker::next() {
  while (next_ < manifest_.chunks.size()) {
    const ChunkPlan& chunk = manifest_.chunks[next_++];
    if (!TRY(folder_.read_commit(chunk.index))) return std::optional(chunk);
  }
  return std::optional<ChunkPlan>();
}

Result<void> Broker::commit(ChunkCommit commit, ScratchFile& result) {
  const auto source = TRY(result.open());
  TRY(folder_.commit_chunk(std::move(commit), *source));
  return {};
}

Result<void> Broker::keep_frame(uint64_t number, const std::string& extension,
                                std::span<const std::byte> picture) {
  return folder_.put_frame(number, extension, picture);
}

}  // namespace atelier::run
