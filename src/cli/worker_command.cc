// SPDX-License-Identifier: Apache-2.0
// atelier worker RUN-URL: one worker of a run that was prepared. Engines call it.
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <charconv>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/folders.h"
#include "cli/worker_job.h"
#include "run/drill_worker.h"
#include "run/work.h"
#include "store/retrying_store.h"

namespace atelier::cli {
namespace {

// "2/7" -> worker 1 of 7, counted from 0.
Result<run::Share> parse_share(const std::string& text) {
  run::Share share;
  const char* end = text.data() + text.size();
  const auto k = std::from_chars(text.data(), end, share.k);
  const bool slash = k.ec == std::errc() && k.ptr != end && *k.ptr == '/';
  const auto n = slash ? std::from_chars(k.ptr + 1, end, share.n) : k;
  if (!slash || n.ec != std::errc() || n.ptr != end || share.k < 1 || share.n < share.k) {
    return make_error(Code::invalid_argument, "--worker takes K/N with K from 1 to N, not '{}'.",
                      text);
  }
  --share.k;
  return share;
}

}  // namespace

Result<void> worker_command(const WorkerOptions& options, Console& console, std::stop_token stop) {
  if (options.parent > 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != options.parent) return make_error(Code::cancelled, "Interrupted.");
  }
  TRY(check_version(options.prepared_by));
  SystemClock clock;
  const run::Share share = TRY(parse_share(options.share));
  const Location location = TRY(parse_location(options.run_url));
  const std::string run_id = location.name();
  const auto opened = TRY(open_folder(location.folder()));
  std::unique_ptr<run::DrilledWorker> drill;
  if (!options.drill.empty()) {
    run::DrillOrders orders = TRY(run::drill_orders_from_json(options.drill));
    if (options.drilled_life >= 0) {
      orders = run::orders_of_life(std::move(orders), share.k + 1, options.drilled_life);
    }
    drill = TRY(run::DrilledWorker::create(orders, *opened, run_id, clock));
  }
  std::optional<RetryingStore> drilled;
  if (drill) drilled.emplace(drill->store(), clock, drill->retries());
  ObjectStore& store = drill ? *drilled : *opened;
  const run::Manifest manifest =
      TRY(read_run_manifest(store, run_id, options.run_url, !options.prepared_by.empty()));
  run::RunFolder folder(store, manifest.run_id);
  const std::string input_place = options.input.empty() ? manifest.input.url : options.input;
  const StoredInput input = TRY(find_same_input(manifest.input, input_place));
  const run::ModelFiles model = TRY(find_run_model(manifest, options.model));

  const std::string name = options.name.empty() ? run::make_worker_name() : options.name;
  run::LogSegments log(clock, name);
  run::ScorerTask task =
      worker_task(manifest, input, model,
                  {input_place, options.threads, options.sandbox == "on", options.trace,
                   options.limits, scorer_memory(options.limits)});
  task.log = [&](std::string_view text) { log.add(&folder, text); };

  if (drill) drill->arrange(task);

  const auto progress = TRY(run::SharedProgress::create());
  std::optional<run::DrilledWorker::Watch> watch;
  if (drill) watch.emplace(*drill, progress->get());
  run::Ledger::Setup setup;
  setup.run_id = manifest.run_id;
  setup.worker = name;
  setup.chunks = static_cast<int>(manifest.chunks.size());
  setup.share = share;
  setup.policy = drill ? drill->policy() : ledger_policy(options.limits);
  run::Ledger ledger(store, clock, setup);
  const auto heart = TRY(drill ? run::Heart::start(ledger, progress->get(), drill->beat_interval())
                               : run::Heart::start(ledger, progress->get()));
  run::Broker broker(folder, manifest, ledger, TRY(scratch_for({location, input.place.location})));
  std::unique_ptr<run::ScorerProcess> scorer;
  const auto worked = run::work(scorer, run::kThisProgram, task, *progress, broker, stop);
  log.flush(folder);
  TRY(worked);
  console.say(fmt::format("Worker {} scored {} frames in {} chunks.", name, broker.frames(),
                          progress->get().chunks.load()));
  return {};
}

}  // namespace atelier::cli
