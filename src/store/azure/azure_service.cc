// SPDX-License-Identifier: Apache-2.0
#include "store/azure/azure_service.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "base/hash.h"
#include "store/names.h"

namespace atelier::azure {
namespace {

constexpr int64_t kSkew = 300;  // seconds by which clocks must differ to be to blame
// Of a credential that is good and may not do this.
constexpr std::string_view kDenied = "AuthorizationPermissionMismatch";

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return text;
}

std::string header_of(const Call& call, std::string_view name) {
  for (const http::Header& header : call.headers) {
    if (lower(header.name) == name) return header.value;
  }
  return {};
}

bool is_refused(int status) { return status == 401 || status == 403; }
bool is_transient(int status) { return status == 408 || status == 429 || status >= 500; }

// Whether the body arrived otherwise than it was sent.
bool is_damaged(const http::Response& response) {
  const std::string_view code = response.header("x-ms-error-code");
  if (response.status != 400) return false;
  // The emulator has no code of its own for it.
  return code == "Md5Mismatch" ||
         (code == "InvalidOperation" &&
          as_text(response.body).find("contentMD5 doesn't match") != std::string_view::npos);
}

// The value of `name` in a SAS, still encoded; empty if it is not there.
std::string sas_field(std::string_view sas, std::string_view name) {
  for (size_t begin = 0; begin <= sas.size();) {
    const size_t end = std::min(sas.find('&', begin), sas.size());
    const std::string_view field = sas.substr(begin, end - begin);
    if (field.starts_with(name) && field.substr(name.size()).starts_with('=')) {
      return percent_decode(field.substr(name.size() + 1)).value_or("");
    }
    begin = end + 1;
  }
  return {};
}

http::ClientOptions direct() {
  http::ClientOptions options;
  options.direct = true;
  return options;
}

}  // namespace

std::string encode_query(std::string_view text) {
  std::string encoded = percent_encode(text);
  for (size_t at = 0; (at = encoded.find('/', at)) != std::string::npos; at += 3) {
    encoded.replace(at, 1, "%2F");
  }
  return encoded;
}

