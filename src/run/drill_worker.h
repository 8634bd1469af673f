// SPDX-License-Identifier: Apache-2.0
// A worker in a drill: its store, and the processes that accidents happen to.
#pragma once

#include <memory>
#include <thread>

#include "run/broker.h"
#include "run/drill.h"
#include "run/scorer_process.h"
#include "store/retrying_store.h"

namespace atelier::run {

class DrillProcesses;

class DrilledWorker {
 public:
  // References must outlive it. Errors: those of opening the log in the orders' folder.
  static Result<std::unique_ptr<DrilledWorker>> create(const DrillOrders& orders,
                                                       ObjectStore& inner,
                                                       const std::string& run_id,
                                                       const Clock& clock);
  ~DrilledWorker();

  ObjectStore& store() { return *store_; }
  // Everything is quicker than in earnest. Attempts and losses have no end: here no chunk is to
  // blame for them.
  LedgerPolicy policy() const;
  RetryPolicy retries() const;
  std::chrono::milliseconds beat_interval() const;
  // Lets the scorers be hurt; it must outlive this.
  void arrange(ScorerTask& task);

  // Looks at the progress of the scorers as long as it lives, and lets accidents happen to what
  // moves; wakes the scorers that were frozen.
  class Watch {
   public:
    Watch(DrilledWorker& worker, const Progress& progress);

   private:
    std::jthread thread_;
  };

 private:
  DrilledWorker(const DrillOrders& orders, std::unique_ptr<DrillProcesses> processes,
                ObjectStore& inner, const std::string& run_id, const Clock& clock);
  void watch(const std::stop_token& stop, const Progress& progress);

  std::unique_ptr<DrillProcesses> processes_;
  std::unique_ptr<Drill> drill_;
  std::unique_ptr<DrillStore> store_;
};

// The logs of a drill's folder, one of each worker, in the order of the events' times, which mean
// something among workers of one machine; empty if nothing happened. Errors: corrupt, those of
// reading them.
Result<std::vector<DrillEvent>> read_drill_log(const std::string& folder);

}  // namespace atelier::run
