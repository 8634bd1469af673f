// SPDX-License-Identifier: Apache-2.0
// The command line. The only place where objects are made and wired.
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "cli/client_commands.h"
#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/interrupt.h"
#include "cli/serve_command.h"
#include "cli/service_commands.h"
#include "cli/warm_runs.h"
#include "engine/warm_protocol.h"
#include "media/media_info.h"
#include "run/scorer_keeper.h"
#include "run/scorer_program.h"

namespace atelier::cli {
namespace {

struct Options {
  bool json = false;
  bool quiet = false;
  RunOptions run;
  WorkerOptions worker;
  FinishOptions finish;
  DrillOptions drill;
  PreviewOptions preview;
  BenchOptions bench;
  DoctorOptions doctor;
  GcOptions gc;
  CopyCommandOptions cp;
  ShareOptions share;
  PlanOptions plan;
  RekeyOptions rekey;
  std::string probe_input;
  std::string model_name;
  std::string run_url;
  ServiceOptions service;
};

void add_sandbox(CLI::App& command, std::string& sandbox) {
  command
      .add_option("--sandbox", sandbox,
                  "on: what parses video and model can neither open files nor sockets; off: it can")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
}

// How the work is shared out.
void add_workers(CLI::App& command, RunOptions& o) {
  command
      .add_option("--workers", o.workers,
                  "Processes that score chunks at the same time; 0: by processors and memory")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command
      .add_option("--threads", o.threads,
                  "Threads of each worker; 0: one per core, shared among the workers")
      ->check(CLI::Range(0, 1024));
  add_sandbox(command, o.sandbox);
  command.add_option("--chunk-seconds", o.chunk_seconds, "Length of a chunk")
      ->check(CLI::Range(0.001, 86400.0))
      ->capture_default_str();
}

// What the result is to be.
void add_result(CLI::App& command, RunOptions& o) {
  command.add_option("--size", o.size, "Output size WxH; one of them 0 keeps the aspect");
  command.add_option("--from", o.from, "Start here: seconds or [h:]m:s from the first frame");
  command.add_option("--to", o.to, "End before this time");
  command
      .add_option("--precision", o.precision,
                  "f32, bf16 or int8 (what gains by it with eight bits of precision or in eight "
                  "bits), or auto: the fastest whose pictures are within 40 dB PSNR of f32's on "
                  "frames of the video")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "int8"}))
      ->capture_default_str();
  command
      .add_option(
          "--min-psnr", o.min_psnr,
          "What is below this many dB PSNR on frames of the video gives way: int8 to bf16, bf16 to "
          "f32")
      ->check(CLI::Range(0.0, 200.0))
      ->capture_default_str();
  command
      .add_option(
          "--norm", o.norm,
          "Statistics of normalisations: of each frame, or fixed for each shot of the video, "
          "which gives other pictures")
      ->check(CLI::IsMember({"frame", "shot"}))
      ->capture_default_str();
  command
      .add_option("--tune", o.tune,
                  "Measure which way to compute each layer is the fastest here, unless it is known "
                  "already; auto: for 5000 frames or more; off: neither measure nor use it")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->capture_default_str();
  command.add_flag("--deinterlace", o.deinterlace,
                   "Make whole frames of interlaced ones; progressive frames stay as they are");
  command.add_option("--codec", o.codec,
                     "libx264 (default), libx265, libsvtav1, libaom-av1, libvpx-vp9 (default in "
                     ".webm), prores_ks, ffv1 or mjpeg; gif and png follow from the output's name");
  command.add_option(
      "--crf", o.crf,
      "Quality, 0 the best: libx264 0-51 [18], libx265 0-51 [20], libsvtav1 1-63 [28], "
      "libaom-av1 and libvpx-vp9 0-63 [24]; mjpeg: its quantiser 1-31 [3]");
  command.add_option(
      "--preset", o.preset,
      "Speed: libx264 and libx265 ultrafast to placebo [veryfast], libsvtav1 0-13 [8], "
      "libaom-av1 0-8 [6], libvpx-vp9 best, 0-5 [4]");
  command.add_option("--encoder-opts", o.encoder_options,
                     "Further options K=V:K=V of the encoder or of the library behind it");
}

