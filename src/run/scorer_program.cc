// SPDX-License-Identifier: Apache-2.0
#include "run/scorer_program.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <new>
#include <nlohmann/json.hpp>
#include <thread>

#include "media/muxer.h"
#include "run/channel.h"
#include "run/model_files.h"
#include "run/model_keeper.h"
#include "run/norm.h"
#include "run/precision.h"
#include "run/prepare.h"
#include "run/sandbox.h"
#include "run/scorer.h"
#include "run/scorer_process.h"
#include "run/tuned_ways.h"
#include "run/tuning_cache.h"

namespace atelier::run {
namespace {

using nlohmann::json;

// The broker is trusted: what it says is parsed without another thought.
Result<json> ask(Channel& channel, const json& question, Message& answer) {
  answer = TRY(call(channel, question.dump()));
  return json::parse(answer.head);
}

class RemoteSource final : public ByteSource {
 public:
  RemoteSource(Channel& channel, size_t number, uint64_t size)
      : channel_(channel), number_(number), size_(size) {}
  uint64_t size() const override { return size_; }
  Result<size_t> read_at(uint64_t offset, std::span<std::byte> into) override {
    if (offset >= size_ || into.empty()) return size_t{0};
    const json question = {
        {"do", "read"}, {"source", number_}, {"offset", offset}, {"size", into.size()}};
    const Message answer = TRY(call(channel_, question.dump()));
    const size_t count = std::min(into.size(), answer.body.size());
    std::copy_n(answer.body.begin(), count, into.begin());
    return count;
  }

 private:
  Channel& channel_;
  size_t number_;
  uint64_t size_;
};

class RemoteDesk final : public ChunkDesk {
 public:
  RemoteDesk(Channel& control, Channel& results, const Manifest& manifest)
      : control_(control), results_(results), manifest_(manifest) {}

  Result<std::optional<ChunkPlan>> next(std::stop_token stop) override {
    // The broker may be waiting for chunks of other workers; nothing more will be asked.
    const std::stop_callback hang_up(stop, [this] { control_.shut_down(); });
    Message answer;
    const json head = TRY(ask(control_, {{"do", "next"}}, answer));
    const int chunk = head.at("chunk").get<int>();
    if (chunk < 0) return std::optional<ChunkPlan>();
    return std::optional(manifest_.chunks.at(static_cast<size_t>(chunk)));
  }

  Result<std::unique_ptr<ScratchFile>> open_result(const ChunkPlan& chunk) override {
    Message answer;
    TRY(ask(results_, {{"do", "result"}, {"chunk", chunk.index}}, answer));
    return ScratchFile::adopt(std::move(answer.file));
  }

  Result<void> commit(ChunkCommit commit, ScratchFile&) override {
    const json head = {{"do", "commit"}, {"chunk", commit.index}};
    TRY(call(results_, head.dump(), as_bytes(to_json(commit))));
    return {};
  }

  Result<void> keep_frame(uint64_t number, const std::string& extension,
                          std::span<const std::byte> picture) override {
    const json head = {{"do", "frame"}, {"number", number}, {"extension", extension}};
    TRY(call(results_, head.dump(), picture));
    return {};
  }

  Result<void> keep_trace(int chunk, std::span<const Span> spans) override {
    const json head = {{"do", "trace"}, {"chunk", chunk}};
    TRY(call(results_, head.dump(), as_bytes(to_json(spans))));
    return {};
  }

 private:
  Channel& control_;
  Channel& results_;
  const Manifest& manifest_;
};

class Program {
 public:
  Program(Channel& control, Channel& results, Progress& progress)
      : control_(control), results_(results), progress_(progress) {}

