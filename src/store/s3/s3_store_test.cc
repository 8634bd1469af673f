// SPDX-License-Identifier: Apache-2.0
// What S3's client does when a server or a network misbehaves, by servers that are told to; and
// what only a real server can tell, where one runs (tests/net/swift.py). The contract of all stores
// is tested in contract_test.cc.
#include "store/s3/s3_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "base/base64.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "store/retrying_store.h"
#include "store/s3/fake_s3_test.h"

namespace atelier::s3 {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using Then = TestAnswer::Then;

class S3Store : public FakeS3Test {};

TEST_F(S3Store, ABusyServerSaysForHowLongAndWhy) {
  for (const int status : {429, 500, 503, 400}) {
    open_with(http_answer(status, error_body("SlowDown"), "Retry-After: 7\r\n"));
    const auto outcome = put("k", "x");
    ASSERT_FALSE(outcome.ok());
    EXPECT_EQ(outcome.error().code, Code::unavailable) << status;
    EXPECT_EQ(outcome.error().retry_after, std::chrono::seconds(7));
    EXPECT_THAT(outcome.error().message, HasSubstr("SlowDown"));
    EXPECT_THAT(requests(), SizeIs(1));
  }
}

TEST_F(S3Store, RetriesWaitAsLongAsTheServerAsks) {
  open(at(0, is_write, http_answer(503, error_body("SlowDown"), "Retry-After: 9\r\n")));
  RetryingStore retrying(store(), clock());
  EXPECT_TRUE(retrying.put("k", as_bytes("x"), Condition::always()).value().written);
  EXPECT_GE(clock().now(), std::chrono::seconds(9));
}

TEST_F(S3Store, ABrokenBodyIsReadAgain) {
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

TEST_F(S3Store, BytesThatDoNotFitTheirRangeAreNotTaken) {
  for (const char* range :
       {"bytes 0-9/10", "bytes 1-9/10", "bytes 0-8/8", "bytes 0-8/*", "bytes 0-8/x", "0-8/9", ""}) {
    open_with(
        http_answer(206, "012345678", fmt::format("ETag: \"e\"\r\nContent-Range: {}\r\n", range)));
    EXPECT_EQ(store().get("k", {0, 10}).error().code, Code::unavailable) << range;
  }
  open_with(http_answer(206, "x", "Content-Range: bytes 0-0/1\r\n"));
  EXPECT_EQ(store().get("k").error().code, Code::unavailable) << "no etag";
}

TEST_F(S3Store, WhatCameOtherThanStoredIsReadAgain) {
  const auto is_read = [](const TestRequest& request) { return request.method == "GET"; };
  const std::string headers = fmt::format("ETag: \"{}\"\r\nContent-Range: bytes 0-5/6\r\n",
                                          to_hex(from_base64(md5_base64(as_bytes("stored")))));
  open(at(0, is_read, http_answer(206, "stoned", headers)));
  ASSERT_TRUE(put("k", "stored").value().written);
  const auto read = store().get("k");
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, Code::unavailable);
  EXPECT_THAT(read.error().message, HasSubstr("did not arrive as it is stored"));
  EXPECT_EQ(as_text(store().get("k").value()), "stored");
}

TEST_F(S3Store, ALostAnswerOfAPutIsFoundOut) {
  std::atomic<int> left{1};
  open([&](const TestRequest& request) -> std::optional<TestAnswer> {
    if (!is_write(request) || request.body != "mine" || left-- <= 0) return fine();
    fake().answer(request);
    return no_answer();
  });
  RetryingStore retrying(store(), clock());
  EXPECT_TRUE(retrying.put("k", as_bytes("mine"), Condition::if_absent()).value().written);
  EXPECT_FALSE(retrying.put("k", as_bytes("other"), Condition::if_absent()).value().written);
}

TEST_F(S3Store, AServerThatRefusesConditionsIsUsedWithoutThem) {
  open([](const TestRequest&) { return fine(); }, FakeS3::Conditions::refused);
  EXPECT_TRUE(put("f/k", "1", Condition::if_absent()).value().written);
  EXPECT_FALSE(put("f/k", "2", Condition::if_absent()).value().written);
  const std::string etag = store().head("f/k").value().value().etag;
  EXPECT_FALSE(put("f/k", "3", Condition::if_match("other")).value().written);
  EXPECT_TRUE(put("f/k", "3", Condition::if_match(etag)).value().written);
  EXPECT_THAT(notes(), ElementsAre(HasSubstr("claims are advisory")));
  EXPECT_THAT(fake().keys(), ElementsAre("f/k")) << "the scratch objects are gone";
}

TEST_F(S3Store, AServerThatTakesNoNoticeOfConditionsIsFoundOut) {
  open([](const TestRequest&) { return fine(); }, FakeS3::Conditions::ignored);
  EXPECT_TRUE(put("k", "1", Condition::if_absent()).value().written);
  EXPECT_FALSE(put("k", "2", Condition::if_absent()).value().written);
  EXPECT_EQ(as_text(store().get("k").value()), "1");
  EXPECT_THAT(notes(), SizeIs(1));
}

TEST_F(S3Store, ConditionsAreTriedOnceForEachSort) {
  open([](const TestRequest&) { return fine(); });
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(put(fmt::format("f/{}", i), "x", Condition::if_absent()).value().written);
  }
  // Two writes and a removal of the scratch object.
  EXPECT_THAT(requests(), SizeIs(3 + 3));
  EXPECT_TRUE(requests()[0].path().starts_with("/b/f/.atelier-tmp-probe-"));
  EXPECT_THAT(notes(), IsEmpty());
  EXPECT_THAT(fake().keys(), SizeIs(3));
}

