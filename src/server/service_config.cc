// SPDX-License-Identifier: Apache-2.0
#include "server/service_config.h"

#include <algorithm>
#include <filesystem>

namespace atelier::server {
namespace {

QueueLimits queue_limits(const Config& config, const std::string& owner) {
  QueueLimits limits;
  limits.max_queued = config.limits.max_queued;
  limits.max_queued_of_owner = config.limits.of(owner).max_queued;
  return limits;
}

// Of files, which is a matter of microseconds; stores elsewhere are asked by who scores.
std::optional<int64_t> size_of_file(const std::string& url) {
  const auto place = parse_location(url);
  if (!place.ok() || !place->is_file()) return std::nullopt;
  std::error_code error;
  const auto size = std::filesystem::file_size(place->path, error);
  if (error) return std::nullopt;
  return static_cast<int64_t>(size);
}

}  // namespace

SubmissionRules rules_of(const Config& config) {
  SubmissionRules rules;
  rules.places = policy_of(config);
  rules.resolve = &resolve_links;
  for (const PoolConfig& pool : config.pools) rules.pools.insert(pool.name);
  rules.default_pool = config.pools.front().name;
  rules.limits_of = [config](const std::string& owner) { return queue_limits(config, owner); };
  rules.max_input_bytes_of = [limits = config.limits](const std::string& owner) {
    return static_cast<int64_t>(std::min<uint64_t>(limits.of(owner).max_input_bytes, INT64_MAX));
  };
  rules.size_of = &size_of_file;
  return rules;
}

RateLimits rates_of(const ServiceLimits& limits) {
  RateLimits rates;
  rates.address = {limits.requests_per_second_per_address,
                   2 * limits.requests_per_second_per_address};
  rates.token = {limits.each.requests_per_second, 2 * limits.each.requests_per_second};
  for (const auto& [name, owner] : limits.by_name) {
    rates.by_name[name] = {owner.requests_per_second, 2 * owner.requests_per_second};
  }
  return rates;
}

std::vector<PoolInfo> pools_of(const Config& config) {
  std::vector<PoolInfo> pools;
  for (const PoolConfig& pool : config.pools) {
    PoolInfo info;
    info.name = pool.name;
    info.engine = to_string(pool.engine);
    info.min = pool.min;
    info.max = pool.max;
    info.idle_timeout = static_cast<double>(pool.idle_timeout.count());
    info.start_seconds = static_cast<double>(pool.start_time.count());
    info.price_per_node_hour = pool.price_per_node_hour;
    info.preemptible = pool.preemptible;
    pools.push_back(std::move(info));
  }
  return pools;
}

std::vector<Webhook> webhooks_of(const Config& config) {
  std::vector<Webhook> webhooks;
  for (const WebhookConfig& one : config.webhooks) {
    Webhook webhook{one.name, one.url, Secret::file(one.secret_file), {}};
    if (one.on_finished) webhook.kinds.emplace_back("finished");
    if (one.on_failed) webhook.kinds.emplace_back("failed");
    if (one.on_set_aside) webhook.kinds.emplace_back("set_aside");
    webhooks.push_back(std::move(webhook));
  }
  return webhooks;
}

Result<std::vector<AllowedTarget>> targets_of(const Config& config) {
  std::vector<AllowedTarget> targets;
  for (const Address& address : config.webhooks_allow) {
    targets.push_back(TRY(parse_allowed_target(address.text())));
  }
  return targets;
}

Result<std::vector<Trigger>> triggers_of(const Config& config) {
  std::vector<Trigger> triggers;
  for (const TriggerTable& table : config.triggers) {
    auto trigger = parse_trigger(table.toml);
    if (!trigger.ok()) {
      return make_error(trigger.error().code, "In the trigger '{}': {}", table.name,
                        trigger.error().message);
    }
    triggers.push_back(std::move(trigger).value());
  }
  return triggers;
}

}  // namespace atelier::server
