// SPDX-License-Identifier: Apache-2.0
// What Prometheus reads (https://prometheus.io/docs/instrumenting/exposition_formats/): counts from
// the database and the listener, and times of requests. Names begin with "atelier_".
#pragma once

#include <memory>
#include <string>

#include "server/database.h"
#include "server/http_server.h"
#include "server/wall_clock.h"

namespace atelier::server {

// Safe from several threads.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  // A request was answered: its operation's id ("" for none), status and time.
  void count_request(const std::string& operation, int status, double seconds);
  // The text of a scrape. Errors: those of Database::read.
  Result<std::string> scrape(Database& database, const ListenerCounts& counts,
                             const WallClock& wall);

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

}  // namespace atelier::server
