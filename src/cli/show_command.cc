// SPDX-License-Identifier: Apache-2.0
// atelier show RUN-URL: state, chunk table, rates.
#include "cli/commands.h"
#include "cli/inputs.h"
#include "run/report.h"
#include "store/local_store.h"

namespace atelier::cli {

Result<void> show_command(const std::string& run_url, Console& console) {
  const Place place = TRY(open_place(run_url));
  run::RunFolder folder(*place.store, place.key);
  const run::RunState state = TRY(run::read_state(folder));
  console.object(run::to_json(state));

  size_t done = 0;
  uint64_t frames = 0;
  for (const auto& commit : state.commits) {
    done += commit ? 1 : 0;
    frames += commit ? commit->frames : 0;
  }
  console.say(
      fmt::format("Run {}: '{}' painted by '{}', {} of {} frames in {} of {} chunks done{}.",
                  state.manifest.run_id, state.manifest.input.name, state.manifest.model.name,
                  frames, state.manifest.frames_expected(), done, state.commits.size(),
                  state.published ? ", published" : ""));
  console.say("  chunk  state  frames  errors  decode s   score s  encode s       fps       bytes");
  for (size_t i = 0; i < state.commits.size(); ++i) {
    const auto& commit = state.commits[i];
    if (!commit) {
      console.say(fmt::format("  {:5}  open   {:6}", i, state.manifest.chunks[i].frames));
      continue;
    }
    const auto& s = commit->seconds;
    console.say(fmt::format("  {:5}  done   {:6}  {:6}  {:8.3f}  {:8.3f}  {:8.3f}  {:8.2f}  {:10}",
                            i, commit->frames, commit->decode_errors, s.decode, s.score, s.encode,
                            s.score > 0 ? static_cast<double>(commit->frames) / s.score : 0.0,
                            commit->bytes));
  }
  return {};
}

}  // namespace atelier::cli
