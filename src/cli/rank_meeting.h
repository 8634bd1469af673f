// SPDX-License-Identifier: Apache-2.0
// The time in which the ranks of a gang must meet, where nobody but they themselves can tell who
// has not come: those that srun starts.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "store/object_store.h"

namespace atelier::cli {

// A call of MPI that waits for the others cannot be interrupted: so a thread marks this node in the
// run folder (run/gang_marks.h) again and again, and ends the process when the time is over, unless
// this object ends before. It names the nodes without a living rank and ends with
// engine::kGangUnmet; where every node has one, the ranks do not reach each other, which is a
// matter of configuration: exit 4.
class RankMeeting {
 public:
  struct Setup {
    std::string run_url;
    std::string gang;
    double seconds = 60;
  };
  // Errors: those of the store; unavailable where the run cannot be seen from here.
  static Result<std::unique_ptr<RankMeeting>> begin(const Setup& setup);
  // They have met; or this rank cannot.
  ~RankMeeting();
  RankMeeting(const RankMeeting&) = delete;
  RankMeeting& operator=(const RankMeeting&) = delete;

 private:
  RankMeeting(const Setup& setup, std::string run_id, std::unique_ptr<ObjectStore> store);
  void wait(const std::stop_token& met);
  [[noreturn]] void end_without(const std::vector<std::string>& absent) const;

  const Setup setup_;
  const std::string run_id_;
  const std::string node_;
  const std::vector<std::string> nodes_;
  const std::unique_ptr<ObjectStore> store_;
  int marks_ = 0;  // the thread's, as long as it runs
  std::jthread thread_;
};

}  // namespace atelier::cli