TEST_F(S3Store, WhatCouldNotBeTriedIsTriedAgain) {
  open(at(0, is_write, http_answer(503)));
  EXPECT_EQ(put("k", "x", Condition::if_absent()).error().code, Code::unavailable);
  EXPECT_TRUE(put("k", "x", Condition::if_absent()).value().written);
  EXPECT_FALSE(put("k", "y", Condition::if_absent()).value().written);
}

TEST_F(S3Store, AWriteThatIsOverwrittenBeforeItIsReadBackIsAConflict) {
  open(
      [this](const TestRequest& request) -> std::optional<TestAnswer> {
        if (!is_write(request) || request.body != "mine") return fine();
        TestRequest other = request;
        const TestAnswer answer = fake().answer(request);
        other.body = "theirs";
        for (http::Header& header : other.headers) {
          if (header.name == "x-amz-content-sha256") header.value = sha256_hex(as_bytes("theirs"));
        }
        fake().answer(other);
        return answer;
      },
      FakeS3::Conditions::refused);
  EXPECT_FALSE(put("k", "mine", Condition::if_absent()).value().written);
}

TEST_F(S3Store, ConflictsThatMayBeAskedAgainAreUnavailable) {
  for (const char* code : {"ConditionalRequestConflict", "OperationAborted"}) {
    open_with(http_answer(409, error_body(code)));
    EXPECT_EQ(put("k", "x").error().code, Code::unavailable) << code;
  }
}

// What was damaged on the way up is sent again, and says nothing of what the server can do.
TEST_F(S3Store, AWriteThatArrivedDamagedIsUnavailable) {
  for (const char* code : {"BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"}) {
    for (int nth = 0; nth < 5; ++nth) {
      open(at(nth, is_write, http_answer(400, error_body(code))));
      RetryingStore retrying(store(), clock());
      const auto condition = nth < 3 ? Condition::if_absent() : Condition::always();
      EXPECT_TRUE(retrying.put("k", as_bytes("x"), condition).value().written) << code << nth;
      EXPECT_FALSE(retrying.put("k", as_bytes("y"), Condition::if_absent()).value().written);
      const std::string etag = store().head("k").value().value().etag;
      EXPECT_TRUE(retrying.put("k", as_bytes("z"), Condition::if_match(etag)).value().written);
      EXPECT_THAT(notes(), IsEmpty()) << code << nth;
    }
  }
}