  // One task, from asking for it to its last chunk.
  Result<void> run() {
    Message message;
    const json head = TRY(ask(control_, {{"do", "task"}}, message));
    const Manifest task = TRY(manifest_from_json(as_text(message.body)));
    stays_ = head.at("stays").get<bool>();
    const model::LoadedModel& model = *TRY(load(head));
    RemoteSource input(control_, 0, task.input.size);
    const media::MediaInfo info = TRY(media::probe(input, task.input.name));
    TRY(check_video(info, head.at("shown_name").get<std::string>(), task.parameters.deinterlace));
    const auto fit = TRY(fit_to(head.at("output_name").get<std::string>(), input, info, task));

    const PrepareRequest request{
        task.input,
        {model.spec.name, model.sha256, model::to_canonical_text(model.spec), ""},
        task.parameters};
    const Standing standing = TRY(report(request.model, model.spec, fit));
    model::RunnerOptions options;
    options.threads = head.at("threads").get<int>();
    const RunnerFactory make = [this](const model::RunnerOptions& wanted) {
      return models_.runner(wanted);
    };
    const Manifest manifest =
        standing.manifest
            ? *standing.manifest
            : TRY(prepare_run(request, input, info, standing.run_id, make, options.threads));
    ThreadSplit split(options.threads > 0 ? options.threads
                                          : static_cast<int>(std::thread::hardware_concurrency()),
                      team_);
    options.team = team_ = split.team();
    options.plan = manifest.plan;
    options.ranges = manifest.precision.ranges;
    ShotRunners runners(manifest.shots, make, options);
    model::Runner* runner = TRY(runners.at(manifest.chunks.front().first_pts));
    TRY(ask(control_, {{"do", "ready"}}, message));

    const SystemClock clock;
    TraceRecorder trace(clock.now(), std::chrono::system_clock::now().time_since_epoch());
    const ScoreJob job{&manifest,
                       &info,
                       &input,
                       runner,
                       &clock,
                       options.threads,
                       head.at("trace").get<bool>() ? &trace : nullptr,
                       manifest.shots.empty() ? nullptr : &runners,
                       head.at("unpainted").get<bool>(),
                       &split};
    RemoteDesk desk(control_, results_, manifest);
    TRY(score_chunks(job, desk, progress_, {}));
    if (stays_) models_.keep(runners.options(), runners.take());
    return {};
  }

 private:
  // Without an output's name nothing is joined, so nothing need fit.
  static Result<media::ContainerFit> fit_to(const std::string& output_name, ByteSource& input,
                                            const media::MediaInfo& info, const Manifest& task) {
    if (output_name.empty()) return media::ContainerFit();
    const auto container = TRY(media::container_of(output_name));
    return media::fit_container(input, info, container, task.parameters.codec);
  }

  Result<const model::LoadedModel*> load(const json& task) {
    ModelFiles files;
    files.name = task.at("name").get<std::string>();
    files.onnx = std::make_unique<RemoteSource>(control_, 1, task.at("onnx_size").get<uint64_t>());
    if (!task.at("toml").is_null()) files.toml = task.at("toml").get<std::string>();
    files.open_beside = [this](const std::string& location) -> Result<std::unique_ptr<ByteSource>> {
      Message answer;
      const json head = TRY(ask(control_, {{"do", "beside"}, {"location", location}}, answer));
      return std::unique_ptr<ByteSource>(std::make_unique<RemoteSource>(
          control_, head.at("source").get<size_t>(), head.at("size").get<uint64_t>()));
    };
    return models_.load(std::move(files));
  }

  Result<Standing> report(const ModelIdentity& model, const model::ModelSpec& spec,
                          const media::ContainerFit& fit) {
    const json found = {{"do", "found"},
                        {"name", model.name},
                        {"sha256", model.sha256},
                        {"guesses", spec.guessed},
                        {"container_notes", fit.notes}};
    const std::string text = found.dump(-1, ' ', false, json::error_handler_t::replace);
    const Message answer = TRY(call(control_, text, as_bytes(model.spec)));
    const json head = json::parse(answer.head);
    Standing standing;
    standing.run_id = head.at("run_id").get<std::string>();
    if (head.at("prepared").get<bool>()) {
      standing.manifest = TRY(manifest_from_json(as_text(answer.body)));
    }
    return standing;
  }

