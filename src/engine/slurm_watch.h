// SPDX-License-Identifier: Apache-2.0
// What the states of a job's tasks mean: go on, submit again, or give up with which sentence; and
// what happened meanwhile. Pure: fed with what squeue said, it does nothing itself.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/slurm_queue.h"

namespace atelier::engine {

class SlurmWatch {
 public:
  // `program` and `partition` are named in sentences. After `most_in_vain` submissions, or time
  // limits of one task, without a chunk done meanwhile it gives up.
  SlurmWatch(std::string program, std::string partition, int most_in_vain)
      : program_(std::move(program)),
        partition_(std::move(partition)),
        most_in_vain_(most_in_vain) {}

  void submitted(int64_t job);
  // Less is left to do than before.
  void progressed();

  struct Answer {
    enum class Next { go_on, submit, give_up };
    Next next = Next::go_on;
    Error error;  // with give_up
  };
  // The first of these nodes that is lost (first_lost_node).
  using FindLost = std::function<std::optional<std::string>(const std::vector<std::string>&)>;
  // While chunks are left. `find_lost` is asked only where a task went away from its nodes without
  // a reason of its own.
  Answer look(const std::vector<SlurmTask>& tasks, const FindLost& find_lost);

  // What happened since this was asked last, a sentence each. Events are worth a report, the rest
  // is worth saying.
  std::vector<std::string> take_events() { return std::exchange(events_, {}); }
  std::vector<std::string> take_news() { return std::exchange(news_, {}); }
  // Of all its jobs.
  const std::set<std::string>& nodes() const { return nodes_; }
  int restarts() const { return restarts_; }

 private:
  struct Known {
    int restarts = 0;
    std::vector<std::string> nodes;  // where it ran or was to run last
    bool started = false;            // it ran there
    bool finished = false;           // its end was looked at
  };
  void look_at(const SlurmTask& task, const FindLost& find_lost);
  std::string why_requeued(const SlurmTask& task, const Known& known, const FindLost& find_lost);
  void ended(const SlurmTask& task, Known& known);
  static bool has_last_words(const SlurmTask& task);
  void count_time_limit(const SlurmTask& task);
  void say_why_all_wait(const std::vector<SlurmTask>& tasks);
  Answer none_is_left();

  const std::string program_;
  const std::string partition_;
  const int most_in_vain_;
  int64_t job_ = 0;
  int submissions_ = 0;             // since there was progress
  std::map<int, int> time_limits_;  // likewise, of this job, by the task's number
  std::map<int, Known> known_;      // by the task's number, of this job
  bool cancelled_ = false;          // a task of this job was, by somebody
  bool lost_ = false;               // one of this job ended in any other way without a verdict
  std::optional<Error> refused_;    // the last verdict that is the node's fault
  std::optional<Error> failed_;     // one that is not
  std::string said_reason_;
  std::set<std::string> nodes_;
  int restarts_ = 0;
  std::vector<std::string> events_;
  std::vector<std::string> news_;
};

}  // namespace atelier::engine
