// SPDX-License-Identifier: Apache-2.0
#include "server/service.h"

#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "server/audit.h"
#include "server/housekeeping.h"
#include "server/openapi.h"
#include "server/service_parts.h"
#include "server/service_steps.h"
#include "server/text_file.h"
#include "store/secret.h"

namespace atelier::server {

namespace {

constexpr std::chrono::minutes kHousekeeping(30), kPreviewTimeout(3);
constexpr std::chrono::hours kSweepTimeout(6);

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

Call by_configuration() {
  Call call;
  call.who.name = std::string(kByConfiguration);
  return call;
}

http::ClientOptions brief_client() {
  http::ClientOptions options;
  options.connect_timeout = std::chrono::seconds(5);
  options.stall_timeout = std::chrono::seconds(10);
  options.direct = true;  // a proxy would connect to whatever it likes
  return options;
}

}  // namespace

Service::Parts::Parts(ServiceSetup given)
    : setup(std::move(given)), config(setup.config), webhook_client(brief_client()) {}

Result<void> Service::Parts::make_database() {
  TRY(check_apart(policy_of(config), &resolve_links));
  TRY(make_private_folder(config.data));
  for (const fs::path& file : private_files(config)) TRY(open_private_file(file, "a secret"));
  logs = config.data / "logs";
  backups = config.data / "backups";
  ops = TRY(setup.open_store(config.stores.ops, true));
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
      publication = TRY(publish_configured_pipeline(connection, text, wall.now()));
      if (!publication->is_new) return {};
      const PublishedPipeline& made = publication->pipeline;
      return audit(connection, by_configuration(), wall, "publishPipeline",
                   fmt::format("{}@{}", made.name, made.version));
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
  const auto begin = clock.now();
  made.reply = streams->answer(call, &operation);
  metrics.count_request(operation == nullptr ? "" : operation->id, made.reply.status,
                        std::chrono::duration<double>(clock.now() - begin).count());
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
  streaming.on_stop = [this] { bell.ring(); };
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

void Service::Parts::keep_house(const std::stop_token& stop) {
  const Retention& retention = config.retention;
  const auto done = forget_old(*database, retention, logs, wall);
  if (!done.ok()) setup.log->line(LogLevel::warning, done.error().message);
  if (retention.backups.count() > 0) remove_backups(backups, retention.backups);
  if (retention.run_folders.count() == 0) return;
  const Result<void> swept = sweep_run_folders(stop);
  if (!swept && !stop.stop_requested()) setup.log->line(LogLevel::warning, swept.error().message);
}

// By a command, which has the rules for what may go, and ends with the service.
Result<void> Service::Parts::sweep_run_folders(const std::stop_token& stop) const {
  const auto sweeper = engine::make_commands(kSweepTimeout);
  const std::string age = fmt::format("--older-than={}h", config.retention.run_folders.count());
  const auto answer = TRY(sweeper->run(
      {setup.program, "gc", "--quiet", "--runs=" + text_of(config.stores.ops), age}, "", stop));
  if (answer.code == 0) return {};
  return make_error(Code::unavailable, "Old run folders are still there: {}", answer.err);
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
      parts_->keep_house(end);
      MutexLock lock(mutex);
      never.wait_for(mutex, end, kHousekeeping, [] { return false; });
    }
  });
  parts_->dispatcher->run(stop);
  keeper.request_stop();
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
    return audit(connection, by_configuration(), parts_->wall, "reload", "triggers",
                 changes.empty() ? "{}" : changes.dump());
  }));
  TRY(parts_->listener->reload_certificate());
  TRY(parts_->stream_listener->reload_certificate());
  parts_->say("Triggers and certificates were read again; all else waits for a new start.");
  return {};
}

}  // namespace atelier::server
