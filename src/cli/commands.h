// SPDX-License-Identifier: Apache-2.0
// The commands of the program. Each returns the process's exit code.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "cli/console.h"
#include "cli/engine_options.h"
#include "cli/limits.h"
#include "cli/plan_options.h"

namespace atelier::run {
class ScorerKeeper;
}

namespace atelier::cli {

struct RunOptions {
  std::string input;
  std::string output;
  std::string model;
  std::string runs;  // empty: the default
  double chunk_seconds = 4;
  int threads = 0;
  bool no_reuse = false;
  std::string repeats;  // the name of a run folder; empty: whatever the command finds
  bool force = false;
  std::string size;
  std::string from;
  std::string to;
  std::string codec;                  // empty: the container's default
  std::optional<int> crf;             // the encoder's default
  std::optional<std::string> preset;  // likewise
  std::string encoder_options;
  std::string keep_frames;
  bool deinterlace = false;
  std::string precision = "auto";
  double min_psnr = 32;
  std::string norm = "frame";
  std::string tune = "auto";
  EngineOptions engine;
  int workers = 0;  // 0: default_workers()
  std::string sandbox = "on";
  std::string trace;  // a file for a Chrome trace; empty: none
  Limits limits;
  uint64_t error_threshold = 0;  // frames that may stay unpainted
  double max_minutes = 0;        // of what is scored; 0: no bound, as below
  uint64_t max_pixels = 0;       // of a frame that is scored
  // WorkersRequest::more_arguments; if set, also one worker is a process of its own. For drills.
  std::function<std::vector<std::string>(int k)> worker_arguments;
  // Of a process that does several runs of one user's, one after another; null: it does one.
  run::ScorerKeeper* keeper = nullptr;
};
Result<void> run_command(const RunOptions& options, Console& console, std::stop_token stop);

struct WorkerOptions {
  std::string run_url;
  std::string share = "1/1";
  std::string input;  // where it is now; empty: where it was when the run was prepared
  std::string model;  // likewise
  int threads = 0;
  int parent = 0;    // ends with this process; 0: with none
  std::string name;  // unique in the run; empty: its own
  std::string sandbox = "on";
  bool trace = false;
  Limits limits;
  std::string drill;      // run::DrillOrders; empty: in earnest
  int drilled_life = -1;  // run::orders_of_life(); -1: the orders are for this worker alone
  // The version of the program that prepared the run on another machine; empty: whatever it was.
  std::string prepared_by;
};
Result<void> worker_command(const WorkerOptions& options, Console& console, std::stop_token stop);

struct FinishOptions {
  std::string run_url;
  std::string input;   // where it is now; empty: where it was when the run was prepared
  std::string output;  // empty: where the command that prepared the run wanted it
  bool force = false;
};
// Again it publishes the same bits, or finds them there. Errors: those of open_output and publish;
// corrupt (chunks are not scored, or were given up), invalid_argument (no such run, nobody said
// where to), conflict (the input changed).
Result<void> finish_command(const FinishOptions& options, Console& console, std::stop_token stop);

struct DrillOptions {
  RunOptions run;  // without output; with 0 workers there are three
  double kill = 0.02;
  double freeze = 0.02;
  double store_faults = 0.05;
  std::string seeds = "1";   // or "1-100"
  double claim_timeout = 1;  // seconds
  double limit = 0;          // seconds for one run; 0: by the undisturbed one
  bool keep = false;
};
// Errors: those of run_command for the undisturbed run; internal if one that was disturbed gave
// other bits or did not end, or a step of the ledger was never met; invalid_argument where the
// engine cannot be drilled as it is to be.
Result<void> drill_command(const DrillOptions& options, Console& console, std::stop_token stop);

struct PreviewOptions {
  std::string input;
  std::string output;
  std::string model;
  std::string size;
  int threads = 0;
  bool force = false;
};
Result<void> preview_command(const PreviewOptions& options, Console& console, std::stop_token stop);

Result<void> probe_command(const std::string& input, Console& console);

Result<void> models_command(const std::string& name, Console& console);

Result<void> show_command(const std::string& run_url, Console& console);

struct DoctorOptions {
  EngineOptions engine;
  std::string input;  // empty: not looked at, as all of these
  std::string output;
  std::string model;
  std::string runs;  // empty: the default
};
// What a run with these needs: each finding is a line. Errors: that of the first finding that would
// stop a run, after all findings were said.
Result<void> doctor_command(const DoctorOptions& options, Console& console, std::stop_token stop);

struct GcOptions {
  std::string runs;         // empty: the default
  std::string older_than;   // "7d"; empty: any age stays
  std::string larger_than;  // "10G"; empty: any size stays
  bool dry_run = false;
};
Result<void> gc_command(const GcOptions& options, Console& console, const std::stop_token& stop);

struct CopyCommandOptions {
  std::string from;
  std::string to;
  bool recursive = false;
  bool force = false;
};
// Errors: those of copy_objects; invalid_input if there is nothing to copy.
Result<void> cp_command(const CopyCommandOptions& options, Console& console,
                        const std::stop_token& stop);

struct ShareOptions {
  std::string url;
  bool read = false;  // just one of both
  bool write = false;
  std::string lasts;  // "1h"
};
struct RekeyOptions {
  std::string place;
  std::string key_file;
  std::string key_command;
  bool store_key = false;
};
// With another master key the one that the file of credentials names opens the place for the last
// time.
Result<void> rekey_command(const RekeyOptions& options, Console& console);

Result<void> share_command(const ShareOptions& options, Console& console);

// Errors: those of read_question(); cancelled.
Result<void> plan_command(const PlanOptions& options, Console& console,
                          const std::stop_token& stop);

struct BenchOptions {
  std::string model = "starry-night";
  std::string size = "1280x720";
  std::string precision = "f32";
  int threads = 0;
  int repeats = 7;
  bool tune = false;  // the ways of convolutions instead of layers and codecs
};
Result<void> bench_command(const BenchOptions& options, Console& console, std::stop_token stop);

}  // namespace atelier::cli
