// SPDX-License-Identifier: Apache-2.0
#include "engine/slurm.h"

#include <algorithm>

#include "engine/slurm_cluster.h"
#include "engine/slurm_watch.h"
#include "engine/worker_process.h"

namespace atelier::engine {
namespace {

using Next = SlurmWatch::Answer::Next;
using State = SlurmTask::State;

const std::vector<std::string> kQueue = {"squeue", "--states=all", "--json"};

class Engine {
 public:
  Engine(const SlurmRequest& request, Commands& commands, Clock& clock, std::stop_token stop)
      : request_(request),
        commands_(commands),
        clock_(clock),
        stop_(std::move(stop)),
        watch_(request.setup.program,
               request.setup.partition.empty() ? "(default)" : request.setup.partition,
               request.most_in_vain) {}

  Result<SlurmOutcome> run() {
    const auto worked = work();
    if (!worked.ok()) {
      cancel({});
      return worked.error();
    }
    SlurmOutcome outcome;
    outcome.nodes.assign(watch_.nodes().begin(), watch_.nodes().end());
    outcome.workers = workers_;
    outcome.restarts = watch_.restarts();
    return outcome;
  }

 private:
  Result<void> work() {
    left_ = TRY(request_.unsettled());
    if (left_ == 0) return {};
    TRY(submit());
    for (;;) {
      wait();
      if (stop_.stop_requested()) return make_error(Code::cancelled, "Interrupted.");
      const bool seen = TRY(count_left());
      if (stop_.stop_requested()) return make_error(Code::cancelled, "Interrupted.");
      if (seen && left_ == 0) return wind_down();
      if (seen) TRY(still_wanted());
      auto tasks = ask();
      if (!tasks.ok()) {
        TRY(still_patient(tasks.error()));
        continue;
      }
      heard_ = clock_.now();
      unanswered_ = 0;
      count_ranks(*tasks);
      const auto answer = watch_.look(*tasks, [this](const auto& nodes) { return lost_of(nodes); });
      tell();
      if (answer.next == Next::go_on) continue;
      // The last chunk may have been settled since.
      const bool known = TRY(count_left());
      if (known && left_ == 0) return wind_down();
      if (answer.next == Next::give_up) return answer.error;
      // Whether there is anything to submit is seen when the store is back.
      if (!known) continue;
      TRY(still_wanted());
      happened(
          fmt::format("Slurm job {} ended before its work was done; what is left is submitted "
                      "again.",
                      job_));
      TRY(submit());
    }
  }

  // Whether `left_` is what is left now.
  Result<bool> count_left() {
    const auto left = request_.unsettled();
    if (left.ok()) {
      if (*left < left_) watch_.progressed();
      left_ = *left;
      counted_ = clock_.now();
      without_store_ = false;
      misses_ = 0;
      return true;
    }
    if (left.error().code != Code::unavailable) return left.error();
    // Once is not enough: the question before may be long ago.
    if (++misses_ > 1 && clock_.now() - counted_ >= request_.silence) {
      return make_error(Code::unavailable,
                        "The run has not been seen from here for {} s ({}); what is "
                        "done is kept.",
                        seconds_since(counted_), left.error().message);
    }
    if (!std::exchange(without_store_, true)) {
      happened("Of the run nothing is seen from here: " + left.error().message);
    }
    return false;
  }

  Result<void> still_wanted() const {
    if (!request_.goes_on || request_.goes_on()) return {};
    return make_error(Code::cancelled, "Run {} was cancelled; what is done is kept.",
                      request_.setup.run_id);
  }

  int64_t seconds_since(Clock::Duration then) const {
    return std::chrono::duration_cast<std::chrono::seconds>(clock_.now() - then).count();
  }

  Result<void> submit() {
    const int tasks = tasks_for(left_);
    const std::string name = job_name(request_.setup, ++submissions_);
    const auto words = submit_command(request_.setup, name, tasks, harmless_variables());
    const auto answer =
        commands_.run(words, batch_script(request_.setup, tasks), std::stop_token());
    TRY(check_taken(answer));
    const auto number = number_of_job(answer);
    job_ = number.ok() ? *number : TRY(find_lost(name, number.error()));
    if (workers_ == 0) workers_ = request_.setup.gang ? request_.setup.least_nodes : tasks;
    watch_.submitted(job_);
    lives_before_ = lives_over_;
    heard_ = counted_ = clock_.now();
    if (request_.submitted) request_.submitted(job_);
    return {};
  }

