// SPDX-License-Identifier: Apache-2.0
#include "engine/mpi.h"

#include <sys/wait.h>

#include <algorithm>
#include <set>

#include "engine/mpi_words.h"

namespace atelier::engine {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTick(100);
constexpr std::chrono::seconds kBeatsEvery(2);
constexpr size_t kHostsAtOnce = 32;

Error interrupted() { return make_error(Code::cancelled, "Interrupted."); }

std::string listed(const std::vector<MpiHost>& hosts) {
  std::string text;
  for (const MpiHost& host : hosts) text += (text.empty() ? "" : ", ") + host.name;
  return text;
}

std::string ended_in_words(int status) {
  return WIFSIGNALED(status) ? fmt::format("was killed by signal {}", WTERMSIG(status))
                             : fmt::format("ended with code {}", WEXITSTATUS(status));
}

// mpirun at work, and all that was heard of it.
struct Running {
  std::unique_ptr<Program> program;
  GangWords words;
  std::optional<int> status;

  void listen() {
    if (!status) status = program->ended();
    words.add(program->read());
  }
};

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// What a host, or none, answered.
struct Answer {
  std::string host;
  std::optional<HostFacts> facts;
  std::string trouble;  // a sentence; empty: it is fit
  bool failed_to_start = false;
};

class Engine {
 public:
  Engine(const MpiJob& job, Launcher& launcher, const Clock& clock, std::stop_token stop)
      : job_(job), launcher_(launcher), clock_(clock), stop_(std::move(stop)), begin_(now()) {}

  Result<MpiOutcome> run() {
    std::vector<MpiHost> hosts = TRY(first_hosts());
    for (int gang = 1;; ++gang) {
      Running running;
      const Loss loss = TRY(run_gang(gang, hosts, running));
      if (!loss.lost) {
        outcome_.statistics = running.words.statistics();
        return std::move(outcome_);
      }
      bury(gang, hosts);
      if (outcome_.restarts == job_.restarts) {
        return make_error(Code::unavailable,
                          "{} That was the last of {} restarts; what is done is kept, and the same "
                          "command goes on.",
                          loss.why, job_.restarts);
      }
      event(loss.why);
      hosts = TRY(hosts_that_answer(hosts));
      ++outcome_.restarts;
    }
  }

  Result<std::vector<HostTrouble>> look() {
    std::vector<HostTrouble> found;
    HostWatch watch;
    watch.asked = wall_seconds();
    if (job_.hosts.empty()) {
      Running running;
      const std::vector<HostFacts> nodes = TRY(ask_nodes(running));
      watch.answered = wall_seconds();
      if (nodes.empty()) return too_few(nodes, running);
      // Of those that are missing no name is known, unless one says why.
      if (const auto& error = running.words.error()) found.push_back({"", error->message});
      for (const HostFacts& facts : nodes) {
        found.push_back({facts.host, why_not_fit(facts.host, facts, watch)});
      }
      if (!are_all(nodes)) found.push_back({"", too_few(nodes, running).message});
      return found;
    }
    const std::vector<Answer> answers = TRY(look_at(job_.hosts));
    watch.answered = wall_seconds();
    for (const Answer& answer : answers) {
      found.push_back({answer.host, answer.facts ? why_not_fit(answer.host, *answer.facts, watch)
                                                 : answer.trouble});
    }
    return found;
  }

 private:
  // How a gang ended: well, or for the reason `why`.
  struct Loss {
    bool lost = false;
    std::string why;
  };

  Clock::Duration now() const { return clock_.now(); }

  void event(const std::string& text) {
    const double seconds = std::chrono::duration<double>(now() - begin_).count();
    outcome_.events.push_back({seconds, text});
    if (job_.note) job_.note(text);
  }

  // --- hosts -----------------------------------------------------------------------------------

  Result<std::vector<MpiHost>> first_hosts() {
    if (job_.hosts.empty()) return hosts_of_resource_manager();
    for (const Answer& answer : TRY(look_at(job_.hosts))) {
      if (!answer.trouble.empty()) return Error{Code::unavailable, answer.trouble, {}};
    }
    return job_.hosts;
  }

  // Why no worker can be there, or what it would suffer from.
  std::string why_not_fit(const std::string& host, const HostFacts& facts,
                          const HostWatch& watch) const {
    const std::string unfit = why_unfit(host, facts, job_.version);
    return unfit.empty() ? why_troubled(host, facts, watch) : unfit;
  }