  Result<Manifest> prepare_run(const PrepareRequest& request, ByteSource& input,
                               const media::MediaInfo& info, const std::string& run_id,
                               const RunnerFactory& make, int threads) {
    const Message known = TRY(call(control_, json{{"do", "known"}}.dump()));
    choices_ = TRY(choices_from_json(as_text(known.body)));
    const RunnerFactory chosen = [&](model::RunnerOptions wanted) {
      wanted.choices = choices_;
      return make(wanted);
    };
    model::RunnerOptions options;
    options.threads = threads;
    auto runner = TRY(chosen(options));
    Manifest manifest = TRY(plan_run(request, input, info, *runner, run_id, {}));
    const auto step = [this] { progress_.prepared++; };
    TRY(choose_shots(manifest, input, info, *runner, chosen, threads, step));
    if (!manifest.shots.empty()) {
      options.statistics = manifest.shots.front().statistics;
      runner = TRY(chosen(options));
    }
    if (measures_ways(manifest)) {
      model::Choices measured = TRY(measure_ways(manifest, *runner, step));
      if (!measured.empty()) {
        TRY(call(control_, json{{"do", "choices"}}.dump(), as_bytes(choices_to_json(measured))));
        measured.merge(choices_);
        choices_ = std::move(measured);
        const uint64_t before = TRY(runner->memory(manifest.scored_size));
        runner = TRY(chosen(options));
        TRY(take_plan(manifest, *runner, before));
      }
    }
    TRY(choose_precision(manifest, input, info, *runner, chosen, threads, step));
    if (stays_) {
      options.choices = choices_;
      models_.keep(options, std::move(runner));
    }
    return publish(manifest);
  }

  Result<Manifest> publish(const Manifest& manifest) {
    const json head = {{"do", "manifest"}};
    const Message answer = TRY(call(control_, head.dump(), as_bytes(to_json(manifest))));
    return manifest_from_json(as_text(answer.body));
  }

  Channel& control_;
  Channel& results_;
  Progress& progress_;
  model::Choices choices_;  // known before, and measured
  bool stays_ = false;      // after this task
  // What a task leaves for the next one.
  ModelKeeper models_;
  std::shared_ptr<std::atomic<int>> team_;
};

Result<void> lock_in() {
  SandboxPolicy policy;
  policy.open_files = 256;
  const auto report = lock_down(policy);
  if (!report.ok()) return report.error();
  if (report->landlock_abi == 0) {
    fmt::print(stderr,
               "This kernel offers no Landlock: the scorer is locked in by seccomp alone.\n");
  }
  return {};
}

Result<void> run_task(Program& program, bool locks) {
  try {
    if (locks) TRY(lock_in());
    return program.run();
  } catch (const std::bad_alloc&) {
    return make_error(Code::internal, "There is not enough memory; try a smaller --size.");
  } catch (const std::exception& error) {
    return make_error(Code::internal, "Atelier met a bug ({}); please report it.", error.what());
  }
}

}  // namespace

int run_scorer_program(int parent, bool locked) {
  // Whatever becomes of the broker, its scorer does not outlive it.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) return 1;
  Channel control{Fd(kScorerControl)};
  Channel results{Fd(kScorerResults)};
  const auto progress = SharedProgress::open(Fd(kScorerProgress));
  if (!progress.ok()) return 1;
  Program program(control, results, (*progress)->get());
  for (bool first = true;; first = false) {
    const auto result = run_task(program, locked && first);
    json last = {{"do", "done"}};
    if (!result.ok()) {
      last = {{"do", "failed"},
              {"code", static_cast<int>(result.error().code)},
              {"message", result.error().message}};
    }
    const std::string text = last.dump(-1, ' ', false, json::error_handler_t::replace);
    const auto answer = call(results, text);
    if (!answer.ok()) return 1;
    if (!json::parse(answer->head).value("again", false)) return 0;
  }
}

}  // namespace atelier::run
