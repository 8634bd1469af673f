// SPDX-License-Identifier: Apache-2.0
#include "store/azure/azure_sas.h"

#include <array>
#include <initializer_list>
#include <pugixml.hpp>
#include <utility>

#include "base/base64.h"
#include "base/hash.h"

namespace atelier::azure {
namespace {

// As far as a machine's clock may be ahead of the service's.
constexpr std::chrono::minutes kBack{15};

std::string lines(std::initializer_list<std::string_view> fields) {
  std::string text;
  for (const std::string_view field : fields) text += std::string(field) + "\n";
  text.pop_back();
  return text;
}

const char* protocol_of(const BlobGrant& grant) {
  return grant.https_only ? "https" : "https,http";
}

// Decoded, and with the account's name even where that is no part of the URL.
std::string resource_of(const BlobGrant& grant) {
  return "/blob/" + grant.account + "/" + grant.container + "/" + grant.blob;
}

std::string sign(const std::string& key, const std::string& text) {
  return to_base64(hmac_sha256(from_base64(key), text));
}

using Fields = std::initializer_list<std::pair<const char*, std::string>>;

std::string query_of(Fields fields) {
  std::string query;
  for (const auto& [name, value] : fields) {
    query += (query.empty() ? "" : "&") + std::string(name) + "=" + encode_query(value);
  }
  return query;
}

std::string common_query(const BlobGrant& grant) {
  return query_of({{"sv", kVersion},
                   {"sr", "b"},
                   {"sp", grant.permissions},
                   {"se", iso_time(grant.expires)},
                   {"spr", protocol_of(grant)}});
}

}  // namespace

// Empty: start, stored policy, addresses, snapshot, encryption scope and the five headers of an
// answer that a SAS could set.
std::string service_sas_text(const BlobGrant& grant) {
  return lines({grant.permissions, "", iso_time(grant.expires), resource_of(grant), "", "",
                protocol_of(grant), kVersion, "b", "", "", "", "", "", "", ""});
}

// Empty also: whom the SAS is for, on whose behalf, and the id by which logs join the two.
std::string delegation_sas_text(const BlobGrant& grant, const DelegationKey& key) {
  return lines({grant.permissions,
                "",
                iso_time(grant.expires),
                resource_of(grant),
                key.object_id,
                key.tenant_id,
                key.start,
                key.expiry,
                key.service,
                key.version,
                "",
                "",
                "",
                "",
                protocol_of(grant),
                kVersion,
                "b",
                "",
                "",
                "",
                "",
                "",
                "",
                ""});
}

std::string service_sas(const BlobGrant& grant, const std::string& key) {
  return common_query(grant) + "&" + query_of({{"sig", sign(key, service_sas_text(grant))}});
}

std::string delegation_sas(const BlobGrant& grant, const DelegationKey& key) {
  return common_query(grant) + "&" +
         query_of({{"skoid", key.object_id},
                   {"sktid", key.tenant_id},
                   {"skt", key.start},
                   {"ske", key.expiry},
                   {"sks", key.service},
                   {"skv", key.version},
                   {"sig", sign(key.value, delegation_sas_text(grant, key))}});
}

Result<DelegationKey> parse_delegation_key(std::string_view xml) {
  pugi::xml_document document;
  DelegationKey key;
  const bool read =
      document.load_buffer(xml.data(), xml.size(), pugi::parse_default, pugi::encoding_utf8);
  const pugi::xml_node root = document.child("UserDelegationKey");
  const std::array<std::pair<const char*, std::string*>, 7> fields = {
      {{"SignedOid", &key.object_id},
       {"SignedTid", &key.tenant_id},
       {"SignedStart", &key.start},
       {"SignedExpiry", &key.expiry},
       {"SignedService", &key.service},
       {"SignedVersion", &key.version},
       {"Value", &key.value}}};
  bool whole = read;
  for (const auto& [name, value] : fields) {
    *value = root.child_value(name);
    // They are signed line by line.
    whole = whole && !value->empty() && value->find('\n') == std::string::npos;
  }
  if (whole) return key;
  return Error{Code::unavailable,
               "The answer to the question for a user delegation key cannot be read; check that "
               "the address is that of a blob store."};
}

Result<DelegationKey> fetch_delegation_key(Service& service, SystemTime now, SystemTime expiry) {
  const std::string body = "<?xml version=\"1.0\" encoding=\"utf-8\"?><KeyInfo><Start>" +
                           iso_time(now - kBack) + "</Start><Expiry>" + iso_time(expiry) +
                           "</Expiry></KeyInfo>";
  Call call;
  call.method = "POST";
  call.query = {{"restype", "service"}, {"comp", "userdelegationkey"}};
  call.headers = {{"Content-Type", "application/xml"}};
  call.body = as_bytes(body);
  const http::Response response = TRY(service.call_repeated(call));
  if (response.status != 200) {
    return make_error(Code::invalid_argument,
                      "{} gives no user delegation key ({}); give the identity a role that may "
                      "ask for one, such as Storage Blob Delegator.",
                      service.url(""), response.status);
  }
  return parse_delegation_key(as_text(response.body));
}

}  // namespace atelier::azure