  // What those that a resource manager has given say of themselves, as far as they answer.
  Result<std::vector<HostFacts>> ask_nodes(Running& running) {
    running.program =
        TRY(launcher_.start(nodes_command(job_.setup, job_.nodes, job_.host_arguments)));
    TRY(wait_for(running, job_.gang_timeout));
    std::vector<HostFacts> nodes;
    for (const auto& [rank, facts] : running.words.hosts()) nodes.push_back(facts);
    return nodes;
  }

  bool are_all(const std::vector<HostFacts>& nodes) const {
    return static_cast<int>(nodes.size()) == job_.nodes;
  }
  Error too_few(const std::vector<HostFacts>& nodes, const Running& running) const {
    return make_error(Code::unavailable,
                      "{} of {} nodes answered mpirun{}; work inside an allocation of so many, or "
                      "name them with --hosts.",
                      nodes.size(), job_.nodes, in_brackets(running));
  }

  Result<std::vector<MpiHost>> hosts_of_resource_manager() {
    Running running;
    const std::vector<HostFacts> nodes = TRY(ask_nodes(running));
    std::vector<MpiHost> hosts;
    for (const HostFacts& facts : nodes) {
      if (const std::string trouble = why_unfit(facts.host, facts, job_.version);
          !trouble.empty()) {
        return Error{Code::unavailable, trouble, {}};
      }
      hosts.push_back({facts.host, job_.ranks_per_node});
    }
    if (!are_all(nodes)) return too_few(nodes, running);
    return hosts;
  }

  // After a loss; who does not answer is left out.
  Result<std::vector<MpiHost>> hosts_that_answer(const std::vector<MpiHost>& hosts) {
    std::vector<MpiHost> left;
    const std::vector<Answer> answers = TRY(look_at(hosts));
    for (size_t i = 0; i < hosts.size(); ++i) {
      if (answers[i].trouble.empty()) {
        left.push_back(hosts[i]);
      } else {
        event(fmt::format("Host {} is left out: {}", hosts[i].name, answers[i].trouble));
      }
    }
    if (!left.empty()) return left;
    return make_error(Code::unavailable,
                      "No host answers any more; what is done is kept, and the same command goes "
                      "on once they are back.");
  }

  // Where mpirun could not start anything it is asked once more: several at a time, on one host,
  // take their folders in /tmp from under one another now and then.
  Result<std::vector<Answer>> look_at(const std::vector<MpiHost>& hosts) {
    std::vector<Answer> answers = TRY(look_once(hosts));
    for (size_t i = 0; i < hosts.size(); ++i) {
      if (answers[i].failed_to_start) answers[i] = TRY(look_once({hosts[i]})).front();
    }
    return answers;
  }

  Result<std::vector<Answer>> look_once(const std::vector<MpiHost>& hosts) {
    std::vector<Answer> answers;
    for (size_t begin = 0; begin < hosts.size(); begin += kHostsAtOnce) {
      const size_t end = std::min(hosts.size(), begin + kHostsAtOnce);
      std::vector<Running> looks(end - begin);
      for (size_t i = begin; i < end; ++i) {
        looks[i - begin].program =
            TRY(launcher_.start(host_command(job_.setup, hosts[i].name, job_.host_arguments)));
      }
      const auto waited = wait_for_all(looks, job_.answer_timeout);
      for (size_t i = begin; i < end; ++i) {
        answers.push_back(answer_of(hosts[i].name, looks[i - begin]));
      }
      send_away(looks);
      TRY(waited);
    }
    return answers;
  }

  // What has not ended is asked to, so that it ends what it has started on other hosts.
  void send_away(std::span<Running> all) {
    bool asked = false;
    for (Running& running : all) {
      if (running.status) continue;
      running.program->ask_to_leave();
      asked = true;
    }
    const auto deadline = now() + std::chrono::seconds(1);
    while (asked && now() < deadline) {
      std::vector<Program*> programs;
      for (Running& running : all) {
        running.listen();
        if (!running.status) programs.push_back(running.program.get());
      }
      if (programs.empty()) return;
      launcher_.wait(programs, kTick);
    }
  }

