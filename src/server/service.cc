// SPDX-License-Identifier: Apache-2.0
#include "server/service.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/clock.h"
#include "engine/warm_pool.h"
#include "engine/warm_protocol.h"
#include "server/api.h"
#include "server/audit.h"
#include "server/dispatcher.h"
#include "server/housekeeping.h"
#include "server/input_size.h"
#include "server/openapi.h"
#include "server/outputs.h"
#include "server/previews.h"
#include "server/service_config.h"
#include "server/service_steps.h"
#include "server/stream_shares.h"
#include "server/text_file.h"
#include "server/token_gate.h"
#include "server/webhooks.h"
#include "store/secret.h"

namespace atelier::server {

namespace fs = std::filesystem;

namespace {

constexpr std::chrono::minutes kHousekeeping(30), kPreviewTimeout(3);
constexpr uint64_t kLeastSpace = uint64_t{64} << 20;

// What DNS would make of it on every machine; listeners take numbers.
std::string numeric(const std::string& host) { return host == "localhost" ? "127.0.0.1" : host; }

Result<void> make_private_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error || ::chmod(folder.c_str(), 0700) != 0) {
    return make_error(Code::invalid_argument,
                      "The folder '{}' of the service cannot be made its own ({}); give its user "
                      "the rights, or name another one as `data`.",
                      folder.string(), error ? error.message() : describe_errno(errno));
  }
  return {};
}

http::ClientOptions brief_client() {
  http::ClientOptions options;
  options.connect_timeout = std::chrono::seconds(5);
  options.stall_timeout = std::chrono::seconds(10);
  options.direct = true;  // a proxy would connect to whatever it likes
  return options;
}

}  // namespace

// In the order in which they are made; they end in the opposite one.
struct Service::Parts {
  explicit Parts(ServiceSetup given) : setup(std::move(given)), config(setup.config) {}

  Result<void> make_database();
  Result<void> make_api();
  void add_looks(DispatcherSetup& made);
  Result<void> make_dispatcher();
  void make_warm_pools();
  Result<void> make_triggers();
  Result<void> make_listeners();
  Result<void> publish_configured();
  Result<std::string> submit_triggered(Connection& connection, const TriggeredRun& wanted);
  Result<void> run_triggers();
  bool is_configured(const std::string& name);
  Result<void> check_trigger(const Trigger& trigger);
  Result<void> end_without_pool();
  Result<std::vector<std::vector<std::string>>> steps_of(const RunRow& run);
  Result<Submissions::Of> read_back(const RunRow& run);
  std::string why_not_ready() const;
  bool has_pool(const std::string& name) const;
  bool is_engine(const std::string& pool, EngineName engine) const;
  std::string url_of(const Address& address, const HttpListener& at) const;
  StreamReply answer(Call call);
  StreamReply answer_stream(Call call);
  Result<void> tell_end(Connection& connection, const std::string& run_id, int64_t event);
  void forget_between(const RunRow& run);
  void say(const std::string& text) const { setup.log->line(LogLevel::info, text); }

  ServiceSetup setup;
  const Config& config;
  SystemClock clock;
  SystemWallClock wall;
  fs::path logs, backups;
  EventBell bell;
  Metrics metrics;
  StreamShares stream_shares{config.limits.max_streams_per_token};
  std::unique_ptr<ObjectStore> ops;
  std::unique_ptr<Database> database;
  std::unique_ptr<RunFolders> folders;
  std::unique_ptr<Tokens> tokens;
  std::unique_ptr<RateGate> rates;
  std::unique_ptr<TokenGate> gate;
  std::unique_ptr<Submissions> submissions;
  InputSizes sizes{[this](const Location& folder) { return setup.open_store(folder, true); }};
  std::unique_ptr<engine::Commands> commands;
  std::unique_ptr<Previews> previews;
  std::vector<Webhook> webhooks;
  http::Client webhook_client{brief_client()};
  SystemResolver resolver;
  std::unique_ptr<HttpWebhookSender> sender;
  std::unique_ptr<Deliveries> deliveries;
  std::unique_ptr<DeliveryThreads> delivery_threads;
  Mutex triggers_mutex;
  std::vector<Trigger> from_config GUARDED_BY(triggers_mutex);
  std::unique_ptr<TriggerService> triggers;
  std::unique_ptr<TriggerTools> trigger_tools;
  DeliveryTools delivery_tools;
  std::unique_ptr<ApiParts> api;
  std::unique_ptr<Router> router, streams;
  std::unique_ptr<engine::Launcher> launcher;
  std::map<std::string, engine::WarmPool> warm;  // by the pool's name
  std::unique_ptr<Dispatcher> dispatcher;
  std::atomic<const HttpListener*> counted = nullptr;  // listener, once it is there
  std::unique_ptr<HttpListener> listener, stream_listener;
};

