// SPDX-License-Identifier: Apache-2.0
// From a request to a run in the queue: which pipeline, are its parameters right, may this caller
// touch these places, is there room.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "server/call.h"
#include "server/catalog.h"
#include "server/location_policy.h"
#include "server/pipeline_commands.h"
#include "server/runs.h"

namespace atelier::server {

struct SubmissionRequest {
  std::string pipeline;
  std::optional<int64_t> version;  // the newest
  std::string parameters = "{}";   // JSON
  std::string labels = "{}";       // JSON: short texts by name, for whoever submits
  std::string pool;                // the pipeline's
  int64_t priority = 0;            // -100 to 100; above 0 for operators alone
  bool replace_output = false;
  bool replace_own = false;  // see NewRun; no part of a body
  std::optional<double> max_cost, max_seconds;
  int64_t bytes = 0;  // of the input, as a trigger saw it; no part of a body
};

// Of the body of a request: {"pipeline": "paint", "parameters": {...}, ...}. Errors:
// invalid_argument.
Result<SubmissionRequest> parse_submission(std::string_view body);

struct SubmissionRules {
  LocationPolicy places;
  ResolveLinks resolve;
  std::set<std::string> pools;
  std::string default_pool;
  std::function<QueueLimits(const std::string& owner)> limits_of;
  std::function<int64_t(const std::string& owner)> max_input_bytes_of;
  // Bytes of an object, where that can be told at once. May be empty.
  std::function<std::optional<int64_t>(const std::string& url)> size_of;
};

// Safe from several threads.
class Submissions {
 public:
  explicit Submissions(SubmissionRules rules) : rules_(std::move(rules)) {}

  // Inside a transaction, which may be one that only reads. Errors: invalid_argument (a sentence
  // for who asked; what they may not use is told as what is not there), those of Connection.
  Result<NewRun> check(Connection& connection, const SubmissionRequest& request,
                       const Principal& who);
  // The queue's room for this owner, for add_run().
  QueueLimits limits_of(const std::string& owner) const { return rules_.limits_of(owner); }

  // Of a run that is in the table.
  struct Of {
    std::shared_ptr<const Pipeline> pipeline;
    RunParameters parameters;
  };
  Result<Of> read_back(Connection& connection, const RunRow& run);

  // Looked at again before anything of a run is read or written: its places, which links may have
  // changed since, and the size of its input (nothing: not known), which now may be there. Errors:
  // as those of check().
  Result<void> check_start(const Of& of, const RunRow& run, std::optional<int64_t> bytes) const;
  // Errors: conflict (the pool is not configured any more).
  Result<void> check_pool(const RunRow& run) const;
  // URLs that a place is known by (outputs.h).
  std::vector<std::string> known_urls_of(const std::string& url) const;

 private:
  Result<void> check_places(const RunLocations& places,
                            const std::vector<std::string>& prefixes) const;
  Result<void> check_bytes(int64_t bytes, const std::string& owner) const;
  Result<std::string> choose_pool(const std::string& asked, const std::string& own) const;
  const SubmissionRules rules_;
  ParsedPipelines parsed_;
};

}  // namespace atelier::server
