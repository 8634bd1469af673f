// SPDX-License-Identifier: Apache-2.0
#include "server/token_gate.h"

#include "server/operations_policy.h"

namespace atelier::server {

Result<Principal> TokenGate::identify(const Call& call) {
  const auto secret = bearer_of(call);
  if (secret) {
    if (auto who = TRY(tokens_.find(*secret))) return *std::move(who);
    // One that was guessed; a request without any guesses nothing.
    TRY(rates_.admit_failure(call));
    return make_error(Code::invalid_argument,
                      "The token is not known, has expired or was revoked; ask for another one.");
  }
  return make_error(Code::invalid_argument,
                    "A token is needed, as the header \"Authorization: Bearer atl_...\".");
}

}  // namespace atelier::server