Result<void> Service::Parts::make_database() {
  TRY(check_apart(policy_of(config), &resolve_links));
  TRY(make_private_folder(config.data));
  for (const fs::path& file : private_files(config)) TRY(open_private_file(file, "a secret"));
  logs = config.data / "logs";
  backups = config.data / "backups";
  ops = TRY(setup.open_store(config.stores.ops, false));
  DatabaseOptions options;
  options.before_commit = setup.before_commit;
  options.after_commit = [this] { bell.ring(); };
  database = TRY(Database::open(config.data / "atelier.db", std::move(options)));
  folders = std::make_unique<RunFolders>(*ops);
  tokens = std::make_unique<Tokens>(*database, clock, wall);
  const fs::path file = config.data / "admin.token";
  const bool made = TRY(tokens->make_first_admin_token(
      [&](const std::string& secret) { return write_secret_file(file, secret); }));
  if (made) say(fmt::format("The token of an admin is in '{}'.", file.string()));
  return publish_configured();
}

Result<void> Service::Parts::publish_configured() {
  for (const fs::path& path : config.pipelines) {
    const std::string text = TRY(read_text_file(path, "The pipeline", kLongestPipeline));
    std::optional<Publication> publication;
    const Result<void> done = database->write([&](Connection& connection) -> Result<void> {
      publication = TRY(publish_pipeline(connection, text, "", "configuration", wall.now()));
      return {};
    });
    if (!done) {
      return make_error(done.error().code, "In '{}': {}", path.string(), done.error().message);
    }
    if (publication->is_new) {
      say(fmt::format("The pipeline '{}' is published as version {}.", publication->pipeline.name,
                      publication->pipeline.version));
    }
  }
  return {};
}

Result<void> Service::Parts::make_api() {
  rates = std::make_unique<RateGate>(clock, rates_of(config.limits));
  gate = std::make_unique<TokenGate>(*tokens, *rates);
  submissions = std::make_unique<Submissions>(rules_of(config));
  commands = engine::make_commands(kPreviewTimeout);
  previews = std::make_unique<Previews>(
      *commands, config.data / "previews",
      [this](const RunRow& run, const fs::path& path) -> Result<std::vector<std::string>> {
        const Submissions::Of of = TRY(read_back(run));
        TRY(submissions->check_start(of, run, std::nullopt));
        return preview_command(setup.program, of, path);
      });
  TRY(make_triggers());
  api = std::make_unique<ApiParts>(
      ApiParts{*database, wall, *submissions, *folders, *tokens, bell, metrics, logs, backups,
               config.data / "previews", pools_of(config), setup.version, "",
               [this] { return why_not_ready(); },
               [this] {
                 const HttpListener* at = counted;
                 return at != nullptr ? at->counts() : ListenerCounts{};
               },
               [this](const RunRow& run) { return previews->of(run); }});
  std::vector<Operation> table;
  const auto add = [&table](std::vector<Operation> more) {
    for (Operation& operation : more) table.push_back(std::move(operation));
  };
  add(run_operations(*api));
  add(pipeline_operations(*api));
  add(trigger_operations(*api, *trigger_tools));
  delivery_tools.has_webhook = [this](const std::string& name) {
    return std::any_of(webhooks.begin(), webhooks.end(),
                       [&](const Webhook& webhook) { return webhook.name == name; });
  };
  delivery_tools.wake = [this] { delivery_threads->wake(); };
  add(pool_operations(*api));
  add(delivery_operations(*api, delivery_tools));
  add(token_operations(*api));
  add(system_operations(*api, [this] {
    return make_openapi(router->operations(), streams->operations(), setup.version,
                        api->events_address);
  }));
  router = std::make_unique<Router>(std::move(table), *gate);
  streams = std::make_unique<Router>(stream_operations(*api), *gate);
  return {};
}

Result<void> Service::Parts::make_triggers() {
  from_config = TRY(triggers_of(config));
  triggers = std::make_unique<TriggerService>(
      TriggerParts{*database, clock, wall,
                   [this](const Location& place) { return setup.open_store(place, true); },
                   [this](Connection& connection, const TriggeredRun& wanted) {
                     return submit_triggered(connection, wanted);
                   }});
  trigger_tools = std::make_unique<TriggerTools>(
      TriggerTools{*triggers, [this](const std::string& name) { return is_configured(name); },
                   [this](const Trigger& trigger) { return check_trigger(trigger); },
                   [this] { return run_triggers(); }});
  for (const Trigger& trigger : from_config) TRY(trigger_tools->check(trigger));
  return {};
}