TEST_F(S3Store, OnlyAServerThatSaysSoHasNoConditionalWrites) {
  const auto conditional = [](const TestRequest& request) {
    return is_write(request) &&
           !(request.header("If-None-Match").empty() && request.header("If-Match").empty());
  };
  for (const auto& [status, code] :
       {std::pair(400, "NotImplemented"), std::pair(400, "InvalidArgument"), std::pair(501, "")}) {
    open([=](const TestRequest& request) {
      return conditional(request) ? std::optional(http_answer(status, error_body(code))) : fine();
    });
    EXPECT_TRUE(put("k", "x", Condition::if_absent()).value().written) << code;
    EXPECT_THAT(notes(), SizeIs(testing::Ge(1U))) << code;
  }
  for (const char* code : {"InvalidRequest", "EntityTooLarge", "MalformedXML"}) {
    for (int nth = 0; nth < 2; ++nth) {
      open(at(nth, conditional, http_answer(400, error_body(code))));
      EXPECT_EQ(put("k", "x", Condition::if_absent()).error().code, Code::invalid_argument);
      EXPECT_TRUE(put("k", "x", Condition::if_absent()).value().written) << code;
    }
  }
}

TEST_F(S3Store, AnArchivedObjectIsCalledSo) {
  open([](const TestRequest& request) {
    return request.method == "GET"
               ? std::optional(http_answer(403, error_body("InvalidObjectState")))
               : fine();
  });
  const auto bytes = store().get("k");
  EXPECT_EQ(bytes.error().code, Code::invalid_input);
  EXPECT_THAT(bytes.error().message, HasSubstr("archived; restore it first"));
}

std::vector<std::byte> large() { return std::vector<std::byte>((size_t{20} << 20) + 1); }

bool completes(const TestRequest& request) {
  return request.method == "POST" && !request.query("uploadId").empty();
}

TEST_F(S3Store, ACompletionThatFailsAfterSaying200IsNone) {
  open(at(0, completes, http_answer(200, "   \n" + error_body("InternalError"))));
  const auto bytes = large();
  const auto outcome = store().put("k", bytes, Condition::always());
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, Code::unavailable);
  EXPECT_EQ(fake().uploads(), 0U) << "it is aborted";
  EXPECT_TRUE(store().put("k", bytes, Condition::always()).value().written);
  EXPECT_TRUE(store().get("k").value() == bytes);
}

TEST_F(S3Store, ACompletionThatSays200AndThenThatTheConditionFailedIsAConflict) {
  open([&](const TestRequest& request) -> std::optional<TestAnswer> {
    if (!completes(request) || request.path() != "/b/k") return fine();
    return http_answer(200, error_body("PreconditionFailed"));
  });
  EXPECT_FALSE(store().put("k", large(), Condition::if_absent()).value().written);
  EXPECT_EQ(fake().uploads(), 0U);
}

TEST_F(S3Store, ALostCompletionIsFoundOut) {
  open([&](const TestRequest& request) -> std::optional<TestAnswer> {
    if (!completes(request) || request.path() != "/b/k") return fine();
    fake().answer(request);
    return no_answer();
  });
  RetryingStore retrying(store(), clock());
  const auto bytes = large();
  MemorySource source(bytes);
  EXPECT_TRUE(put_source(retrying, "k", source, Condition::if_absent()).value().written);
  EXPECT_EQ(fake().uploads(), 0U);
}

TEST_F(S3Store, ACompletionMayTakeItsTime) {
  open([&](const TestRequest& request) -> std::optional<TestAnswer> {
    if (!completes(request)) return fine();
    return TestAnswer{
        "HTTP/1.1 200\r\n\r\n<CompleteMultipartUploadResult><ETag>e</ETag>"
        "</CompleteMultipartUploadResult>",
        Then::trickle};
  });
  EXPECT_TRUE(store().put("k", large(), Condition::always()).value().written);
}

TEST_F(S3Store, PartsAreSentAgain) {
  open(at(1, is_write, http_answer(500)));
  const auto bytes = large();
  EXPECT_TRUE(store().put("k", bytes, Condition::always()).value().written);
  EXPECT_TRUE(store().get("k").value() == bytes);
}

TEST_F(S3Store, DroppedUploadsLeaveNothingAtTheServer) {
  open([](const TestRequest&) { return fine(); });
  {
    const auto upload = store().begin_upload("k").value();
    ASSERT_TRUE(upload->append(large()).ok());
  }
  EXPECT_EQ(fake().uploads(), 0U);
  EXPECT_THAT(fake().keys(), IsEmpty());
}

