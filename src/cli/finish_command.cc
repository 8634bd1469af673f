// SPDX-License-Identifier: Apache-2.0
// atelier finish RUN-URL: joins and publishes a run whose chunks are all scored. For who holds the
// credential of the output, where those who score do not.
#include <set>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/publish.h"
#include "cli/worker_job.h"
#include "media/encoder_choice.h"
#include "run/broker.h"
#include "run/clean_up.h"
#include "run/ledger.h"

namespace atelier::cli {
namespace {

// Nothing is joined unless every chunk is there.
Result<void> check_scored(const run::Manifest& manifest, run::RunFolder& folder,
                          run::Ledger& ledger) {
  const std::set<int> done = TRY(folder.committed_chunks());
  const auto failures = TRY(ledger.failures());
  if (!failures.empty()) {
    return make_error(Code::corrupt,
                      "Chunk {} of run {} was given up ({}); `atelier run` tries it again, or with "
                      "--error-threshold shows the input's own picture there.",
                      failures.front().chunk, manifest.run_id, failures.front().error);
  }
  if (done.size() >= manifest.chunks.size()) return {};
  return make_error(
      Code::corrupt,
      "{} of {} chunks of run {} are not scored yet; `atelier worker {}` scores them.",
      manifest.chunks.size() - done.size(), manifest.chunks.size(), manifest.run_id, folder.url());
}

Result<std::string> output_of(const FinishOptions& options, const run::Manifest& manifest) {
  if (!options.output.empty()) return options.output;
  if (!manifest.output.empty()) return manifest.output;
  return make_error(Code::invalid_argument,
                    "Run {} does not say where its result is to go; name it with --output.",
                    manifest.run_id);
}

// What another container than the one that the run was begun for cannot hold.
Result<void> check_container(const run::Manifest& manifest, const Output& output) {
  TRY(media::choose_encoder({manifest.parameters.codec, {}, {}, {}}, output.container));
  return {};
}

Result<run::EngineReport> who_scored(const run::Manifest& manifest, run::RunFolder& folder) {
  std::set<std::string> workers;
  for (const run::ChunkPlan& chunk : manifest.chunks) {
    if (const auto commit = TRY(folder.read_commit(chunk.index))) workers.insert(commit->worker);
  }
  run::EngineReport engine;
  engine.workers = static_cast<int>(workers.size());
  if (const auto record = TRY(folder.read_engine())) {
    engine.name = TRY(run::engine_from_json(*record)).name;
  }
  return engine;
}

}  // namespace

Result<void> finish_command(const FinishOptions& options, Console& console, std::stop_token stop) {
  const Clock& clock = system_clock();
  const auto begin = clock.now();
  const Location location = TRY(parse_location(options.run_url));
  const auto store = TRY(open_folder(location.folder()));
  const run::Manifest manifest = TRY(read_run_manifest(*store, location.name(), options.run_url));
  run::RunFolder folder(*store, manifest.run_id);
  run::Ledger::Setup setup;
  setup.run_id = manifest.run_id;
  setup.worker = run::make_worker_name();
  setup.chunks = static_cast<int>(manifest.chunks.size());
  run::Ledger ledger(*store, clock, setup);
  TRY(check_scored(manifest, folder, ledger));

  const std::string output_text = TRY(output_of(options, manifest));
  const std::string input_text = options.input.empty() ? manifest.input.url : options.input;
  Input input{TRY(find_same_input(manifest.input, input_text)), {}};
  const Output output = TRY(open_output(output_text, input_text, input.place));
  TRY(check_container(manifest, output));
  for (const std::string& note : notes_of_stores()) console.note(note);

  PublishRequest request;
  request.input = &input;
  request.output = &output;
  request.replace = options.force;
  request.scratch = TRY(scratch_for({location, input.place.location, output.place.location}));
  run::RunReport report;
  {
    // The run is not removed meanwhile: see run/clean_up.h.
    const run::Progress progress;
    const auto heart = TRY(run::Heart::start(ledger, progress));
    TRY(run::check_stands(*store, manifest.run_id));
    report = TRY(publish(manifest, folder, request, console, std::move(stop)));
  }
  report.engine = TRY(who_scored(manifest, folder));
  report.wall_seconds = std::chrono::duration<double>(clock.now() - begin).count();
  report.notes = console.notes();
  const std::string json = run::to_json(report, manifest);
  TRY(folder.put_report(json));
  console.object(json);
  console.say(fmt::format("Joined {} frames in {:.1f} s: {}", report.finish.frames,
                          report.wall_seconds, output_text));
  return {};
}

}  // namespace atelier::cli