  Answer answer_of(const std::string& host, const Running& look) const {
    Answer answer;
    answer.host = host;
    const auto& hosts = look.words.hosts();
    if (!hosts.empty()) {
      answer.facts = hosts.begin()->second;
      answer.trouble = why_unfit(host, *answer.facts, job_.version);
    } else if (look.words.error()) {
      answer.trouble =
          fmt::format("Host {} cannot open the run: {}", host, look.words.error()->message);
    } else if (look.words.without_program()) {
      answer.trouble = fmt::format(
          "Host {} cannot run '{}'; install the same version of Atelier, built with MPI, at the "
          "same place on every host.",
          host, job_.setup.program);
    } else {
      answer.failed_to_start = look.status.has_value();
      answer.trouble = fmt::format(
          "Host {} does not answer by interface {}{}; see that mpirun reaches it without a "
          "password, or leave it out.",
          host, job_.setup.interface, in_brackets(look));
    }
    return answer;
  }

  // Why mpirun ended, where it says so.
  static std::string in_brackets(const Running& running) {
    if (!running.status) return " in time";
    const std::string& line = running.words.telling_line();
    return line.empty() ? fmt::format(" (mpirun {})", ended_in_words(*running.status))
                        : fmt::format(" ({})", line);
  }

  Result<void> wait_for(Running& running, milliseconds most) {
    return wait_for_all(std::span(&running, 1), most);
  }

  // What has not ended by then is left as it is.
  Result<void> wait_for_all(std::span<Running> all, milliseconds most) {
    const auto deadline = now() + most;
    for (;;) {
      std::vector<Program*> programs;
      for (Running& running : all) {
        running.listen();
        if (!running.status) programs.push_back(running.program.get());
      }
      if (programs.empty() || now() >= deadline) return {};
      if (stop_.stop_requested()) return interrupted();
      launcher_.wait(programs, kTick);
    }
  }

  // --- a gang ----------------------------------------------------------------------------------

  Result<Loss> run_gang(int gang, const std::vector<MpiHost>& hosts, Running& running) {
    outcome_.hosts.clear();
    for (const MpiHost& host : hosts) outcome_.hosts.push_back(host.name);
    outcome_.ranks = ranks_of(hosts);
    const auto begin = now();
    running.program =
        TRY(launcher_.start(gang_command(job_.setup, hosts, job_.rank_arguments(gang))));
    watched_.clear();
    bool complete = false;
    for (;;) {
      running.listen();
      if (running.words.complete() && !complete) {
        complete = true;
        complete_since_ = now();
        say_complete(hosts);
      }
      if (running.status) return settle(hosts, running, complete);
      if (stop_.stop_requested()) {
        send_away(running);
        bury(gang, hosts);
        return interrupted();
      }
      const std::string why = !complete && now() - begin > job_.gang_timeout
                                  ? missing(hosts, running.words)
                                  : silent_rank(gang, hosts, complete);
      if (!why.empty()) {
        send_away(running);
        // A gang that never was is a matter of configuration.
        if (!complete && gang == 1) return Error{Code::unavailable, why, {}};
        return Loss{true, why};
      }
      Program* const program = running.program.get();
      launcher_.wait({&program, 1}, kTick);
    }
  }

  void say_complete(const std::vector<MpiHost>& hosts) {
    const int ranks = ranks_of(hosts);
    const std::string text =
        fmt::format("A gang of {} rank{} works on {} host{}: {}.", ranks, ranks == 1 ? "" : "s",
                    hosts.size(), hosts.size() == 1 ? "" : "s", listed(hosts));
    const double seconds = std::chrono::duration<double>(now() - begin_).count();
    outcome_.events.push_back({seconds, text});
    if (job_.say) job_.say(text);
  }

  std::string missing(const std::vector<MpiHost>& hosts, const GangWords& words) const {
    std::vector<std::string> names;
    for (int rank = 0; rank < ranks_of(hosts); ++rank) {
      const std::string host = host_of_rank(hosts, rank);
      if (words.there().contains(rank)) continue;
      if (names.empty() || names.back() != host) names.push_back(host);
    }
    const auto seconds = std::chrono::duration<double>(job_.gang_timeout).count();
    if (names.empty()) {
      return fmt::format(
          "All ranks are there, but did not meet within {} s; see that all hosts reach one another "
          "by interface {}.",
          seconds, job_.setup.interface);
    }
    return fmt::format(
        "Nobody came from {} within {} s (--gang-timeout); see that mpirun can start a program "
        "there.",
        fmt::join(names, ", "), seconds);
  }

