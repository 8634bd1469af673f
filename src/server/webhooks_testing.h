// SPDX-License-Identifier: Apache-2.0
// For tests: events, and what became of their deliveries.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "server/webhooks.h"

namespace atelier::server {

// 32 times 'k'.
inline constexpr const char* kTestSecret = "whsec_a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";

inline Webhook webhook_to(std::string url) {
  Webhook webhook;
  webhook.name = "hook";
  webhook.url = std::move(url);
  webhook.secret = Secret::text(kTestSecret);
  return webhook;
}

// An event as the service adds one: with its deliveries, in one transaction.
inline Result<void> add_event(Database& database, const std::vector<Webhook>& webhooks,
                              const WallClock& clock, int64_t seq, const std::string& kind) {
  const RunEvent event{seq, "run-" + std::to_string(seq), clock.now(), kind, "{}"};
  return database.write([&](Connection& connection) -> Result<void> {
    TRY(connection.run("INSERT INTO events (seq, run_id, at, kind) VALUES (?, ?, ?, ?)",
                       {seq, event.run_id, event.at, kind}));
    return queue_deliveries(connection, webhooks, event, clock);
  });
}

// By webhook and event.
inline std::map<std::pair<std::string, int64_t>, DeliveryRow> delivery_rows(Database& database) {
  std::map<std::pair<std::string, int64_t>, DeliveryRow> found;
  const Result<void> read = database.read([&](Connection& connection) -> Result<void> {
    DeliveryFilter all;
    all.limit = INT64_MAX;
    for (DeliveryRow& row : TRY(list_deliveries(connection, all))) {
      found[{row.webhook, row.event_seq}] = std::move(row);
    }
    return {};
  });
  if (!read.ok()) found.clear();
  return found;
}

}  // namespace atelier::server