void add_run(CLI::App& app, Options& o) {
  CLI::App* run = app.add_subcommand("run", "Score a video with a model; the same command resumes");
  run->add_option("INPUT", o.run.input, "The video to score")->required();
  run->add_option(
         "OUTPUT", o.run.output,
         "The video to write: .mp4, .mov, .mkv, .webm, .ts or .gif; or pictures, numbered from 1, "
         "like frames/%06d.png or .jpg")
      ->required();
  run->add_option("--model", o.run.model, "An installed model's name, or an .onnx file")
      ->required();
  run->add_option("--runs", o.run.runs, "Folder of runs [$XDG_STATE_HOME/atelier/runs]");
  add_engine(*run, o.run.engine);
  add_workers(*run, o.run);
  add_limits(*run, o.run.limits);
  run->add_option("--error-threshold", o.run.error_threshold,
                  "Frames that may show the input's own picture where they cannot be scored")
      ->capture_default_str();
  run->add_option("--max-minutes", o.run.max_minutes, "Refuse what is longer [no bound]")
      ->check(CLI::PositiveNumber);
  run->add_option("--max-pixels", o.run.max_pixels, "Refuse larger frames [no bound]")
      ->check(CLI::PositiveNumber);
  run->add_flag("--no-reuse", o.run.no_reuse, "Forget what an earlier run of this command left");
  run->add_option("--repeats", o.run.repeats,
                  "Only if it is the run of that name again: the same input, model and parameters");
  run->add_flag("--force", o.run.force, "Replace an existing output");
  add_result(*run, o.run);
  run->add_option("--trace", o.run.trace,
                  "Write what each worker did when as a Chrome trace (chrome://tracing, Perfetto)");
  run->add_option("--keep-frames", o.run.keep_frames,
                  "Keep every frame in the run folder: png or jpg")
      ->check(CLI::IsMember({"png", "jpg"}));
}

void add_drill(CLI::App& app, Options& o) {
  CLI::App* drill = app.add_subcommand(
      "drill",
      "Score a video while workers are killed and frozen and store calls fail, and compare the "
      "bits with those of an undisturbed run");
  DrillOptions& d = o.drill;
  d.run.chunk_seconds = 1;
  const CLI::Range chance(0.0, 1.0);
  drill->add_option("INPUT", d.run.input, "The video to score")->required();
  drill->add_option("--model", d.run.model, "An installed model's name, or an .onnx file")
      ->required();
  drill->add_option(
      "--runs", d.run.runs,
      "Where the disturbed runs lie, each in a folder of its own [scratch files]; with "
      "--engine slurm a folder that all nodes share");
  drill->add_option("--kill", d.kill, "Chance, at each step of the ledger, of a SIGKILL")
      ->check(chance)
      ->capture_default_str();
  drill->add_option("--freeze", d.freeze, "Chance of a SIGSTOP, and of a SIGCONT later")
      ->check(chance)
      ->capture_default_str();
  drill->add_option("--store-faults", d.store_faults, "Chance that the store call of a step fails")
      ->check(chance)
      ->capture_default_str();
  drill->add_option("--seed", d.seeds, "S, or A-B for a run with each seed from A to B")
      ->capture_default_str();
  drill
      ->add_option("--claim-timeout", d.claim_timeout,
                   "Seconds until a silent worker's chunk is taken over; most freezes last longer")
      ->check(CLI::Range(0.05, 600.0))
      ->capture_default_str();
  drill
      ->add_option("--limit", d.limit,
                   "Seconds after which a run is taken for endless; 0: a minute and 50 times the "
                   "undisturbed run")
      ->check(CLI::Range(0.0, 604800.0));
  drill->add_flag("--keep", d.keep, "Keep the runs and their results, and say where");
  add_workers(*drill, d.run);
  drill->get_option("--workers")
      ->description("Processes that score chunks at the same time")
      ->check(CLI::Range(1, 1024))
      ->default_str("3");
  add_engine(*drill, d.run.engine);
  add_result(*drill, d.run);
}

