// SPDX-License-Identifier: Apache-2.0
// What a service is made of. Internal: service.cc makes and runs it, service_triggers.cc has what
// triggers ask of it, service_runs.cc what the dispatcher asks.
#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/warm_pool.h"
#include "server/api.h"
#include "server/dispatcher.h"
#include "server/input_size.h"
#include "server/previews.h"
#include "server/service.h"
#include "server/service_config.h"
#include "server/stream_shares.h"
#include "server/token_gate.h"
#include "server/webhooks.h"

namespace atelier::server {

namespace fs = std::filesystem;

// In the order in which they are made; they end in the opposite one.
struct Service::Parts {
  explicit Parts(ServiceSetup given);

  Result<void> make_database();
  Result<void> make_api();
  void add_looks(DispatcherSetup& made);
  Result<void> make_dispatcher();
  void make_warm_pools();
  Result<void> make_triggers();
  Result<void> make_listeners();
  Result<void> publish_configured();
  Result<AddRun> prepare_triggered(const TriggeredRun& wanted);
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
  void keep_house(const std::stop_token& stop);
  Result<void> sweep_run_folders(const std::stop_token& stop) const;
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
  // Of those that everybody waits for while they are asked: brief.
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
  http::Client webhook_client;
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

}  // namespace atelier::server
