// SPDX-License-Identifier: Apache-2.0
#include "run/scorer_limits.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <limits>
#include <thread>

#include "base/file.h"

namespace atelier::run {

void offer_to_the_kernel(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/oom_score_adj", pid);
  const Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file) (void)!::write(file.get(), "500", 3);
}

Result<void> limit_results(pid_t pid, const Manifest& manifest, bool stays) {
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
  rlimit limit{most, most};
  if (stays) {
    rlimit now{};
    if (::prlimit(pid, RLIMIT_FSIZE, nullptr, &now) == 0) limit.rlim_max = now.rlim_max;
    limit.rlim_cur = std::min<rlim_t>(most, limit.rlim_max);
  }
  if (::prlimit(pid, RLIMIT_FSIZE, &limit, nullptr) != 0 && errno != ESRCH) {
    return make_error(Code::internal, "Cannot limit a scorer's files: {}.", describe_errno(errno));
  }
  return {};
}

// proc(5), /proc/PID/status: it stays readable however locked in the process is. The kernel escapes
// line feeds in the name, which may be anything.
std::optional<Usage> usage_of(pid_t pid) {
  clockid_t clock{};
  timespec used{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &used) != 0) {
    return std::nullopt;
  }
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  uint64_t kibibytes = 0;
  Usage usage;
  for (std::string word; file >> word;
       file.ignore(std::numeric_limits<std::streamsize>::max(), '\n')) {
    uint64_t value = 0;
    if (word == "RssAnon:" || word == "RssShmem:") {
      file >> value;
      kibibytes += value;
    } else if (word == "Threads:") {
      file >> usage.threads;
    }
  }
  if (kibibytes == 0) return std::nullopt;  // it is on its way out
  usage.memory = kibibytes << 10;
  usage.processor = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec));
  return usage;
}

int most_threads(int threads) {
  constexpr int kOfLibraries = 512;  // pools that an encoder makes whatever it is told
  constexpr int kForEach = 16;       // scoring, each stage's own OpenMP team, filters, decoder
  const int each = threads > 0 ? threads : static_cast<int>(std::thread::hardware_concurrency());
  return kOfLibraries + kForEach * each;
}

std::string find_excess(const Usage& usage, uint64_t memory, int threads) {
  constexpr double kMebi = 1 << 20;
  if (memory > 0 && usage.memory > memory) {
    return fmt::format(
        "took {:.0f} MiB of memory where it may take {:.0f} MiB (a smaller --size, fewer --threads "
        "or --workers or a larger --memory would help)",
        static_cast<double>(usage.memory) / kMebi, static_cast<double>(memory) / kMebi);
  }
  if (usage.threads > threads) {
    return fmt::format("made {} threads where {} are more than it needs", usage.threads, threads);
  }
  return {};
}

void limit_processor_time(pid_t pid, const Usage& usage, std::chrono::milliseconds idle) {
  rlimit own{};
  if (::getrlimit(RLIMIT_CPU, &own) != 0 || own.rlim_cur != RLIM_INFINITY) return;
  // The broker counts ticks, which are longer than they say where there is much to do.
  constexpr double kMore = 1.5;
  constexpr double kSeconds = 10;
  const auto processors = static_cast<double>(std::max(1L, ::sysconf(_SC_NPROCESSORS_CONF)));
  const double seconds = std::chrono::duration<double>(usage.processor).count() +
                         std::chrono::duration<double>(idle).count() * processors * kMore +
                         kSeconds;
  const rlimit limit{std::min(static_cast<rlim_t>(seconds), own.rlim_max), own.rlim_max};
  (void)::prlimit(pid, RLIMIT_CPU, &limit, nullptr);
}

}  // namespace atelier::run
