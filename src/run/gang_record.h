// SPDX-License-Identifier: Apache-2.0
// gang.json in the run folder: what the ranks of a gang did together, where nobody hears rank 0 say
// so (Slurm). Overwritten by the next gang.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "store/object_store.h"

namespace atelier::run {

struct GangRecord {
  std::string gang;                          // what its workers' names begin with
  std::map<std::string, double> statistics;  // by name
};
std::string to_json(const GangRecord& record);
// Errors: corrupt.
Result<GangRecord> gang_from_json(std::string_view text);

// Errors: those of the store; reading: corrupt.
Result<void> put_gang(ObjectStore& store, const std::string& run_id, const GangRecord& record);
Result<std::optional<GangRecord>> read_gang(ObjectStore& store, const std::string& run_id);

}  // namespace atelier::run
