// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "server/config_parts.h"

namespace atelier::server {
namespace {

constexpr size_t kMostWebhooks = 64;
constexpr size_t kMostAllowed = 256;

// Takes "https://host[:port][/path][?query]" apart (RFC 9110, section 4.2). Nothing if it is not
// of that form, or names a user, whose password would be in the open.
bool parse_url(WebhookConfig& hook) {
  std::string_view rest = hook.url;
  hook.is_https = rest.starts_with("https://");
  if (!hook.is_https && !rest.starts_with("http://")) return false;
  rest.remove_prefix(hook.is_https ? 8 : 7);
  const bool plain = std::all_of(rest.begin(), rest.end(), [](char c) {
    return c > ' ' && c <= '~' && c != '\\' && c != '#' && c != '"' && c != '<' && c != '>';
  });
  if (!plain) return false;
  const std::string host(rest.substr(0, rest.find_first_of("/?")));
  auto address = parse_address(host);
  if (!address) address = parse_address(host + (hook.is_https ? ":443" : ":80"));
  if (!address) return false;
  hook.address = *std::move(address);
  return true;
}

Result<void> read_events(TomlReader& reader, WebhookConfig& hook) {
  if (reader.find("events") == nullptr) return {};
  const std::vector<std::string> events = TRY(reader.texts("events", 3));
  const auto named = [&](const char* event) {
    return std::find(events.begin(), events.end(), event) != events.end();
  };
  hook.on_finished = named("finished");
  hook.on_failed = named("failed");
  hook.on_set_aside = named("set_aside");
  const int known = int{hook.on_finished} + int{hook.on_failed} + int{hook.on_set_aside};
  if (known > 0 && static_cast<size_t>(known) == events.size()) return {};
  return reader.wrong("events", "a list of \"finished\", \"failed\" and \"set_aside\", not empty");
}

Result<void> read_allowed(TomlReader& reader, Config& config) {
  const toml::table* table = TRY(reader.table("webhooks"));
  if (table == nullptr) return {};
  TomlReader own(*table, reader.what(), "webhooks.");
  for (const std::string& text : TRY(own.texts("allow", kMostAllowed))) {
    auto address = parse_address(text);
    if (!address) {
      return own.wrong("allow", "a list of addresses like \"hooks.example.com:443\"");
    }
    config.webhooks_allow.push_back(*std::move(address));
  }
  return own.finish();
}

Result<WebhookConfig> read_webhook(TomlReader& reader, const std::filesystem::path& folder,
                                   const Config& config) {
  WebhookConfig hook;
  hook.name = TRY(reader.name("name"));
  hook.url = TRY(reader.needed_text("url"));
  if (!parse_url(hook)) {
    return reader.wrong("url", "a URL like \"https://hooks.example.com/path\", without a user");
  }
  if (std::find(config.webhooks_allow.begin(), config.webhooks_allow.end(), hook.address) ==
      config.webhooks_allow.end()) {
    return reader.error_at("url", fmt::format("'{}' is not among the addresses that [webhooks] "
                                              "allow names; add it there.",
                                              hook.address.text()));
  }
  if (!hook.is_https && !hook.address.is_loopback() && !config.allow_plain_http) {
    return reader.wrong("url", "an https:// URL, or allow_plain_http = true");
  }
  hook.secret_file = path_from(folder, TRY(reader.needed_text("secret_file")));
  TRY(read_events(reader, hook));
  TRY(reader.finish());
  return hook;
}

}  // namespace

Result<void> read_webhooks(TomlReader& reader, const std::filesystem::path& folder,
                           Config& config) {
  TRY(read_allowed(reader, config));
  std::vector<WebhookConfig>& hooks = config.webhooks;
  for (const toml::table* table : TRY(reader.tables("webhook", kMostWebhooks))) {
    TomlReader one(*table, reader.what(), "webhook.");
    WebhookConfig hook = TRY(read_webhook(one, folder, config));
    const bool is_known = std::any_of(hooks.begin(), hooks.end(), [&](const WebhookConfig& other) {
      return other.name == hook.name;
    });
    if (is_known) return one.wrong("name", "another than that of the webhooks before");
    hooks.push_back(std::move(hook));
  }
  return {};
}

}  // namespace atelier::server
