// SPDX-License-Identifier: Apache-2.0
#include "server/service_config.h"

#include <algorithm>

#include "server/input_size.h"

namespace atelier::server {
namespace {

QueueLimits queue_limits(const Config& config, const std::string& owner) {
  QueueLimits limits;
  limits.max_queued = config.limits.max_queued;
  limits.max_queued_of_owner = config.limits.of(owner).max_queued;
  limits.max_queued_bytes_of_owner =
      static_cast<int64_t>(std::min<uint64_t>(config.limits.of(owner).max_queued_bytes, INT64_MAX));
  return limits;
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
  // Objects are asked for when the run starts.
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

std::map<std::string, std::string> changes_of(const std::vector<Trigger>& before,
                                              const std::vector<Trigger>& after) {
  const auto find = [](const std::vector<Trigger>& in, const std::string& name) {
    return std::find_if(in.begin(), in.end(),
                        [&](const Trigger& trigger) { return trigger.name == name; });
  };
  std::map<std::string, std::string> changes;
  for (const Trigger& trigger : after) {
    const auto old = find(before, trigger.name);
    if (old == before.end()) {
      changes[trigger.name] = "added";
    } else if (!(*old == trigger)) {
      changes[trigger.name] = "changed";
    }
  }
  for (const Trigger& trigger : before) {
    if (find(after, trigger.name) == after.end()) changes[trigger.name] = "removed";
  }
  return changes;
}

}  // namespace atelier::server
