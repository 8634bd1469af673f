// SPDX-License-Identifier: Apache-2.0
#include "store/http/endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/http/http_client.h"
#include "store/test_server.h"

namespace atelier::http {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(Endpoint, IsReadAsPeopleWriteIt) {
  const struct {
    const char *text, *endpoint;
  } cases[] = {{"https://h", "https://h"},
               {"HTTPS://h:1/a//", "https://h:1/a"},
               {"Http://H", "http://H"},
               {"http://[::1]:10000/acct", "http://[::1]:10000/acct"}};
  for (const auto& c : cases) EXPECT_EQ(parse_endpoint(c.text, "a store").value(), c.endpoint);
}

TEST(Endpoint, WhatIsNoneIsRefusedWithoutASecret) {
  for (const char* text : {"",
                           "h",
                           "h/a",
                           "h:443",
                           "//h",
                           "://h",
                           "ftp://h",
                           "file:///h",
                           "https:",
                           "https://",
                           "https:///a",
                           "https://:1",
                           "https://u:hush@h",
                           "u:hush@h",
                           "https://u:hu/sh@h",
                           "https://h?sig=hush",
                           "https://h#hush",
                           "https://h h",
                           "https://h\\a",
                           "https://h\n"}) {
    const auto endpoint = parse_endpoint(text, "a store");
    ASSERT_FALSE(endpoint.ok()) << text;
    EXPECT_EQ(endpoint.error().code, Code::invalid_argument) << text;
    EXPECT_THAT(endpoint.error().message, HasSubstr("is not the address of a store"));
    EXPECT_THAT(endpoint.error().message, Not(HasSubstr("hu"))) << text;
  }
}

TEST(HttpClient, AnAddressWithoutASchemeIsNotAskedInClear) {
  TestServer server([](const TestRequest&) { return http_answer(200); });
  Request request;
  request.method = "GET";
  request.url = server.url().substr(std::string_view("http://").size()) + "/k?sig=hush";
  EXPECT_FALSE(Client().send(request).ok());
  EXPECT_THAT(server.requests(), IsEmpty());
}

}  // namespace
}  // namespace atelier::http