void add_others(CLI::App& app, Options& o) {
  CLI::App* preview =
      app.add_subcommand("preview", "Three frames of a video, before and after, as a PNG");
  preview->add_option("INPUT", o.preview.input)->required();
  preview->add_option("OUT.png", o.preview.output)->required();
  preview->add_option("--model", o.preview.model, "An installed model's name, or an .onnx file")
      ->required();
  preview->add_option("--size", o.preview.size, "Size WxH of the scored frames");
  preview->add_option("--threads", o.preview.threads)->check(CLI::Range(0, 1024));
  preview->add_flag("--force", o.preview.force, "Replace an existing picture");
  CLI::App* worker = app.add_subcommand("worker", "One worker of a run that was prepared");
  worker->add_option("RUN-URL", o.worker.run_url, "As `atelier run` printed it")->required();
  worker->add_option("--worker", o.worker.share, "K/N: begin with the K-th share of N, then help")
      ->capture_default_str();
  worker->add_option("--input", o.worker.input, "The run's input, if it was moved");
  worker->add_option("--model", o.worker.model, "The run's model, if it was moved");
  worker->add_option("--threads", o.worker.threads, "Threads; 0: one per core")
      ->check(CLI::Range(0, 1024));
  worker->add_option("--parent", o.worker.parent, "End when this process, the parent, ends")
      ->check(CLI::NonNegativeNumber);
  worker->add_option("--name", o.worker.name)->group("");  // given by who started it
  worker->add_flag("--trace", o.worker.trace, "Keep what it did when in the run folder");
  add_sandbox(*worker, o.worker.sandbox);
  add_limits(*worker, o.worker.limits);
  add_machine_share(*worker, o.worker.limits);
  worker->add_option("--prepared-by", o.worker.prepared_by)->group("");  // likewise
  worker->add_option("--drill", o.worker.drill)->group("");  // what `atelier drill` says
  worker->add_option("--drilled-life", o.worker.drilled_life)
      ->group("");  // of an engine that counts
  CLI::App* finish =
      app.add_subcommand("finish", "Join and publish a run whose chunks are all scored");
  finish->add_option("RUN-URL", o.finish.run_url, "As `atelier run` printed it")->required();
  finish->add_option("--output", o.finish.output,
                     "Where the result goes [where the command that prepared the run wanted it]");
  finish->add_option("--input", o.finish.input, "The run's input, if it was moved");
  finish->add_flag("--force", o.finish.force, "Replace an existing output");
  CLI::App* probe = app.add_subcommand("probe", "What Atelier sees in a file");
  probe->add_option("INPUT", o.probe_input)->required();
  CLI::App* models =
      app.add_subcommand("models", "Installed models: spec, licence, cost per megapixel");
  models->add_option("NAME", o.model_name, "One model, by name or file");
  CLI::App* show = app.add_subcommand("show", "State, chunk table and rates of a run");
  show->add_option("RUN-URL", o.run_url, "As `atelier run` printed it")->required();
  CLI::App* bench = app.add_subcommand(
      "bench", "Seconds per frame of a model, by layer; decode and encode rates");
  bench->add_option("--model", o.bench.model)->capture_default_str();
  bench->add_option("--size", o.bench.size)->capture_default_str();
  bench
      ->add_option("--precision", o.bench.precision,
                   "bf16, int8: what gains by it, ranges as in the frame that is scored")
      ->check(CLI::IsMember({"f32", "bf16", "int8"}))
      ->capture_default_str();
  bench->add_flag("--tune", o.bench.tune,
                  "Measure the ways to compute each convolution and what the best of them gain");
  bench->add_option("--threads", o.bench.threads)->check(CLI::Range(0, 1024));
  bench->add_option("--repeats", o.bench.repeats)
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
}

void add_doctor(CLI::App& app, Options& o) {
  CLI::App* doctor = app.add_subcommand(
      "doctor", "What a run needs, looked at before it: machine, sandbox, stores, disk, clock");
  doctor->add_option("INPUT", o.doctor.input, "The video that is to be scored");
  doctor->add_option("OUTPUT", o.doctor.output, "Where the result is to go");
  doctor->add_option("--model", o.doctor.model, "An installed model's name, or an .onnx file");
  doctor->add_option("--runs", o.doctor.runs, "Folder of runs [$XDG_STATE_HOME/atelier/runs]");
  add_engine(*doctor, o.doctor.engine);
}

void add_gc(CLI::App& app, Options& o) {
  CLI::App* gc = app.add_subcommand(
      "gc", "Remove runs by age and by size; a run that somebody works on is kept");
  gc->add_option("--runs", o.gc.runs, "Folder of runs [$XDG_STATE_HOME/atelier/runs]");
  gc->add_option("--older-than", o.gc.older_than,
                 "Remove what nobody changed for so long: 7d, 12h or 30m");
  gc->add_option("--larger-than", o.gc.larger_than,
                 "Remove the oldest until the rest is at most so large: 500M, 10G or 2T");
  gc->add_flag("--dry-run", o.gc.dry_run, "Only say what would be removed");
}

