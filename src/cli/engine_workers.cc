// SPDX-License-Identifier: Apache-2.0
#include "cli/engine_workers.h"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <set>
#include <thread>

#include "base/mutex.h"
#include "cli/mpi_workers.h"
#include "cli/slurm_workers.h"
#include "engine/local.h"
#include "run/scorer_process.h"

using namespace std::string_literals;

namespace atelier::cli {
namespace {

// Looks into the run folder for commits, as long as it lives and once more at its end.
class CommitWatcher {
 public:
  // `own` begins the names of workers whose frames are counted in `own_frames`.
  CommitWatcher(run::RunFolder& folder, const run::Manifest& manifest, std::string own,
                run::Progress& progress, uint64_t& own_frames)
      : folder_(folder),
        own_(std::move(own)),
        progress_(progress),
        own_frames_(own_frames),
        // A service is asked less often than a folder.
        interval_(folder.url().starts_with("file:") ? 500 : 2000) {
    const auto committed = folder_.committed_chunks();
    for (const run::ChunkPlan& chunk : manifest.chunks) {
      if (!committed.ok() || !committed->contains(chunk.index)) open_.insert(chunk.index);
    }
    thread_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
  }
  ~CommitWatcher() {
    thread_.request_stop();
    thread_.join();
    look();
  }
  CommitWatcher(const CommitWatcher&) = delete;
  CommitWatcher& operator=(const CommitWatcher&) = delete;

 private:
  void watch(const std::stop_token& stop) {
    Mutex mutex;
    std::condition_variable_any wake;
    while (!stop.stop_requested()) {
      mutex.lock();
      wake.wait_for(mutex, stop, interval_, [] { return false; });
      mutex.unlock();
      if (!stop.stop_requested()) look();
    }
  }

  // One list, however many chunks there are.
  void look() {
    const auto committed = folder_.committed_chunks();
    if (!committed.ok()) return;
    std::erase_if(open_, [&](int chunk) {
      if (!committed->contains(chunk)) return false;
      const auto commit = folder_.read_commit(chunk);
      if (!commit.ok() || !*commit) return false;
      progress_.encoded += (*commit)->frames;
      progress_.chunks++;
      if ((*commit)->worker.starts_with(own_)) own_frames_ += (*commit)->frames;
      return true;
    });
  }

  run::RunFolder& folder_;
  const std::string own_;
  run::Progress& progress_;
  uint64_t& own_frames_;
  const std::chrono::milliseconds interval_;
  std::set<int> open_;
  std::jthread thread_;
};

// What every engine says to a worker, whichever of them it is; `on_machine` of them share this
// machine, 0: they are elsewhere.
std::vector<std::string> worker_arguments(const WorkersRequest& request, const std::string& url,
                                          int on_machine) {
  std::vector<std::string> arguments{
      "worker",  url,           "--quiet",   "--input",       request.input,
      "--model", request.model, "--sandbox", request.sandbox,
  };
  if (request.trace) arguments.emplace_back("--trace");
  for (std::string& limit : on_machine == 0 ? to_arguments_elsewhere(request.limits)
                                            : to_arguments(request.limits, on_machine)) {
    arguments.push_back(std::move(limit));
  }
  return arguments;
}

Result<run::EngineReport> score_locally(const WorkersRequest& request, const std::string& url,
                                        Console& console, std::stop_token stop) {
  engine::LocalSetup setup;
  setup.program = run::kThisProgram;
  setup.workers = request.workers;
  setup.goes_on = request.goes_on;
  setup.say = [&console](const std::string& text) { console.note(text); };
  const int threads = engine::threads_of_each(request.workers, request.threads);
  int started = 0;
  setup.arguments = [&](int k, int n) {
    std::vector<std::string> arguments = worker_arguments(request, url, n);
    arguments.push_back(fmt::format("--worker={}/{}", k, n));
    const std::string name = fmt::format("{}.{}", request.name, ++started);
    for (std::string argument : {"--threads"s, std::to_string(threads), "--parent"s,
                                 std::to_string(::getpid()), "--name"s, name}) {
      arguments.push_back(std::move(argument));
    }
    if (request.more_arguments) {
      for (std::string& more : request.more_arguments(k)) arguments.push_back(std::move(more));
    }
    return arguments;
  };
  TRY(engine::run_local_workers(setup, std::move(stop)));
  run::EngineReport report;
  report.workers = request.workers;
  report.restarts = started - request.workers;
  return report;
}

}  // namespace

Result<run::EngineReport> score_with_workers(const WorkersRequest& request, run::RunFolder& folder,
                                             const run::Manifest& manifest, run::Progress& progress,
                                             uint64_t& own_frames, Console& console,
                                             std::stop_token stop) {
  const CommitWatcher watcher(folder, manifest, request.name + ".", progress, own_frames);
  if (request.engine.name == "mpi") {
    return score_by_mpi(request, folder, console, std::move(stop));
  }
  if (request.engine.name == "slurm") {
    return score_on_slurm(request, folder, worker_arguments(request, folder.url(), 0), console,
                          std::move(stop));
  }
  return score_locally(request, folder.url(), console, std::move(stop));
}

}  // namespace atelier::cli