TEST_F(S3Store, AClockThatIsWrongIsSetByTheServer) {
  const std::string date =
      "Date: " + http::format_date(std::chrono::system_clock::now() + std::chrono::hours(5)) +
      "\r\n";
  std::atomic<int> seen{0};
  open([&](const TestRequest& request) -> std::optional<TestAnswer> {
    if (seen++ > 0) return fine();
    // A HEAD has no body that would say so.
    const bool head = request.method == "HEAD";
    return http_answer(403, error_body("RequestTimeTooSkewed"), date, head);
  });
  EXPECT_TRUE(put("k", "x").value().written);
  const auto times = requests();
  ASSERT_THAT(times, SizeIs(2));
  EXPECT_NE(times[0].header("x-amz-date").substr(0, 11),
            times[1].header("x-amz-date").substr(0, 11));
}

TEST_F(S3Store, WhyAHeadIsRefusedIsAskedByAnotherRequest) {
  const std::string date =
      "Date: " + http::format_date(std::chrono::system_clock::now() - std::chrono::hours(5)) +
      "\r\n";
  open([&](const TestRequest& request) -> std::optional<TestAnswer> {
    if (requests().size() > 2) return fine();
    return http_answer(403, error_body("RequestTimeTooSkewed"), date, request.method == "HEAD");
  });
  EXPECT_FALSE(store().head("k").value().has_value());
}

// Keys that end while a job runs.
TEST_F(S3Store, ExpiredKeysAreGotAnew) {
  class Renewed final : public KeySource {
   public:
    Result<Keys> read() override { return Keys{"AKEXAMPLE", "s", fmt::format("t{}", forgotten)}; }
    void forget() override { ++forgotten; }
    std::atomic<int> forgotten{0};
  };
  FakeS3 fake;
  std::string good = "t0";
  TestServer server([&](const TestRequest& request) {
    if (request.header("x-amz-security-token") == good) return fake.answer(request);
    return http_answer(400, error_body("ExpiredToken"), {}, request.method == "HEAD");
  });
  Options options = options_for(server);
  const auto keys = std::make_shared<Renewed>();
  options.bucket.keys = keys;
  const auto renewed = open_s3_store(options, clock()).value();
  EXPECT_TRUE(renewed->put("k", as_bytes("x"), Condition::always()).value().written);
  good = "t1";
  EXPECT_TRUE(renewed->head("k").value().has_value());
  good = "t2";
  EXPECT_EQ(as_text(renewed->get("k").value()), "x");
  EXPECT_EQ(keys->forgotten, 2);
  good = "never";
  EXPECT_THAT(renewed->get("k").error().message, HasSubstr("have expired"));
}

TEST_F(S3Store, RefusedKeysAreAnErrorWithoutASecret) {
  for (const char* code : {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}) {
    const int status = code[0] == 'E' ? 400 : 403;
    open([&](const TestRequest& request) {
      return http_answer(status, error_body(code), {}, request.method == "HEAD");
    });
    for (const Error& error : {put("k", "x").error(), store().get("k").error(),
                               store().list("", "", 1).error(), store().remove("k").error()}) {
      EXPECT_EQ(error.code, Code::invalid_argument);
      EXPECT_THAT(error.message, AllOf(HasSubstr("keys"), Not(HasSubstr("hush"))));
    }
  }
}

// As Amazon does for a credential that may write and read, and not list.
std::optional<TestAnswer> forbids_lists(const TestRequest& request, FakeS3& fake) {
  const TestAnswer answer = fake.answer(request);
  const bool head = request.method == "HEAD";
  const bool absent = answer.bytes.starts_with("HTTP/1.1 404");
  if (!absent && request.path() != "/b") return answer;
  return http_answer(403, error_body("AccessDenied"), {}, head);
}

TEST_F(S3Store, AbsentIsNotSaidWhereTheServerDoesNotSayIt) {
  open([this](const TestRequest& request) { return forbids_lists(request, fake()); });
  for (const Error& error :
       {store().head("k").error(), store().get("k").error(), store().remove("k").error()}) {
    EXPECT_EQ(error.code, Code::invalid_argument);
    EXPECT_THAT(error.message,
                AllOf(HasSubstr("s3://b/k is not there, or"), HasSubstr("s3:ListBucket")));
  }
  EXPECT_TRUE(put("k", "x", Condition::if_absent()).value().written);
  EXPECT_FALSE(put("k", "y", Condition::if_absent()).value().written);
  EXPECT_EQ(store().head("k").value().value().size, 1U);
  EXPECT_EQ(as_text(store().get("k").value()), "x");
}

