// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <nlohmann/json.hpp>

#include "server/audit.h"
#include "server/service_parts.h"

namespace atelier::server {

Result<void> Service::Parts::make_triggers() {
  from_config = TRY(triggers_of(config));
  triggers = std::make_unique<TriggerService>(
      TriggerParts{*database, clock, wall,
                   [this](const Location& place) { return setup.open_store(place, true); },
                   [this](const TriggeredRun& wanted) { return prepare_triggered(wanted); }});
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
      if (is_configured) continue;
      auto trigger = parse_trigger(rows.text(1));
      if (trigger.ok()) {
        all.push_back(std::move(trigger).value());
      } else {  // of another version of this program
        setup.log->line(LogLevel::warning, fmt::format("The trigger '{}' does not run: {}",
                                                       rows.text(0), trigger.error().message));
      }
    }
    return {};
  }));
  return triggers->replace(std::move(all));
}

Result<AddRun> Service::Parts::prepare_triggered(const TriggeredRun& wanted) {
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
  NewRun run;
  TRY(database->read([&](Connection& connection) -> Result<void> {
    run = TRY(submissions->check(connection, request, owner));
    return {};
  }));
  run.trigger = wanted.trigger;
  return AddRun([this, run, owner,
                 trigger = wanted.trigger](Connection& connection) -> Result<std::string> {
    std::string id = TRY(add_run(connection, run, submissions->limits_of(run.owner), wall.now()));
    Call by_trigger;
    by_trigger.who = owner;
    TRY(audit(connection, by_trigger, wall, "triggerRun", id,
              nlohmann::json{{"trigger", trigger}}.dump()));
    return id;
  });
}

}  // namespace atelier::server