void add_stores(CLI::App& app, Options& o) {
  CLI::App* cp = app.add_subcommand(
      "cp", "Copy objects between any two stores, checked; the same command goes on");
  cp->add_option("FROM", o.cp.from, "A file or an object; with --recursive a folder")->required();
  cp->add_option("TO", o.cp.to,
                 "Its name there; a folder where it ends with '/', is one, or is a whole container")
      ->required();
  cp->add_flag("--recursive", o.cp.recursive,
               "Copy everything below FROM, to the same names below TO");
  cp->add_flag("--force", o.cp.force, "Replace what is there and differs");
  CLI::App* rekey = app.add_subcommand(
      "rekey", "Another master key for an encrypted place; no object is written again");
  rekey->add_option("LOCATION", o.rekey.place, "The place, or anything in it")->required();
  rekey->add_option("--new-key-file", o.rekey.key_file, "A file that only this user can read");
  rekey->add_option("--new-key-command", o.rekey.key_command,
                    "A shell command that prints the key");
  rekey->add_flag("--new-store-key", o.rekey.store_key,
                  "Keep the master key; what is written from now on gets another store key");
  CLI::App* share = app.add_subcommand(
      "share", "A link that lets whoever has it read or write one object for some time");
  share->add_option("URL", o.share.url, "The object, like az://account/container/a.mp4")
      ->required();
  share->add_flag("--read", o.share.read, "Let it be read");
  share->add_flag("--write", o.share.write, "Let it be written, also where there is nothing yet");
  share
      ->add_option("--for", o.share.lasts,
                   "So long, counted from now: 7d, 12h, 30m or 90s; at most 7d, or 365d where an "
                   "account's key signs")
      ->required();
}

Result<void> dispatch(const CLI::App& app, const Options& o, Console& console,
                      Interrupt& interrupt) {
  const std::stop_token stop = interrupt.token();
  const std::string name = app.get_subcommands().front()->get_name();
  if (name == "run") return run_command(o.run, console, stop);
  if (name == "drill") return drill_command(o.drill, console, stop);
  if (name == "finish") return finish_command(o.finish, console, stop);
  if (name == "worker") return worker_command(o.worker, console, stop);
  if (name == "preview") return preview_command(o.preview, console, stop);
  if (name == "probe") return probe_command(o.probe_input, console);
  if (name == "models") return models_command(o.model_name, console);
  if (name == "doctor") return doctor_command(o.doctor, console, stop);
  if (name == "gc") return gc_command(o.gc, console, stop);
  if (name == "cp") return cp_command(o.cp, console, stop);
  if (name == "rekey") return rekey_command(o.rekey, console);
  if (name == "share") return share_command(o.share, console);
  if (name == "plan") return plan_command(o.plan, console, stop);
  if (is_service_command(name)) return dispatch_service(name, o.service, console, interrupt);
  if (name == "show") return show_anything(o.run_url, console);
  return bench_command(o.bench, console, stop);
}

// CLI11 may say several lines; a user gets one sentence.
std::string one_sentence(std::string text) {
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text + (text.ends_with('.') ? "" : ".") + " `atelier --help` lists commands and options.";
}

// CLI11 says of an unknown command only that one is lacking.
Result<void> check_command(int argc, char** argv, const CLI::App& app) {
  const std::string first = argc > 1 ? argv[1] : "-";
  const auto commands = app.get_subcommands(nullptr);
  const bool known = std::any_of(commands.begin(), commands.end(), [&](const CLI::App* command) {
    return command->get_name() == first;
  });
  if (known || first.starts_with('-')) return {};
  return make_error(Code::invalid_argument,
                    "There is no command '{}'; `atelier --help` lists commands and options.",
                    first);
}

// To CLI11 '' is a value like any other; to a shell it is what an unset variable becomes.
Result<void> check_values(const CLI::App& command) {
  for (const CLI::Option* option : command.get_options()) {
    const auto values = option->results();
    if (option->get_expected_max() == 0 || option->count() == 0) continue;
    if (std::none_of(values.begin(), values.end(), [](const auto& v) { return v.empty(); }))
      continue;
    return make_error(Code::invalid_argument, "{} is empty; give it a value or leave it out.",
                      option->get_name());
  }
  return {};
}

