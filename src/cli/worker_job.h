// SPDX-License-Identifier: Apache-2.0
// What a worker of a prepared run begins with, whoever has started it.
#pragma once

#include <string>

#include "cli/inputs.h"
#include "cli/limits.h"
#include "run/model_files.h"
#include "run/scorer_process.h"

namespace atelier::cli {

// Whether this version may work on a run that was prepared by that one, elsewhere: another version
// may compute other bits from the same manifest. Empty: whatever it was. Errors: unavailable.
Result<void> check_version(const std::string& prepared_by);

// What a node says where a run that is known to be prepared is not.
Error not_seen_here(const std::string& url);

// Errors: where there is no prepared run invalid_argument or, if it is known to be prepared,
// unavailable.
Result<run::Manifest> read_run_manifest(ObjectStore& store, const std::string& run_id,
                                        const std::string& url, bool prepared = false);
// Errors: conflict, if what lies at `place` is not what the run was prepared for; those of
// find_input.
Result<StoredInput> find_same_input(const run::InputIdentity& wanted, const std::string& place);
// `given`: where it is now; empty: where it was when the run was prepared.
Result<run::ModelFiles> find_run_model(const run::Manifest& manifest, const std::string& given);

struct WorkerSetting {
  std::string shown_name;  // of the input
  int threads = 0;
  bool sandbox = true;
  bool trace = false;
  Limits limits;
  uint64_t memory = 0;  // bytes for its scorer
};
// All but its log. Refers to manifest, input and model, which must outlive it.
run::ScorerTask worker_task(const run::Manifest& manifest, const StoredInput& input,
                            const run::ModelFiles& model, const WorkerSetting& setting);

}  // namespace atelier::cli
