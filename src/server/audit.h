// SPDX-License-Identifier: Apache-2.0
// Who changed what: rows that are added in the transaction of the change itself, so that there is
// neither a change without its row nor a row without its change.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/call.h"
#include "server/database.h"
#include "server/wall_clock.h"

namespace atelier::server {

// For the function that Database::write runs, beside the change. `action` is an operation's id
// ("createToken"), `subject` what it was done to, `detail_json` what else is worth knowing; both
// are redacted (redact.h) and cut to a length that suits a table. Errors: internal (the detail is
// no JSON), those of Connection; the change must fail with it.
Result<void> audit(Connection& connection, const Call& call, const WallClock& clock,
                   std::string_view action, std::string_view subject,
                   std::string_view detail_json = "{}");

struct AuditEntry {
  int64_t seq = 0;
  Millis at = 0;
  std::string who, address, action, subject, detail;  // the detail is JSON
};

struct AuditPage {
  std::vector<AuditEntry> entries;  // the newest first
  int64_t next = 0;                 // what to ask for as `before`; 0: these were the last
};

// Those with a number below `before` (0: from the newest), at most `most` (1 to 1000). Errors:
// those of Connection.
Result<AuditPage> list_audit(Connection& connection, int64_t before = 0, int most = 100);

}  // namespace atelier::server
