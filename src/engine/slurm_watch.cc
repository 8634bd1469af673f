// SPDX-License-Identifier: Apache-2.0
#include "engine/slurm_watch.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "engine/worker_process.h"

namespace atelier::engine {
namespace {

using State = SlurmTask::State;
using Next = SlurmWatch::Answer::Next;

// "Task 3", or the job where it is no array.
std::string name_of(const SlurmTask& task) {
  return task.number > 0 ? fmt::format("task {}", task.number) : std::string("the job");
}

std::string capitalised(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] += 'A' - 'a';
  return text;
}

std::string as_sentence(std::string text) {
  if (!text.empty() && !text.ends_with('.')) text += '.';
  return text;
}

// Waiting for ever: no node will ever do, or somebody has to let it go.
bool is_hopeless(std::string_view reason) {
  constexpr std::array<std::string_view, 12> kHopeless = {
      "PartitionConfig",   "PartitionNodeLimit", "PartitionTimeLimit", "BadConstraints",
      "AccountNotAllowed", "InvalidAccount",     "InvalidQOS",         "QOSNotAllowed",
      "JobHoldMaxRequeue", "JobHeldAdmin",       "JobLaunchFailure",   "DeadLine"};
  return std::find(kHopeless.begin(), kHopeless.end(), reason) != kHopeless.end();
}

}  // namespace

void SlurmWatch::submitted(int64_t job) {
  job_ = job;
  ++submissions_;
  known_.clear();
  time_limits_.clear();
  cancelled_ = lost_ = false;
  said_reason_.clear();
}

void SlurmWatch::progressed() {
  submissions_ = 0;
  time_limits_.clear();
}

SlurmWatch::Answer SlurmWatch::look(const std::vector<SlurmTask>& tasks,
                                    const FindLost& find_lost) {
  for (const SlurmTask& task : tasks) look_at(task, find_lost);
  if (failed_) return {Next::give_up, *failed_};
  const auto is = [&](State state) {
    return [state](const SlurmTask& task) { return task.state == state; };
  };
  if (std::all_of(tasks.begin(), tasks.end(), is(State::ended))) return none_is_left();
  const auto waits_or_ended = [](const SlurmTask& task) {
    return task.state == State::waiting || task.state == State::ended;
  };
  if (!std::all_of(tasks.begin(), tasks.end(), waits_or_ended)) {
    said_reason_.clear();
    return {};
  }
  const auto has_hope = [](const SlurmTask& task) {
    return task.state == State::waiting && !is_hopeless(task.reason);
  };
  if (std::none_of(tasks.begin(), tasks.end(), has_hope)) {
    const auto waiting = std::find_if(tasks.begin(), tasks.end(), is(State::waiting));
    return {Next::give_up,
            make_error(Code::unavailable,
                       "Slurm will not run job {} in partition '{}' as it is ({}); change --nodes, "
                       "--constraint, --gres or --time, or ask `scontrol show job {}`.",
                       job_, partition_, waiting->reason, job_)};
  }
  say_why_all_wait(tasks);
  return {};
}

void SlurmWatch::say_why_all_wait(const std::vector<SlurmTask>& tasks) {
  // What is in between is not worth a line.
  const auto worth = [](const SlurmTask& task) {
    return task.state == State::waiting && !task.reason.empty() && task.reason != "BeginTime";
  };
  const auto found = std::find_if(tasks.begin(), tasks.end(), worth);
  if (found == tasks.end() || found->reason == said_reason_) return;
  said_reason_ = found->reason;
  news_.push_back(
      fmt::format("Slurm job {} waits in partition '{}' ({}).", job_, partition_, found->reason));
}

void SlurmWatch::look_at(const SlurmTask& task, const FindLost& find_lost) {
  Known& known = known_[task.number];
  // While it is ending, its last words may still come.
  if (task.restarts > known.restarts && task.state != State::ending) {
    restarts_ += task.restarts - known.restarts;
    std::string why = why_requeued(task, known, find_lost);
    // A node's name stays as it is.
    if (why.starts_with(name_of(task))) why = capitalised(std::move(why));
    events_.push_back(std::move(why));
    count_time_limit(task);
    known = {task.restarts, {}, false, false};
  }
  if ((task.state == State::starting || task.state == State::running) && !task.nodes.empty()) {
    known.nodes = task.nodes;
    if (task.state == State::running && !known.started) {
      known.started = true;
      nodes_.insert(task.nodes.begin(), task.nodes.end());
    }
  }
  if (task.state == State::ended && !known.finished) {
    known.finished = true;
    ended(task, known);
  }
}

