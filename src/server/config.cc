// SPDX-License-Identifier: Apache-2.0
#include "server/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "server/config_parts.h"

namespace atelier::server {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kWhat = "The configuration";
constexpr size_t kMostStores = 64;
constexpr size_t kMostPipelines = 256;
constexpr size_t kMostTriggers = 256;

Result<Address> read_address(TomlReader& reader, std::string_view key, const Address& otherwise) {
  const auto text = TRY(reader.text(key));
  if (!text) return otherwise;
  // Port 0 is no address of anything, but asks for one.
  const bool any = text->ends_with(":0");
  auto address = parse_address(any ? text->substr(0, text->size() - 1) + "1" : *text);
  if (address && any) address->port = 0;
  if (!address) return reader.wrong(key, "an address like \"127.0.0.1:8080\" or \"[::]:8080\"");
  return *std::move(address);
}

// After [tls] and allow_plain_http were read.
Result<void> read_listeners(TomlReader& reader, Config& config) {
  config.listen = TRY(read_address(reader, "listen", config.listen));
  Address next = config.listen;
  if (next.port == UINT16_MAX && reader.find("events_listen") == nullptr) {
    return reader.wrong("events_listen", "given, since there is no port behind that of 'listen'");
  }
  if (next.port != 0) ++next.port;
  config.events_listen = TRY(read_address(reader, "events_listen", next));
  if (config.events_listen == config.listen && config.listen.port != 0) {
    return reader.wrong("events_listen", "another address than 'listen'");
  }
  if (config.tls || config.allow_plain_http) return {};
  for (const auto& [key, address] :
       {std::pair("listen", &config.listen), std::pair("events_listen", &config.events_listen)}) {
    if (address->is_loopback()) continue;
    return reader.error_at(
        key, fmt::format("'{}' is not this machine alone, and tokens would be sent in clear; "
                         "give [tls], or allow_plain_http = true behind a proxy that has it.",
                         address->text()));
  }
  return {};
}

Result<void> read_tls(TomlReader& reader, const fs::path& folder, Config& config) {
  const toml::table* table = TRY(reader.table("tls"));
  if (table == nullptr) return {};
  TomlReader own(*table, reader.what(), "tls.");
  TlsFiles files;
  files.certificate = path_from(folder, TRY(own.needed_text("certificate")));
  files.key = path_from(folder, TRY(own.needed_text("key")));
  config.tls = std::move(files);
  return own.finish();
}

// A location of the operator: a path may be relative to the file.
Result<Location> location_from(TomlReader& reader, std::string_view key, const fs::path& folder,
                               const std::string& text) {
  const bool is_url = text.starts_with("file:") || text.find("://") != std::string::npos;
  const auto location = parse_user_location(is_url ? text : path_from(folder, text).native());
  if (location.ok() && location->path != "/" && !text.empty()) return *location;
  return reader.wrong(key,
                      "folders, as paths or like az://account/container/path or "
                      "s3://bucket/path, and not all of the machine");
}

Result<std::vector<Location>> read_locations(TomlReader& reader, std::string_view key,
                                             const fs::path& folder) {
  std::vector<Location> locations;
  for (const std::string& text : TRY(reader.texts(key, kMostStores))) {
    locations.push_back(TRY(location_from(reader, key, folder, text)));
  }
  return locations;
}

// After `data` was read.
Result<void> read_stores(TomlReader& reader, const fs::path& folder, Config& config) {
  const toml::table* table = TRY(reader.table("stores"));
  if (table == nullptr) {
    return reader.error_at("stores", "there is no [stores]; name in 'media' what runs may use.");
  }
  TomlReader own(*table, reader.what(), "stores.");
  config.stores.media = TRY(read_locations(own, "media", folder));
  if (config.stores.media.empty()) {
    return own.wrong("media", "a list of at least one place that runs may read and write");
  }
  config.stores.models = TRY(read_locations(own, "models", folder));
  config.stores.ops.path = config.data / "runs";
  if (const auto ops = TRY(own.text("ops"))) {
    config.stores.ops = TRY(location_from(own, "ops", folder, *ops));
  }
  return own.finish();
}

// As written; where links lead is looked at when the service starts.
Result<void> check_places(const TomlReader& reader, const Config& config) {
  const auto as_written = [](const fs::path& path) -> Result<fs::path> { return path; };
  const auto apart = check_apart(policy_of(config), as_written);
  if (apart.ok()) return {};
  std::string sentence = apart.error().message;
  return reader.error_at("stores", sentence);
}

Result<void> read_retention(TomlReader& reader, Retention& retention) {
  const toml::table* table = TRY(reader.table("retention"));
  if (table == nullptr) return {};
  TomlReader own(*table, reader.what(), "retention.");
  for (const auto& [key, value] :
       {std::pair("runs", &retention.runs), std::pair("logs", &retention.logs),
        std::pair("events", &retention.events), std::pair("audit", &retention.audit)}) {
    const std::chrono::seconds kept = TRY(own.duration(key, *value));
    *value = std::chrono::floor<std::chrono::hours>(kept);
    if (value->count() == 0) return own.wrong(key, "at least an hour");
  }
  for (const auto& [key, value] : {std::pair("run_folders", &retention.run_folders),
                                   std::pair("backups", &retention.backups)}) {
    const auto kept = std::chrono::floor<std::chrono::hours>(TRY(own.duration(key, *value)));
    // A run that waits for a cluster must find its folder again.
    if (own.find(key) != nullptr && kept < std::chrono::hours(24)) {
      return own.wrong(key, "at least a day");
    }
    *value = kept;
  }
  return own.finish();
}

Result<void> read_triggers(TomlReader& reader, std::vector<TriggerTable>& triggers) {
  for (const toml::table* table : TRY(reader.tables("trigger", kMostTriggers))) {
    TomlReader one(*table, reader.what(), "trigger.");
    TriggerTable trigger;
    trigger.name = TRY(one.name("name"));
    const bool is_known =
        std::any_of(triggers.begin(), triggers.end(),
                    [&](const TriggerTable& other) { return other.name == trigger.name; });
    if (is_known) return one.wrong("name", "another than that of the triggers before");
    std::ostringstream text;
    text << *table << '\n';
    trigger.toml = std::move(text).str();
    triggers.push_back(std::move(trigger));
  }
  return {};
}

Result<void> read_pipelines(TomlReader& reader, const fs::path& folder, Config& config) {
  for (const std::string& file : TRY(reader.texts("pipelines", kMostPipelines))) {
    config.pipelines.push_back(path_from(folder, file));
  }
  return {};
}

}  // namespace

