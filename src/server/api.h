// SPDX-License-Identifier: Apache-2.0
// The operations of the service, in groups: each function makes a part of the router's table. They
// refer to `parts`, which must outlive the router.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "server/event_bell.h"
#include "server/http_server.h"
#include "server/metrics.h"
#include "server/router.h"
#include "server/run_folders.h"
#include "server/submission.h"
#include "server/tokens.h"
#include "server/triggers/trigger_service.h"
#include "server/webhooks.h"

namespace atelier::server {

// A pool as it is configured, for who asks.
struct PoolInfo {
  std::string name, engine;
  int64_t min = 0;          // processes of a local pool that stay
  int64_t max = 1;          // nodes
  double idle_timeout = 0;  // seconds
  double start_seconds = 0;
  double price_per_node_hour = 0;
  bool preemptible = false;
};

struct ApiParts {
  Database& database;
  const WallClock& wall;
  Submissions& submissions;
  RunFolders& folders;
  Tokens& tokens;
  EventBell& bell;
  Metrics& metrics;
  std::filesystem::path logs;     // of the dispatcher
  std::filesystem::path backups;  // where backups are put
  std::filesystem::path previews;
  std::vector<PoolInfo> pools;
  std::string version;         // of the program
  std::string events_address;  // where streams are served, "http://127.0.0.1:8081"
  // Whether the service can work: empty, or a sentence that says why not.
  std::function<std::string()> why_not_ready;
  std::function<ListenerCounts()> listener_counts;
  // A picture of a run before and after: its path once it is there, nothing while it is made.
  // Errors: unavailable (others are being made), those of making it.
  std::function<Result<std::optional<std::filesystem::path>>(const RunRow&)> preview_of;
};

// The run that a call's path names; one of a pipeline that the caller may not see is not there.
Result<std::optional<RunRow>> find_visible_run(ApiParts& parts, const Call& call);

std::vector<Operation> run_operations(ApiParts& parts);
std::vector<Operation> pipeline_operations(ApiParts& parts);
std::vector<Operation> token_operations(ApiParts& parts);
std::vector<Operation> pool_operations(ApiParts& parts);

struct TriggerTools {
  TriggerService& service;
  // Whether one of that name is in the configuration, which alone changes it.
  std::function<bool(const std::string& name)> is_configured;
  // Whether its places are the service's to watch. Errors: invalid_argument.
  std::function<Result<void>(const Trigger&)> check;
  // Makes the service run what is configured and what is in the database.
  std::function<Result<void>()> reload;
};
std::vector<Operation> trigger_operations(ApiParts& parts, TriggerTools& triggers);

struct DeliveryTools {
  std::function<bool(const std::string& webhook)> has_webhook;  // in the configuration
  // There is something to send.
  std::function<void()> wake;
};
std::vector<Operation> delivery_operations(ApiParts& parts, DeliveryTools& tools);
// Health, readiness, metrics, audit, backup, OpenAPI and the page. `describe` gives the document.
std::vector<Operation> system_operations(ApiParts& parts, std::function<std::string()> describe);

// Streams have a table of their own, since they are served elsewhere: `handle` of an operation
// checks that there is what is asked for, and `open_stream` gives the pieces.
std::vector<Operation> stream_operations(ApiParts& parts);
// For an operation of that table whose handle() succeeded.
// `still_allowed` is asked every few seconds: a token that was revoked has no streams.
NextPiece open_stream(ApiParts& parts, const Operation& operation, const Call& call,
                      std::function<bool()> still_allowed);

}  // namespace atelier::server
