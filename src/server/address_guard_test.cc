// SPDX-License-Identifier: Apache-2.0
#include "server/address_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

namespace atelier::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// One answer for each look-up of a name, the last one for all that follow.
class FakeResolver final : public Resolver {
 public:
  Result<std::vector<IpAddress>> resolve(const std::string& host) override {
    asked.push_back(host);
    auto& answers = names[host];
    if (answers.empty()) return make_error(Code::unavailable, "no {}", host);
    std::vector<IpAddress> addresses;
    for (const std::string& text : answers.front()) addresses.push_back(parse_ip(text).value());
    if (answers.size() > 1) answers.erase(answers.begin());
    return addresses;
  }
  std::map<std::string, std::vector<std::vector<std::string>>> names;
  std::vector<std::string> asked;
};

std::vector<AllowedTarget> allow(const std::vector<std::string>& lines) {
  std::vector<AllowedTarget> allowed;
  for (const std::string& line : lines) {
    auto target = parse_allowed_target(line);
    EXPECT_TRUE(target.ok()) << line;
    if (target.ok()) allowed.push_back(*target);
  }
  return allowed;
}

struct AddressGuard : ::testing::Test {
  FakeResolver resolver;
  // The first address, or the error's code.
  std::string check(const std::string& url, const std::vector<std::string>& lines) {
    const auto target = check_target(url, allow(lines), resolver);
    if (!target.ok()) return to_string(target.error().code);
    return target->addresses[0].text();
  }
  // A name that is listed and leads to `address`.
  std::string lead_to(const std::string& address, std::vector<std::string> lines = {}) {
    resolver.names["hooks.example.com"] = {{address}};
    lines.emplace_back("hooks.example.com");
    return check("https://hooks.example.com/", lines);
  }
};

TEST_F(AddressGuard, AListedHostWithAPublicAddressIsReached) {
  resolver.names["hooks.example.com"] = {{"93.184.216.34", "2606:4700::1111"}};
  const auto target = check_target("HTTPS://Hooks.Example.COM/a%20b?c=d&e",
                                   allow({"hooks.example.com:443"}), resolver);
  ASSERT_TRUE(target.ok()) << target.error().message;
  EXPECT_EQ(target->url.url(), "https://hooks.example.com:443/a%20b?c=d&e");
  EXPECT_EQ(target->addresses.size(), 2U);
  EXPECT_THAT(resolver.asked, ElementsAre("hooks.example.com"));
}

TEST_F(AddressGuard, WhatIsNotListedIsRefusedBeforeAnyLookUp) {
  for (const char* url :
       {"https://other.example.com/", "https://example.com/", "https://hooks.example.com:8443/",
        "http://hooks.example.com/", "https://hooks.example.com.evil.net/",
        "https://evilhooks.example.com/", "https://93.184.216.34/", "https://[2606:4700::1111]/"}) {
    EXPECT_EQ(check(url, {"hooks.example.com", "*.hooks.example.com:8080"}), "invalid_argument")
        << url;
  }
  EXPECT_THAT(resolver.asked, ElementsAre());
}

TEST_F(AddressGuard, AStarStandsForHostsBelow) {
  for (const char* host : {"a.example.com", "b.a.example.com"}) {
    resolver.names[host] = {{"93.184.216.34"}};
    EXPECT_EQ(check(std::string("https://") + host, {"*.example.com"}), "93.184.216.34");
  }
  for (const char* host : {"example.com", "aexample.com", "a.example.com.net"}) {
    resolver.names[host] = {{"93.184.216.34"}};
    EXPECT_EQ(check(std::string("https://") + host, {"*.example.com"}), "invalid_argument") << host;
  }
}

TEST_F(AddressGuard, AnAddressThatIsNotPublicIsRefused) {
  for (const char* address :
       {"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255",
        "100.64.0.1", "169.254.0.1", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1",
        "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
        "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        // where clouds give out identities
        "169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192",
        "fd00:ec2::254", "fd20:ce::254",
        // IPv6
        "::", "::1", "fe80::1", "febf::1", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1",
        "100::1", "2001:db8::1", "3fff::1", "5f00::1", "4000::1",
        // IPv4 inside IPv6: mapped, compatible, translated, local NAT64, 6to4, Teredo
        "::ffff:127.0.0.1", "::ffff:93.184.216.34", "::127.0.0.1", "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1", "64:ff9b::93.184.216.34", "64:ff9b:1::1", "2002:7f00:1::1",
        "2001:0:4136:e378::1"}) {
    EXPECT_EQ(lead_to(address), "invalid_argument") << address;
  }
}

