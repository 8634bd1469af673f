// SPDX-License-Identifier: Apache-2.0
// What has to be done once in a while: forgetting what is older than it is to be kept.
#pragma once

#include <filesystem>

#include "server/config.h"
#include "server/database.h"
#include "server/wall_clock.h"

namespace atelier::server {

struct Forgotten {
  int64_t runs = 0, events = 0, audit = 0, logs = 0;
};

// Runs that are over and their events, keys of requests, deliveries that ended, rows of the audit
// table, and files of `logs`; what is not over stays, and so does every receipt, or blobs that are
// still there would start again. Then folds the database's log in. Errors: those of Database.
Result<Forgotten> forget_old(Database& database, const Retention& retention,
                             const std::filesystem::path& logs, const WallClock& wall);

// Backups (*.db) that are older, but for the newest one, and what is left of those that were cut
// short (*.part); returns how many.
int64_t remove_backups(const std::filesystem::path& backups, std::chrono::hours age);

}  // namespace atelier::server
