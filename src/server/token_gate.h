// SPDX-License-Identifier: Apache-2.0
// The router's gate: tokens and rate limits.
#pragma once

#include "server/rate_limit.h"
#include "server/router.h"
#include "server/tokens.h"

namespace atelier::server {

// Safe from several threads. What is given must outlive it.
class TokenGate final : public Gate {
 public:
  TokenGate(Tokens& tokens, RateGate& rates) : tokens_(tokens), rates_(rates) {}
  Result<Principal> identify(const Call& call) override;
  Result<void> admit_address(const Call& call) override { return rates_.admit_address(call); }
  Result<void> admit(const Principal& who) override { return rates_.admit(who); }

 private:
  Tokens& tokens_;
  RateGate& rates_;
};

}  // namespace atelier::server