// What every blob of it would be refused for.
Result<void> Service::Parts::check_trigger(const Trigger& trigger) {
  TRY(check_location(policy_of(config), &resolve_links, {}, trigger.location.url(),
                     LocationUse::read));
  bool is_published = false;
  const auto& version = trigger.asks.version;
  TRY(database->read([&](Connection& connection) -> Result<void> {
    is_published = TRY(find_pipeline(connection, trigger.pipeline, version)).has_value();
    return {};
  }));
  if (!is_published) {
    return make_error(Code::invalid_argument,
                      "The trigger '{}' starts the pipeline '{}'{}, which is not published; "
                      "publish it first.",
                      trigger.name, trigger.pipeline,
                      version ? fmt::format(" of version {}", *version) : "");
  }
  if (trigger.asks.pool.empty() || has_pool(trigger.asks.pool)) return {};
  return make_error(Code::invalid_argument,
                    "The trigger '{}' asks for the pool '{}', which is not in the configuration.",
                    trigger.name, trigger.asks.pool);
}

bool Service::Parts::is_configured(const std::string& name) {
  MutexLock lock(triggers_mutex);
  return std::ranges::any_of(from_config, [&](const Trigger& it) { return it.name == name; });
}

// Those of the configuration and those of the database.
Result<void> Service::Parts::run_triggers() {
  MutexLock lock(triggers_mutex);
  std::vector<Trigger> all = from_config;
  TRY(database->read([&](Connection& connection) -> Result<void> {
    Rows rows = TRY(connection.query("SELECT name, toml FROM triggers"));
    while (TRY(rows.next())) {
      const bool is_configured = std::ranges::any_of(
          from_config, [name = rows.text(0)](const Trigger& it) { return it.name == name; });
      auto trigger = parse_trigger(rows.text(1));
      if (!is_configured && trigger.ok()) all.push_back(std::move(trigger).value());
    }
    return {};
  }));
  return triggers->replace(std::move(all));
}

Result<std::string> Service::Parts::submit_triggered(Connection& connection,
                                                     const TriggeredRun& wanted) {
  SubmissionRequest request;
  request.pipeline = wanted.pipeline;
  request.parameters = wanted.parameters;
  Principal owner;
  owner.name = wanted.owner;
  owner.role = Role::operator_;  // as who made the trigger: it may have a priority
  request.version = wanted.asks.version;
  request.pool = wanted.asks.pool;
  if (!request.pool.empty() && !has_pool(request.pool))  // it may come back: the blob waits
    return make_error(Code::conflict, "There is no pool '{}' at the moment.", request.pool);
  request.priority = wanted.asks.priority;
  request.max_cost = wanted.asks.max_cost;
  request.max_seconds = wanted.asks.max_seconds;
  request.replace_output = wanted.asks.replace_output.value_or(false);
  request.replace_own = !wanted.asks.replace_output;
  request.bytes = static_cast<int64_t>(std::min<uint64_t>(wanted.bytes, INT64_MAX));
  NewRun run = TRY(submissions->check(connection, request, owner));
  run.trigger = wanted.trigger;
  std::string id = TRY(add_run(connection, run, submissions->limits_of(run.owner), wall.now()));
  Call by_trigger;
  by_trigger.who = owner;
  TRY(audit(connection, by_trigger, wall, "triggerRun", id,
            nlohmann::json{{"trigger", wanted.trigger}}.dump()));
  return id;
}

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
  made.read_report = [this](const std::string& url) -> std::optional<std::string> {
    auto report = folders->report(url);
    if (!report.ok()) return std::nullopt;
    return std::move(report).value();
  };
  made.node_times = [this](const RunRow& run, const std::string& url, Millis since) {
    // A job of Slurm's has a node for each worker, hosts of MPI may have several.
    return folders->node_times(url, since, is_engine(run.pool, EngineName::mpi));
  };
  made.output_urls = [this](const RunRow& run) { return submissions->known_urls_of(run.output); };
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

StreamReply Service::Parts::answer(Call call) {
  const auto begin = clock.now();
  const Operation* operation = nullptr;
  Reply reply = router->answer(call, &operation);
  metrics.count_request(operation == nullptr ? "" : operation->id, reply.status,
                        std::chrono::duration<double>(clock.now() - begin).count());
  return {std::move(reply), {}};
}