  // A sentence about a rank whose beats have stopped, if there is one.
  std::string silent_rank(int gang, const std::vector<MpiHost>& hosts, bool complete) {
    if (!complete || !job_.beats || now() - looked_ < kBeatsEvery) return {};
    looked_ = now();
    const auto beats = job_.beats(gang);
    if (!beats.ok()) {
      // Nothing is known of anybody, which is not silence.
      for (auto& [rank, seen] : watched_) seen.changed = now();
      complete_since_ = now();
      return {};
    }
    for (int rank = 0; rank < ranks_of(hosts); ++rank) {
      const auto [it, first] = watched_.try_emplace(rank, Seen{"", complete_since_});
      Seen& seen = it->second;
      const auto beat = beats->find(rank);
      if (beat != beats->end() && beat->second != seen.beat) seen = {beat->second, now()};
      if (now() - seen.changed > job_.beat_timeout) {
        return fmt::format("Rank {} on {} gave no sign of life for {} s.", rank,
                           host_of_rank(hosts, rank),
                           std::chrono::duration<double>(job_.beat_timeout).count());
      }
    }
    return {};
  }

  // mpirun has ended.
  Result<Loss> settle(const std::vector<MpiHost>& hosts, Running& running, bool complete) {
    const GangWords& words = running.words;
    const int status = *running.status;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return Loss{};
    const auto& error = words.error();
    const bool left = error && error->code == Code::cancelled;
    if (error && !left && error->code != Code::unavailable) return *error;
    if (left && !words.death() && !words.lost_host() && !words.lost_daemon() && job_.goes_on &&
        !job_.goes_on()) {
      return *error;
    }
    if (!complete && words.without_program()) {
      return make_error(Code::unavailable, "mpirun cannot start '{}' on every host.",
                        job_.setup.program);
    }
    return Loss{true, why_lost(hosts, running)};
  }

  static std::string why_lost(const std::vector<MpiHost>& hosts, const Running& running) {
    const GangWords& words = running.words;
    if (words.lost_host()) return fmt::format("Host {} was lost.", *words.lost_host());
    if (words.death()) {
      const std::string host = host_of_rank(hosts, words.death()->rank);
      return fmt::format("Rank {} on {} was killed by signal {}.", words.death()->rank,
                         host.empty() ? words.death()->host : host, words.death()->signal);
    }
    if (words.lost_daemon()) return "A host's daemon was lost.";
    if (words.error() && words.error()->code != Code::cancelled) {
      return fmt::format("A rank could not go on: {}", words.error()->message);
    }
    if (words.error()) return "A rank was asked to leave.";
    const std::string& line = words.telling_line();
    return fmt::format("mpirun {}{}.", ended_in_words(*running.status),
                       line.empty() ? "" : fmt::format(" ({})", line));
  }

  // Not all had the time to leave in good order: mpirun gives them a second.
  void bury(int gang, const std::vector<MpiHost>& hosts) {
    if (job_.bury) job_.bury(gang, ranks_of(hosts));
  }

  // Ranks that leave in good order free their chunks at once.
  void send_away(Running& running) {
    running.program->ask_to_leave();
    const auto deadline = now() + job_.patience;
    while (!running.status && now() < deadline) {
      Program* const program = running.program.get();
      launcher_.wait({&program, 1}, kTick);
      running.listen();
    }
    running.program.reset();
  }

  struct Seen {
    std::string beat;
    Clock::Duration changed{};
  };

  const MpiJob& job_;
  Launcher& launcher_;
  const Clock& clock_;
  std::stop_token stop_;
  const Clock::Duration begin_;
  MpiOutcome outcome_;
  std::map<int, Seen> watched_;  // ranks of this gang
  Clock::Duration looked_{};
  Clock::Duration complete_since_{};
};

}  // namespace

Result<std::vector<HostTrouble>> look_at_hosts(const MpiJob& job, Launcher& launcher,
                                               const Clock& clock, std::stop_token stop) {
  return Engine(job, launcher, clock, std::move(stop)).look();
}

Result<MpiOutcome> run_mpi_gang(const MpiJob& job, Launcher& launcher, const Clock& clock,
                                std::stop_token stop) {
  return Engine(job, launcher, clock, std::move(stop)).run();
}

}  // namespace atelier::engine
