// SPDX-License-Identifier: Apache-2.0
// atelier show RUN-URL: state, failures, chunk table, rates.
#include <fmt/ranges.h>

#include <map>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/slurm_workers.h"
#include "run/report.h"

namespace atelier::cli {
namespace {

void say_failures(Console& console, const run::RunState& state, run::WallTime now) {
  // The first is the one to mend; the rest often follows from it.
  constexpr size_t kMost = 10;
  const auto& failures = state.ledger.failures;
  for (size_t i = 0; i < std::min(failures.size(), kMost); ++i) {
    const run::FailedAttempt& failure = failures[i];
    console.say(fmt::format("{} chunk {}, attempt {}, {} ago, by {}: {}",
                            i == 0 ? "First failure:" : "  then", failure.chunk, failure.attempt,
                            age_text(now - failure.when), failure.worker, failure.error));
  }
  if (failures.size() > kMost) {
    console.say(fmt::format("  and {} more failures", failures.size() - kMost));
  }
}

std::string row_of(const run::RunState& state, size_t i) {
  const run::ChunkView& chunk = state.ledger.chunks[i];
  const std::string begin = fmt::format("  {:5}  {:12}  {:8}", i, run::to_string(chunk.state),
                                        run::attempts_of(state, i));
  const auto& commit = state.commits[i];
  if (!commit) {
    const std::string worker = run::worker_of(state, i);
    const bool lost = chunk.state == run::ChunkView::State::waiting && !worker.empty();
    return fmt::format("{}  {:6}  {:56}  {}{}", begin, state.manifest.chunks[i].frames, "",
                       lost ? "left by " : "", worker);
  }
  const auto& s = commit->seconds;
  return fmt::format("{}  {:6}  {:6}  {:8.3f}  {:8.3f}  {:8.3f}  {:8.2f}  {:10}  {}", begin,
                     commit->frames, commit->decode_errors, s.decode, s.score, s.encode,
                     s.score > 0 ? static_cast<double>(commit->frames) / s.score : 0.0,
                     commit->bytes, commit->worker);
}

// "Slurm job 12 in 'spot': 2 RUNNING on n1, n2; 1 PENDING (Resources)."
void say_engine(Console& console, const run::EngineState& engine) {
  const std::string job =
      fmt::format("Slurm job {}{}", engine.record.job,
                  engine.record.partition.empty() ? "" : " in '" + engine.record.partition + "'");
  if (!engine.error.empty()) {
    console.say(fmt::format("{}: nothing is known of it. {}", job, engine.error));
    return;
  }
  struct Group {
    int count = 0;
    std::vector<std::string> nodes;
  };
  std::map<std::string, Group> groups;  // by state and reason
  for (const run::EngineTask& task : engine.tasks) {
    Group& group = groups[task.state + (task.reason.empty() ? "" : " (" + task.reason + ")")];
    ++group.count;
    group.nodes.insert(group.nodes.end(), task.nodes.begin(), task.nodes.end());
  }
  std::string text;
  for (const auto& [state, group] : groups) {
    text += fmt::format("{}{} {}{}{}", text.empty() ? "" : "; ", group.count, state,
                        group.nodes.empty() ? "" : " on ", fmt::join(group.nodes, ", "));
  }
  console.say(fmt::format("{}: {}.", job, text.empty() ? "Slurm knows it no more" : text));
}

}  // namespace

Result<void> show_command(const std::string& run_url, Console& console) {
  const Place place = TRY(open_place(run_url));
  const auto now = std::chrono::system_clock::now();
  run::RunState state = TRY(run::read_state(*place.store, place.key, now));
  if (!state.published) {
    run::RunFolder folder(*place.store, place.key);
    state.engine = TRY(ask_engine(folder));
  }
  console.object(run::to_json(state, now));

  size_t done = 0;
  uint64_t frames = 0;
  for (const auto& commit : state.commits) {
    done += commit ? 1 : 0;
    frames += commit ? commit->frames : 0;
  }
  console.say(
      fmt::format("Run {}, {}: '{}' painted by '{}', {} of {} frames in {} of {} chunks done{}.",
                  state.manifest.run_id, run::state_word(state), state.manifest.input.name,
                  state.manifest.model.name, frames, state.manifest.frames_expected(), done,
                  state.commits.size(), state.published ? ", published" : ""));
  if (state.engine) say_engine(console, *state.engine);
  say_failures(console, state, now);
  console.say(
      "  chunk  state         attempts  frames  errors  decode s   score s  encode s       fps"
      "       bytes  worker");
  for (size_t i = 0; i < state.commits.size(); ++i) console.say(row_of(state, i));
  for (const run::WorkerView& worker : state.ledger.workers) {
    if (worker.left) continue;
    console.say(fmt::format("Worker {}: {} frames, beat {} ago.", worker.name, worker.frames,
                            age_text(now - worker.beat)));
  }
  return {};
}

}  // namespace atelier::cli
