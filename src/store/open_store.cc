// SPDX-License-Identifier: Apache-2.0
#include "store/open_store.h"

#include "store/azure/azure_store.h"
#include "store/local_store.h"
#include "store/retrying_store.h"
#include "store/s3/s3_store.h"

namespace atelier {
namespace {

// A service comes back from a restart or a failed switch within a minute, as a rule.
RetryPolicy service_retries() {
  RetryPolicy policy;
  policy.attempts = 14;
  policy.first_delay = std::chrono::milliseconds(200);
  policy.max_delay = std::chrono::seconds(10);
  policy.budget = std::chrono::minutes(2);
  return policy;
}

Result<std::unique_ptr<ObjectStore>> open_once(const Location& place,
                                               const Credentials& credentials, Clock& clock,
                                               const Notes& notes) {
  const std::string prefix = place.key.empty() ? "" : place.key + "/";
  switch (place.scheme) {
    case Location::Scheme::file: return open_local_store(place.path);
    case Location::Scheme::azure: {
      azure::Account account = TRY(credentials.azure(place, notes));
      return azure::open_azure_store(std::move(account), {place.container, prefix}, clock);
    }
    case Location::Scheme::s3: {
      s3::Options options;
      options.bucket = TRY(credentials.s3(place, clock, notes));
      options.prefix = prefix;
      return s3::open_s3_store(std::move(options), clock);
    }
  }
  return make_error(Code::invalid_argument, "Cannot open {}.", place.url());
}

}  // namespace

Result<std::unique_ptr<ObjectStore>> open_store(const Location& place,
                                                const Credentials& credentials, Clock& clock,
                                                const Notes& notes) {
  auto store = TRY(open_once(place, credentials, clock, notes));
  return std::unique_ptr<ObjectStore>(std::make_unique<RetryingStore>(
      std::move(store), clock, place.is_file() ? RetryPolicy{} : service_retries()));
}

}  // namespace atelier
