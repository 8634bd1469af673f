// SPDX-License-Identifier: Apache-2.0
#include "server/catalog.h"

#include "base/hash.h"

namespace atelier::server {
namespace {

constexpr std::string_view kColumns = "name, version, sha256, toml, published_at, published_by";

PublishedPipeline read_row(const Rows& rows) {
  return {rows.text(0), rows.integer(1), rows.text(2), rows.text(3), rows.integer(4), rows.text(5)};
}

Result<std::vector<PublishedPipeline>> read_all(Connection& connection, const std::string& sql,
                                                const std::vector<Value>& values) {
  Rows rows = TRY(connection.query(sql, values));
  std::vector<PublishedPipeline> found;
  while (TRY(rows.next())) found.push_back(read_row(rows));
  return found;
}

}  // namespace

Result<Publication> publish_pipeline(Connection& connection, const std::string& toml,
                                     const std::string& name, const std::string& by, Millis now) {
  const Pipeline pipeline = TRY(parse_pipeline(toml));
  if (!name.empty() && pipeline.name != name) {
    return make_error(
        Code::invalid_argument,
        "The text is of the pipeline '{}', and was put as '{}'; they must be the same.",
        pipeline.name, name);
  }
  PublishedPipeline next{pipeline.name, 1, sha256_hex(as_bytes(toml)), toml, now, by};
  if (auto newest = TRY(find_pipeline(connection, pipeline.name, std::nullopt))) {
    if (newest->sha256 == next.sha256) return Publication{*std::move(newest), false};
    next.version = newest->version + 1;
  }
  TRY(connection.run(fmt::format("INSERT INTO pipelines ({}) VALUES (?, ?, ?, ?, ?, ?)", kColumns),
                     {next.name, next.version, next.sha256, next.toml, now, by}));
  return Publication{std::move(next), true};
}

Result<Publication> publish_configured_pipeline(Connection& connection, const std::string& toml,
                                                Millis now) {
  const std::string by(kByConfiguration), name = TRY(parse_pipeline(toml)).name;
  const auto last = TRY(
      read_all(connection,
               fmt::format("SELECT {} FROM pipelines WHERE name = ? AND published_by = ? ORDER BY "
                           "version DESC LIMIT 1",
                           kColumns),
               {name, by}));
  if (!last.empty() && last[0].sha256 == sha256_hex(as_bytes(toml))) {
    return Publication{last[0], false};
  }
  return publish_pipeline(connection, toml, name, by, now);
}

Result<std::optional<PublishedPipeline>> find_pipeline(Connection& connection,
                                                       const std::string& name,
                                                       std::optional<int64_t> version) {
  Rows rows =
      TRY(connection.query(fmt::format("SELECT {} FROM pipelines WHERE name = ? AND version <= ? "
                                       "ORDER BY version DESC LIMIT 1",
                                       kColumns),
                           {name, version.value_or(INT64_MAX)}));
  if (!TRY(rows.next())) return std::optional<PublishedPipeline>();
  if (version && rows.integer(1) != *version) return std::optional<PublishedPipeline>();
  return std::optional<PublishedPipeline>(read_row(rows));
}

Result<std::vector<PublishedPipeline>> newest_pipelines(Connection& connection) {
  return read_all(connection,
                  fmt::format("SELECT {} FROM pipelines AS one WHERE version = (SELECT "
                              "max(version) FROM pipelines WHERE name = one.name) ORDER BY name",
                              kColumns),
                  {});
}

Result<std::vector<PublishedPipeline>> versions_of_pipeline(Connection& connection,
                                                            const std::string& name) {
  return read_all(
      connection,
      fmt::format("SELECT {} FROM pipelines WHERE name = ? ORDER BY version DESC", kColumns),
      {name});
}

Result<std::shared_ptr<const Pipeline>> ParsedPipelines::of(const PublishedPipeline& published) {
  {
    MutexLock lock(mutex_);
    const auto found = parsed_.find(published.sha256);
    if (found != parsed_.end()) return found->second;
  }
  auto made = std::make_shared<const Pipeline>(TRY(parse_pipeline(published.toml)));
  constexpr size_t kMost = 1000;
  MutexLock lock(mutex_);
  if (parsed_.size() >= kMost) parsed_.clear();
  parsed_[published.sha256] = made;
  return std::shared_ptr<const Pipeline>(std::move(made));
}

}  // namespace atelier::server
