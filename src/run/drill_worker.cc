// SPDX-License-Identifier: Apache-2.0
#include "run/drill_worker.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace atelier::run {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kLog = "accidents-";

// One of each worker: on a folder that machines share, what two append may be one.
std::string log_of(const DrillOrders& orders) {
  return fmt::format("{}/{}{}.jsonl", orders.folder, kLog, orders.worker);
}

Error cannot(const char* what) {
  return make_error(code_of_errno(errno, Code::internal), "Cannot {}: {}.", what,
                    describe_errno(errno));
}

// This process stops until the kernel's timer wakes it: nobody else has to be there for that.
void freeze_this_process(milliseconds length) {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGCONT;
  timer_t timer{};
  if (::timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) return;
  itimerspec when{};
  when.it_value.tv_sec = length.count() / 1000;
  when.it_value.tv_nsec = length.count() % 1000 * 1'000'000;
  // Sent to this thread, which so does not go one step further.
  if (::timer_settime(timer, 0, &when, nullptr) == 0) ::raise(SIGSTOP);
  ::timer_delete(timer);
}

}  // namespace

class DrillProcesses final : public DrillHands {
 public:
  DrillProcesses(std::string folder, Fd log, const Clock& clock)
      : folder_(std::move(folder)), log_(std::move(log)), clock_(clock) {}

  bool hurt(bool scorer, Accident accident, milliseconds length) override {
    if (scorer) return hurt_scorer(accident, length);
    if (accident == Accident::frozen) {
      freeze_this_process(length);
    } else {
      ::kill(::getpid(), SIGKILL);
      for (;;) ::pause();
    }
    return true;
  }

  bool has_scorer() override {
    MutexLock lock(mutex_);
    return send(0);
  }

  bool is_first(DrillStep step) override {
    const std::string name = folder_ + "/aimed-" + std::to_string(static_cast<int>(step));
    const Fd made(::open(name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
    return static_cast<bool>(made);
  }

  void tell(const DrillEvent& event) override {
    // In one piece at the end, whoever else writes.
    const std::string line = to_line(event);
    (void)!::write(log_.get(), line.data(), line.size());
  }

  // A handle, not the number: that may be another process by and by.
  void scorer_started(int pid) {
    MutexLock lock(mutex_);
    scorer_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    thaw_at_.reset();
  }

  void thaw() {
    MutexLock lock(mutex_);
    if (!thaw_at_ || clock_.now() < *thaw_at_) return;
    send(SIGCONT);
    thaw_at_.reset();
  }

 private:
  bool hurt_scorer(Accident accident, milliseconds length) {
    MutexLock lock(mutex_);
    if (accident == Accident::killed) return send(SIGKILL);
    if (!send(SIGSTOP)) return false;
    thaw_at_ = clock_.now() + length;
    return true;
  }

  bool send(int signal) REQUIRES(mutex_) {
    return scorer_ && ::syscall(SYS_pidfd_send_signal, scorer_.get(), signal, nullptr, 0) == 0;
  }

  const std::string folder_;
  const Fd log_;
  const Clock& clock_;
  Mutex mutex_;
  Fd scorer_ GUARDED_BY(mutex_);
  std::optional<Clock::Duration> thaw_at_ GUARDED_BY(mutex_);
};

Result<std::unique_ptr<DrilledWorker>> DrilledWorker::create(const DrillOrders& orders,
                                                             ObjectStore& inner,
                                                             const std::string& run_id,
                                                             const Clock& clock) {
  Fd log(::open(log_of(orders).c_str(), O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600));
  if (!log) return cannot("open the drill's log");
  auto processes = std::make_unique<DrillProcesses>(orders.folder, std::move(log), clock);
  return std::unique_ptr<DrilledWorker>(
      new DrilledWorker(orders, std::move(processes), inner, run_id, clock));
}

DrilledWorker::DrilledWorker(const DrillOrders& orders, std::unique_ptr<DrillProcesses> processes,
                             ObjectStore& inner, const std::string& run_id, const Clock& clock)
    : processes_(std::move(processes)),
      drill_(std::make_unique<Drill>(orders, *processes_, clock)),
      store_(std::make_unique<DrillStore>(inner, *drill_, run_id)) {}

DrilledWorker::~DrilledWorker() = default;

LedgerPolicy DrilledWorker::policy() const {
  constexpr int kNoEnd = 1'000'000;
  return {drill_->orders().claim_timeout, kNoEnd, kNoEnd};
}

RetryPolicy DrilledWorker::retries() const {
  return {6, milliseconds(20), std::chrono::seconds(1)};
}

milliseconds DrilledWorker::beat_interval() const {
  return std::max(milliseconds(1), drill_->orders().claim_timeout / 5);
}

void DrilledWorker::arrange(ScorerTask& task) {
  task.limits.progress = drill_hang_timeout(drill_->orders().claim_timeout);
  task.started = [this](int pid) { processes_->scorer_started(pid); };
}

DrilledWorker::Watch::Watch(DrilledWorker& worker, const Progress& progress)
    : thread_([&worker, &progress](const std::stop_token& stop) { worker.watch(stop, progress); }) {
}

void DrilledWorker::watch(const std::stop_token& stop, const Progress& progress) {
  constexpr milliseconds kTick(2);
  struct Counter {
    DrillStep step;
    const std::atomic<uint64_t>& frames;
    uint64_t seen;
  };
  std::array<Counter, 3> counters = {{{DrillStep::decode, progress.decoded, 0},
                                      {DrillStep::score, progress.scored, 0},
                                      {DrillStep::encode, progress.encoded, 0}}};
  Mutex mutex;
  std::condition_variable_any wake;
  while (!stop.stop_requested()) {
    processes_->thaw();
    for (Counter& counter : counters) {
      const uint64_t now = counter.frames;
      if (now == counter.seen) continue;
      counter.seen = now;
      const DrillPlace place{counter.step, -1};
      drill_->happen(drill_->next(place), place);
    }
    mutex.lock();
    wake.wait_for(mutex, stop, kTick, [] { return false; });
    mutex.unlock();
  }
}

Result<std::vector<DrillEvent>> read_drill_log(const std::string& folder) {
  std::ostringstream text;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (!entry.path().filename().native().starts_with(kLog)) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    // An empty one sets failbit where nothing is inserted.
    if (file && file.peek() != std::ifstream::traits_type::eof()) text << file.rdbuf();
    if (!file.is_open() || file.bad()) {
      return make_error(Code::internal, "The drill's log '{}' cannot be read.",
                        entry.path().native());
    }
  }
  if (error) {
    return make_error(Code::internal, "The drill's folder '{}' cannot be read ({}).", folder,
                      error.message());
  }
  auto events = TRY(drill_events(text.str()));
  std::stable_sort(events.begin(), events.end(),
                   [](const DrillEvent& a, const DrillEvent& b) { return a.at < b.at; });
  return events;
}

}  // namespace atelier::run
