// SPDX-License-Identifier: Apache-2.0
// Requests to one bucket of Amazon S3, or of a server that speaks its protocol ("Amazon S3 API
// Reference"), each signed.
//
// 403 has several causes, which the service tells apart as far as it can. A clock that is wrong is
// set by the server's Date, and the request made again; keys that have expired are got anew. Keys
// that are refused are an error. But a server also answers 403 about an object that is not there if
// the credential may not list the bucket (s3:ListBucket): then "absent" and "not permitted" look
// the same, and the error says both. So a credential that may only write can put, also if absent
// (the server decides), but gets an error instead of "absent".
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "store/http/http_client.h"
#include "store/retry.h"
#include "store/s3/s3_keys.h"
#include "store/s3/sigv4.h"
#include "store/secret.h"

namespace atelier::s3 {

// How the server is to encrypt what is written ("Protecting data with server-side encryption").
struct Encryption {
  std::string algorithm;   // "AES256", "aws:kms", "aws:kms:dsse"; empty: as the bucket says
  std::string kms_key_id;  // with aws:kms; empty: the account's
  // Base64 of 32 bytes: a key of the customer's, which the server uses and forgets, so that reads
  // need it, too. In place of an algorithm; servers take it over TLS only. May be null.
  std::shared_ptr<Secret> customer_key;
};

struct Bucket {
  std::string name;
  std::string region = "us-east-1";
  std::string endpoint;  // "https://host[:port][/path]"; empty: Amazon's of the region
  // Where the bucket's name goes: before the host or in front of the path. By itself, Amazon's has
  // it before the host unless it has a dot, which no certificate fits; other servers in the path.
  enum class Style { automatic, host, path };
  Style style = Style::automatic;
  std::shared_ptr<KeySource> keys;  // null: requests are not signed
  Encryption encryption;
  http::ClientOptions http;
  RetryPolicy retries;  // of calls that are repeated here
};

// What a call is about, which decides what it says of encryption.
enum class About { bucket, read, write, part, none };

struct Call {
  std::string method;
  std::string key;                                         // as stored, any text; empty: the bucket
  std::vector<std::pair<std::string, std::string>> query;  // not encoded
  std::vector<http::Header> headers;                       // Content-Type where there is a body
  std::span<const std::byte> body;
  uint64_t most_bytes = uint64_t{64} << 20;
  About about = About::none;
  bool may_trickle = false;  // see http::Request
  // That good keys may not do this (401, 403) is the caller's to know, and no error.
  bool may_be_denied = false;
};

// Safe from several threads. The clock must outlive it.
class Service {
 public:
  // Errors: invalid_argument (a bucket's name or an address that is none).
  static Result<std::unique_ptr<Service>> create(Bucket bucket, Clock& clock);

  // Statuses that say what became of the request are the caller's: 2xx, 404, 409, 412, 416, 501,
  // and of writes what is_unknown_request is true of. Errors: those of http::Client and of the
  // keys; unavailable (408, 429, 5xx, SlowDown, a body that arrived damaged and what else may be
  // asked again: Retry-After is kept), no_space (a quota), invalid_input (the object is archived),
  // invalid_argument (refused: the credential, its permissions, the region, the request; no such
  // bucket).
  Result<http::Response> call(const Call& call);
  // For calls that may be made any number of times: again while the answer is unavailable.
  Result<http::Response> call_repeated(const Call& call);

  // A URL that lets whoever has it GET, PUT or HEAD one object until `lasts` (1 s to 7 days) from
  // now: a secret. Errors: those of the keys; invalid_argument.
  Result<std::string> presigned_url(const std::string& method, const std::string& key,
                                    std::chrono::seconds lasts);

  // "s3://bucket/key", for messages; a key as it is stored or as it was given.
  std::string url(std::string_view key) const;
  // Whether the server is Amazon's own.
  bool is_amazon() const { return bucket_.endpoint.empty(); }
  Clock& clock() { return clock_; }

 private:
  Service(Bucket bucket, Clock& clock);
  Unsigned unsigned_of(const Call& call) const;
  std::string url_of(const Unsigned& request, const std::string& query) const;
  Result<Keys> keys();
  Result<void> add_encryption(About about, std::vector<http::Header>& headers);
  Result<http::Response> call_once(const Call& call);
  Result<http::Response> explained(const Call& call, const http::Response& refusal);
  bool is_denial(const http::Response& response, const http::Response& why) const;
  // Whether asking again may help after the clock was set or the keys were dropped.
  bool mend(const http::Response& refusal);
  Error refused(const Call& call, const http::Response& response);
  Error denied(const Call& call, const std::string& code);
  Error in_other_region(std::string_view region) const;
  Error unavailable_error(const Call& call, const http::Response& response) const;
  Result<void> check_bucket();
  SystemTime now() const;

  const Bucket bucket_;
  Clock& clock_;
  http::Client client_;
  std::string origin_, host_, base_path_;  // of every URL; base_path_ ends without '/'
  std::atomic<int64_t> clock_offset_{0};   // seconds; theirs less ours
  std::atomic<bool> bucket_is_there_{false};
};

// The <Code> of an error's body, cut to 80 bytes and percent-encoded, since a stranger may have
// written it; empty if there is none.
std::string error_code(const http::Response& response);
// Whether the server says that it does not know what a request asks for.
bool is_unknown_request(const http::Response& response);

}  // namespace atelier::s3
