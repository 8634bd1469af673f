// SPDX-License-Identifier: Apache-2.0
// Calls again what answered `unavailable`: after delays that double, each drawn at random between
// half of it and all, so that many workers that lost a store together do not come back together
// (Brooker, "Exponential Backoff And Jitter", 2015). A server that says how long it wants to be
// left alone (Error::retry_after) is left alone for that long.
#pragma once

#include <algorithm>
#include <random>
#include <utility>

#include "base/clock.h"
#include "base/result.h"

namespace atelier {

struct RetryPolicy {
  int attempts = 6;  // in all, at least 1
  Clock::Duration first_delay = std::chrono::milliseconds(100);
  Clock::Duration max_delay = std::chrono::seconds(5);  // delays double up to this
  // No attempt begins later than this after the first one; what a server asks for counts, too.
  Clock::Duration budget = std::chrono::minutes(2);
};

template <class T>
bool is_unavailable(const Result<T>& result) {
  return !result.ok() && result.error().code == Code::unavailable;
}

// `call` returns a Result; its last one is the answer.
template <class Call>
auto with_retries(const RetryPolicy& policy, Clock& clock, Call call) -> decltype(call()) {
  thread_local std::minstd_rand random{std::random_device{}()};
  const Clock::Duration begin = clock.now();
  Clock::Duration delay = std::min(policy.first_delay, policy.max_delay);
  for (int attempt = 1;; ++attempt) {
    auto result = call();
    if (!is_unavailable(result) || attempt >= policy.attempts) return result;
    std::uniform_int_distribution<Clock::Duration::rep> drawn(delay.count() / 2, delay.count());
    const Clock::Duration wait =
        std::max(Clock::Duration(drawn(random)), Clock::Duration(result.error().retry_after));
    if (clock.now() + wait - begin > policy.budget) return result;
    clock.sleep_for(wait);
    delay = delay > policy.max_delay / 2 ? policy.max_delay : delay * 2;
  }
}

}  // namespace atelier