Result<void> parse(CLI::App& app, int argc, char** argv) {
  TRY(check_command(argc, argv, app));
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success&) {
    throw;  // --help, --version
  } catch (const CLI::ParseError& error) {
    return Error{Code::invalid_argument, one_sentence(error.what())};
  }
  return check_values(*app.get_subcommands().front());
}

// libgomp reads its environment when it is loaded, before main. With its default it spins between
// frames and takes processor time from the decoder and the encoder.
void make_waiting_passive(char** argv) {
  setenv("SVT_LOG", "0", 0);  // SVT-AV1 prints its settings on stderr
  if (getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("OMP_WAIT_POLICY", "passive", 1);
  execv("/proc/self/exe", argv);
  // Without /proc the program works all the same, only slower.
}

// One command. `keeper`: of a process that does several, or null.
int run_words(int argc, char** argv, Interrupt& interrupt, run::ScorerKeeper* keeper) {
  CLI::App app("Atelier scores media with deep-learning models in batches.", "atelier");
  app.set_version_flag("--version", ATELIER_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  Options options;
  app.add_flag("--json", options.json, "Print one JSON object and nothing else on stdout");
  app.add_flag("--quiet", options.quiet, "Print nothing but errors");
  add_run(app, options);
  add_others(app, options);
  add_drill(app, options);
  add_doctor(app, options);
  add_gc(app, options);
  add_stores(app, options);
  add_service_commands(app, options.service);
  add_plan(app, options.plan);
  for (CLI::App* command : app.get_subcommands(nullptr)) {
    command->footer(
        "--json prints one JSON object and nothing else on stdout, --quiet nothing but errors.");
  }
  app.get_subcommand("share")->footer(
      "stdout is the link and nothing else, or with --json one JSON object; --quiet leaves out the "
      "notes on stderr.");
  options.run.keeper = keeper;
  try {
    if (const auto parsed = parse(app, argc, argv); !parsed.ok()) {
      return report_error(parsed.error(), options.json);
    }
  } catch (const CLI::Success& help) {
    return app.exit(help);
  }
  Console console(options.json, options.quiet);
  NullLog log;
  media::route_libav_log(log);
  const auto result = dispatch(app, options, console, interrupt);
  console.end_progress();
  if (!result.ok()) {
    return report_error(result.error(), options.json && !console.has_said_object());
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return report_error(
        Error{Code::internal, "Standard output cannot be written; what was asked for is done."},
        false);
  }
  return 0;
}

// What no command foresees ends it, not the process.
int run_guarded(int argc, char** argv, Interrupt& interrupt, run::ScorerKeeper* keeper) {
  try {
    return run_words(argc, argv, interrupt, keeper);
  } catch (const std::bad_alloc&) {
    return report_error({Code::internal, "There is not enough memory; try a smaller --size."},
                        false);
  } catch (const std::exception& error) {
    return report_error(
        {Code::internal, fmt::format("Atelier met a bug ({}); please report it.", error.what())},
        false);
  }
}

// A process that does the runs of one user, for `atelier serve`.
int run_several(Interrupt& interrupt) {
  run::ScorerKeeper keeper;
  const auto run_one = [&](std::vector<std::string> words) {
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    // Somebody may have renewed a token since the last run, or taken it away.
    forget_stores();
    return run_guarded(static_cast<int>(words.size()), pointers.data(), interrupt, &keeper);
  };
  return serve_runs(STDIN_FILENO, interrupt.token(), run_one, [&] { keeper.look(); });
}

}  // namespace
}  // namespace atelier::cli

int main(int argc, char** argv) {
  atelier::cli::hold_signals();
  atelier::cli::make_waiting_passive(argv);
  if (argc >= 3 && std::string_view(argv[1]) == atelier::run::kScorerCommand) {
    // It was started by the name of a descriptor.
    ::prctl(PR_SET_NAME, "atelier-scorer");
    atelier::NullLog log;
    atelier::media::route_libav_log(log);
    const bool locked = argc > 3 && std::string_view(argv[3]) == atelier::run::kScorerLocked;
    return atelier::run::run_scorer_program(std::atoi(argv[2]), locked);
  }
  atelier::cli::Interrupt interrupt;
  if (argc == 2 && std::string_view(argv[1]) == atelier::engine::kWarmCommand) {
    return atelier::cli::run_several(interrupt);
  }
  return atelier::cli::run_guarded(argc, argv, interrupt, nullptr);
}