TEST_F(AddressGuard, NeighboursOfWhatIsNotPublicAreReached) {
  for (const char* address :
       {"1.0.0.0",         "9.255.255.255",   "11.0.0.0",        "100.63.255.255", "100.128.0.0",
        "126.255.255.255", "128.0.0.0",       "169.253.255.255", "169.255.0.0",    "172.15.255.255",
        "172.32.0.0",      "192.0.1.0",       "192.167.255.255", "192.169.0.0",    "198.17.255.255",
        "198.20.0.0",      "223.255.255.255", "168.63.129.17",   "2000::1",        "2001:200::1",
        "2001:db7::1",     "2001:db9::1",     "2003::1",         "3ffe::1"}) {
    EXPECT_EQ(lead_to(address), address);
  }
}

TEST_F(AddressGuard, OneBadAddressOfSeveralIsEnough) {
  resolver.names["hooks.example.com"] = {{"93.184.216.34", "2606:4700::1111", "10.0.0.1"}};
  EXPECT_EQ(check("https://hooks.example.com", {"hooks.example.com"}), "invalid_argument");
}

TEST_F(AddressGuard, WhatIsListedByAddressOrNetworkIsReached) {
  EXPECT_EQ(check("http://127.0.0.1:9000/", {"127.0.0.1:9000"}), "127.0.0.1");
  EXPECT_EQ(check("https://10.1.2.3/", {"10.0.0.0/8:443"}), "10.1.2.3");
  EXPECT_EQ(check("http://[::1]:9000/", {"[::1]:9000"}), "::1");
  EXPECT_EQ(check("https://[fd00::7]", {"[fd00::/8]"}), "fd00::7");
  EXPECT_EQ(lead_to("10.1.2.3", {"10.0.0.0/8"}), "10.1.2.3");
  // The wrong port, or the next address.
  EXPECT_EQ(check("http://127.0.0.1:9001/", {"127.0.0.1:9000"}), "invalid_argument");
  EXPECT_EQ(check("http://127.0.0.2:9000/", {"127.0.0.1:9000"}), "invalid_argument");
  EXPECT_EQ(lead_to("10.1.2.3", {"10.0.0.0/8:80"}), "invalid_argument");
  EXPECT_EQ(lead_to("::ffff:10.1.2.3", {"10.0.0.0/8"}), "invalid_argument");
  // A network does not list names that lead into it.
  resolver.names["inside"] = {{"10.1.2.3"}};
  EXPECT_EQ(check("https://inside/", {"10.0.0.0/8"}), "invalid_argument");
}

TEST_F(AddressGuard, WhatGivesOutIdentitiesIsListedAloneOrNotAtAll) {
  const std::string url = "http://169.254.169.254/latest/meta-data/";
  EXPECT_EQ(check(url, {"169.254.0.0/16:80", "0.0.0.0/0:80"}), "invalid_argument");
  EXPECT_EQ(check(url, {"169.254.169.254:80"}), "169.254.169.254");
  EXPECT_EQ(lead_to("fd00:ec2::254", {"[fd00::/8]"}), "invalid_argument");
  EXPECT_EQ(lead_to("168.63.129.16", {"168.0.0.0/8"}), "invalid_argument");
}

TEST_F(AddressGuard, OddSpellingsOfAddressesAreRefused) {
  for (const char* host : {"2130706433",  "0x7f000001",   "0x7f.0.0.1",     "0X7F.1",
                           "0177.0.0.1",  "017700000001", "127.1",          "127.0.1",
                           "127.0.0.01",  "127.0.0.1.",   "127.0.0.256",    "127.0.0.0x1",
                           "1.2.3.4.5",   "127。0。0。1", "１２７.0.0.1",   "①27.0.0.1",
                           "[127.0.0.1]", "::1",          "[::1",           "::1]",
                           "[::1%25lo]",  "[::1%lo]",     "[fe80::1%251]",  "[0:0:0:0:0:0:0:1]x",
                           "[]",          "[::1]]",       "%31%32%37.0.0.1"}) {
    EXPECT_FALSE(parse_target_url(std::string("http://") + host + "/").ok()) << host;
    EXPECT_FALSE(parse_target_url(std::string("http://") + host + ":80/").ok()) << host;
  }
  // Written otherwise, understood, and written in one way.
  EXPECT_EQ(parse_target_url("http://[0:0:0:0:0:0:0:1]").value().url(), "http://[::1]:80/");
  EXPECT_EQ(parse_target_url("http://[::FFFF:7f00:1]").value().url(),
            "http://[::ffff:127.0.0.1]:80/");
}

