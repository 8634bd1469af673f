// SPDX-License-Identifier: Apache-2.0
// The tables of the service's database, and how an older database becomes a newer one.
//
// Times are milliseconds since 1970 (UTC); hashes and identifiers are text; JSON is text.
//
//   pipelines   published versions, never changed
//   runs        what was submitted: the queue, what goes on, what was
//   events      what happened to runs, in order: what streams and webhooks tell
//   receipts    one per trigger, URL and etag that was seen: what makes a blob start one run
//   triggers    those that were made by the API
//   tokens      who may do what; only hashes of the secrets
//   audit       who changed what
//   deliveries  webhooks that are to be sent or were
//   pool_time   when nodes of pools worked
//   outputs     what runs write or wrote: kept when the run is forgotten
#pragma once

#include <string>

#include "server/database.h"

namespace atelier::server {

// The version that migrate() leaves behind.
int schema_version();

// In one transaction. `file` names the database in messages. Errors: invalid_argument (a newer
// program made it), those of Connection.
Result<void> migrate(Connection& connection, const std::string& file);

}  // namespace atelier::server