fs::path path_from(const fs::path& folder, const std::string& path) {
  fs::path whole = (folder / path).lexically_normal();
  // "a/" is "a".
  return whole.has_filename() || whole == whole.root_path() ? whole : whole.parent_path();
}

Result<Config> parse_config(std::string_view text, const fs::path& folder) {
  TomlBounds bounds;
  bounds.bytes = kLongestConfig;
  bounds.entries = 16384;
  const toml::table table = TRY(parse_toml(text, kWhat, bounds));
  TomlReader reader(table, std::string(kWhat));
  Config config;
  config.allow_plain_http = TRY(reader.boolean("allow_plain_http", false));
  TRY(read_tls(reader, folder, config));
  TRY(read_listeners(reader, config));
  const std::string data = TRY(reader.text("data")).value_or(config.data.native());
  config.data = path_from(folder, data);
  if (data.empty() || config.data == "/" || data.find("://") != std::string::npos) {
    return reader.wrong("data", "a folder of this machine that is the service's own");
  }
  TRY(read_stores(reader, folder, config));
  config.limits = TRY(read_limits(reader));
  config.pools = TRY(read_pools(reader, folder));
  TRY(read_webhooks(reader, folder, config));
  TRY(read_retention(reader, config.retention));
  TRY(read_pipelines(reader, folder, config));
  TRY(read_triggers(reader, config.triggers));
  TRY(reader.finish());
  TRY(check_places(reader, config));
  return config;
}

LocationPolicy policy_of(const Config& config) {
  LocationPolicy policy;
  policy.media = config.stores.media;
  policy.models = config.stores.models;
  policy.closed.push_back(config.stores.ops);
  std::vector<fs::path> own = private_files(config);
  own.push_back(config.data);
  for (fs::path& path : own) {
    Location location;
    location.path = std::move(path);
    policy.closed.push_back(std::move(location));
  }
  return policy;
}

std::vector<fs::path> private_files(const Config& config) {
  std::vector<fs::path> files;
  if (config.tls) files.push_back(config.tls->key);
  for (const WebhookConfig& hook : config.webhooks) files.push_back(hook.secret_file);
  return files;
}

}  // namespace atelier::server
