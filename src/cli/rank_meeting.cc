// SPDX-License-Identifier: Apache-2.0
#include "cli/rank_meeting.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>

#include "base/mutex.h"
#include "cli/console.h"
#include "cli/inputs.h"
#include "cli/worker_job.h"
#include "engine/slurm_queue.h"
#include "engine/worker_process.h"
#include "run/gang_marks.h"

namespace atelier::cli {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr Seconds kMarksEvery(2);
// After so long without a new mark a rank is gone: two marks may be late.
constexpr Seconds kSilence(6);

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The first few; of a thousand nodes the rest is a number.
std::string listed(const std::vector<std::string>& names) {
  constexpr size_t kMost = 8;
  const auto end = names.begin() + static_cast<std::ptrdiff_t>(std::min(kMost, names.size()));
  std::string text = fmt::format("{}", fmt::join(names.begin(), end, ", "));
  if (names.size() > kMost) text += fmt::format(" and {} more", names.size() - kMost);
  return text;
}

// False: it was stopped before.
bool slept(Seconds seconds, const std::stop_token& stop) {
  Mutex mutex;
  std::condition_variable_any wake;
  mutex.lock();
  wake.wait_for(mutex, stop, seconds, [] { return false; });
  mutex.unlock();
  return !stop.stop_requested();
}

}  // namespace

Result<std::unique_ptr<RankMeeting>> RankMeeting::begin(const Setup& setup) {
  const Location location = TRY(parse_location(setup.run_url));
  const std::string run_id = location.name();
  const auto store = TRY(open_folder(location.folder()));
  if (!TRY(store->head(run_id + "/manifest.json"))) return not_seen_here(setup.run_url);
  // Briefly: a mark that waits for its store comes too late, and the next one tries again.
  std::unique_ptr<RankMeeting> meeting(
      new RankMeeting(setup, run_id, TRY(open_folder_briefly(location.folder()))));
  const auto first =
      run::put_mark(*meeting->store_, run_id, setup.gang, meeting->node_, meeting->marks_++);
  if (!first.ok() && first.error().code != Code::unavailable) return first.error();
  meeting->thread_ =
      std::jthread([m = meeting.get()](const std::stop_token& met) { m->wait(met); });
  return meeting;
}

RankMeeting::RankMeeting(const Setup& setup, std::string run_id, std::unique_ptr<ObjectStore> store)
    : setup_(setup),
      run_id_(std::move(run_id)),
      node_(variable("SLURMD_NODENAME")),
      nodes_(engine::expand_hosts(variable("SLURM_STEP_NODELIST"))
                 .value_or(std::vector<std::string>())),
      store_(std::move(store)) {}

RankMeeting::~RankMeeting() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
  // One that stays says nothing to later gangs, whose names differ.
  (void)run::remove_mark(*store_, run_id_, setup_.gang, node_);
}

void RankMeeting::wait(const std::stop_token& met) {
  run::GangMarks before;
  const auto begin = std::chrono::steady_clock::now();
  // Who is there is looked at when the time is over, and again when the living have marked anew.
  for (bool looked = false;;) {
    const Seconds spent = std::chrono::steady_clock::now() - begin;
    const Seconds left = Seconds(setup_.seconds) + (looked ? kSilence : Seconds(0)) - spent;
    if (left > Seconds(0)) {
      if (!slept(std::min(left, kMarksEvery), met)) return;
      // One that fails leaves this node's older mark; the next may not.
      (void)run::put_mark(*store_, run_id_, setup_.gang, node_, marks_++);
      continue;
    }
    auto now = run::marks_of(*store_, run_id_, setup_.gang);
    if (met.stop_requested()) return;
    if (!now.ok()) {
      report_error(now.error(), false);
      ::_exit(engine::kGangUnmet);
    }
    if (looked) end_without(run::absent_nodes(nodes_, before, *now));
    before = std::move(*now);
    looked = true;
  }
}

void RankMeeting::end_without(const std::vector<std::string>& absent) const {
  if (nodes_.empty()) {
    report_error(make_error(Code::unavailable,
                            "The ranks of the gang did not meet within {} s (--gang-timeout), and "
                            "SLURM_STEP_NODELIST does not say on which nodes they are; see what "
                            "`scontrol show node` says of the partition's.",
                            setup_.seconds),
                 false);
    ::_exit(engine::kGangUnmet);
  }
  if (absent.empty()) {
    ::_exit(report_error(
        make_error(Code::unavailable,
                   "All ranks of the gang are there, but did not meet within {} s "
                   "(--gang-timeout); see that all nodes reach one another by --interface.",
                   setup_.seconds),
        false));
  }
  report_error(make_error(Code::unavailable,
                          "Not all ranks of the gang were there within {} s (--gang-timeout): "
                          "none on {}; see what `scontrol show node` says of {}.",
                          setup_.seconds, listed(absent), absent.size() == 1 ? "it" : "them"),
               false);
  ::_exit(engine::kGangUnmet);
}

}  // namespace atelier::cli
