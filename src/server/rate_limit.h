// SPDX-License-Identifier: Apache-2.0
// How often somebody may ask: a bucket for each key that fills at a rate and from which each
// request takes one (a token bucket).
//
// Cost: a hash map and a list, in the order of use, of at most `most_keys`; the one that was
// longest not used makes room for a new one. Limit: who has more addresses than that gets fresh
// buckets for old ones.
#pragma once

#include <list>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "server/call.h"

namespace atelier::server {

struct Rate {
  double per_second = 1;  // above 0
  double burst = 1;       // what a full bucket holds; at least 1
};

// Safe from several threads.
class RateLimiter {
 public:
  // `most_keys` at least 1. The clock must outlive it.
  RateLimiter(const Clock& clock, Rate rate, size_t most_keys = 10'000);

  // Errors: unavailable with retry_after, when there is one for this key again; nothing was taken
  // then. Not 503 but 429 is what a caller should hear.
  Result<void> take(std::string_view key);
  size_t keys() const;

 private:
  struct Bucket {
    std::string key;
    double level = 0;
    Clock::Duration filled_at{};
  };
  Bucket& bucket_of(std::string_view key) REQUIRES(mutex_);

  const Clock& clock_;
  const Rate rate_;
  const size_t most_keys_;
  mutable Mutex mutex_;
  std::list<Bucket> buckets_ GUARDED_BY(mutex_);  // the one used last is first
  // The keys are views into the list's.
  std::unordered_map<std::string_view, std::list<Bucket>::iterator> by_key_ GUARDED_BY(mutex_);
};

struct RateLimits {
  Rate address{200, 400};
  Rate token{100, 200};
  Rate failure{0.2, 20};                // of one address
  std::map<std::string, Rate> by_name;  // of tokens of these names, in place of `token`
};

// The limits of a service. Safe from several threads.
class RateGate {
 public:
  RateGate(const Clock& clock, const RateLimits& limits);
  // For each request before anything else is done for it. Errors: those of RateLimiter::take.
  Result<void> admit_address(const Call& call);
  // For each request whose token is known: tokens of one name share a bucket. Errors: likewise.
  Result<void> admit(const Principal& who);
  // For each request whose token is not known; its error is what to answer in place of 401. A good
  // token passes however many wrong ones come from its address, which may be that of a proxy.
  Result<void> admit_failure(const Call& call);

 private:
  RateLimiter addresses_, tokens_, failures_;
  std::map<std::string, RateLimiter, std::less<>> by_name_;
};

// Who has one IPv6 address has 2^64: the bucket is that of the /64. IPv4 inside IPv6 is IPv4. What
// is no address is its own key.
std::string address_key(std::string_view address);

}  // namespace atelier::server