TEST_F(AddressGuard, OddUrlsAreRefused) {
  using std::string_literals::operator""s;
  for (const std::string& url : {
           ""s,
           "http"s,
           "http:"s,
           "http:/"s,
           "http://"s,
           "http:///a"s,
           "http://?a"s,
           "//a.com"s,
           "a.com"s,
           "http:a.com"s,
           "http:/a.com/"s,
           "http:\\\\a.com"s,
           "http://a.com\\@b.com"s,
           "http://a.com\\b"s,
           "http://user@a.com"s,
           "http://user:password@a.com"s,
           "http://a.com@b.com"s,
           "http://@a.com"s,
           "http://a.com:80@b.com"s,
           "http://a.com#@b.com"s,
           "http://a.com/#f"s,
           "http://a.com\t"s,
           "http://a\t.com"s,
           "ht\ttp://a.com"s,
           " http://a.com"s,
           "http://a.com "s,
           "http://a b.com"s,
           "http://a.com\r\nHost: b"s,
           "http://a.com/\r\nX: y"s,
           "http://a.com/\0"s,
           "http://a.com\0.b.com"s,
           "http://a.com\x7f"s,
           "http://bücher.example"s,
           "http://a.com/ü"s,
           "http://a．com"s,
           "http://a.com."s,
           "http://a.com.."s,
           "http://.a.com"s,
           "http://a..com"s,
           "http://."s,
           "http://-a.com"s,
           "http://a-.com"s,
           "http://a_b.com"s,
           "http://*.com"s,
           "http://a.com:"s,
           "http://a.com:/"s,
           "http://a.com:0"s,
           "http://a.com:080"s,
           "http://a.com:65536"s,
           "http://a.com:99999999999"s,
           "http://a.com:+80"s,
           "http://a.com:-80"s,
           "http://a.com:8 0"s,
           "http://a.com:http"s,
           "http://a.com:80:80"s,
           "http://%61.com"s,
           "http://a%2ecom"s,
           "http://a;b.com"s,
           "http://a,b.com"s,
           "ftp://a.com"s,
           "file:///etc/passwd"s,
           "gopher://a.com"s,
           "data:,a"s,
           "javascript://a.com"s,
           "unix:///a"s,
           "httpx://a.com"s,
           "http+unix://a.com"s,
           "http://" + std::string(64, 'a') + ".com",
           "http://a.com/" + std::string(3000, 'a'),
       }) {
    EXPECT_FALSE(parse_target_url(url).ok()) << url;
  }
}

// URLs by chance, of the pieces with which others were fooled.
TEST_F(AddressGuard, WhatIsAcceptedIsPlainAndReadTheSameAgain) {
  const std::vector<std::string> pieces = {
      "http", "https",     "://",        ":",     "/",    "//",  "@",     "#",
      "?",    "\\",        "a.com",      "b.com", ".",    "..",  "1",     "127",
      "0x7f", "127.0.0.1", "2130706433", "[",     "]",    "::1", "[::1]", "80",
      ":80",  ":0",        "%",          "%2e",   "%00",  "\t",  "\n",    " ",
      "-",    "_",         "\xc3\xbc",   "xn--a", "user", "&",   ";",     "A.Com"};
  std::mt19937 random(20261130);
  int accepted = 0;
  for (int i = 0; i < 200'000; ++i) {
    std::string url = random() % 4 != 0 ? "http://" : "";
    for (size_t n = random() % 8; n > 0; --n) url += pieces[random() % pieces.size()];
    const auto parsed = parse_target_url(url);
    if (!parsed) continue;
    ++accepted;
    const auto again = parse_target_url(parsed->url());
    ASSERT_TRUE(again.ok()) << url;
    EXPECT_EQ(again->url(), parsed->url()) << url;
    EXPECT_EQ(again->host, parsed->host) << url;
    EXPECT_EQ(again->port, parsed->port) << url;
    const std::string plain = "abcdefghijklmnopqrstuvwxyz0123456789-.";
    const std::string allowed = parsed->address ? plain + ":" : plain;
    EXPECT_EQ(parsed->host.find_first_not_of(allowed), std::string::npos) << url;
    EXPECT_EQ(parsed->address.has_value(), parse_ip(parsed->host).has_value()) << url;
  }
  EXPECT_GT(accepted, 1000);
}