TEST_F(S3Store, WhatIsDeniedThoughListsArePermittedIsDenied) {
  open([](const TestRequest& request) -> std::optional<TestAnswer> {
    if (request.path() == "/b") return fine();
    return http_answer(403, error_body("AccessDenied"), {}, request.method == "HEAD");
  });
  EXPECT_THAT(store().head("k").error().message, HasSubstr("s3://b/k was denied"));
  EXPECT_THAT(put("k", "x").error().message, HasSubstr("AccessDenied"));
}

TEST_F(S3Store, AnotherRegionIsNamed) {
  open_with(
      http_answer(301, error_body("PermanentRedirect"), "x-amz-bucket-region: eu-west-1\r\n"));
  EXPECT_THAT(put("k", "x").error().message,
              AllOf(HasSubstr("eu-west-1"), HasSubstr("AWS_REGION")));
}

TEST_F(S3Store, ABucketThatIsNotThereIsNoAbsentObject) {
  open([](const TestRequest& request) {
    return http_answer(404, error_body("NoSuchBucket"), {}, request.method == "HEAD");
  });
  for (const Error& error : {store().head("k").error(), store().get("k").error(),
                             put("k", "x").error(), store().list("", "", 1).error()}) {
    EXPECT_EQ(error.code, Code::invalid_argument);
    EXPECT_THAT(error.message, HasSubstr("no bucket s3://b/"));
  }
}

TEST_F(S3Store, AFullServerIsToldFromABusyOne) {
  open_with(http_answer(507));
  EXPECT_EQ(put("k", "x").error().code, Code::no_space);
  open_with(http_answer(403, error_body("QuotaExceeded")));
  EXPECT_EQ(put("k", "x").error().code, Code::no_space);
}

TEST_F(S3Store, WhatAServerSaysIsShownHarmlessly) {
  open_with(http_answer(400, error_body("&#27;[2J evil " + std::string(500, 'x'))));
  const Error error = put("k", "x").error();
  EXPECT_EQ(error.message.find('\x1b'), std::string::npos);
  EXPECT_LT(error.message.size(), 400U);
  const std::vector<std::string> bodies = {
      "<Error><Code>", "\xFF\xFE<", std::string(100'000, '<'), std::string(60'000, 'x'),
      "<!DOCTYPE x [<!ENTITY a \"b\">]><Error><Code>&a;</Code></Error>"};
  for (const std::string& body : bodies) {
    open_with(http_answer(400, body));
    EXPECT_EQ(put("k", "x").error().code, Code::invalid_argument);
  }
}

TEST(S3Options, WhatIsNoneIsRefused) {
  FakeClock clock;
  const auto code = [&](auto change) {
    Options options;
    options.bucket.name = "b";
    change(options);
    const auto store = open_s3_store(std::move(options), clock);
    return store.ok() ? Code::cancelled : store.error().code;
  };
  EXPECT_EQ(code([](Options&) {}), Code::cancelled);
  for (const char* name : {"", "a/b", "a b", "a@b", "..", "\xFF"}) {
    EXPECT_EQ(code([&](Options& o) { o.bucket.name = name; }), Code::invalid_argument) << name;
  }
  for (const char* region : {"", "a.b", "a/b"}) {
    EXPECT_EQ(code([&](Options& o) { o.bucket.region = region; }), Code::invalid_argument);
  }
  for (const char* endpoint : {"s3.example", "ftp://x", "https://", "http://u:p@x", "http://x?y"}) {
    EXPECT_EQ(code([&](Options& o) { o.bucket.endpoint = endpoint; }), Code::invalid_argument);
  }
  for (const char* prefix : {"a", "/", "a//", "../", ".atelier-tmp-x/"}) {
    EXPECT_EQ(code([&](Options& o) { o.prefix = prefix; }), Code::invalid_argument) << prefix;
  }
}

