// SPDX-License-Identifier: Apache-2.0
// What Azure's client does when a server or a network misbehaves, by servers that are told to. The
// contract of all stores is tested in contract_test.cc, against an emulator.
#include "store/azure/azure_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/base64.h"
#include "base/hash.h"
#include "store/azure/fake_azure_test.h"
#include "store/retrying_store.h"
#include "store/test_folder.h"

namespace atelier::azure {
namespace {

using namespace std::string_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;
using Kind = Credential::Kind;
using Then = TestAnswer::Then;

constexpr const char* kSecret = "aHVzaGh1c2g=";  // also base64, as an account's key is

class AzureStore : public FakeAzureTest {};

Credential credential_of(Kind kind, std::string secret) {
  Credential credential;
  credential.kind = kind;
  credential.secret = Secret::text(std::move(secret));
  return credential;
}

TEST_F(AzureStore, ABusyServerSaysForHowLong) {
  for (const int status : {408, 429, 500, 503}) {
    open_with(http_answer(status, "busy", "Retry-After: 7\r\n"));
    const auto outcome = put("k", "x");
    ASSERT_FALSE(outcome.ok());
    EXPECT_EQ(outcome.error().code, Code::unavailable) << status;
    EXPECT_EQ(outcome.error().retry_after, std::chrono::seconds(7));
    EXPECT_THAT(requests(), SizeIs(1));
  }
}

TEST_F(AzureStore, RetriesWaitAsLongAsTheServerAsks) {
  std::atomic<int> seen{0};
  open([&](const TestRequest&) {
    return seen++ == 0 ? std::optional(http_answer(503, {}, "Retry-After: 9\r\n")) : fine();
  });
  RetryingStore retrying(store(), clock());
  EXPECT_TRUE(retrying.put("k", as_bytes("x"), Condition::always()).value().written);
  EXPECT_GE(clock().now(), std::chrono::seconds(9));
}

TEST_F(AzureStore, ABrokenBodyIsReadAgain) {
  const TestAnswer whole =
      http_answer(206, "0123456789", "ETag: \"e\"\r\nContent-Range: bytes 0-9/10\r\n");
  for (const Then then : {Then::reset, Then::close}) {
    std::atomic<int> nth{0};
    open([&](const TestRequest&) { return nth++ == 0 ? cut_answer(whole, 4, then) : whole; });
    EXPECT_EQ(store().get("k").error().code, Code::unavailable);
    RetryingStore retrying(store(), clock());
    nth = 0;
    EXPECT_EQ(as_text(retrying.get("k", {}, {}).value()), "0123456789");
  }
}

TEST_F(AzureStore, BytesThatDoNotFitTheirRangeAreNotTaken) {
  for (const char* range : {"bytes 0-9/10", "bytes 1-9/10", "bytes 0-8/8", "bytes 0-8/*",
                            "bytes 0-8/x", "bytes 0-8/", "9", ""}) {
    open_with(
        http_answer(206, "012345678", fmt::format("ETag: \"e\"\r\nContent-Range: {}\r\n", range)));
    const auto bytes = store().get("k", {0, 10});
    ASSERT_FALSE(bytes.ok()) << range;
    EXPECT_EQ(bytes.error().code, Code::unavailable) << range;
  }
  open_with(http_answer(206, "x", "Content-Range: bytes 0-0/1\r\n"));
  EXPECT_FALSE(store().get("k").ok()) << "without an etag nobody can tell that all is of one blob";
}

TEST_F(AzureStore, AnotherPartThanThatAskedForIsNotTaken) {
  open_with(http_answer(206, "01234", "ETag: \"e\"\r\nContent-Range: bytes 0-4/10\r\n"));
  EXPECT_EQ(store().get("k", {5, 5}).error().code, Code::unavailable);
  open_with(http_answer(200, "0123456789", "ETag: \"e\"\r\n"));
  EXPECT_EQ(store().get("k", {5, 5}).error().code, Code::unavailable);
  EXPECT_EQ(as_text(store().get("k").value()), "0123456789");
}

TEST_F(AzureStore, DamagedBytesAreReadAgain) {
  const std::string good = md5_base64(as_bytes("hello"));
  for (const char* name : {"Content-MD5", "x-ms-blob-content-md5"}) {
    const std::string headers =
        fmt::format("ETag: \"e\"\r\nContent-Range: bytes 0-4/5\r\n{}: {}\r\n", name, good);
    open_with(http_answer(206, "hallo", headers));
    EXPECT_EQ(store().get("k").error().code, Code::unavailable) << name;
    open_with(http_answer(206, "hello", headers));
    EXPECT_EQ(as_text(store().get("k").value()), "hello");
  }
}

TEST_F(AzureStore, AHeadThatSaysTooLittleIsNotBelieved) {
  const std::string etag = "ETag: \"e\"\r\n";
  open_with(http_answer(200, "12345", etag + kLastModified, true));
  EXPECT_EQ(store().head("k").value()->size, 5U);
  for (const std::string& headers :
       {etag, std::string(kLastModified), etag + "Last-Modified: x\r\n"}) {
    open_with(http_answer(200, "12345", headers, true));
    EXPECT_EQ(store().head("k").error().code, Code::unavailable) << headers;
  }
}

// What a put ends with: conflict, unavailable (ask again) or invalid_argument (nothing helps).
TEST_F(AzureStore, OutcomesOfWrites) {
  const Condition always = Condition::always(), absent = Condition::if_absent(),
                  match = Condition::if_match("e");
  struct Case {
    Condition condition;
    int status;
    const char* code;
    std::optional<Code> error;  // nothing: a conflict
  };
  for (const Case& c : {
           Case{absent, 409, "BlobAlreadyExists", {}},
           Case{absent, 412, "ConditionNotMet", {}},
           Case{match, 412, "ConditionNotMet", {}},
           Case{match, 404, "BlobNotFound", {}},
           Case{absent, 404, "BlobNotFound", Code::unavailable},
           Case{match, 409, "OperationInProgress", Code::unavailable},
           Case{always, 409, "LeaseAlreadyPresent", Code::unavailable},
           Case{always, 412, "LeaseIdMissing", Code::unavailable},
           Case{always, 404, "ContainerNotFound", Code::invalid_argument},
           Case{absent, 404, "ContainerNotFound", Code::invalid_argument},
           Case{match, 404, "ContainerNotFound", Code::invalid_argument},
           Case{absent, 409, "ContainerBeingDeleted", Code::unavailable},
           Case{always, 400, "InvalidHeaderValue", Code::invalid_argument},
       }) {
    open_with(failure(c.status, c.code));
    const auto outcome = put("k", "x", c.condition);
    const std::string what = fmt::format("{} {}", c.status, c.code);
    if (c.error) {
      ASSERT_FALSE(outcome.ok()) << what;
      EXPECT_EQ(outcome.error().code, *c.error) << what;
      EXPECT_THAT(outcome.error().message, HasSubstr(c.code));
    } else {
      ASSERT_TRUE(outcome.ok()) << what;
      EXPECT_FALSE(outcome->written) << what;
    }
  }
}

TEST_F(AzureStore, ConditionsAreSent) {
  open([](const TestRequest&) { return fine(); });
  EXPECT_TRUE(put("k", "1", Condition::if_absent()).value().written);
  EXPECT_FALSE(put("k", "2", Condition::if_absent()).value().written);
  const std::string etag = store().head("k").value().value().etag;
  EXPECT_FALSE(put("k", "3", Condition::if_match("other")).value().written);
  EXPECT_TRUE(put("k", "3", Condition::if_match(etag)).value().written);
  EXPECT_EQ(store().get("k", {}, etag).error().code, Code::conflict);
  EXPECT_EQ(store().get("none").error().code, Code::invalid_input);
}

TEST_F(AzureStore, AListOfNoContainerSaysSo) {
  open_with(failure(404, "ContainerNotFound"));
  const auto page = store().list("", "", 1);
  ASSERT_FALSE(page.ok());
  EXPECT_EQ(page.error().code, Code::invalid_argument);
  EXPECT_THAT(page.error().message, HasSubstr("az://acct/box"));
}

TEST_F(AzureStore, AnExpiredSasIsNamedByItsTime) {
  const auto sas =
      credential_of(Kind::sas, "?sv=2021-12-02&sr=c&se=2024-01-02T03%3A04%3A05Z&sig="s + kSecret);
  open(
      [](const TestRequest& request) {
        return failure(403, "AuthenticationFailed", request.method == "HEAD",
                       "Date: Tue, 02 Jan 2024 03:04:06 GMT\r\n");
      },
      sas);
  const auto errors = errors_of_all();
  EXPECT_THAT(errors, SizeIs(5));
  for (const Error& error : errors) {
    EXPECT_EQ(error.code, Code::invalid_argument);
    EXPECT_THAT(error.message, AllOf(HasSubstr("2024-01-02T03"), HasSubstr("expired"),
                                     Not(HasSubstr("aHVza")), Not(HasSubstr("sig"))));
  }
  EXPECT_THAT(requests(), SizeIs(5)) << "a SAS has nothing to do with our clock";
  EXPECT_EQ(requests()[0].query("se"), "2024-01-02T03:04:05Z");
}

// Made by a machine whose clock is ahead.
TEST_F(AzureStore, ASasThatIsNotYetValidIsToldFromOneThatPermitsTooLittle) {
  open_with(failure(403, "AuthenticationFailed", false, "Date: Tue, 02 Jan 2024 03:04:05 GMT\r\n"),
            credential_of(Kind::sas,
                          "st=2024-01-02T03%3A34%3A05Z&se=2024-01-03T03%3A04%3A05Z&sp=r&"
                          "sig=hush"));
  const Error error = put("k", "x").error();
  EXPECT_EQ(error.code, Code::invalid_argument);
  EXPECT_THAT(error.message, AllOf(HasSubstr("not valid before 2024-01-02T03"), HasSubstr("clock"),
                                   HasSubstr("2024-01-02T03:04:05Z"), Not(HasSubstr("hush"))));
}

TEST_F(AzureStore, ASasThatPermitsTooLittleIsNotCalledExpired) {
  open_with(failure(403, "AuthorizationPermissionMismatch", false,
                    "Date: Tue, 02 Jan 2024 03:04:05 GMT\r\n"),
            credential_of(Kind::sas, "se=2024-01-02T03:04:06Z&sp=r&sig=hush"));
  EXPECT_THAT(put("k", "x").error().message,
              AllOf(HasSubstr("AuthorizationPermissionMismatch"), Not(HasSubstr("expired"))));
}

// Whether the request is signed with kSecret, by the text of shared_key_text.
bool is_signed(const TestRequest& request) {
  Call call;
  call.method = request.method;
  for (const http::Header& header : request.headers) {
    if (header.name != "Authorization" && header.name != "Host") call.headers.push_back(header);
  }
  call.body = as_bytes(request.body);
  const size_t question = std::min(request.target.find('?'), request.target.size());
  for (const char* name :
       {"restype", "comp", "maxresults", "prefix", "marker", "blockid", "blocklisttype"}) {
    if (const std::string value = request.query(name); !value.empty()) {
      call.query.push_back({name, value});
    }
  }
  const std::string text = shared_key_text("acct", request.target.substr(0, question), call);
  return request.header("Authorization") ==
         "SharedKey acct:" + to_base64(hmac_sha256(from_base64(kSecret), text));
}

TEST_F(AzureStore, EveryRequestIsSignedAsItIsSent) {
  open([](const TestRequest&) { return fine(); }, credential_of(Kind::key, kSecret), "a b/");
  EXPECT_TRUE(put("k+1 \xC3\xA9", "x").value().written);
  EXPECT_TRUE(put("empty", "").value().written);
  EXPECT_TRUE(store().head("empty").value());
  EXPECT_EQ(as_text(store().get("k+1 \xC3\xA9").value()), "x");
  EXPECT_THAT(store().list("k", "", 5).value().objects, SizeIs(1));
  const std::vector<std::byte> large((size_t{8} << 20) + 1);
  EXPECT_TRUE(store().put("large", large, Condition::if_absent()).value().written);
  EXPECT_TRUE(store().remove("empty").value());
  for (const TestRequest& request : requests()) {
    EXPECT_TRUE(is_signed(request)) << request.method << " " << request.target;
    EXPECT_THAT(request.target, StartsWith("/acct/box"));
  }
}

TEST_F(AzureStore, AClockThatIsWrongIsSetByTheServer) {
  for (const int hours : {5, -5}) {
    const auto theirs = std::chrono::system_clock::now() + std::chrono::hours(hours);
    std::atomic<int> seen{0};
    open(
        [&](const TestRequest&) {
          if (seen++ > 0) return fine();
          return std::optional(failure(403, "AuthenticationFailed", false,
                                       "Date: " + http::format_date(theirs) + "\r\n"));
        },
        credential_of(Kind::key, kSecret));
    EXPECT_TRUE(put("k", "x").value().written);
    ASSERT_THAT(requests(), SizeIs(2));
    EXPECT_TRUE(is_signed(requests()[1]));
    const auto told = http::parse_date(requests()[1].header("x-ms-date")).value();
    EXPECT_LT(std::chrono::abs(told - theirs), std::chrono::minutes(5));
    EXPECT_GT(
        std::chrono::abs(http::parse_date(requests()[0].header("x-ms-date")).value() - theirs),
        std::chrono::hours(4));
    EXPECT_TRUE(put("l", "x").value().written);
    EXPECT_THAT(requests(), SizeIs(3)) << "it stays set";
  }
}

// A run that lasts longer than its token.
TEST_F(AzureStore, ASecretThatWasRenewedSinceItWasSentIsSent) {
  const TestFolder folder;
  const auto file = folder.path() / "secret";
  const auto write = [&](const char* text) {
    const auto fresh = folder.path() / "fresh";
    std::ofstream(fresh) << text;
    std::filesystem::permissions(fresh, std::filesystem::perms::owner_read);
    std::filesystem::rename(fresh, file);
  };
  for (const auto& [kind, status] : {std::pair(Kind::sas, 403), std::pair(Kind::bearer, 401)}) {
    Credential credential;
    credential.kind = kind;
    credential.secret = Secret::file(file);
    write("sig=old");
    open(
        [&, status = status](const TestRequest& request) {
          const bool is_new =
              request.query("sig") == "new" || request.header("Authorization") == "Bearer sig=new";
          if (is_new) return fine();
          write("sig=new");
          return std::optional(failure(status, "AuthenticationFailed"));
        },
        credential);
    EXPECT_TRUE(put("k", "x").ok());
    EXPECT_THAT(requests(), SizeIs(2));
    open_with(failure(status, "AuthenticationFailed"), credential);
    EXPECT_EQ(put("k", "x").error().code, Code::invalid_argument);
    EXPECT_THAT(requests(), SizeIs(1)) << "the same secret is sent once";
  }
}

TEST_F(AzureStore, AWriteThatArrivedDamagedIsSentAgain) {
  const std::string emulator =
      "<Error><Message>Provided contentMD5 doesn't match.</Message></Error>";
  for (const TestAnswer& answer :
       {failure(400, "Md5Mismatch"),
        http_answer(400, emulator, "x-ms-error-code: InvalidOperation\r\n")}) {
    std::atomic<int> seen{0};
    open([&](const TestRequest& request) {
      return is_write(request) && seen++ == 0 ? std::optional(answer) : fine();
    });
    RetryingStore retrying(store(), clock());
    EXPECT_TRUE(retrying.put("k", as_bytes("x"), Condition::if_absent()).value().written);
  }
  open_with(failure(400, "InvalidOperation"));
  EXPECT_EQ(put("k", "x").error().code, Code::invalid_argument);
}

TEST_F(AzureStore, AnArchivedBlobIsCalledSo) {
  for (const char* code : {"BlobArchived", "BlobBeingRehydrated"}) {
    open_with(failure(409, code));
    const auto bytes = store().get("k");
    EXPECT_EQ(bytes.error().code, Code::invalid_input);
    EXPECT_THAT(bytes.error().message, HasSubstr("archived"));
  }
}

TEST_F(AzureStore, AFolderOfAHierarchicalNamespaceIsAbsent) {
  open_with(http_answer(200, "", "ETag: \"e\"\r\nx-ms-meta-hdi_isfolder: true\r\n"s + kLastModified,
                        true));
  EXPECT_FALSE(store().head("folder").value().has_value());
}

TEST_F(AzureStore, AWrongKeyIsTriedOnce) {
  open_with(failure(403, "AuthenticationFailed", false,
                    "Date: " + http::format_date(std::chrono::system_clock::now()) + "\r\n"),
            credential_of(Kind::key, kSecret));
  EXPECT_EQ(put("k", "x").error().code, Code::invalid_argument);
  EXPECT_THAT(requests(), SizeIs(1));
}

TEST_F(AzureStore, ATokenIsKeptUntilItEnds) {
  std::atomic<int> asked{0};
  TestServer metadata([&](const TestRequest& request) {
    if (request.header("Metadata") != "true" || request.query("client_id") != "me/1") {
      return http_answer(400);
    }
    const int nth = asked++;
    return http_answer(200, fmt::format("{{\"access_token\":\"t{}\",\"expires_in\":{}}}", nth,
                                        nth == 0 ? "\"3600\"" : "3600"));
  });
  Credential credential;
  credential.kind = Kind::metadata;
  credential.metadata_url = metadata.url();
  credential.client_id = "me/1";
  open([](const TestRequest&) { return fine(); }, credential);
  EXPECT_TRUE(put("k", "x").ok());
  clock().advance(std::chrono::minutes(54));
  EXPECT_TRUE(put("k", "x").ok());
  EXPECT_EQ(asked, 1);
  clock().advance(std::chrono::minutes(2));
  EXPECT_TRUE(put("k", "x").ok());
  EXPECT_EQ(asked, 2);
  std::vector<std::string> sent;
  for (const TestRequest& request : requests()) {
    sent.emplace_back(request.header("Authorization"));
  }
  EXPECT_THAT(sent, ElementsAre("Bearer t0", "Bearer t0", "Bearer t1"));
}

TEST_F(AzureStore, ATokenThatEndedBeforeItsTimeIsGotAnew) {
  std::atomic<int> asked{0};
  TestServer metadata([&](const TestRequest&) {
    return http_answer(200,
                       fmt::format("{{\"access_token\":\"t{}\",\"expires_in\":3600}}", asked++));
  });
  Credential credential;
  credential.kind = Kind::metadata;
  credential.metadata_url = metadata.url();
  std::string good = "Bearer t0";
  open(
      [&](const TestRequest& request) -> std::optional<TestAnswer> {
        if (request.header("Authorization") == good) return fine();
        return failure(401, "InvalidAuthenticationInfo", request.method == "HEAD");
      },
      credential);
  EXPECT_TRUE(put("k", "x").ok());
  good = "Bearer t1";
  EXPECT_TRUE(store().head("k").value().has_value());
  EXPECT_EQ(asked, 2);
  good = "none";
  const auto outcome = put("k", "x");
  EXPECT_EQ(outcome.error().code, Code::invalid_argument);
  EXPECT_THAT(outcome.error().message, HasSubstr("has expired"));
  EXPECT_EQ(asked, 3) << "once for a request";
}

TEST_F(AzureStore, ABearerTokenThatHasEndedIsTold) {
  open_with(failure(401, "InvalidAuthenticationInfo"), credential_of(Kind::bearer, kSecret));
  EXPECT_THAT(put("k", "x").error().message,
              AllOf(HasSubstr("has expired"), HasSubstr("put a new one into its file")));
  open_with(failure(403, "AuthorizationPermissionMismatch"), credential_of(Kind::bearer, kSecret));
  EXPECT_THAT(put("k", "x").error().message,
              AllOf(Not(HasSubstr("expired")), HasSubstr("permissions")));
}

TEST_F(AzureStore, NoProxyIsAskedForAToken) {
  TestServer metadata([](const TestRequest&) {
    return http_answer(200, R"({"access_token":"t","expires_in":3600})");
  });
  TestServer proxy([](const TestRequest&) { return http_answer(503); });
  Credential credential;
  credential.kind = Kind::metadata;
  credential.metadata_url = metadata.url();
  ::setenv("http_proxy", proxy.url().c_str(), 1);
  open([](const TestRequest&) { return fine(); }, credential);
  EXPECT_EQ(put("k", "x").error().code, Code::unavailable) << "a store is reached by the proxy";
  ::unsetenv("http_proxy");
  EXPECT_THAT(metadata.requests(), SizeIs(1));
  EXPECT_THAT(proxy.requests(), SizeIs(1));
}

TEST_F(AzureStore, AMetadataServiceThatGivesNoToken) {
  struct Case {
    int status;
    const char* body;
    Code code;
  };
  for (const Case& c :
       {Case{200, "", Code::invalid_argument}, Case{200, "[]", Code::invalid_argument},
        Case{200, "{\"access_token\":7}", Code::invalid_argument},
        Case{400, "{\"error\":\"hush\"}", Code::invalid_argument}, Case{404, "", Code::unavailable},
        Case{429, "", Code::unavailable}, Case{500, "", Code::unavailable}}) {
    TestServer metadata([&](const TestRequest&) { return http_answer(c.status, c.body); });
    Credential credential;
    credential.kind = Kind::metadata;
    credential.metadata_url = metadata.url();
    open([](const TestRequest&) { return fine(); }, credential);
    const auto outcome = put("k", "x");
    ASSERT_FALSE(outcome.ok()) << c.body;
    EXPECT_EQ(outcome.error().code, c.code) << c.status << c.body;
    EXPECT_THAT(outcome.error().message, Not(HasSubstr("hush")));
    EXPECT_THAT(requests(), IsEmpty());
  }
}

TEST_F(AzureStore, RedirectsAreNotFollowed) {
  TestServer other([](const TestRequest&) { return http_answer(200, page_xml("")); });
  for (const int status : {301, 302, 307, 308}) {
    open_with(http_answer(status, {}, "Location: " + other.url() + "/?sig=hush\r\n"),
              credential_of(Kind::bearer, kSecret));
    const auto page = store().list("", "", 1);
    ASSERT_FALSE(page.ok());
    EXPECT_EQ(page.error().code, Code::invalid_argument);
    EXPECT_THAT(page.error().message, Not(HasSubstr("hush")));
  }
  EXPECT_THAT(other.requests(), IsEmpty());
}

TEST_F(AzureStore, TooManyHeadersAreRefused) {
  std::string many, long_ones;
  for (int i = 0; i < 1100; ++i) many += fmt::format("x-{}: y\r\n", i);
  for (int i = 0; i < 30; ++i) long_ones += fmt::format("x-{}: {}\r\n", i, std::string(10000, 'y'));
  for (const std::string& headers : {many, long_ones}) {
    open_with(http_answer(200, page_xml(""), headers));
    EXPECT_EQ(store().list("", "", 1).error().code, Code::unavailable);
  }
}

TEST_F(AzureStore, NoMessageHasASecret) {
  const std::string sas = "sv=2021-12-02&se=2024-01-02T03:04:05Z&sig="s + kSecret;
  for (const auto& [kind, secret] :
       {std::pair(Kind::sas, sas), std::pair(Kind::bearer, ""s + kSecret),
        std::pair(Kind::key, ""s + kSecret)}) {
    // The last two are no statuses.
    for (const int status : {302, 400, 401, 403, 404, 409, 412, 416, 418, 429, 500, 503, 0, 1}) {
      open(
          [status](const TestRequest& request) {
            const bool head = request.method == "HEAD";
            if (status == 0) return no_answer();
            if (status == 1) return TestAnswer{"no http\r\n\r\n", Then::close};
            std::string echoed = request.target;
            for (const http::Header& header : request.headers) echoed += "\n" + header.value;
            return http_answer(status, echoed,
                               "x-ms-error-code: Odd\x01"
                               "Code\r\nWWW-Authenticate: x\r\n",
                               head);
          },
          credential_of(kind, secret));
      for (const Error& error : errors_of_all()) {
        EXPECT_THAT(error.message, AllOf(Not(HasSubstr("aHVza")), Not(HasSubstr("SharedKey")),
                                         Not(HasSubstr("sig=")), Not(HasSubstr("\x01"))))
            << status;
      }
    }
  }
}

}  // namespace
}  // namespace atelier::azure
