// SPDX-License-Identifier: Apache-2.0
// The commands that ask a service. Each returns the service's own errors.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "cli/console.h"

namespace atelier::cli {

struct SubmitOptions {
  std::string service;
  std::string pipeline;
  std::vector<std::string> parameters;  // "name=value"
  std::vector<std::string> labels;      // likewise
  std::string pool;
  int version = 0;  // the newest
  int priority = 0;
  bool replace = false;
  bool wait = false;
  double max_cost = 0;   // no bound
  std::string max_time;  // "2h"; empty: no bound
  std::string key;       // an idempotency key
};
// With `wait`, until the run is over; its error then is the run's.
Result<void> submit_command(const SubmitOptions& options, Console& console,
                            const std::stop_token& stop);

struct ListOptions {
  std::string service;
  std::string state, pipeline, owner, label;
  std::string since, until;  // when they were submitted: RFC 3339
  int limit = 50;
  int64_t before = 0;  // the next page: "next" of the page before; 0: the first
};
Result<void> list_command(const ListOptions& options, Console& console);

struct RunNameOptions {
  std::string service;
  std::vector<std::string> runs;  // names, run-...
  bool even_if_changed = false;   // of rerun: what they read
};
Result<void> show_service_run(const std::string& service, const std::string& run, Console& console);
Result<void> cancel_command(const RunNameOptions& options, Console& console);
Result<void> retry_command(const RunNameOptions& options, Console& console);
Result<void> rerun_command(const RunNameOptions& options, Console& console);

struct LogsOptions {
  std::string service;
  std::string run;
  std::string worker;
  bool follow = false;
};
Result<void> logs_command(const LogsOptions& options, Console& console,
                          const std::stop_token& stop);

struct PublishOptions {
  std::string service;
  std::string file;
};
Result<void> publish_command(const PublishOptions& options, Console& console);

struct TokenOptions {
  std::string service;
  std::string action;  // create, list or revoke
  std::string name;    // of a new token; the id of one to revoke
  std::string role = "submitter";
  std::vector<std::string> pipelines, prefixes;
  double days = 90;
};
Result<void> token_command(const TokenOptions& options, Console& console);

struct CostsOptions {
  std::string service;
  int days = 30;
};
Result<void> costs_command(const CostsOptions& options, Console& console);

Result<void> backup_command(const std::string& service, Console& console);

}  // namespace atelier::cli