  // Of an array no more than Slurm allows.
  int tasks_for(size_t left) {
    const auto most = static_cast<size_t>(std::max(1, request_.setup.most_nodes));
    const int tasks = static_cast<int>(std::min(most, left));
    if (request_.setup.gang) return tasks;
    const auto allowed = most_tasks(commands_, stop_);
    // Where that is not known, sbatch will say so.
    if (!allowed.ok() || !*allowed || **allowed < 1 || **allowed >= tasks) return tasks;
    if (request_.say && submissions_ == 0) {
      request_.say(fmt::format("Slurm allows arrays of {} tasks here (MaxArraySize), not {}.",
                               **allowed, tasks));
    }
    return **allowed;
  }

  // A gang is as large as it becomes.
  void count_ranks(const std::vector<SlurmTask>& tasks) {
    if (!request_.setup.gang) return;
    for (const SlurmTask& task : tasks) {
      if (task.state != State::running) continue;
      workers_ = std::max(workers_, static_cast<int>(task.nodes.size()));
    }
  }

  // Refused: then there is certainly no job.
  static Result<void> check_taken(const Result<Commands::Answer>& answer) {
    if (!answer.ok() || answer->code == 0 || may_be_submitted(last_words(*answer))) return {};
    return make_error(Code::unavailable,
                      "Slurm refuses the job ({}); change --partition, --nodes, --account, "
                      "--constraint, --gres or --time.",
                      last_words(*answer));
  }

  static Result<int64_t> number_of_job(const Result<Commands::Answer>& answer) {
    if (!answer.ok()) return answer.error();
    if (answer->code == 0) return parse_submitted(answer->out);
    return make_error(Code::unavailable,
                      "Slurm's 'sbatch' fails ({}); the same command goes on once it answers.",
                      last_words(*answer));
  }

  // The number of a job that may have been submitted though `why` is all that came back.
  Result<int64_t> find_lost(const std::string& name, const Error& why) {
    job_ = 0;
    int absent = 0;
    for (int look = 0; look < request_.most_looks && absent < request_.looks_without_job; ++look) {
      wait();
      if (stop_.stop_requested()) break;
      const auto printed = printed_by(commands_, kQueue, stop_);
      const auto found = printed.ok() ? parse_job_named(*printed, name) : printed.error();
      if (!found.ok()) continue;
      if (*found) {
        happened(fmt::format("sbatch did not say so, but Slurm has job {}.", **found));
        return **found;
      }
      ++absent;
    }
    // One that comes after all has nobody to wait for it.
    run_unheard({"scancel", "--jobname=" + name});
    if (stop_.stop_requested()) return make_error(Code::cancelled, "Interrupted.");
    return why;
  }

  // Large clusters answer slowly: most of the time they are left alone.
  void wait() {
    constexpr Clock::Duration kSlice = std::chrono::milliseconds(100);
    constexpr int kRest = 10;
    const Clock::Duration end =
        clock_.now() + std::max<Clock::Duration>(request_.interval, kRest * answering_);
    while (!stop_.stop_requested() && clock_.now() < end) {
      clock_.sleep_for(std::min(kSlice, end - clock_.now()));
    }
  }

  Result<std::vector<SlurmTask>> ask() {
    const Clock::Duration begin = clock_.now();
    auto tasks = ask_slurm(commands_, job_, stop_);
    // A time-out says nothing of how large the cluster is.
    answering_ = tasks.ok() ? clock_.now() - begin : Clock::Duration();
    return tasks;
  }

  // Workers need no Slurm to go on.
  Result<void> still_patient(const Error& error) {
    if (error.code == Code::cancelled) return error;
    if (++unanswered_ < 2 || clock_.now() - heard_ < request_.silence) {
      if (!std::exchange(silent_, true)) happened("Slurm does not answer: " + error.message);
      return {};
    }
    return make_error(Code::unavailable,
                      "Slurm has not answered for {} s ({}); what is done is kept.",
                      seconds_since(heard_), error.message);
  }

