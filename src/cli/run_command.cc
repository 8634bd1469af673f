// SPDX-License-Identifier: Apache-2.0
// atelier run INPUT OUTPUT --model M: prepare and score in a scorer's process, finish in this one.
#include <algorithm>
#include <cmath>
#include <set>
#include <system_error>
#include <thread>

#include "base/clock.h"
#include "base/mutex.h"
#include "cli/commands.h"
#include "cli/engine_workers.h"
#include "cli/folders.h"
#include "cli/inputs.h"
#include "cli/kept_choices.h"
#include "cli/model_library.h"
#include "cli/publish.h"
#include "cli/ticker.h"
#include "engine/local.h"
#include "media/encoder_choice.h"
#include "run/broker.h"
#include "run/report.h"
#include "run/scorer_keeper.h"
#include "run/unpainted.h"
#include "run/work.h"
#include "store/names.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;

double seconds_between(Clock::Duration begin, Clock::Duration end) {
  return std::chrono::duration<double>(end - begin).count();
}

Result<std::map<std::string, std::string>> parse_encoder_options(const std::string& text) {
  std::map<std::string, std::string> options;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(':', begin), text.size());
    const std::string pair = text.substr(begin, end - begin);
    const size_t equals = pair.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return make_error(Code::invalid_argument,
                        "--encoder-opts takes KEY=VALUE:KEY=VALUE, not '{}'.", pair);
    }
    const std::string key = pair.substr(0, equals);
    if (!options.emplace(key, pair.substr(equals + 1)).second) {
      return make_error(Code::invalid_argument, "--encoder-opts names '{}' twice.", key);
    }
    begin = end + 1;
  }
  return options;
}

Result<run::Parameters> parameters_of(const RunOptions& options, Console& console) {
  run::Parameters p;
  p.chunk_seconds = options.chunk_seconds;
  if (!std::isfinite(p.chunk_seconds)) {
    return make_error(Code::invalid_argument, "--chunk-seconds takes a number of seconds.");
  }
  if (!options.from.empty()) p.range.from = TRY(parse_time(options.from, "--from"));
  if (!options.to.empty()) p.range.to = TRY(parse_time(options.to, "--to"));
  if (p.range.to && *p.range.to <= p.range.from.value_or(0)) {
    return make_error(Code::invalid_argument, "--to {} is not after --from {}.", options.to,
                      options.from.empty() ? "0" : options.from);
  }
  if (!options.size.empty()) {
    const WantedSize size = TRY(parse_size(options.size));
    p.width = size.width;
    p.height = size.height;
  }
  p.encoder_options = TRY(parse_encoder_options(options.encoder_options));
  const media::Container container =
      TRY(media::container_of(TRY(parse_location(options.output)).name()));
  media::EncoderChoice encoder = TRY(media::choose_encoder(
      {options.codec, options.crf, options.preset, p.encoder_options}, container));
  for (const std::string& note : encoder.notes) console.note(note);
  p.codec = std::move(encoder.codec);
  p.crf = encoder.crf;
  p.preset = std::move(encoder.preset);
  p.keep_frames = options.keep_frames;
  p.deinterlace = options.deinterlace;
  p.precision = options.precision;
  p.min_psnr = options.min_psnr;
  p.norm = options.norm;
  p.tune = options.tune;
  return p;
}

Result<std::optional<Place>> open_trace(const RunOptions& options) {
  if (options.trace.empty()) return std::optional<Place>();
  Place place = TRY(open_place(options.trace));
  TRY(check_folder(place.location, "trace"));
  if (!options.force && TRY(is_there(place))) {
    return make_error(Code::invalid_argument,
                      "'{}' exists and was kept; choose another name for the trace or use --force.",
                      options.trace);
  }
  for (const std::string& other : {options.input, options.output, options.model}) {
    const auto location = parse_location(other);
    if (location.ok() && is_same(*location, place.location)) {
      return make_error(Code::invalid_argument,
                        "The trace would replace '{}'; choose another name.", other);
    }
  }
  return std::optional(std::move(place));
}

Result<void> write_trace(run::RunFolder& folder, const Place& place, Console& console) {
  const auto workers = TRY(folder.read_traces());
  if (workers.empty()) {
    console.note("The trace is empty: every chunk was scored earlier, without --trace.");
  }
  const std::string trace = run::chrome_trace(workers);
  TRY(place.store->put(place.key, as_bytes(trace), Condition::always()));
  return {};
}

