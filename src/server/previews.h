// SPDX-License-Identifier: Apache-2.0
// Pictures of runs before and after, made on demand by `atelier preview`, one at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "engine/commands.h"
#include "server/runs.h"

namespace atelier::server {

// Safe from several threads.
class Previews {
 public:
  // `words_for`: the program and its arguments that make a run's picture at a path. `commands` must
  // outlive it. Pictures are kept in `folder`, the newest `most`.
  Previews(
      engine::Commands& commands, std::filesystem::path folder,
      std::function<Result<std::vector<std::string>>(const RunRow&, const std::filesystem::path&)>
          words_for,
      size_t most = 200);
  // Ends what is being made.
  ~Previews() = default;
  Previews(const Previews&) = delete;
  Previews& operator=(const Previews&) = delete;

  // The picture's path, or nothing while it is made. Errors: unavailable with retry_after (another
  // is being made), what kept the program from making it (told once, then tried again).
  Result<std::optional<std::filesystem::path>> of(const RunRow& run);

 private:
  void make(const std::string& id, const std::vector<std::string>& words,
            const std::filesystem::path& path, const std::stop_token& stop);
  void remove_oldest();

  engine::Commands& commands_;
  const std::filesystem::path folder_;
  const std::function<Result<std::vector<std::string>>(const RunRow&, const std::filesystem::path&)>
      words_for_;
  const size_t most_;
  Mutex mutex_;
  std::string making_ GUARDED_BY(mutex_);                   // the run's id; empty: none
  std::map<std::string, Error> failed_ GUARDED_BY(mutex_);  // that nobody was told yet
  std::jthread maker_;  // begun with the lock held; last: it ends first
};

}  // namespace atelier::server