// Words of an earlier life say nothing of this one's end.
bool SlurmWatch::has_last_words(const SlurmTask& task) {
  return task.words && task.words->restart == task.restarts - 1;
}

// It goes back into the queue each time, and for ever where a chunk takes longer than its limit.
void SlurmWatch::count_time_limit(const SlurmTask& task) {
  if (!has_last_words(task) || !task.words->why.starts_with("time")) return;
  if (++time_limits_[task.number] < most_in_vain_) return;
  failed_ = make_error(Code::unavailable,
                       "{} reached its time limit {} times while no chunk was done; give it more "
                       "with --time, or take shorter chunks with --chunk-seconds.",
                       capitalised(name_of(task)), most_in_vain_);
}

// A sentence, which begins with a small letter where it names a task.
std::string SlurmWatch::why_requeued(const SlurmTask& task, const Known& known,
                                     const FindLost& find_lost) {
  const std::string name = name_of(task);
  const bool has_words = has_last_words(task);
  if (has_words && task.words->why != "asked") {
    const SlurmWords& words = *task.words;
    const char* why = words.why.starts_with("time")   ? "reached its time limit"
                      : words.why.starts_with("vain") ? "came to nothing"
                                                      : "ended without a verdict";
    return fmt::format("{} {} on {} and was requeued{}{}", name, why, words.node,
                       words.said.empty() ? "." : ": ", as_sentence(words.said));
  }
  // Of a gang the batch script may live, on another node.
  if (const auto lost = known.nodes.empty() ? std::nullopt : find_lost(known.nodes)) {
    return fmt::format("{} {}: {} was requeued.", *lost,
                       known.started ? "was lost" : "did not start", name);
  }
  if (has_words)
    return fmt::format("{} was preempted on {} and was requeued.", name, task.words->node);
  if (known.nodes.empty()) return fmt::format("{} was requeued.", name);
  return fmt::format("{} was taken from {} and requeued.", name, known.nodes.front());
}

void SlurmWatch::ended(const SlurmTask& task, Known& known) {
  if (task.word == "COMPLETED") return;
  if (task.word == "CANCELLED") {
    cancelled_ = true;
    return;
  }
  const bool has_words = task.words && task.words->restart == task.restarts;
  const std::string node = has_words             ? task.words->node
                           : !task.nodes.empty() ? task.nodes.front()
                           : known.nodes.empty() ? std::string()
                                                 : known.nodes.front();
  const bool verdict =
      task.word == "FAILED" &&
      ((task.code >= 1 && task.code <= 4) || task.code == kNotStarted || task.code == kNotFound);
  if (!verdict) {
    lost_ = true;
    events_.push_back(capitalised(fmt::format("{} ended{}{} ({}).", name_of(task),
                                              node.empty() ? "" : " on ", node, task.word)));
    return;
  }
  Error error{code_of_exit(task.code), {}, {}};
  if (task.code == kNotStarted || task.code == kNotFound) {
    error.message = fmt::format(
        "{} cannot start '{}'; install the same version there or in a folder that all nodes share.",
        node, program_);
  } else if (has_words && !task.words->said.empty()) {
    error.message = fmt::format("On {}: {}", node, task.words->said);
  } else {
    error.message = fmt::format(
        "The worker on {} ended with code {}; see the logs in the run's "
        "folder.",
        node, task.code);
  }
  // What one node cannot reach another one may.
  if (error.code != Code::unavailable) {
    failed_ = std::move(error);
    return;
  }
  events_.push_back(error.message);
  refused_ = std::move(error);
}

SlurmWatch::Answer SlurmWatch::none_is_left() {
  if (refused_) return {Next::give_up, *refused_};
  if (cancelled_ && !lost_) {
    return {
        Next::give_up,
        make_error(Code::cancelled,
                   "Somebody cancelled Slurm job {}; what is done is kept, and the same command "
                   "goes on.",
                   job_)};
  }
  if (submissions_ >= most_in_vain_) {
    return {Next::give_up,
            make_error(Code::internal,
                       "Slurm ended {} jobs of this run in a row, the last one number {}, before "
                       "one of them did a chunk; what is done is kept.",
                       submissions_, job_)};
  }
  return {Next::submit, {}};
}

}  // namespace atelier::engine
