// SPDX-License-Identifier: Apache-2.0
// What the parts of the service get of its configuration. Pure, but for what the rules ask of
// files.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "server/address_guard.h"
#include "server/api.h"
#include "server/config.h"
#include "server/rate_limit.h"
#include "server/submission.h"
#include "server/triggers/trigger.h"
#include "server/webhook_sender.h"

namespace atelier::server {

SubmissionRules rules_of(const Config& config);
RateLimits rates_of(const ServiceLimits& limits);
std::vector<PoolInfo> pools_of(const Config& config);
std::vector<Webhook> webhooks_of(const Config& config);
// Errors: those of parse_allowed_target().
Result<std::vector<AllowedTarget>> targets_of(const Config& config);
// What became of triggers, by name: added, changed or removed.
std::map<std::string, std::string> changes_of(const std::vector<Trigger>& before,
                                              const std::vector<Trigger>& after);
// Errors: those of parse_trigger(), naming the trigger.
Result<std::vector<Trigger>> triggers_of(const Config& config);

}  // namespace atelier::server