std::string progress_line(const run::Progress& progress, uint64_t before, uint64_t total,
                          double seconds) {
  const uint64_t now = progress.encoded.load();
  const uint64_t done = before + now;
  const double fps = seconds > 0 ? static_cast<double>(now) / seconds : 0;
  const double share =
      total > 0 ? std::min(1.0, static_cast<double>(done) / static_cast<double>(total)) : 0;
  std::string eta = "--:--";
  if (fps > 0 && total >= done) {
    const auto left = static_cast<uint64_t>(static_cast<double>(total - done) / fps + 0.5);
    eta = left >= 3600 ? fmt::format("{}:{:02}:{:02}", left / 3600, left / 60 % 60, left % 60)
                       : fmt::format("{:02}:{:02}", left / 60, left % 60);
  }
  constexpr int kWidth = 30;
  const int filled = static_cast<int>(share * kWidth);
  return fmt::format("[{}{}] {}/{} frames  {:.2f} fps  ETA {}",
                     std::string(static_cast<size_t>(filled), '#'),
                     std::string(static_cast<size_t>(kWidth - filled), '.'), done, total, fps, eta);
}

struct Scored {
  uint64_t frames_now = 0;
  double wall_seconds = 0;
  std::vector<run::Unpainted> unpainted;
  run::EngineReport engine;
};

// A run under way: what its scorers are given, and where their results go.
class Run {
 public:
  Run(const RunOptions& options, const run::Parameters& parameters, const StoredInput& input,
      const Output& output, run::ModelFiles model, ObjectStore& store, fs::path scratch,
      Console& console, const Clock& clock)
      : options_(options),
        store_(store),
        scratch_(std::move(scratch)),
        console_(console),
        clock_(clock),
        output_url_(output.place.location.url()),
        model_(std::move(model)) {
    // Workers that get the model from another one must be told.
    model_.open_beside = [this, open = model_.open_beside](const std::string& location) {
      model_beside_.insert(location);
      return open(location);
    };
    task_.input = input.source.get();
    task_.model = &model_;
    task_.identity = input.identity;
    task_.shown_name = options.input;
    task_.parameters = parameters;
    task_.output_name = output.place.key;
    task_.threads = options.threads;
    task_.sandbox = options.sandbox == "on";
    task_.trace = !options.trace.empty();
    task_.stays = options.keeper != nullptr && !task_.trace && parameters.keep_frames.empty();
    task_.limits = time_limits(options.limits);
    task_.memory = scorer_memory(options.limits);
    task_.find_run = [this](const run::ModelIdentity& found) { return find(found); };
    task_.write_manifest = [this](run::Manifest planned) {
      planned.output = output_url_;
      return folder_->write_manifest(planned);
    };
    task_.log = [this](std::string_view text) {
      MutexLock lock(mutex_);
      log_.add(folder_.get(), text);
    };
    if (options.tune != "off") use_kept_choices();
  }

  // A first scorer looks at model and input and plans.
  Result<run::Prepared> prepare(const std::stop_token& stop) {
    const Ticker ticker(console_, clock_, line_of_phase("Preparing"));
    if (take_kept()) {
      auto prepared = scorer_->prepare(stop);
      if (prepared.ok()) return prepared;
      const bool died = scorer_->died();
      scorer_.reset();
      flush_log();
      // Of what an earlier run left behind, perhaps.
      if (!died) return prepared;
    }
    progress_ = TRY(run::SharedProgress::create());
    scorer_ = TRY(run::ScorerProcess::start(run::kThisProgram, task_, *progress_));
    auto prepared = scorer_->prepare(stop);
    if (!prepared.ok()) {
      scorer_.reset();
      flush_log();
    }
    return prepared;
  }

  run::RunFolder& folder() { return *folder_; }

  // Processes that will score.
  int choose_workers(const run::Manifest& manifest) {
    const int processors = static_cast<int>(std::thread::hardware_concurrency());
    workers_ = options_.workers > 0
                   ? options_.workers
                   : engine::default_workers(processors, manifest.chunks.size(),
                                             manifest.scorer_bytes, scorer_memory(options_.limits));
    return workers_;
  }