std::string iso_time(std::chrono::system_clock::time_point time) {
  const time_t seconds = std::chrono::system_clock::to_time_t(time);
  tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", utc.tm_year + 1900, utc.tm_mon + 1,
                     utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

std::string shared_key_text(const std::string& account, const std::string& path, const Call& call) {
  std::string text = call.method + "\n";
  for (const char* name : {"content-encoding", "content-language"}) {
    text += header_of(call, name) + "\n";
  }
  text += (call.body.empty() ? "" : std::to_string(call.body.size())) + "\n";
  for (const char* name : {"content-md5", "content-type", "date", "if-modified-since", "if-match",
                           "if-none-match", "if-unmodified-since", "range"}) {
    text += header_of(call, name) + "\n";
  }
  std::map<std::string, std::string> ours, parameters;
  for (const http::Header& header : call.headers) {
    const std::string name = lower(header.name);
    if (name.starts_with("x-ms-")) ours[name] = header.value;
  }
  for (const auto& [name, value] : ours) text += name + ":" + value + "\n";
  text += "/" + account + path;
  for (const auto& [name, value] : call.query) parameters[lower(name)] = value;
  for (const auto& [name, value] : parameters) text += "\n" + name + ":" + value;
  return text;
}

Service::Service(Account account, Clock& clock)
    : account_(std::move(account)),
      clock_(clock),
      client_(account_.http),
      metadata_client_(direct()) {}

std::chrono::system_clock::time_point Service::now() const {
  return std::chrono::system_clock::now() + std::chrono::seconds(clock_offset_.load());
}

std::string Service::url(std::string_view path) const {
  return account_.endpoint + "/" + percent_encode(path);
}

Result<std::string> Service::metadata_token() {
  MutexLock lock(mutex_);
  if (!token_.empty() && clock_.now() < token_until_) return token_;
  http::Request request;
  request.method = "GET";
  request.url = account_.credential.metadata_url +
                "/metadata/identity/oauth2/token?api-version=2018-02-01&resource="
                "https%3A%2F%2Fstorage.azure.com%2F";
  if (!account_.credential.client_id.empty()) {
    request.url += "&client_id=" + encode_query(account_.credential.client_id);
  }
  request.headers = {{"Metadata", "true"}};
  const http::Response response = TRY(metadata_client_.send(request));
  const auto json = nlohmann::json::parse(as_text(response.body), nullptr, false);
  if (response.status != 200 || !json.is_object() || !json.contains("access_token") ||
      !json["access_token"].is_string()) {
    const Code code = is_transient(response.status) || response.status == 404
                          ? Code::unavailable
                          : Code::invalid_argument;
    return make_error(code,
                      "The metadata service {} gave no token (status {}); check that this machine "
                      "has an identity that may use the store.",
                      http::origin_of(request.url), response.status);
  }
  token_ = json["access_token"].get<std::string>();
  // A number or its text, as the service's versions have it.
  const auto& expires = json.value("expires_in", nlohmann::json("0"));
  const std::string seconds = expires.is_string() ? expires.get<std::string>() : expires.dump();
  const int64_t lasts = std::clamp<int64_t>(std::atoll(seconds.c_str()), 0, 86400);
  token_until_ = clock_.now() + std::chrono::seconds(std::max<int64_t>(0, lasts - 300));
  return token_;
}

Result<http::Request> Service::request_of(const Call& call, const std::string& secret) {
  const std::string encoded = percent_encode(call.path);
  http::Request request;
  request.method = call.method;
  request.url = account_.endpoint + "/" + encoded;
  request.body = call.body;
  request.most_bytes = call.most_bytes;
  Call signed_call = call;
  signed_call.headers.push_back({"x-ms-date", http::format_date(now())});
  signed_call.headers.push_back({"x-ms-version", kVersion});
  char separator = '?';
  for (const auto& [name, value] : call.query) {
    request.url += separator + encode_query(name) + "=" + encode_query(value);
    separator = '&';
  }
  const Credential& credential = account_.credential;
  using Kind = Credential::Kind;
  if (credential.kind == Kind::sas) {
    request.url += separator + (secret.starts_with('?') ? secret.substr(1) : secret);
  } else if (credential.kind == Kind::bearer || credential.kind == Kind::metadata) {
    const std::string token = credential.kind == Kind::bearer ? secret : TRY(metadata_token());
    signed_call.headers.push_back({"Authorization", "Bearer " + token});
  } else if (credential.kind == Kind::key) {
    const std::string origin = http::origin_of(account_.endpoint);
    const std::string path = account_.endpoint.substr(origin.size()) + "/" + encoded;
    const auto signature =
        hmac_sha256(from_base64(secret), shared_key_text(account_.name, path, signed_call));
    signed_call.headers.push_back(
        {"Authorization", "SharedKey " + account_.name + ":" + to_base64(signature)});
  }
  request.headers = std::move(signed_call.headers);
  return request;
}

bool Service::set_clock_by(const http::Response& refusal) {
  if (account_.credential.kind != Credential::Kind::key) return false;
  const auto theirs = http::parse_date(refusal.header("Date"));
  if (!theirs) return false;
  const int64_t offset =
      std::chrono::duration_cast<std::chrono::seconds>(*theirs - std::chrono::system_clock::now())
          .count();
  if (std::abs(offset - clock_offset_.load()) < kSkew) return false;
  clock_offset_ = offset;
  return true;
}

bool Service::drop_token(const http::Response& refusal) {
  if (account_.credential.kind != Credential::Kind::metadata || refusal.status != 401) return false;
  MutexLock lock(mutex_);
  token_.clear();
  return true;
}

bool Service::mend(const http::Response& refusal, const std::string& secret) {
  if (!is_refused(refusal.status)) return false;
  if (set_clock_by(refusal) || drop_token(refusal)) return true;
  const auto now = this->secret();
  return now.ok() && *now != secret;
}

Result<std::string> Service::secret() const {
  const auto& secret = account_.credential.secret;
  return secret ? secret->read() : std::string();
}

Error Service::refused(const Call& call, const http::Response& response) {
  const std::string what(response.header("x-ms-error-code"));
  const std::string shown =
      what.empty() ? std::to_string(response.status) : percent_encode(what.substr(0, 80));
  std::string hint = "check its permissions";
  if (account_.credential.kind == Credential::Kind::none) {
    hint =
        "give one in ATELIER_CREDENTIALS, or in AZURE_STORAGE_SAS_TOKEN with AZURE_STORAGE_ACCOUNT";
  } else if (account_.credential.kind == Credential::Kind::sas) {
    const auto sas = account_.credential.secret->read();
    const std::string end = sas.ok() ? sas_field(*sas, "se") : std::string();
    const auto theirs = http::parse_date(response.header("Date"));
    if (!end.empty() && theirs && end <= iso_time(*theirs)) {
      return make_error(Code::invalid_argument,
                        "The SAS token for {} has expired at {}; give a new one and run the same "
                        "command again.",
                        url(call.path), percent_encode(end.substr(0, 40)));
    }
    const std::string begin = sas.ok() ? sas_field(*sas, "st") : std::string();
    if (!begin.empty() && theirs && iso_time(*theirs) < begin) {
      return make_error(Code::invalid_argument,
                        "The SAS token for {} is not valid before {}, and there it is {}; wait, or "
                        "set the clock of the machine that makes tokens and make another one.",
                        url(call.path), percent_encode(begin.substr(0, 40)), iso_time(*theirs));
    }
    hint = "check what the SAS token permits";
  } else if (response.status == 401) {
    // What a token may do is told by 403.
    return make_error(Code::invalid_argument,
                      "The token for {} has expired or is none for storage ({}); {}.",
                      url(call.path), shown,
                      account_.credential.kind == Credential::Kind::metadata
                          ? "check the identity of this machine"
                          : "put a new one into its file and run the same command again");
  }
  return make_error(Code::invalid_argument, "Access to {} was denied to this credential ({}); {}.",
                    url(call.path), shown, hint);
}

Result<http::Response> Service::call_once(const Call& call, const std::string& secret) {
  const http::Request request = TRY(request_of(call, secret));
  return client_.send(request);
}

Result<http::Response> Service::call(const Call& call) {
  const std::string secret = TRY(this->secret());
  http::Response response = TRY(call_once(call, secret));
  if (mend(response, secret)) response = TRY(call_once(call, TRY(this->secret())));
  const std::string_view code = response.header("x-ms-error-code");
  if (call.may_be_denied && response.status == 403 && code == kDenied) return response;
  if (is_refused(response.status)) return refused(call, response);
  if (is_transient(response.status) || is_damaged(response)) {
    Error error = make_error(Code::unavailable, "{} answered {}; try again later.", url(call.path),
                             response.status);
    error.retry_after = http::retry_after(response, now());
    return error;
  }
  // A block list may name blocks that another upload of the same blob has swept away.
  const bool known = response.status / 100 == 2 || response.status == 404 ||
                     response.status == 409 || response.status == 412 || response.status == 416 ||
                     code == "InvalidBlockList";
  if (known) return response;
  return make_error(Code::invalid_argument, "{} refused a request ({} {}); check its address.",
                    url(call.path), response.status, percent_encode(code.substr(0, 80)));
}

Result<http::Response> Service::call_repeated(const Call& call) {
  return with_retries(account_.retries, clock_, [&] { return this->call(call); });
}

}  // namespace atelier::azure
