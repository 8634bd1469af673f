// SPDX-License-Identifier: Apache-2.0
#include "server/judge.h"

#include <sys/wait.h>

#include <algorithm>
#include <cerrno>

#include "base/file.h"

namespace atelier::server {
namespace {

constexpr Millis kShortWait = 1000, kFirstWait = 5000, kLongestWait = 300'000;
// Stores and disks come back when somebody has seen to them: 1, 2, 4 ... 30 minutes, a day in all.
constexpr Millis kFirstTrouble = 60'000, kLongestTrouble = 1'800'000;
constexpr int64_t kMostTroubles = 50;

// The exit code of a full disk is that of any failure, but its sentence is the kernel's or ours
// (media/muxer.cc, store/s3/s3_service.cc). Whoever puts it into the name of a video gets patience.
bool tells_of_full_disk(const std::string& line) {
  const auto holds = [&](const std::string& words) { return line.find(words) != line.npos; };
  return holds(describe_errno(ENOSPC)) || holds(describe_errno(EDQUOT)) ||
         holds("There is no room left in ") || holds("' has room for ");
}

bool is_trouble(const Ended& ended) {
  return exited(ended.status, 4) ||
         (exited(ended.status, 1) && tells_of_full_disk(ended.last_line));
}

std::string sentence_of(const Ended& ended) {
  if (ended.was_late) return "It took longer than it may (max_seconds).";
  if (ended.was_costly) return "It cost more than it may (max_cost).";
  if (ended.was_silent) return "It said nothing for too long and was ended.";
  // A process that was killed had no last words: what it printed last is no reason.
  if (WIFSIGNALED(ended.status)) {
    return fmt::format("It was killed by signal {}.", WTERMSIG(ended.status));
  }
  constexpr std::string_view kProgram = "atelier: ";
  if (ended.last_line.starts_with(kProgram)) return ended.last_line.substr(kProgram.size());
  return ended.last_line.empty()
             ? fmt::format("It ended with exit code {}.", WEXITSTATUS(ended.status))
             : ended.last_line;
}

}  // namespace

bool exited(int status, int code) { return WIFEXITED(status) && WEXITSTATUS(status) == code; }

void try_after_trouble(const RunRow& run, AttemptEnd& end, Millis now) {
  end.state = RunState::queued;
  end.counts = false;
  end.was_trouble = true;
  end.not_before = now + std::min(kLongestTrouble, kFirstTrouble << std::min(run.troubles, 16L));
  if (run.troubles + 1 < kMostTroubles) return;
  end.state = RunState::failed;
  end.reason = fmt::format("{} attempts, the last one: {}", run.troubles + 1, end.reason);
}

AttemptEnd judge(const RunRow& run, const Ended& ended, int64_t max_attempts, Millis now) {
  AttemptEnd end;
  end.step = run.step;
  end.reason = sentence_of(ended);
  if (WIFEXITED(ended.status)) end.exit_code = WEXITSTATUS(ended.status);
  if (exited(ended.status, 0)) {
    end.state = RunState::finished;
    end.reason.clear();
  } else if (ended.was_late || ended.was_costly) {
    end.state = RunState::failed;
  } else if (run.cancel_asked) {
    end.state = RunState::cancelled;
    end.reason = "Cancelled.";
  } else if (exited(ended.status, 2)) {
    end.state = RunState::failed;
  } else if (exited(ended.status, 3)) {
    end.state = RunState::set_aside;
  } else if ((exited(ended.status, 130) && !ended.was_silent) || ended.was_sent_away) {
    end.counts = false;
    end.not_before = now + kShortWait;
  } else if (is_trouble(ended)) {
    try_after_trouble(run, end, now);
  } else if (run.attempts >= max_attempts) {
    end.state = RunState::set_aside;
    end.reason = fmt::format("{} attempts, the last one: {}", run.attempts, end.reason);
  } else {
    const auto doublings = std::min<int64_t>(std::max<int64_t>(run.attempts - 1, 0), 16);
    end.not_before = now + std::min(kLongestWait, kFirstWait << doublings);
  }
  return end;
}

}  // namespace atelier::server
