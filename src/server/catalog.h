// SPDX-License-Identifier: Apache-2.0
// The published pipelines: texts that never change under a name and a number, so that a run can be
// repeated exactly. The functions work inside the caller's transaction.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "server/database.h"
#include "server/pipeline.h"
#include "server/wall_clock.h"

namespace atelier::server {

struct PublishedPipeline {
  std::string name;
  int64_t version = 0;  // from 1
  std::string sha256;   // of the text
  std::string toml;
  Millis published_at = 0;
  std::string published_by;
};

// Publishes a text as the next version of its name; a text that is the newest version already is
// not published again (`is_new` is false then). Errors: invalid_argument (it is no pipeline, or has
// another name than `name` where that is not empty), those of Connection.
struct Publication {
  PublishedPipeline pipeline;
  bool is_new = true;
};
Result<Publication> publish_pipeline(Connection& connection, const std::string& toml,
                                     const std::string& name, const std::string& by, Millis now);

// The same for a text of the service's configuration, which is read at each start: what it had last
// time is not published again over what somebody published since.
inline constexpr std::string_view kByConfiguration = "configuration";
Result<Publication> publish_configured_pipeline(Connection& connection, const std::string& toml,
                                                Millis now);

// The newest version without a number.
Result<std::optional<PublishedPipeline>> find_pipeline(Connection& connection,
                                                       const std::string& name,
                                                       std::optional<int64_t> version);
// The newest version of each, by name; all versions of one, the newest first.
Result<std::vector<PublishedPipeline>> newest_pipelines(Connection& connection);
Result<std::vector<PublishedPipeline>> versions_of_pipeline(Connection& connection,
                                                            const std::string& name);

// Parsed pipelines by the hash of their text. Safe from several threads.
class ParsedPipelines {
 public:
  // Errors: those of parse_pipeline().
  Result<std::shared_ptr<const Pipeline>> of(const PublishedPipeline& published);

 private:
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<const Pipeline>> parsed_ GUARDED_BY(mutex_);
};

}  // namespace atelier::server