TEST(S3Service, TheAddressIsAmazonsUnlessAnotherIsGiven) {
  FakeClock clock;
  const auto url = [&](std::string name, std::string endpoint, Bucket::Style style) {
    Bucket bucket;
    bucket.name = std::move(name);
    bucket.region = "eu-west-1";
    bucket.endpoint = std::move(endpoint);
    bucket.style = style;
    bucket.keys = fixed_keys({"A", "B", ""});
    const auto service = Service::create(std::move(bucket), clock).value();
    const std::string signed_url =
        service->presigned_url("GET", "a b/c", std::chrono::seconds(60)).value();
    return signed_url.substr(0, signed_url.find('?'));
  };
  using Style = Bucket::Style;
  EXPECT_EQ(url("b", "", Style::automatic), "https://b.s3.eu-west-1.amazonaws.com/a%20b/c");
  EXPECT_EQ(url("b.c", "", Style::automatic), "https://s3.eu-west-1.amazonaws.com/b.c/a%20b/c");
  EXPECT_EQ(url("b", "http://h:9/", Style::automatic), "http://h:9/b/a%20b/c");
  EXPECT_EQ(url("b", "http://h:9/p", Style::host), "http://b.h:9/p/a%20b/c");
}

// libcurl takes every name below "localhost" for this machine (RFC 6761, 6.3).
TEST_F(S3Store, ABucketMayBeAPartOfTheHostsName) {
  FakeS3 fake(FakeS3::Conditions::obeyed);
  std::string host;
  TestServer server([&](TestRequest request) {
    EXPECT_EQ(request.header("Host"), host);
    const bool signs_host = request.header("Authorization").find("host;") != std::string_view::npos;
    EXPECT_TRUE(signs_host) << request.header("Authorization");
    EXPECT_FALSE(request.target.starts_with("/b/"));
    request.target =
        request.target.starts_with("/?") ? "/b" + request.target.substr(1) : "/b" + request.target;
    return fake.answer(request);
  });
  Options options = options_for(server);
  const std::string port = server.url().substr(server.url().rfind(':'));
  host = "b.localhost" + port;
  options.bucket.endpoint = "http://localhost" + port;
  options.bucket.style = Bucket::Style::host;
  const auto store = open_s3_store(options, clock()).value();
  EXPECT_TRUE(store->put("in/a b", as_bytes("x"), Condition::if_absent()).value().written);
  EXPECT_EQ(as_text(store->get("in/a b").value()), "x");
  EXPECT_EQ(store->list("in/", "", 10).value().objects.at(0).key, "in/a b");
  EXPECT_TRUE(store->remove("in/a b").value());
}

TEST_F(S3Store, EncryptionIsAskedForWhereItBelongs) {
  TestServer server([](const TestRequest& request) {
    return http_answer(request.method == "GET" ? 404 : 200, error_body("NoSuchKey"),
                       "ETag: \"e\"\r\n");
  });
  Options options = options_for(server);
  options.bucket.encryption.algorithm = "aws:kms";
  options.bucket.encryption.kms_key_id = "arn:aws:kms:k";
  auto store = open_s3_store(options, clock()).value();
  ASSERT_TRUE(store->put("k", as_bytes("x"), Condition::always()).ok());
  EXPECT_FALSE(store->get("k").ok());
  options.bucket.encryption = {};
  options.bucket.encryption.customer_key =
      Secret::text("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
  store = open_s3_store(options, clock()).value();
  EXPECT_FALSE(store->get("k").ok());
  const auto all = server.requests();
  ASSERT_THAT(all, SizeIs(3));
  EXPECT_EQ(all[0].header("x-amz-server-side-encryption"), "aws:kms");
  EXPECT_EQ(all[0].header("x-amz-server-side-encryption-aws-kms-key-id"), "arn:aws:kms:k");
  EXPECT_EQ(all[1].header("x-amz-server-side-encryption"), "");
  EXPECT_EQ(all[2].header("x-amz-server-side-encryption-customer-algorithm"), "AES256");
  EXPECT_EQ(all[2].header("x-amz-server-side-encryption-customer-key-MD5"),
            "KYvwGXoFFJ42a2u2GDWhwQ==");
  options.bucket.encryption.customer_key = Secret::text("c2hvcnQ=");
  store = open_s3_store(options, clock()).value();
  EXPECT_EQ(store->get("k").error().code, Code::invalid_argument);
}

}  // namespace
}  // namespace atelier::s3
