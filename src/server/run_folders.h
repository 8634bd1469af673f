// SPDX-License-Identifier: Apache-2.0
// What the service reads of run folders: nothing of it is the service's own, it is what workers and
// their engines left there.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "server/node_times.h"
#include "store/object_store.h"

namespace atelier::server {

// A piece of what a worker printed.
struct LogPiece {
  std::string worker;
  std::chrono::system_clock::time_point written;
  std::string text;
};

// Safe from several threads as far as the store is.
class RunFolders {
 public:
  // `store` holds the folders, by their names, and must outlive it.
  explicit RunFolders(ObjectStore& store) : store_(store) {}

  // Whether it is the URL of a run folder of this store.
  bool holds(const std::string& run_url) const { return name_of(run_url).has_value(); }
  // State, chunk table, workers and failures as `atelier show --json` prints them; nothing if there
  // is no such run. Errors: those of the store; corrupt.
  Result<std::optional<std::string>> state(const std::string& run_url);
  // report.json; nothing if there is none.
  Result<std::optional<std::string>> report(const std::string& run_url);
  // What workers printed, in the order in which it was written; of one worker, or of all where
  // `worker` is empty. At most `most_bytes`, the last ones.
  Result<std::vector<LogPiece>> logs(const std::string& run_url, const std::string& worker,
                                     uint64_t most_bytes);
  // When each worker that beat at `since` or later worked, by the clock of the store;
  // `of_machines`: those of one machine count once. Nothing if there is no such run. Errors: those
  // of the store.
  Result<std::vector<NodeTime>> node_times(const std::string& run_url, Millis since,
                                           bool of_machines);

 private:
  // The folder's name in the store; nothing if the URL is of another store.
  std::optional<std::string> name_of(const std::string& run_url) const;
  ObjectStore& store_;
};

}  // namespace atelier::server