  // Nothing, too, while Slurm does not say.
  std::optional<std::string> lost_of(const std::vector<std::string>& nodes) {
    const auto printed = printed_by(commands_, {"sinfo", "--json"}, stop_);
    if (!printed.ok()) return std::nullopt;
    const auto lost = first_lost_node(*printed, nodes);
    return lost.ok() ? *lost : std::nullopt;
  }

  void tell() {
    silent_ = false;
    for (; lives_over_ < watch_.restarts(); ++lives_over_) {
      const int restart = lives_over_ - lives_before_;
      if (request_.setup.gang && request_.bury) request_.bury(job_, restart);
    }
    for (const std::string& text : watch_.take_events()) happened(text);
    for (const std::string& text : watch_.take_news()) {
      if (request_.say) request_.say(text);
    }
  }
  void happened(const std::string& text) {
    if (request_.event) request_.event(text);
  }

  // Everything is settled: nobody need start any more, and who runs leaves by itself. On a lost
  // node nobody does, and Slurm would requeue it.
  Result<void> wind_down() {
    // Who does not answer cannot be asked; what it starts later finds nothing to do.
    if (silent_) return {};
    cancel({"--state=PENDING"});
    const Clock::Duration end = clock_.now() + request_.patience;
    for (;;) {
      const auto tasks = ask();
      if (tasks.ok()) {
        // What happened in the end is part of the report.
        watch_.look(*tasks, [this](const auto& nodes) { return lost_of(nodes); });
        tell();
        const auto left = [](const SlurmTask& task) {
          return task.state == State::ended || task.state == State::ending;
        };
        if (std::all_of(tasks->begin(), tasks->end(), left)) return {};
      }
      if (clock_.now() >= end || stop_.stop_requested()) break;
      clock_.sleep_for(std::chrono::milliseconds(500));
    }
    cancel({});
    return {};
  }

  // A job that cannot be cancelled ends by itself: there is nothing left that it could do.
  void cancel(const std::vector<std::string>& options) {
    if (job_ == 0) return;
    std::vector<std::string> words = {"scancel"};
    words.insert(words.end(), options.begin(), options.end());
    words.push_back(std::to_string(job_));
    run_unheard(words);
  }
  void run_unheard(const std::vector<std::string>& words) {
    const auto ignored = commands_.run(words, {}, std::stop_token());
    static_cast<void>(ignored);
  }

  const SlurmRequest& request_;
  Commands& commands_;
  Clock& clock_;
  const std::stop_token stop_;
  SlurmWatch watch_;
  int64_t job_ = 0;
  int submissions_ = 0;
  int workers_ = 0;
  int lives_over_ = 0;    // restarts that were looked after, of all jobs
  int lives_before_ = 0;  // of jobs before this one
  size_t left_ = 0;       // as far as is known
  Clock::Duration counted_{};
  bool without_store_ = false;
  int misses_ = 0, unanswered_ = 0;  // questions in a row without an answer: of the store, of Slurm
  Clock::Duration heard_{};
  Clock::Duration answering_{};
  bool silent_ = false;
};

}  // namespace

Result<void> check_slurm(Commands& commands, const std::string& partition, int least,
                         std::stop_token stop) {
  const auto found = TRY(look_at_partition(commands, partition, std::move(stop)));
  if (found) return check_usable(*found, least);
  if (partition.empty()) {
    return make_error(Code::unavailable,
                      "Slurm has no default partition; name one of those that `sinfo` lists with "
                      "--partition.");
  }
  return make_error(Code::unavailable, "Slurm has no partition '{}'; `sinfo` lists those it has.",
                    partition);
}

Result<SlurmOutcome> run_slurm_workers(const SlurmRequest& request, Commands& commands,
                                       Clock& clock, std::stop_token stop) {
  return Engine(request, commands, clock, std::move(stop)).run();
}

Result<std::vector<SlurmTask>> ask_slurm(Commands& commands, int64_t job, std::stop_token stop) {
  return parse_queue(TRY(printed_by(commands, kQueue, stop)), job);
}

}  // namespace atelier::engine
