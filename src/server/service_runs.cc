// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/warm_protocol.h"
#include "server/outputs.h"
#include "server/service_parts.h"
#include "server/service_steps.h"

namespace atelier::server {
namespace {

constexpr uint64_t kLeastSpace = uint64_t{64} << 20;

}  // namespace

Result<Submissions::Of> Service::Parts::read_back(const RunRow& run) {
  std::optional<Submissions::Of> of;
  TRY(database->read([&](Connection& connection) -> Result<void> {
    of = TRY(submissions->read_back(connection, run));
    return {};
  }));
  return *std::move(of);
}

Result<std::vector<std::vector<std::string>>> Service::Parts::steps_of(const RunRow& run) {
  const Submissions::Of of = TRY(read_back(run));
  const auto bytes = TRY(sizes.of(run.input, clock.now()));
  TRY(submissions->check_start(of, run, bytes));
  RunRow now = run;
  if (run.replace_own) {
    TRY(database->read([&](Connection& connection) -> Result<void> {
      now.replace_output = TRY(was_made_from(connection, run.output, run.input, run.id));
      return {};
    }));
  }
  if (bytes && *bytes != run.bytes) {
    TRY(database->write(
        [&](Connection& connection) { return note_bytes(connection, run.id, *bytes); }));
  }
  return run_commands(config, setup.program, of, now);
}

Result<void> Service::Parts::tell_end(Connection& connection, const std::string& run_id,
                                      int64_t event) {
  for (const EventRow& row : TRY(list_events(connection, run_id, event - 1, 1))) {
    TRY(queue_deliveries(connection, webhooks, {row.seq, row.run_id, row.at, row.kind, row.detail},
                         wall));
  }
  return {};
}

// What steps handed to each other is of no use when the run is over: a retry begins with the first
// step, whose chunks are in its run folder.
void Service::Parts::forget_between(const RunRow& run) {
  const auto of = read_back(run);
  const size_t steps = of.ok() ? of->pipeline->scores.size() : run.run_urls.size();
  for (size_t step = 0; step + 1 < steps; ++step) {
    for (const char* extension : {".mov", ".mkv"}) {
      (void)ops->remove(between_key(run.id, step, extension));
    }
  }
}

// Runs on other machines load their models there.
void Service::Parts::make_warm_pools() {
  for (const PoolConfig& pool : config.pools) {
    if (pool.engine != EngineName::local) continue;
    if (pool.idle_timeout.count() == 0 && pool.min == 0) continue;
    engine::WarmRules rules;
    rules.words = {setup.program, engine::kWarmCommand};
    rules.idle_timeout = pool.idle_timeout;
    rules.least = static_cast<size_t>(pool.min);
    rules.most = static_cast<size_t>(runs_at_once(pool));
    warm.try_emplace(pool.name, clock, std::move(rules));
  }
}

// What the dispatcher asks of run folders, places and disks.
void Service::Parts::add_looks(DispatcherSetup& made) {
  made.is_run_url = [this](const std::string& url) { return folders->holds(url); };
  made.read_report = [this](const std::string& url) { return folders->report(url); };
  made.node_times = [this](const RunRow& run, const std::string& url, Millis since) {
    // A job of Slurm's has a node for each worker, hosts of MPI may have several.
    return folders->node_times(url, since, is_engine(run.pool, EngineName::mpi));
  };
  made.output_urls = [this](const std::string& url) { return submissions->known_urls_of(url); };
  made.why_not_ready = [this] { return why_not_ready(); };
}

Result<void> Service::Parts::make_dispatcher() {
  webhooks = webhooks_of(config);
  sender = std::make_unique<HttpWebhookSender>(webhook_client, resolver, TRY(targets_of(config)));
  deliveries = std::make_unique<Deliveries>(*database, *sender, wall, *setup.log);
  TRY(deliveries->give_up_removed(webhooks));
  delivery_threads = std::make_unique<DeliveryThreads>(*deliveries, wall, *setup.log, webhooks);
  DispatcherSetup made;
  for (const PoolConfig& pool : config.pools) {
    made.pools[pool.name] = {runs_at_once(pool), most_nodes(pool), pool.price_per_node_hour,
                             pool.engine != EngineName::local};
  }
  made.most_running_of_owner = [this](const std::string& owner) {
    return config.limits.of(owner).max_running;
  };
  made.steps_of = [this](const RunRow& run) { return steps_of(run); };
  made.max_attempts = [this](const RunRow& run) -> int64_t {
    const auto of = read_back(run);
    // What cannot be read now is no reason to give up.
    return of.ok() ? of->pipeline->max_attempts : INT64_MAX;
  };
  add_looks(made);
  made.on_end = [this](Connection& connection, const std::string& id, int64_t event) {
    return tell_end(connection, id, event);
  };
  made.after_end = [this](const RunRow& run, RunState) {
    delivery_threads->wake();
    forget_between(run);
  };
  made.logs = logs;
  made.say = [this](const std::string& text) { setup.log->line(LogLevel::warning, text); };
  launcher = engine::make_launcher();
  make_warm_pools();
  made.start_command = [this](const RunRow& run, const std::vector<std::string>& words) {
    const auto pool = warm.find(run.pool);
    return pool == warm.end() ? launcher->start(words) : pool->second.start(run.owner, words);
  };
  made.look_at_processes = [this]() -> Result<void> {
    for (auto& [name, pool] : warm) TRY(pool.look());
    return {};
  };
  dispatcher = TRY(Dispatcher::create(*database, *launcher, clock, wall, std::move(made)));
  return end_without_pool();
}

// Runs that wait for a pool which is not configured any more would wait for ever.
Result<void> Service::Parts::end_without_pool() {
  return database->write([this](Connection& connection) -> Result<void> {
    RunFilter filter;
    filter.state = RunState::queued;
    filter.limit = INT64_MAX;
    for (const RunRow& run : TRY(list_runs(connection, filter))) {
      if (has_pool(run.pool)) continue;
      TRY(begin_attempt(connection, run.id, wall.now()));
      AttemptEnd end;
      end.state = RunState::failed;
      end.counts = false;
      end.reason = fmt::format("There is no pool '{}' any more.", run.pool);
      TRY(end_attempt(connection, run.id, end, wall.now()));
      const auto event = TRY(connection.integer("SELECT max(seq) FROM events"));
      TRY(tell_end(connection, run.id, event.value_or(0)));
    }
    return {};
  });
}

bool Service::Parts::has_pool(const std::string& name) const {
  return std::any_of(config.pools.begin(), config.pools.end(),
                     [&](const PoolConfig& pool) { return pool.name == name; });
}

bool Service::Parts::is_engine(const std::string& pool, EngineName engine) const {
  return std::any_of(config.pools.begin(), config.pools.end(), [&](const PoolConfig& one) {
    return one.name == pool && one.engine == engine;
  });
}

// Of the database, and of run folders where they lie on this machine.
std::string Service::Parts::why_not_ready() const {
  std::vector<fs::path> places = {config.data};
  if (config.stores.ops.is_file()) places.push_back(config.stores.ops.path);
  for (const fs::path& place : places) {
    std::error_code error;
    if (place != config.data && !fs::exists(place, error)) continue;  // the first run makes it
    const auto space = free_space(place);
    if (!space.ok()) return space.error().message;
    if (*space < kLeastSpace) {
      return fmt::format("There are {} MiB left where '{}' lies; make room.", *space >> 20,
                         place.string());
    }
  }
  return {};
}

}  // namespace atelier::server