StreamReply Service::Parts::answer_stream(Call call) {
  const Operation* operation = nullptr;
  StreamReply made;
  made.reply = streams->answer(call, &operation);
  if (operation == nullptr || made.reply.status != 200) return made;
  const auto who = gate->identify(call);
  const auto place = who.ok() ? stream_shares.take(who->name) : nullptr;
  if (place == nullptr) {
    Error full{Code::unavailable,
               fmt::format("You have {} streams, as many as a token may; end one of them.",
                           config.limits.max_streams_per_token),
               std::chrono::seconds(10)};
    return {too_many(full), {}};
  }
  made.reply.type = operation->response_type;
  NextPiece next = open_stream(*api, *operation, call, [this, call, asked = call.who] {
    const auto now = gate->identify(call);
    return now.ok() && now->role == asked.role && now->pipelines == asked.pipelines;
  });
  made.next = [next = std::move(next), place] { return next(); };
  return made;
}

std::string Service::Parts::url_of(const Address& address, const HttpListener& at) const {
  Address bound = address;
  bound.port = static_cast<uint16_t>(at.port());
  return fmt::format("{}://{}", config.tls ? "https" : "http", bound.text());
}

Result<void> Service::Parts::make_listeners() {
  ListenerOptions options;
  options.most_body = config.limits.max_body_bytes;
  options.request_deadline = config.limits.request_timeout;
  if (config.tls) {
    options.certificate = config.tls->certificate.string();
    options.key = config.tls->key.string();
  }
  ListenerOptions streaming = options;
  streaming.host = numeric(config.events_listen.host);
  streaming.port = config.events_listen.port;
  streaming.connections = static_cast<int>(config.limits.max_streams);
  streaming.connections_of_one_address = std::max(1, (streaming.connections + 1) / 2);
  stream_listener =
      TRY(HttpListener::open(streaming, [this](const Call& call) { return answer_stream(call); }));
  api->events_address = url_of(config.events_listen, *stream_listener);
  // From its first moment it answers, so all that answers need is there before.
  options.host = numeric(config.listen.host);
  options.port = config.listen.port;
  listener = TRY(HttpListener::open(options, [this](const Call& call) { return answer(call); }));
  counted = listener.get();
  return {};
}

Service::Service(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Service::~Service() = default;

Result<std::unique_ptr<Service>> Service::start(ServiceSetup setup) {
  auto parts = std::make_unique<Parts>(std::move(setup));
  TRY(parts->make_database());
  TRY(parts->make_api());
  TRY(parts->make_dispatcher());
  TRY(parts->make_listeners());
  std::unique_ptr<Service> service(new Service(std::move(parts)));
  TRY(service->parts_->run_triggers());
  return service;
}

std::string Service::address() const {
  return parts_->url_of(parts_->config.listen, *parts_->listener);
}
std::string Service::events_address() const { return parts_->api->events_address; }

void Service::run(const std::stop_token& stop) {
  std::jthread keeper([this](const std::stop_token& end) {
    Mutex mutex;
    std::condition_variable_any never;
    while (!end.stop_requested()) {
      const auto done =
          forget_old(*parts_->database, parts_->config.retention, parts_->logs, parts_->wall);
      if (!done.ok()) parts_->setup.log->line(LogLevel::warning, done.error().message);
      MutexLock lock(mutex);
      never.wait_for(mutex, end, kHousekeeping, [] { return false; });
    }
  });
  parts_->dispatcher->run(stop);
  keeper.request_stop();
  // Streams wait for news.
  parts_->bell.ring();
  parts_->listener->stop();
  parts_->stream_listener->stop();
}

Result<void> Service::reload(const Config& config) {
  std::vector<Trigger> fresh = TRY(triggers_of(config));
  for (const Trigger& trigger : fresh) TRY(parts_->trigger_tools->check(trigger));
  nlohmann::json changes;
  {
    MutexLock lock(parts_->triggers_mutex);
    changes = changes_of(parts_->from_config, fresh);
    parts_->from_config = std::move(fresh);
  }
  TRY(parts_->run_triggers());
  TRY(parts_->database->write([&](Connection& connection) {
    Call by_signal;
    by_signal.who.name = "configuration";
    return audit(connection, by_signal, parts_->wall, "reload", "triggers",
                 changes.empty() ? "{}" : changes.dump());
  }));
  TRY(parts_->listener->reload_certificate());
  TRY(parts_->stream_listener->reload_certificate());
  parts_->say("Triggers and certificates were read again; all else waits for a new start.");
  return {};
}

}  // namespace atelier::server
