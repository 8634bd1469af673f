// SPDX-License-Identifier: Apache-2.0
#include "run/scorer_limits.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"

namespace atelier::run {

void offer_to_the_kernel(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/oom_score_adj", pid);
  const Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file) (void)!::write(file.get(), "500", 3);
}

Result<void> limit_results(pid_t pid, const Manifest& manifest) {
  constexpr uint64_t kOfAPixel = 12;  // bytes: four samples of 16 bits, and half as much again
  constexpr uint64_t kOfAFrame = uint64_t{64} << 10;
  constexpr uint64_t kOfAFile = uint64_t{64} << 20;
  constexpr uint64_t kMoreFrames = 64;  // than the plan's packets
  uint64_t frames = 0;
  for (const ChunkPlan& chunk : manifest.chunks) {
    frames = std::max(frames, static_cast<uint64_t>(chunk.frames));
  }
  const auto pixels =
      static_cast<uint64_t>(manifest.encode.width) * static_cast<uint64_t>(manifest.encode.height);
  const uint64_t most = (frames + kMoreFrames) * (pixels * kOfAPixel + kOfAFrame) + kOfAFile;
  const rlimit limit{most, most};
  if (::prlimit(pid, RLIMIT_FSIZE, &limit, nullptr) != 0 && errno != ESRCH) {
    return make_error(Code::internal, "Cannot limit a scorer's files: {}.", describe_errno(errno));
  }
  return {};
}

}  // namespace atelier::run