  Result<Scored> score(const run::Manifest& manifest, const std::stop_token& stop) {
    uint64_t before = 0;
    size_t chunks_before = 0;
    for (const int chunk : TRY(folder_->committed_chunks())) {
      if (const auto commit = TRY(folder_->read_commit(chunk))) {
        before += commit->frames;
        ++chunks_before;
      }
    }
    if (chunks_before > 0) {
      console_.say(fmt::format("{} of {} chunks were scored earlier and are kept.", chunks_before,
                               manifest.chunks.size()));
    }
    run::Ledger::Setup setup;
    setup.run_id = manifest.run_id;
    setup.worker = worker_;
    setup.chunks = static_cast<int>(manifest.chunks.size());
    setup.policy = ledger_policy(options_.limits);
    ledger_ = std::make_unique<run::Ledger>(store_, clock_, setup);
    run::Ledger& ledger = *ledger_;
    if (const size_t again = TRY(ledger.retry_failures()); again > 0) {
      console_.say(fmt::format("Chunks given up earlier and tried again: {}.", again));
    }
    const run::Progress& progress = progress_->get();
    heart_ = TRY(run::Heart::start(ledger, progress));
    const auto begin = clock_.now();
    {
      const uint64_t total = manifest.frames_expected();
      const Ticker ticker(console_, clock_, [&](double seconds) {
        return progress_line(progress, before, total, seconds);
      });
      auto result = workers_ > 1 || options_.worker_arguments || !options_.engine.is_local()
                        ? work_with_others(manifest, stop)
                        : work_alone(manifest, ledger, stop);
      if (!result.ok() && result.error().code == Code::cancelled && stop.stop_requested()) {
        return make_error(
            Code::cancelled,
            "Interrupted with {} of {} chunks done and kept; the same command goes on.",
            chunks_before + progress.chunks.load(), manifest.chunks.size());
      }
      TRY(std::move(result));
    }
    auto unpainted = TRY(replace_failures(ledger, manifest, stop));
    return Scored{frames_now_, seconds_between(begin, clock_.now()), std::move(unpainted),
                  std::move(engine_)};
  }

  // Its last beat comes before the report.
  void leave() {
    heart_.reset();
    if (!task_.stays || !scorer_) return;
    options_.keeper->keep({std::move(progress_), std::move(scorer_), task_.sandbox});
  }

 private:
  bool take_kept() {
    if (!task_.stays) return false;
    auto kept = options_.keeper->take(task_);
    if (!kept) return false;
    progress_ = std::move(kept->progress);
    scorer_ = std::move(kept->scorer);
    return true;
  }

  // A run goes on without them.
  void use_kept_choices() {
    task_.choices = known_choices();
    task_.keep_choices = [this](const model::Choices& measured) {
      const auto kept = keep_choices(measured);
      if (!kept.ok()) {
        console_.note("What was measured of the layers is not kept for the next run: " +
                      kept.error().message);
      }
    };
  }

  Result<void> work_alone(const run::Manifest& manifest, run::Ledger& ledger,
                          const std::stop_token& stop) {
    run::Broker broker(*folder_, manifest, ledger, scratch_);
    auto result = run::work(scorer_, run::kThisProgram, task_, *progress_, broker, stop);
    flush_log();
    frames_now_ = broker.frames();
    return result;
  }

  Result<void> work_with_others(const run::Manifest& manifest, const std::stop_token& stop) {
    scorer_.reset();  // its memory, before there are others
    WorkersRequest request;
    request.engine = options_.engine;
    request.name = worker_;
    request.workers = workers_;
    request.threads = options_.threads;
    request.sandbox = options_.sandbox;
    request.trace = task_.trace;
    request.limits = options_.limits;
    request.input = task_.identity.url;
    request.model = task_.model->url;
    request.goes_on = [this] {
      const auto cancelled = ledger_->cancelled();
      return !cancelled.ok() || !*cancelled;
    };
    request.unsettled = [this, &manifest] { return unsettled(manifest); };
    request.more_arguments = options_.worker_arguments;
    request.model_beside = {model_beside_.begin(), model_beside_.end()};
    request.store = &store_;
    engine_ = TRY(score_with_workers(request, *folder_, manifest, progress_->get(), frames_now_,
                                     console_, stop));
    return {};
  }

