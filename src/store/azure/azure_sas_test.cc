// SPDX-License-Identifier: Apache-2.0
// The signatures were computed beside the program, from the order of the fields in the REST pages;
// tests/net/share_test.py shows that a service takes them.
#include "store/azure/azure_sas.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "base/base64.h"

namespace atelier::azure {
namespace {

using testing::HasSubstr;
using testing::Not;

// 2026-11-29T12:00:00.9Z
const SystemTime kExpires{std::chrono::milliseconds(1795953600900)};

BlobGrant reading() {
  BlobGrant grant;
  grant.account = "lab";
  grant.container = "media";
  grant.blob = "a b/%41#\u00e9.mp4";
  grant.permissions = "r";
  grant.expires = kExpires;
  return grant;
}

BlobGrant writing() {
  BlobGrant grant = reading();
  grant.blob = "x";
  grant.permissions = "cw";
  grant.https_only = false;
  return grant;
}

DelegationKey delegation_key() {
  DelegationKey key;
  key.object_id = "11111111-2222-3333-4444-555555555555";
  key.tenant_id = "66666666-7777-8888-9999-000000000000";
  key.start = "2026-11-29T10:45:00Z";
  key.expiry = "2026-11-29T12:00:00Z";
  key.service = "b";
  key.version = "2023-11-03";
  key.value = "dXV1dXV1dXV1dXV1dXV1dXV1dXV1dXV1dXV1dXV1dXU=";
  return key;
}

TEST(AzureSas, AServiceSasSignsSixteenFieldsOfOneBlob) {
  EXPECT_EQ(service_sas_text(reading()),
            "r\n\n2026-11-29T12:00:00Z\n/blob/lab/media/a b/%41#\u00e9.mp4\n\n\nhttps\n"
            "2021-12-02\nb\n\n\n\n\n\n\n");
  std::array<std::byte, 64> key;
  for (size_t i = 0; i < key.size(); ++i) key.at(i) = static_cast<std::byte>(i);
  EXPECT_EQ(service_sas(reading(), to_base64(key)),
            "sv=2021-12-02&sr=b&sp=r&se=2026-11-29T12%3A00%3A00Z&spr=https&"
            "sig=FW22rBzw3QceEFgSicHsMxNgB9Dqr2wV8pw0PUV9dvM%3D");
}

TEST(AzureSas, AUserDelegationSasSignsTwentyFourFieldsAndNamesItsKey) {
  EXPECT_EQ(delegation_sas_text(writing(), delegation_key()),
            "cw\n\n2026-11-29T12:00:00Z\n/blob/lab/media/x\n11111111-2222-3333-4444-555555555555\n"
            "66666666-7777-8888-9999-000000000000\n2026-11-29T10:45:00Z\n2026-11-29T12:00:00Z\nb\n"
            "2023-11-03\n\n\n\n\nhttps,http\n2021-12-02\nb\n\n\n\n\n\n\n");
  EXPECT_EQ(delegation_sas(writing(), delegation_key()),
            "sv=2021-12-02&sr=b&sp=cw&se=2026-11-29T12%3A00%3A00Z&spr=https%2Chttp&"
            "skoid=11111111-2222-3333-4444-555555555555&"
            "sktid=66666666-7777-8888-9999-000000000000&skt=2026-11-29T10%3A45%3A00Z&"
            "ske=2026-11-29T12%3A00%3A00Z&sks=b&skv=2023-11-03&"
            "sig=Vj%2BXnRJh%2BoIOXqpu9nD3Nm7k4YapCe5ccHe6PytsXps%3D");
}

TEST(AzureSas, AnotherBlobTimeOrPermissionIsAnotherSignature) {
  const auto signature = [](const BlobGrant& grant) {
    const std::string sas = service_sas(grant, "a2V5");
    return sas.substr(sas.find("sig="));
  };
  BlobGrant other = reading();
  EXPECT_EQ(signature(other), signature(reading()));
  other.blob += "2";
  EXPECT_NE(signature(other), signature(reading()));
  other = reading();
  other.expires += std::chrono::seconds(1);
  EXPECT_NE(signature(other), signature(reading()));
  other = reading();
  other.permissions = "rw";
  EXPECT_NE(signature(other), signature(reading()));
}

TEST(AzureSas, TheAnswerWithADelegationKeyIsRead) {
  const DelegationKey key =
      parse_delegation_key(
          "\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"utf-8\"?><UserDelegationKey>"
          "<SignedOid>o</SignedOid><SignedTid>t</SignedTid><SignedStart>s</SignedStart>"
          "<SignedExpiry>e</SignedExpiry><SignedService>b</SignedService>"
          "<SignedVersion>v</SignedVersion><Value>dXU=</Value></UserDelegationKey>")
          .value();
  EXPECT_EQ(key.object_id + key.tenant_id + key.start + key.expiry + key.service + key.version +
                key.value,
            "otsebvdXU=");
}

TEST(AzureSas, AnotherAnswerIsNoKeyAndIsNotRepeated) {
  for (const char* answer : {"", "<html>", "<UserDelegationKey><Value>c2VjcmV0</Value>",
                             "<UserDelegationKey><Value>c2VjcmV0</Value></UserDelegationKey>"}) {
    const auto key = parse_delegation_key(answer);
    ASSERT_FALSE(key.ok()) << answer;
    EXPECT_EQ(key.error().code, Code::unavailable);
    EXPECT_THAT(key.error().message, Not(HasSubstr("c2VjcmV0")));
  }
}

}  // namespace
}  // namespace atelier::azure
