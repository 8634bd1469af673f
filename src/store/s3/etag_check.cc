// SPDX-License-Identifier: Apache-2.0
#include "store/s3/etag_check.h"

#include "base/base64.h"
#include "base/hash.h"

namespace atelier::s3 {
namespace {

constexpr size_t kMostDoubted = 256;

bool looks_like_md5(std::string_view etag) {
  return etag.size() == 32 && etag.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

bool EtagCheck::is_believable(std::string_view etag, std::string_view encryption,
                              std::string_view customer_encryption,
                              std::span<const std::byte> bytes) {
  const bool hides_content = !customer_encryption.empty() || encryption.starts_with("aws:kms");
  if (!looks_like_md5(etag) || hides_content) return true;
  {
    MutexLock lock(mutex_);
    if (never_) return true;
  }
  const std::string md5 = to_hex(from_base64(md5_base64(bytes)));
  const bool same = md5.empty() || md5 == etag;
  const std::string what_came = same ? "" : std::string(etag) + " " + sha256_hex(bytes);
  MutexLock lock(mutex_);
  if (same) {
    once_ = once_ || !md5.empty();
    return true;
  }
  if (doubted_.erase(what_came) > 0) {
    never_ = !once_;
    return true;
  }
  if (doubted_.size() >= kMostDoubted) doubted_.clear();
  doubted_.insert(what_came);
  return false;
}

}  // namespace atelier::s3