  Result<size_t> unsettled(const run::Manifest& manifest) {
    const size_t done = TRY(folder_->committed_chunks()).size();
    if (done >= manifest.chunks.size()) return size_t{0};
    return manifest.chunks.size() -
           std::min(manifest.chunks.size(), done + TRY(ledger_->failures()).size());
  }

  // What could not be scored is named before anything is joined.
  Result<std::vector<run::Unpainted>> replace_failures(run::Ledger& ledger,
                                                       const run::Manifest& manifest,
                                                       const std::stop_token& stop) {
    const auto failures = TRY(ledger.failures());
    if (failures.empty()) return std::vector<run::Unpainted>();
    const run::UnpaintedRequest request = {run::kThisProgram, task_, scratch_,
                                           options_.error_threshold};
    auto taken = run::take_unpainted(failures, manifest, *folder_, request, stop);
    flush_log();
    return taken;
  }

  void flush_log() {
    MutexLock lock(mutex_);
    if (folder_) log_.flush(*folder_);
  }

  Result<run::Standing> find(const run::ModelIdentity& model) {
    const std::string id = run::make_run_id(task_.identity, model, task_.parameters);
    if (!options_.repeats.empty() && id != options_.repeats) {
      return make_error(Code::invalid_input,
                        "'{}', the model or a parameter is not the one of the run '{}' (for a file "
                        "its time and inode count, too), which cannot be repeated exactly; run "
                        "without --repeats.",
                        options_.input, percent_encode(options_.repeats));
    }
    if (!folder_) {
      auto folder = std::make_unique<run::RunFolder>(store_, id);
      if (options_.no_reuse) TRY(folder->clear());
      MutexLock lock(mutex_);
      folder_ = std::move(folder);
    }
    if (folder_->run_id() != id) {
      return make_error(Code::conflict, "The model changed while the run was working; run again.");
    }
    return run::Standing{id, TRY(folder_->read_manifest())};
  }

  const RunOptions& options_;
  ObjectStore& store_;
  const fs::path scratch_;
  Console& console_;
  const Clock& clock_;
  const std::string output_url_;
  run::ModelFiles model_;
  run::ScorerTask task_;
  const std::string worker_ = run::make_worker_name();
  int workers_ = 1;
  uint64_t frames_now_ = 0;
  run::EngineReport engine_;
  std::set<std::string> model_beside_;  // files that scorers have asked for
  Mutex mutex_;                         // of the log, and of folder_ until there is one
  run::LogSegments log_{clock_, worker_};
  std::unique_ptr<run::RunFolder> folder_;
  std::unique_ptr<run::SharedProgress> progress_;
  std::unique_ptr<run::Ledger> ledger_;
  std::unique_ptr<run::Heart> heart_;  // beats through the join, too: see run/clean_up.h
  std::unique_ptr<run::ScorerProcess> scorer_;
};

// Before anything is scored. Errors: invalid_input.
Result<void> check_bounds(const RunOptions& options, const run::Manifest& manifest) {
  const auto pixels = static_cast<uint64_t>(manifest.scored_size.width) *
                      static_cast<uint64_t>(manifest.scored_size.height);
  if (options.max_pixels > 0 && pixels > options.max_pixels) {
    return make_error(
        Code::invalid_input, "'{}' has frames of {}x{} to score, and --max-pixels allows {}.",
        options.input, manifest.scored_size.width, manifest.scored_size.height, options.max_pixels);
  }
  if (options.max_minutes <= 0 || manifest.chunks.empty()) return {};
  const run::ChunkPlan& last = manifest.chunks.back();
  const int64_t ticks = last.last_pts.value_or(last.first_pts) - manifest.chunks.front().first_pts;
  const double minutes = static_cast<double>(ticks) * manifest.time_base.value() / 60;
  if (minutes <= options.max_minutes) return {};
  return make_error(Code::invalid_input,
                    "'{}' has {:.1f} minutes to score, and --max-minutes allows {}; --from and "
                    "--to choose a part.",
                    options.input, minutes, options.max_minutes);
}

