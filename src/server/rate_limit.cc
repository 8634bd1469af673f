// SPDX-License-Identifier: Apache-2.0
#include "server/rate_limit.h"

#include <algorithm>
#include <cmath>

#include "server/ip_address.h"

namespace atelier::server {

RateLimiter::RateLimiter(const Clock& clock, Rate rate, size_t most_keys)
    : clock_(clock), rate_(rate), most_keys_(std::max<size_t>(most_keys, 1)) {}

RateLimiter::Bucket& RateLimiter::bucket_of(std::string_view key) {
  const Clock::Duration now = clock_.now();
  const auto found = by_key_.find(key);
  if (found != by_key_.end()) {
    buckets_.splice(buckets_.begin(), buckets_, found->second);
    Bucket& bucket = buckets_.front();
    const double seconds = std::chrono::duration<double>(now - bucket.filled_at).count();
    bucket.level = std::min(rate_.burst, bucket.level + seconds * rate_.per_second);
    bucket.filled_at = now;
    return bucket;
  }
  if (buckets_.size() >= most_keys_) {
    by_key_.erase(buckets_.back().key);
    buckets_.pop_back();
  }
  buckets_.push_front({std::string(key), rate_.burst, now});
  by_key_.emplace(buckets_.front().key, buckets_.begin());
  return buckets_.front();
}

Result<void> RateLimiter::take(std::string_view key) {
  MutexLock lock(mutex_);
  Bucket& bucket = bucket_of(key);
  if (bucket.level >= 1) {
    bucket.level -= 1;
    return {};
  }
  Error error{
      Code::unavailable, "These are too many requests; ask again later, and less often.", {}};
  const double seconds = (1 - bucket.level) / rate_.per_second;
  error.retry_after = std::chrono::milliseconds(static_cast<int64_t>(std::ceil(seconds * 1000)));
  return error;
}

size_t RateLimiter::keys() const {
  MutexLock lock(mutex_);
  return buckets_.size();
}

RateGate::RateGate(const Clock& clock, const RateLimits& limits)
    : addresses_(clock, limits.address),
      tokens_(clock, limits.token),
      failures_(clock, limits.failure) {
  for (const auto& [name, rate] : limits.by_name) {
    by_name_.try_emplace(name, clock, rate, 1);
  }
}

Result<void> RateGate::admit_address(const Call& call) {
  return addresses_.take(address_key(call.address));
}

Result<void> RateGate::admit(const Principal& who) {
  const auto own = by_name_.find(who.name);
  return own == by_name_.end() ? tokens_.take(who.name) : own->second.take(who.name);
}

Result<void> RateGate::admit_failure(const Call& call) {
  return failures_.take(address_key(call.address));
}

std::string address_key(std::string_view address) {
  auto ip = parse_ip(address);
  if (!ip) return std::string(address);
  if (ip->size == 4) return ip->text();
  static const IpNetwork kMapped = parse_network("::ffff:0:0/96").value_or(IpNetwork{});
  if (kMapped.holds(*ip)) {
    IpAddress inner;
    std::copy_n(ip->bytes.begin() + 12, 4, inner.bytes.begin());
    return inner.text();
  }
  std::fill(ip->bytes.begin() + 8, ip->bytes.end(), uint8_t{0});
  return ip->text() + "/64";
}

}  // namespace atelier::server
