// SPDX-License-Identifier: Apache-2.0
#include "store/s3/s3_service.h"

#include <algorithm>
#include <array>
#include <pugixml.hpp>

#include "base/base64.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "store/http/endpoint.h"
#include "store/names.h"
#include "store/remote_key.h"

namespace atelier::s3 {
namespace {

constexpr int64_t kSkew = 300;  // seconds by which clocks must differ to be to blame
constexpr size_t kMostErrorBytes = size_t{64} << 10;

bool is_one_of(std::string_view code, std::initializer_list<std::string_view> codes) {
  return std::ranges::find(codes, code) != codes.end();
}

bool is_refused(int status) { return status == 401 || status == 403; }
bool is_refusal(int status) { return status == 400 || is_refused(status); }

// The cheapest request that needs the permission to list, which is also the permission to hear that
// an object is absent.
Call list_of(const std::string& key) {
  Call list;
  list.method = "GET";
  list.query = {{"list-type", "2"}, {"max-keys", "1"}, {"prefix", key}};
  return list;
}

// What may be asked again, whatever it was: also what arrived otherwise than it was signed.
bool is_transient(int status, std::string_view code) {
  if (status == 501 || status == 505) return false;
  return status == 408 || status == 429 || status >= 500 ||
         is_one_of(code,
                   {"RequestTimeout", "SlowDown", "OperationAborted", "ConditionalRequestConflict",
                    "InternalError", "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"});
}

bool is_full(int status, std::string_view code) {
  return status == 507 ||
         is_one_of(code, {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"});
}

// The keys themselves are wrong, whatever was asked.
bool blames_keys(std::string_view code) {
  return is_one_of(
      code, {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken",
             "TokenRefreshRequired", "InvalidSecurity", "NotSignedUp", "InvalidClientTokenId"});
}

bool is_write(const Call& call) { return call.about == About::write || call.about == About::part; }

bool is_bucket_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && !name.starts_with('.') &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '.' || c == '_';
         });
}

bool is_region(std::string_view region) {
  return !region.empty() && region.size() <= 64 && std::ranges::all_of(region, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
}

std::string endpoint_of(const Bucket& bucket) {
  if (!bucket.endpoint.empty()) return bucket.endpoint;
  const bool china = bucket.region.starts_with("cn-");
  return "https://s3." + bucket.region + ".amazonaws.com" + (china ? ".cn" : "");
}

bool in_host(const Bucket& bucket) {
  if (bucket.style != Bucket::Style::automatic) return bucket.style == Bucket::Style::host;
  return bucket.endpoint.empty() && bucket.name.find('.') == std::string::npos;
}

}  // namespace

std::string error_code(const http::Response& response) {
  if (response.body.empty() || response.body.size() > kMostErrorBytes) return {};
  pugi::xml_document document;
  // pugixml knows no entities but the five and follows no reference.
  if (!document.load_buffer(response.body.data(), response.body.size())) return {};
  const std::string_view code = document.child("Error").child_value("Code");
  return percent_encode(code.substr(0, 80));
}

bool is_unknown_request(const http::Response& response) {
  return response.status == 501 ||
         is_one_of(error_code(response), {"NotImplemented", "InvalidArgument"});
}

Result<std::unique_ptr<Service>> Service::create(Bucket bucket, Clock& clock) {
  if (!is_bucket_name(bucket.name)) {
    return make_error(Code::invalid_argument,
                      "'{}' is not the name of a bucket; give one of letters, digits, '-' and '.'.",
                      percent_encode(bucket.name.substr(0, 80)));
  }
  if (!is_region(bucket.region)) {
    return make_error(Code::invalid_argument,
                      "'{}' is not the name of a region; give one such as us-east-1.",
                      percent_encode(bucket.region.substr(0, 80)));
  }
  if (!http::is_sendable(bucket.encryption.algorithm) ||
      !http::is_sendable(bucket.encryption.kms_key_id)) {
    return Error{Code::invalid_argument,
                 "The encryption asked of S3 has a blank or an odd character in its name; give "
                 "AES256, or aws:kms with the name of a key."};
  }
  if (!bucket.endpoint.empty()) {
    bucket.endpoint = TRY(http::parse_endpoint(bucket.endpoint, "an S3 server"));
  }
  return std::unique_ptr<Service>(new Service(std::move(bucket), clock));
}

Service::Service(Bucket bucket, Clock& clock)
    : bucket_(std::move(bucket)), clock_(clock), client_(bucket_.http) {
  const std::string endpoint = endpoint_of(bucket_), origin = http::origin_of(endpoint);
  const size_t host = origin.find("://") + 3;
  host_ = origin.substr(host);
  base_path_ = endpoint.substr(origin.size());
  if (in_host(bucket_)) {
    host_ = bucket_.name + "." + host_;
  } else {
    base_path_ += "/" + bucket_.name;
  }
  origin_ = origin.substr(0, host) + host_;
  // As libcurl sends it: without the port that the scheme has anyway.
  const std::string_view own_port = origin.starts_with("https") ? ":443" : ":80";
  if (host_.ends_with(own_port)) host_.resize(host_.size() - own_port.size());
}

SystemTime Service::now() const {
  return std::chrono::system_clock::now() + std::chrono::seconds(clock_offset_.load());
}

std::string Service::url(std::string_view key) const {
  return "s3://" + bucket_.name + "/" + percent_encode(from_remote_key(key));
}

Unsigned Service::unsigned_of(const Call& call) const {
  Unsigned request;
  request.method = call.method;
  request.host = host_;
  request.path = base_path_;
  if (!call.key.empty() || base_path_.empty()) request.path += "/" + percent_encode(call.key);
  request.query = call.query;
  request.headers = call.headers;
  return request;
}

std::string Service::url_of(const Unsigned& request, const std::string& query) const {
  return origin_ + request.path + (query.empty() ? "" : "?" + query);
}

Result<Keys> Service::keys() {
  if (!bucket_.keys) return Keys{};
  Keys keys = TRY(bucket_.keys->read());
  for (const std::string* text : {&keys.access_key, &keys.secret_key, &keys.session_token}) {
    if (!http::is_sendable(*text)) {
      return make_error(Code::invalid_argument,
                        "The keys for {} hold a blank or another character that no key has; copy "
                        "them again.",
                        url(""));
    }
  }
  return keys;
}

Result<void> Service::add_encryption(About about, std::vector<http::Header>& headers) {
  const Encryption& encryption = bucket_.encryption;
  if (about == About::write && !encryption.algorithm.empty()) {
    headers.push_back({"x-amz-server-side-encryption", encryption.algorithm});
    if (!encryption.kms_key_id.empty()) {
      headers.push_back({"x-amz-server-side-encryption-aws-kms-key-id", encryption.kms_key_id});
    }
  }
  const bool keyed = about == About::read || about == About::write || about == About::part;
  if (keyed && encryption.customer_key) {
    const std::string text = TRY(encryption.customer_key->read());
    const std::vector<std::byte> key = from_base64(text);
    if (key.size() != 32) {
      return Error{Code::invalid_argument,
                   "The customer's key for S3 is not base64 of 32 bytes; give such a one."};
    }
    const std::string prefix = "x-amz-server-side-encryption-customer-";
    headers.push_back({prefix + "algorithm", "AES256"});
    headers.push_back({prefix + "key", to_base64(key)});
    headers.push_back({prefix + "key-MD5", md5_base64(key)});
  }
  return {};
}

Result<http::Response> Service::call_once(const Call& call) {
  Unsigned wanted = unsigned_of(call);
  TRY(add_encryption(call.about, wanted.headers));
  const Keys keys = TRY(this->keys());
  http::Request request;
  request.method = call.method;
  request.url = url_of(wanted, encoded_query(wanted.query));
  request.body = call.body;
  request.most_bytes = call.most_bytes;
  request.may_trickle = call.may_trickle;
  request.headers =
      keys.secret_key.empty()
          ? std::move(wanted.headers)
          : signed_headers(std::move(wanted), sha256_hex(call.body), keys, {bucket_.region, now()});
  return client_.send(request);
}

bool Service::mend(const http::Response& refusal) {
  const std::string code = error_code(refusal);
  if (is_one_of(code, {"ExpiredToken", "TokenRefreshRequired"}) && bucket_.keys) {
    bucket_.keys->forget();
    return true;
  }
  const auto theirs = http::parse_date(refusal.header("Date"));
  if (code != "RequestTimeTooSkewed" || !theirs) return false;
  const int64_t offset =
      std::chrono::duration_cast<std::chrono::seconds>(*theirs - std::chrono::system_clock::now())
          .count();
  if (std::abs(offset - clock_offset_.load()) < kSkew) return false;
  clock_offset_ = offset;
  return true;
}

Error Service::in_other_region(std::string_view region) const {
  return make_error(Code::invalid_argument,
                    "The bucket {} is in the region {} and not in {}; set AWS_REGION.", url(""),
                    percent_encode(region.substr(0, 40)), bucket_.region);
}

// After 403 with AccessDenied, or with nothing, as a HEAD has it.
Error Service::denied(const Call& call, const std::string& code) {
  if (!bucket_.keys) {
    return make_error(Code::invalid_argument,
                      "Access to {} was denied to a request without a signature; set "
                      "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
                      url(call.key));
  }
  const bool reads = (call.method == "HEAD" || call.method == "GET") && !call.key.empty();
  if (reads) {
    const auto listed = call_once(list_of(call.key));
    if (!listed.ok()) return listed.error();
    if (blames_keys(error_code(*listed))) return refused(call, *listed);
    if (is_refused(listed->status)) {
      return make_error(Code::invalid_argument,
                        "{} is not there, or this credential may not read it: without the "
                        "permission to list the bucket (s3:ListBucket) the server does not say "
                        "which; check the name, or permit it.",
                        url(call.key));
    }
  }
  return make_error(Code::invalid_argument,
                    "Access to {} was denied to this credential ({}); check what it may do.",
                    url(call.key), code.empty() ? "403" : code);
}

Error Service::refused(const Call& call, const http::Response& response) {
  const std::string code = error_code(response);
  const std::string_view region = response.header("x-amz-bucket-region");
  if (!region.empty() && region != bucket_.region) return in_other_region(region);
  if (is_one_of(code, {"ExpiredToken", "TokenRefreshRequired"})) {
    return make_error(Code::invalid_argument,
                      "The keys for {} have expired; get new ones and run the same command again.",
                      url(""));
  }
  if (code == "RequestTimeTooSkewed") {
    return make_error(Code::invalid_argument,
                      "The server of {} finds the time of this machine wrong; set its clock.",
                      url(""));
  }
  if (blames_keys(code)) {
    return make_error(
        Code::invalid_argument,
        "The server of {} refuses the keys ({}); check the access key, its secret and "
        "that they are for this server.",
        url(""), code);
  }
  if (code == "InvalidObjectState") {
    return make_error(Code::invalid_input,
                      "{} is archived; restore it first, and run the same command again when that "
                      "is done.",
                      url(call.key));
  }
  if (is_refused(response.status) || (!bucket_.keys && response.status == 400)) {
    return denied(call, code);
  }
  return make_error(Code::invalid_argument,
                    "The server refused a request about {} ({} {}); check its address and the "
                    "region {}.",
                    url(call.key), response.status, code, bucket_.region);
}

Error Service::unavailable_error(const Call& call, const http::Response& response) const {
  Error error = make_error(Code::unavailable, "{} answered {} {}; try again later.", url(call.key),
                           response.status, error_code(response));
  error.retry_after = http::retry_after(response, now());
  return error;
}

// 404 to a HEAD does not say of what: asked once.
Result<void> Service::check_bucket() {
  if (bucket_is_there_) return {};
  Call call;
  call.method = "HEAD";
  const http::Response response = TRY(call_once(call));
  if (response.status == 404) {
    return make_error(Code::invalid_argument,
                      "There is no bucket {}; check its name, or make it first.", url(""));
  }
  if (is_transient(response.status, {})) return unavailable_error(call, response);
  bucket_is_there_ = true;
  return {};
}

// A refused HEAD has no body that says why: another request has, which needs the same keys.
Result<http::Response> Service::explained(const Call& call, const http::Response& refusal) {
  if (call.method == "HEAD" && is_refusal(refusal.status) && bucket_.keys)
    return call_once(list_of(call.key));
  http::Response why;
  why.status = refusal.status;
  why.headers = refusal.headers;
  if (refusal.status / 100 == 4) why.body = refusal.body;
  return why;
}

// Keys that are good, and may not do this.
bool Service::is_denial(const http::Response& response, const http::Response& why) const {
  const std::string code = error_code(why);
  return bucket_.keys && is_refused(response.status) && (code.empty() || code == "AccessDenied");
}

Result<http::Response> Service::call(const Call& call) {
  http::Response response = TRY(call_once(call));
  http::Response why = TRY(explained(call, response));
  if (mend(why)) {
    response = TRY(call_once(call));
    why = TRY(explained(call, response));
  }
  if (response.status / 100 == 2) {
    bucket_is_there_ = true;
    return response;
  }
  const std::string code = error_code(response);
  if (is_full(response.status, code)) {
    return make_error(Code::no_space, "There is no room left in {} ({} {}); make some.", url(""),
                      response.status, code);
  }
  if (is_transient(response.status, code)) return unavailable_error(call, response);
  if (response.status == 404 && code.empty()) TRY(check_bucket());
  if (code == "NoSuchBucket") {
    return make_error(Code::invalid_argument,
                      "There is no bucket {}; check its name, or make it first.", url(""));
  }
  const bool known = response.status == 404 || response.status == 409 || response.status == 412 ||
                     response.status == 416 || response.status == 501 ||
                     (is_write(call) && is_unknown_request(response));
  if (known || (call.may_be_denied && is_denial(response, why))) return response;
  return refused(call, is_refusal(why.status) ? why : response);
}

Result<http::Response> Service::call_repeated(const Call& call) {
  return with_retries(bucket_.retries, clock_, [&] { return this->call(call); });
}

Result<std::string> Service::presigned_url(const std::string& method, const std::string& key,
                                           std::chrono::seconds lasts) {
  const Keys keys = TRY(this->keys());
  if (keys.secret_key.empty()) {
    return make_error(Code::invalid_argument,
                      "A presigned URL of {} needs keys; set AWS_ACCESS_KEY_ID and "
                      "AWS_SECRET_ACCESS_KEY.",
                      url(key));
  }
  Call call;
  call.method = method;
  call.key = key;
  const Unsigned request = unsigned_of(call);
  const std::string query = TRY(presigned_query(request, keys, {bucket_.region, now()}, lasts));
  return url_of(request, query);
}

}  // namespace atelier::s3