void say_plan(Console& console, const run::Manifest& manifest, const RunOptions& options,
              int workers, const std::string& run_url) {
  console.say(fmt::format("{}: {} frame{} of {}x{} in {} chunk{}, painted by '{}' as {}x{} {}.",
                          options.input, manifest.frames_expected(),
                          manifest.frames_expected() == 1 ? "" : "s", manifest.scored_size.width,
                          manifest.scored_size.height, manifest.chunks.size(),
                          manifest.chunks.size() == 1 ? "" : "s", manifest.model.name,
                          manifest.encode.width, manifest.encode.height, manifest.encode.codec));
  if (manifest.precision.name != model::Precision::f32) {
    console.say(fmt::format("Scored in {}: at least {:.1f} dB PSNR against f32 on {} frames of it.",
                            model::name_of(manifest.precision.name),
                            manifest.precision.sampled_psnr, manifest.precision.frames));
  }
  if (!manifest.shots.empty()) {
    console.say(fmt::format("Normalised by shot: {} shot{}.", manifest.shots.size(),
                            manifest.shots.size() == 1 ? "" : "s"));
  }
  if (options.engine.is_local()) {
    const int threads = engine::threads_of_each(workers, options.threads);
    console.say(fmt::format("{} worker{} of {} thread{}.", workers, workers == 1 ? "" : "s",
                            threads, threads == 1 ? "" : "s"));
  } else if (options.engine.name == "slurm") {
    const std::string nodes = options.engine.nodes.empty() ? "1" : options.engine.nodes;
    console.say(fmt::format("Scored by Slurm on {} node{}.", nodes, nodes == "1" ? "" : "s"));
  }
  console.say(fmt::format("Run: {}", run_url));
}

}  // namespace

Result<void> run_command(const RunOptions& options, Console& console, std::stop_token stop) {
  SystemClock clock;
  const auto begin = clock.now();
  const run::Parameters parameters = TRY(parameters_of(options, console));
  run::ModelFiles model = TRY(find_model_files(options.model));
  Input input{TRY(find_input(options.input)), {}};
  const Output output = TRY(open_output(options.output, options.input, input.place));
  if (!options.force) TRY(check_free(output, options.output));
  const auto trace = TRY(open_trace(options));
  const auto runs = TRY(open_runs(options.runs));
  TRY(check_engine(options.engine, options.workers, stop));
  for (const std::string& note : notes_of_stores()) console.note(note);

  if (options.sandbox == "off") {
    console.note("The sandbox is off: what parses '" + options.input +
                 "' and the model may do whatever this user may.");
  }
  const fs::path scratch = TRY(scratch_for(
      {TRY(location_of_runs(options.runs)), input.place.location, output.place.location}));
  Run job(options, parameters, input, output, std::move(model), *runs, scratch, console, clock);
  const run::Prepared prepared = TRY(job.prepare(stop));
  const run::Manifest& manifest = prepared.manifest;
  TRY(check_bounds(options, manifest));
  for (const std::string& guess : prepared.guesses) console.note(guess);
  say_plan(console, manifest, options, job.choose_workers(manifest), job.folder().url());
  for (const std::string& note : manifest.notes) console.note(note);
  for (const std::string& note : prepared.container_notes) console.note(note);

  const Scored scored = TRY(job.score(manifest, stop));
  if (trace) TRY(write_trace(job.folder(), *trace, console));
  PublishRequest publish_request;
  publish_request.input = &input;
  publish_request.output = &output;
  publish_request.replace = options.force;
  publish_request.scratch = scratch;
  publish_request.unpainted = scored.unpainted;
  publish_request.said = prepared.container_notes;
  run::RunReport report = TRY(publish(manifest, job.folder(), publish_request, console, stop));
  report.engine = scored.engine;
  report.frames_now = scored.frames_now;
  report.score_wall_seconds = scored.wall_seconds;
  report.wall_seconds = seconds_between(begin, clock.now());
  report.notes = console.notes();
  const std::string json = run::to_json(report, manifest);
  job.leave();
  TRY(job.folder().put_report(json));
  console.object(json);
  const double rate = static_cast<double>(scored.frames_now) / report.wall_seconds;
  console.say(fmt::format(
      "Painted {} frames in {:.1f} s ({}): {}", report.finish.frames, report.wall_seconds,
      scored.frames_now > 0 ? fmt::format("{:.2f} frames a second", rate) : "all scored earlier",
      options.output));
  return {};
}

}  // namespace atelier::cli
