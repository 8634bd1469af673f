// SPDX-License-Identifier: Apache-2.0
#include "cli/local_workers.h"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <set>
#include <thread>

#include "base/mutex.h"
#include "engine/local.h"
#include "run/scorer_process.h"

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

}  // namespace

Result<void> score_with_local_workers(const LocalWorkers& local, run::RunFolder& folder,
                                      const run::Manifest& manifest, run::Progress& progress,
                                      uint64_t& own_frames, Console& console,
                                      std::stop_token stop) {
  engine::LocalSetup setup;
  setup.program = run::kThisProgram;
  setup.workers = local.workers;
  setup.goes_on = local.goes_on;
  int started = 0;
  setup.arguments = [&, url = folder.url(),
                     threads = engine::threads_of_each(local.workers, local.threads)](int k,
                                                                                      int n) {
    std::vector<std::string> arguments{"worker",    url,
                                       "--quiet",   "--worker=" + fmt::format("{}/{}", k, n),
                                       "--input",   local.input,
                                       "--model",   local.model,
                                       "--threads", std::to_string(threads),
                                       "--sandbox", local.sandbox,
                                       "--parent",  std::to_string(::getpid()),
                                       "--name",    fmt::format("{}.{}", local.name, ++started)};
    if (local.trace) arguments.emplace_back("--trace");
    for (std::string& limit : to_arguments(local.limits, n)) arguments.push_back(std::move(limit));
    if (local.more_arguments) {
      for (std::string& more : local.more_arguments(k)) arguments.push_back(std::move(more));
    }
    return arguments;
  };
  setup.say = [&console](const std::string& text) { console.note(text); };
  const CommitWatcher watcher(folder, manifest, local.name + ".", progress, own_frames);
  return engine::run_local_workers(setup, std::move(stop));
}

}  // namespace atelier::cli
