// SPDX-License-Identifier: Apache-2.0
// Signatures that lend one blob for some time to whoever has them ("Create a service SAS", "Create
// a user delegation SAS", "Get User Delegation Key", Blob service REST API).
//
// A service SAS is signed with the account's key and can be taken back only by another key. A user
// delegation SAS is signed with a key that the service gives to a person or a machine for at most
// seven days: it permits what both they and the SAS may, and ends with that key. Both name one
// blob (sr=b), so they can neither list nor reach another one. The time they begin is left out:
// they are good at once, whatever the clocks say.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"
#include "store/azure/azure_service.h"

namespace atelier::azure {

using SystemTime = std::chrono::system_clock::time_point;

// What is lent.
struct BlobGrant {
  std::string account;
  std::string container;
  std::string blob;         // as the service stores it, not encoded
  std::string permissions;  // "r"; "cw": create and overwrite
  SystemTime expires;       // rounded down to a second
  bool https_only = true;   // also over HTTP otherwise
};

// What a user delegation SAS is signed with. All but the value are parts of the SAS.
struct DelegationKey {
  std::string object_id, tenant_id, start, expiry, service, version;
  std::string value;  // base64; a secret
};

// The strings that are signed.
std::string service_sas_text(const BlobGrant& grant);
std::string delegation_sas_text(const BlobGrant& grant, const DelegationKey& key);

// "sv=...&sig=...", to go behind the blob's URL: a secret. `key` is the account's, in base64.
std::string service_sas(const BlobGrant& grant, const std::string& key);
std::string delegation_sas(const BlobGrant& grant, const DelegationKey& key);

// Asks for a key from a while before `now`, since clocks differ, to `expiry`, at most seven days
// after `now`. Errors: those of Service::call; invalid_argument (the identity may not have one).
Result<DelegationKey> fetch_delegation_key(Service& service, SystemTime now, SystemTime expiry);
// Errors: unavailable (it is no such answer).
Result<DelegationKey> parse_delegation_key(std::string_view xml);

}  // namespace atelier::azure
