// SPDX-License-Identifier: Apache-2.0
#include "store/share.h"

#include <ctime>
#include <string_view>

#include "store/azure/azure_sas.h"
#include "store/remote_key.h"

namespace atelier {
namespace {

using std::chrono::seconds;
using std::chrono::system_clock;
using Kind = azure::Credential::Kind;

constexpr seconds kLongest = std::chrono::hours(24 * 7);
// A service sets no bound, but only another key takes such a link back.
constexpr seconds kLongestByKey = std::chrono::hours(24 * 365);

Result<void> check_lasts(seconds lasts, seconds longest, const char* by) {
  if (lasts >= seconds(1) && lasts <= longest) return {};
  return make_error(Code::invalid_argument,
                    "A link that is signed by {} lasts from a second to {} days; ask for less.", by,
                    longest / std::chrono::hours(24));
}

Error nothing_to_read(const std::string& url) {
  return make_error(Code::invalid_input,
                    "There is no object {}; a link is for one object, not for a folder.", url);
}

Result<void> check_azure_credential(const azure::Credential& credential, const std::string& url) {
  if (credential.kind == Kind::sas) {
    return make_error(
        Code::invalid_argument,
        "A link to {} cannot be made with a SAS token, which cannot make another one; "
        "give the account's key, a token or an identity.",
        url);
  }
  if (credential.kind == Kind::none) {
    return make_error(Code::invalid_argument,
                      "A link to {} needs the account's key, a token or an identity to sign it; "
                      "give one in ATELIER_CREDENTIALS.",
                      url);
  }
  return {};
}

// What the service's clock says, after a look at the object, which must be there to be read.
Result<system_clock::time_point> look_at_blob(azure::Service& service, const std::string& path,
                                              Access access, const std::string& url) {
  azure::Call call;
  call.method = "HEAD";
  call.path = path;
  // Who may only write is not told what is there, but the time.
  call.may_be_denied = access == Access::write;
  const http::Response response = TRY(service.call_repeated(call));
  if (access == Access::read && response.status == 404) return nothing_to_read(url);
  return http::parse_date(response.header("Date")).value_or(system_clock::now());
}

Result<Link> azure_link(const Location& object, Access access, seconds lasts,
                        const Credentials& credentials, Clock& clock, const Notes& notes) {
  azure::Account account = TRY(credentials.azure(object, notes));
  const Kind kind = account.credential.kind;
  TRY(check_azure_credential(account.credential, object.url()));
  TRY(kind == Kind::key ? check_lasts(lasts, kLongestByKey, "an account's key")
                        : check_lasts(lasts, kLongest, "an identity"));
  azure::BlobGrant grant;
  grant.account = account.name;
  grant.container = object.container;
  grant.blob = to_remote_key(object.key);
  grant.permissions = access == Access::read ? "r" : "cw";
  grant.https_only = account.endpoint.starts_with("https://");
  const std::shared_ptr<Secret> secret = account.credential.secret;
  azure::Service service(std::move(account), clock);
  const std::string path = grant.container + "/" + grant.blob;
  const auto now = TRY(look_at_blob(service, path, access, object.url()));
  grant.expires = std::chrono::floor<seconds>(now + lasts);
  std::string sas;
  if (kind == Kind::key) {
    sas = azure::service_sas(grant, TRY(secret->read()));
  } else {
    sas =
        azure::delegation_sas(grant, TRY(azure::fetch_delegation_key(service, now, grant.expires)));
  }
  return Link{service.url(path) + "?" + sas, grant.expires};
}

// When a presigned URL begins, as it says itself: "X-Amz-Date=20261129T120000Z".
system_clock::time_point begin_of(const std::string& url) {
  constexpr std::string_view kName = "X-Amz-Date=";
  const size_t at = url.find(kName);
  tm utc{};
  if (at == std::string::npos ||
      ::strptime(url.c_str() + at + kName.size(), "%Y%m%dT%H%M%SZ", &utc) == nullptr) {
    return system_clock::now();
  }
  return system_clock::from_time_t(::timegm(&utc));
}

Result<Link> s3_link(const Location& object, Access access, seconds lasts,
                     const Credentials& credentials, Clock& clock, const Notes& notes) {
  TRY(check_lasts(lasts, kLongest, "keys of S3"));
  s3::Bucket bucket = TRY(credentials.s3(object, clock, notes));
  if (bucket.encryption.customer_key) {
    return make_error(Code::invalid_argument,
                      "A link to {} would need the customer's key beside it, since that encrypts "
                      "it; share a copy that is encrypted by the server's.",
                      object.url());
  }
  const auto service = TRY(s3::Service::create(std::move(bucket), clock));
  const std::string key = to_remote_key(object.key);
  // Also sets a clock that is wrong by so much that the service would refuse the link. Who may only
  // write is not told what is there, but keys that are refused make no link.
  s3::Call look;
  look.method = "HEAD";
  look.key = key;
  look.about = s3::About::read;
  look.may_be_denied = access == Access::write;
  const http::Response there = TRY(service->call_repeated(look));
  if (access == Access::read && there.status == 404) return nothing_to_read(object.url());
  Link link;
  link.url = TRY(service->presigned_url(access == Access::read ? "GET" : "PUT", key, lasts));
  link.expires = begin_of(link.url) + lasts;
  return link;
}

}  // namespace

Result<Link> share_link(const Location& object, Access access, seconds lasts,
                        const Credentials& credentials, Clock& clock, const Notes& notes) {
  if (object.is_file()) {
    return make_error(Code::invalid_argument,
                      "A link needs an object in a store, but {} is a file; copy it there first "
                      "with `atelier cp`.",
                      object.url());
  }
  if (object.key.empty()) {
    return make_error(Code::invalid_argument,
                      "A link is for one object, but {} is a container; name an object in it.",
                      object.url());
  }
  if (TRY(credentials.encryption(object))) {
    return make_error(Code::invalid_argument,
                      "What lies at {} is encrypted by Atelier, and who has a link cannot read it; "
                      "copy it to another place first with `atelier cp`.",
                      object.url());
  }
  switch (object.scheme) {
    case Location::Scheme::azure:
      return azure_link(object, access, lasts, credentials, clock, notes);
    case Location::Scheme::s3: return s3_link(object, access, lasts, credentials, clock, notes);
    case Location::Scheme::file: break;
  }
  return Error{Code::internal, "A location is of no known kind; report this."};
}

}  // namespace atelier
