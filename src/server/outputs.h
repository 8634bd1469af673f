// SPDX-License-Identifier: Apache-2.0
// What runs write, so that none of it starts a run: a row for each place from the moment that a run
// begins, which goes when the run ends without having written, and stays for ever when it wrote.
// Runs are forgotten by retention and by their owners; what they wrote still lies there.
//
// Cost: one or two rows of about 200 bytes for each run that finished. All functions work inside
// the caller's transaction; their errors are those of Connection.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "server/database.h"
#include "server/location_policy.h"
#include "store/location.h"

namespace atelier::server {

// URLs that a place is known by: its own and, of a file behind links, that of the file. One that
// cannot be resolved has its own alone.
std::vector<std::string> known_urls(const std::string& url, const ResolveLinks& resolve);

// A run begins that writes there.
Result<void> note_outputs(Connection& connection, const std::string& run_id,
                          const std::string& input, const std::vector<std::string>& urls);
// It wrote, or (not sure) nobody can tell whether it did.
Result<void> keep_outputs(Connection& connection, const std::string& run_id, bool is_sure);
// It ended without: forgets what was noted and not kept.
Result<void> forget_outputs(Connection& connection, const std::string& run_id);

// A run that writes or wrote one of these.
Result<std::optional<std::string>> run_that_writes(Connection& connection,
                                                   const std::vector<std::string>& urls);
// Whether what lies there is, for sure, what another run wrote from that input. Errors: unavailable
// while another run goes on that will write there.
Result<bool> was_made_from(Connection& connection, const std::string& url, const std::string& input,
                           const std::string& run_id);

}  // namespace atelier::server
