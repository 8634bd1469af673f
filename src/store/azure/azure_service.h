// SPDX-License-Identifier: Apache-2.0
// Requests to one storage account of Azure Blob Storage (REST, "Blob service REST API"), with the
// credential that each needs.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "store/http/http_client.h"
#include "store/retry.h"
#include "store/secret.h"

namespace atelier::azure {

// Of the service's protocol. What is used of it was there in this version; services keep what a
// version said.
inline constexpr const char* kVersion = "2021-12-02";

// Best first: a SAS opens one container for some verbs and some time; a bearer token is a person's
// or a machine's; the account's key opens everything for ever.
struct Credential {
  enum class Kind { none, sas, bearer, metadata, key };
  Kind kind = Kind::none;
  std::shared_ptr<Secret> secret;  // the SAS ("sv=...&sig=..."), the token or the key (base64)
  // With metadata: where the machine's instance metadata service is, "http://169.254.169.254".
  std::string metadata_url;
  std::string client_id;  // of a user-assigned identity; empty: the machine's own
};

struct Account {
  std::string name;
  std::string endpoint;  // "https://NAME.blob.core.windows.net", or "https://host:port/NAME"
  Credential credential;
  http::ClientOptions http;
  RetryPolicy retries;  // of calls that are repeated here
};

struct Call {
  std::string method;
  std::string path;  // below the endpoint: "container/a/b", any bytes but NUL
  std::vector<std::pair<std::string, std::string>> query;  // neither is encoded
  std::vector<http::Header> headers;                       // Content-Type where there is a body
  std::span<const std::byte> body;
  uint64_t most_bytes = uint64_t{64} << 20;
  // That a good credential may not do this (403, AuthorizationPermissionMismatch) is the caller's
  // to know, and no error.
  bool may_be_denied = false;
};

// Safe from several threads. The clock must outlive it.
class Service {
 public:
  Service(Account account, Clock& clock);

  // Statuses that say what became of the request are the caller's (2xx, 404, 409, 412, 416).
  // Errors: those of http::Client; unavailable (408, 429, 5xx: Retry-After is kept; a body that
  // arrived damaged), invalid_argument (the credential was refused, or the request was).
  Result<http::Response> call(const Call& call);
  // For calls that may be made any number of times: again while the answer is unavailable.
  Result<http::Response> call_repeated(const Call& call);

  // Of what lies below the endpoint, for messages; without any secret.
  std::string url(std::string_view path) const;
  Clock& clock() { return clock_; }
  const Account& account() const { return account_; }

 private:
  Result<http::Request> request_of(const Call& call, const std::string& secret);
  Result<http::Response> call_once(const Call& call, const std::string& secret);
  Result<std::string> metadata_token();
  // The credential's text; empty where it has none.
  Result<std::string> secret() const;
  // Whether asking again may help: after our clock was set by theirs, the metadata service's token
  // was dropped, or the file of the secret that was sent got another one.
  bool mend(const http::Response& refusal, const std::string& secret);
  bool set_clock_by(const http::Response& refusal);
  bool drop_token(const http::Response& refusal);
  Error refused(const Call& call, const http::Response& response);
  std::chrono::system_clock::time_point now() const;

  const Account account_;
  Clock& clock_;
  http::Client client_;
  http::Client metadata_client_;          // never by a proxy, which would see the tokens
  std::atomic<int64_t> clock_offset_{0};  // seconds; theirs less ours
  Mutex mutex_;
  std::string token_ GUARDED_BY(mutex_);
  Clock::Duration token_until_ GUARDED_BY(mutex_){};
};

// The string that a shared key signs ("Authorize with Shared Key", Blob service). `path` is that of
// the URL, encoded.
std::string shared_key_text(const std::string& account, const std::string& path, const Call& call);

// As the name or the value of a query has it: also '/' is encoded.
std::string encode_query(std::string_view text);
// "2026-11-29T12:00:00Z": UTC, whole seconds, rounded down. Such times sort as text.
std::string iso_time(std::chrono::system_clock::time_point time);

}  // namespace atelier::azure