TEST_F(AddressGuard, APathThatLooksLikeAnotherHostIsAPath) {
  EXPECT_EQ(parse_target_url("http://a.com/@b.com").value().url(), "http://a.com:80/@b.com");
  EXPECT_EQ(parse_target_url("http://a.com?@b.com").value().url(), "http://a.com:80/?@b.com");
  EXPECT_EQ(parse_target_url("http://a.com//b.com/..").value().url(), "http://a.com:80//b.com/..");
  EXPECT_EQ(parse_target_url("https://xn--bcher-kva.example").value().host,
            "xn--bcher-kva.example");
}

TEST_F(AddressGuard, ANameThatChangesItsMindIsAskedOnce) {
  resolver.names["hooks.example.com"] = {{"93.184.216.34"}, {"127.0.0.1"}};
  EXPECT_EQ(check("https://hooks.example.com", {"hooks.example.com"}), "93.184.216.34");
  EXPECT_EQ(resolver.asked.size(), 1U);
  EXPECT_EQ(check("https://hooks.example.com", {"hooks.example.com"}), "invalid_argument");
}

TEST_F(AddressGuard, ANameWithoutAnAddressIsTriedAgainLater) {
  EXPECT_EQ(check("https://hooks.example.com", {"hooks.example.com"}), "unavailable");
  resolver.names["hooks.example.com"] = {{}};
  EXPECT_EQ(check("https://hooks.example.com", {"hooks.example.com"}), "unavailable");
}

TEST_F(AddressGuard, MessagesTellNoSecretAndNoInnerAddress) {
  resolver.names["hooks.example.com"] = {{"10.11.12.13"}};
  const auto inner = check_target("https://hooks.example.com/path?sig=hush",
                                  allow({"hooks.example.com"}), resolver);
  EXPECT_THAT(inner.error().message, Not(HasSubstr("10.11")));
  for (const char* url : {"https://user:hush@a.com/", "https://a.com/?hush", "ftp://a.com/hush",
                          "https://a.com:hush/"}) {
    const auto target = check_target(url, {}, resolver);
    EXPECT_THAT(target.error().message, Not(HasSubstr("hush"))) << url;
  }
}

TEST_F(AddressGuard, LinesOfTheListAreCheckedWhenTheyAreRead) {
  for (const char* line : {"",
                           ":443",
                           "*",
                           "*.",
                           "*.*.com",
                           "a.*.com",
                           "*a.com",
                           "https://a.com",
                           "a.com/path",
                           "a.com:",
                           "a.com:x",
                           "a.com:0",
                           "a b.com",
                           "10.0.0.0/33",
                           "10.1.2.3/8",
                           "10.0.0.0/",
                           "10.0.0.0/-1",
                           "127.1",
                           "2130706433",
                           "fd00::/8",
                           "[fd00::/8",
                           "[10.0.0.0/8]:443",
                           "[a.com]:443",
                           "a.com."}) {
    EXPECT_FALSE(parse_allowed_target(line).ok()) << line;
  }
  EXPECT_EQ(parse_allowed_target("A.com").value().host, "a.com");
  EXPECT_EQ(parse_allowed_target("A.com").value().port, 443);
  EXPECT_TRUE(parse_allowed_target("*.a.com:80").value().subdomains);
}

TEST(SystemResolver, KnowsThisMachine) {
  SystemResolver resolver;
  const auto addresses = resolver.resolve("localhost");
  ASSERT_TRUE(addresses.ok()) << addresses.error().message;
  for (const IpAddress& address : *addresses) EXPECT_FALSE(is_public(address)) << address.text();
  EXPECT_FALSE(addresses->empty());
}

}  // namespace
}  // namespace atelier::server
