// SPDX-License-Identifier: Apache-2.0
#include "cli/rank_command.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/clock.h"
#include "cli/inputs.h"
#include "cli/worker_job.h"
#include "run/clean_up.h"
#include "run/gang_record.h"
#include "run/model_parcel.h"
#include "run/work.h"
#include "run/worker_beats.h"

namespace atelier::cli {
namespace {

using Statistics = std::map<std::string, double>;

double seconds_since(Clock::Duration then) {
  return std::chrono::duration<double>(system_clock().now() - then).count();
}

// Of one rank, reduced over all.
Result<Statistics> reduced(engine::Gang& gang, run::Broker& broker, uint64_t chunks, double seconds,
                           const std::stop_token& stop) {
  const run::StageSeconds stages = broker.seconds();
  const auto frames = static_cast<double>(broker.frames());
  const std::vector<std::string> names = {"frames", "chunks", "decode_seconds", "score_seconds",
                                          "encode_seconds"};
  std::vector<double> sums = {frames, static_cast<double>(chunks), stages.decode, stages.score,
                              stages.encode};
  std::vector<double> most = {frames, seconds};
  TRY(gang.sum(sums, stop));
  TRY(gang.largest(most, stop));
  Statistics all = {{"most_frames_of_a_rank", most[0]}, {"longest_seconds_of_a_rank", most[1]}};
  for (size_t i = 0; i < names.size(); ++i) all[names[i]] = sums[i];
  return all;
}

class Rank {
 public:
  Rank(const RankOptions& options, engine::Gang& gang, std::stop_token stop)
      : options_(options), gang_(gang), stop_(std::move(stop)) {}

  Result<Statistics> run() {
    const Location location = TRY(parse_location(options_.run_url));
    const auto store = TRY(open_folder(location.folder()));
    const run::Manifest manifest = TRY(get_manifest(*store, location.name()));
    run::RunFolder folder(*store, manifest.run_id);
    run::Ledger ledger(*store, clock_, ledger_setup(manifest));
    const auto progress = TRY(run::SharedProgress::create());
    // From now on whoever started the gang sees that this rank lives: a large model takes a while.
    const auto heart = TRY(run::Heart::start(ledger, progress->get()));
    const StoredInput input = TRY(find_same_input(manifest.input, options_.input));
    const run::ModelFiles model = TRY(get_model(manifest));
    TRY(run::check_stands(*store, manifest.run_id));

    run::LogSegments log(clock_, ledger.worker());
    run::ScorerTask task = worker_task(manifest, input, model, setting());
    task.log = [&](std::string_view text) { log.add(&folder, text); };
    run::Broker broker(folder, manifest, ledger,
                       TRY(scratch_for({location, input.place.location})));
    const auto begin = clock_.now();
    std::unique_ptr<run::ScorerProcess> scorer;
    const auto worked = run::work(scorer, options_.scorer, task, *progress, broker, stop_);
    log.flush(folder);
    TRY(worked);
    // It beats until all others are done, too.
    return reduced(gang_, broker, progress->get().chunks.load(), seconds_since(begin), stop_);
  }

 private:
  Result<run::Manifest> get_manifest(ObjectStore& store, const std::string& run_id) {
    const auto text = TRY(engine::read_once(
        gang_,
        [&]() -> Result<std::vector<std::byte>> {
          const std::string json =
              run::to_json(TRY(read_run_manifest(store, run_id, options_.run_url)));
          return std::vector<std::byte>(as_bytes(json).begin(), as_bytes(json).end());
        },
        stop_));
    return run::manifest_from_json(as_text(text));
  }

  Result<run::ModelFiles> get_model(const run::Manifest& manifest) {
    return run::unpack_model(TRY(engine::read_once(
        gang_,
        [&]() -> Result<std::vector<std::byte>> {
          const run::ModelFiles files = TRY(find_run_model(manifest, options_.model));
          return run::pack_model(files, options_.beside);
        },
        stop_)));
  }

  run::Ledger::Setup ledger_setup(const run::Manifest& manifest) const {
    run::Ledger::Setup setup;
    setup.run_id = manifest.run_id;
    setup.worker = fmt::format("{}.{}", options_.gang, gang_.rank());
    setup.chunks = static_cast<int>(manifest.chunks.size());
    setup.share = {gang_.rank(), gang_.size()};
    setup.policy = ledger_policy(options_.limits);
    return setup;
  }

  WorkerSetting setting() const {
    const int beside = std::max(1, gang_.local_size());
    const int processors = static_cast<int>(std::thread::hardware_concurrency());
    WorkerSetting setting;
    setting.shown_name = options_.input;
    setting.threads = options_.threads > 0 ? options_.threads : std::max(1, processors / beside);
    setting.sandbox = options_.sandbox == "on";
    setting.trace = options_.trace;
    setting.limits = options_.limits;
    setting.memory = scorer_memory(options_.limits) / static_cast<uint64_t>(beside);
    return setting;
  }

  const RankOptions& options_;
  engine::Gang& gang_;
  const std::stop_token stop_;
  SystemClock clock_;
};

}  // namespace

Result<std::map<std::string, double>> score_as_rank(const RankOptions& options, engine::Gang& gang,
                                                    const std::function<void()>& met,
                                                    std::stop_token stop) {
  TRY(gang.meet(stop));
  met();
  return Rank(options, gang, std::move(stop)).run();
}

Result<void> keep_statistics(const RankOptions& options,
                             const std::map<std::string, double>& statistics) {
  const Location location = TRY(parse_location(options.run_url));
  const auto store = TRY(open_folder(location.folder()));
  return run::put_gang(*store, location.name(), {options.gang, statistics});
}

Result<bool> sees_run(const std::string& run_url, const std::string& worker) {
  const Location location = TRY(parse_location(run_url));
  const auto store = TRY(open_folder(location.folder()));
  const auto beats = TRY(run::beats_of(*store, location.name(), worker));
  return beats.contains(worker);
}

}  // namespace atelier::cli
