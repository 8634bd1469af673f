// SPDX-License-Identifier: Apache-2.0
// The events have the shape of the vendors' documents (event_body.h) with values of our own.
#include "server/triggers/event_body.h"

#include <gtest/gtest.h>

namespace atelier::server {
namespace {

EventBody parsed(const std::string& body, const std::map<std::string, std::string>& headers = {}) {
  Result<EventBody> result = parse_event_body(headers, body);
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
  return result.ok() ? *std::move(result) : EventBody{};
}

std::string urls(const EventBody& body) {
  std::string all;
  for (const BlobEvent& blob : body.blobs) all += blob.place.url() + " " + blob.etag + ";";
  return all;
}

std::string grid_event(const std::string& type, const std::string& api, const std::string& url) {
  return R"({"topic": "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Storage/)"
         R"(storageAccounts/films", "subject": "/blobServices/default/containers/in/blobs/a.mp4",
    "eventType": ")" +
         type + R"(", "eventTime": "2026-11-30T01:02:03.4567890Z", "id": "11-22",
    "data": {"api": ")" +
         api + R"(", "clientRequestId": "33", "requestId": "44", "eTag": "0x8DF0",
      "contentType": "video/mp4", "contentLength": 524288, "blobType": "BlockBlob",
      "url": ")" +
         url + R"(", "sequencer": "00000000000004420000000000028963",
      "storageDiagnostics": {"batchId": "55"}},
    "dataVersion": "", "metadataVersion": "1"})";
}

constexpr const char* kBlobUrl = "https://films.blob.core.windows.net/in/monet/a%20b.mp4";

TEST(EventBody, EventGridTellsOfABlob) {
  const EventBody body =
      parsed("[" + grid_event("Microsoft.Storage.BlobCreated", "PutBlockList", kBlobUrl) + "]");
  EXPECT_EQ(urls(body), "az://films/in/monet/a%20b.mp4 0x8DF0;");
  EXPECT_EQ(body.ignored, 0U);
  EXPECT_FALSE(body.validation_code);
}

TEST(EventBody, EventGridsHandshakeIsUnderstood) {
  const EventBody body = parsed(R"([{"id": "2d", "topic": "/subscriptions/s-1",
    "subject": "", "data": {"validationCode": "512d38b6-c7b8",
      "validationUrl": "https://rp-eastus2.eventgrid.azure.net:553/eventsubscriptions/e/validate"},
    "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
    "eventTime": "2026-11-30T22:12:19.4556811Z", "metadataVersion": "1", "dataVersion": "1"}])");
  EXPECT_EQ(body.validation_code, "512d38b6-c7b8");
  EXPECT_TRUE(body.blobs.empty());
}

TEST(EventBody, ADataLakeFileCountsWhenItIsClosed) {
  const std::string url = "https://films.dfs.core.windows.net/in/a.mp4";
  const auto of = [&](const std::string& api, const std::string& at) {
    return urls(parsed("[" + grid_event("Microsoft.Storage.BlobCreated", api, at) + "]"));
  };
  EXPECT_EQ(of("FlushWithClose", url), "az://films/in/a.mp4 0x8DF0;");
  for (const char* api : {"CreateFile", "CreatePathFile", "Flush", "", "PutBlob"}) {
    EXPECT_EQ(of(api, url), "") << api;
  }
  EXPECT_EQ(of("CreateFile", kBlobUrl), "");
  EXPECT_EQ(of("SftpCreate", kBlobUrl), "");
  EXPECT_NE(of("SftpCommit", kBlobUrl), "");
  EXPECT_NE(of("CopyBlob", kBlobUrl), "");
}

TEST(EventBody, ARenamedDataLakeFileIsThere) {
  const EventBody body = parsed(R"([{"topic": "t", "subject": "s",
    "eventType": "Microsoft.Storage.BlobRenamed", "eventTime": "2026-11-30T01:02:03Z", "id": "1",
    "data": {"api": "RenameFile", "sourceUrl": "https://films.dfs.core.windows.net/in/a.part",
      "destinationUrl": "https://films.dfs.core.windows.net/in/a.mp4", "sequencer": "0"},
    "dataVersion": "1", "metadataVersion": "1"}])");
  EXPECT_EQ(urls(body), "az://films/in/a.mp4 ;");
}

TEST(EventBody, OtherEventsOfAzureAreIgnored) {
  const EventBody body =
      parsed("[" + grid_event("Microsoft.Storage.BlobDeleted", "DeleteBlob", kBlobUrl) + "," +
             grid_event("Microsoft.Storage.BlobTierChanged", "SetBlobTier", kBlobUrl) + "," +
             grid_event("Microsoft.Storage.BlobCreated", "PutBlob", "https://elsewhere") + "]");
  EXPECT_EQ(urls(body), "");
  EXPECT_EQ(body.ignored, 3U);
}

std::string azure_cloud_event() {
  return R"({"source": "/subscriptions/s-1/providers/Microsoft.Storage/storageAccounts/films",
    "subject": "/blobServices/default/containers/in/blobs/a.mp4",
    "type": "Microsoft.Storage.BlobCreated", "time": "2026-11-30T18:41:00.9584103Z",
    "id": "831e1650", "data": {"api": "PutBlob", "eTag": "\"0x8D4\"", "contentLength": 524288,
      "url": "https://films.blob.core.windows.net/in/a.mp4"}, "specversion": "1.0"})";
}

TEST(EventBody, AzureSpeaksCloudEventsToo) {
  EXPECT_EQ(urls(parsed(azure_cloud_event())), "az://films/in/a.mp4 0x8D4;");
  EXPECT_EQ(urls(parsed("[" + azure_cloud_event() + "," + azure_cloud_event() + "]")),
            "az://films/in/a.mp4 0x8D4;az://films/in/a.mp4 0x8D4;");
}

TEST(EventBody, CloudEventsOfOthersNameTheirPlace) {
  EXPECT_EQ(urls(parsed(R"({"specversion": "1.0", "type": "com.example.made", "source": "/x",
      "id": "A-1", "time": "2026-04-05T17:31:00Z", "comexampleextension1": "value",
      "datacontenttype": "application/json",
      "data": {"url": "s3://films/in/a%20b.mp4", "etag": "e7"}})")),
            "s3://films/in/a%20b.mp4 e7;");
  // Whose attributes are headers.
  EXPECT_EQ(urls(parsed(R"({"url": "file:///srv/in/a.mp4"})", {{"ce-specversion", "1.0"},
                                                               {"ce-type", "com.example.made"},
                                                               {"ce-id", "1"},
                                                               {"ce-source", "/x"}})),
            "file:///srv/in/a.mp4 ;");
  // A record of S3 (cloudevents/adapters/aws-s3.md).
  EXPECT_EQ(urls(parsed(R"({"specversion": "1.0", "type": "com.amazonaws.s3.ObjectCreated:Put",
      "source": "aws:s3.us-west-2.films", "id": "C.D", "subject": "in/a.mp4",
      "data": {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "films"},
        "object": {"key": "in/a.mp4", "eTag": "d41d"}}}})")),
            "s3://films/in/a.mp4 d41d;");
}

std::string s3_record(const std::string& name, const std::string& key) {
  return R"({"eventVersion": "2.2", "eventSource": "aws:s3", "awsRegion": "us-west-2",
    "eventTime": "2026-11-30T00:00:00.000Z", "eventName": ")" +
         name + R"(", "userIdentity": {"principalId": "P"},
    "requestParameters": {"sourceIPAddress": "127.0.0.1"},
    "responseElements": {"x-amz-request-id": "C3", "x-amz-id-2": "F0"},
    "s3": {"s3SchemaVersion": "1.0", "configurationId": "c",
      "bucket": {"name": "films", "ownerIdentity": {"principalId": "A"},
        "arn": "arn:aws:s3:::films"},
      "object": {"key": ")" +
         key + R"(", "size": 1024, "eTag": "d41d8cd98f00b204e9800998ecf8427e",
        "versionId": "096f", "sequencer": "0055AED6DCD90281E5"}}})";
}

TEST(EventBody, S3TellsOfObjects) {
  const EventBody body =
      parsed(R"({"Records": [)" + s3_record("ObjectCreated:Put", "in/a+b%2Bc%C3%A9.mp4") + "," +
             s3_record("ObjectRemoved:Delete", "in/x.mp4") + "," +
             s3_record("s3:ObjectCreated:CompleteMultipartUpload", "in/y.mp4") + "," +
             s3_record("ObjectCreated:Put", "in/folder/") + "]}");
  EXPECT_EQ(urls(body),
            "s3://films/in/a%20b%2Bc%C3%A9.mp4 d41d8cd98f00b204e9800998ecf8427e;"
            "s3://films/in/y.mp4 d41d8cd98f00b204e9800998ecf8427e;");
  EXPECT_EQ(body.ignored, 2U);
}

TEST(EventBody, S3sTestIsAnswered) {
  const EventBody body = parsed(R"({"Service": "Amazon S3", "Event": "s3:TestEvent",
    "Time": "2026-10-13T15:57:02.089Z", "Bucket": "films", "RequestId": "5582", "HostId": "8cLe"})");
  EXPECT_TRUE(body.blobs.empty());
  EXPECT_EQ(body.ignored, 1U);
}

TEST(EventBody, UrlsOfEventsMeanPlaces) {
  const auto place = [](std::string_view url) {
    const auto found = place_of_event_url(url);
    return found ? found->url() : "NONE";
  };
  EXPECT_EQ(place("https://acc.blob.core.windows.net/c/d/e.mp4"), "az://acc/c/d/e.mp4");
  EXPECT_EQ(place("https://acc.blob.core.usgovcloudapi.net/c/e"), "az://acc/c/e");
  EXPECT_EQ(place("https://acc.z01.blob.storage.azure.net/c/e"), "az://acc/c/e");
  EXPECT_EQ(place("http://127.0.0.1:10000/devstoreaccount1/c/d/e"), "az://devstoreaccount1/c/d/e");
  EXPECT_EQ(place("http://[::1]:10000/devstoreaccount1/c/e"), "az://devstoreaccount1/c/e");
  EXPECT_EQ(place("https://acc.blob.core.windows.net/c/100%.mp4"), "az://acc/c/100%25.mp4");
  EXPECT_EQ(place("https://acc.blob.core.windows.net/c/a@b"), "az://acc/c/a%40b");
  EXPECT_EQ(place("az://acc/c/e"), "az://acc/c/e");
  for (const char* none :
       {"", "a", "/srv/in/a", "https://", "https:///", "https://acc.blob.core.windows.net/c",
        "https://acc.blob.core.windows.net/c/", "https://acc.blob.core.windows.net/c/a/../b",
        "https://acc.blob.core.windows.net/c/%2e%2e/b", "https://acc.blob.core.windows.net/c/a%00",
        "https://acc.blob.core.windows.net/c/a?sig=x", "https://u:p@acc.blob.core.windows.net/c/a",
        "https://acc.blob.core.windows.net/c//a", "ftp://h/a/b/c", "file://host/a", "s3://../a",
        "https://acc.blob.core.windows.net/..%2f/a", "https://a b.blob.core.windows.net/c/a"}) {
    EXPECT_EQ(place(none), "NONE") << none;
  }
  EXPECT_EQ(place("https://h/a/b/" + std::string(9000, 'x')), "NONE");
}

TEST(EventBody, S3KeysThatCannotBeAreIgnored) {
  EXPECT_FALSE(place_of_s3_event("b", "../a"));
  EXPECT_FALSE(place_of_s3_event("b", "%2E%2E/a"));
  EXPECT_FALSE(place_of_s3_event("b", "a%"));
  EXPECT_FALSE(place_of_s3_event("b/c", "a"));
  EXPECT_FALSE(place_of_s3_event("", "a"));
  EXPECT_TRUE(place_of_s3_event("b", "a"));
}

TEST(EventBody, WhatIsNoEventIsRefused) {
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += R"({"data":)";
  std::string many = "[";
  for (int i = 0; i < 1001; ++i) many += (i == 0 ? "" : ",") + std::string(R"({"eventType":"x"})");
  std::string records = R"({"Records":[)";
  for (int i = 0; i < 1001; ++i) records += i == 0 ? "{}" : ",{}";
  const std::vector<std::string> bodies = {"",
                                           "{",
                                           "nonsense",
                                           "7",
                                           "null",
                                           "\"text\"",
                                           "{}",
                                           "[1]",
                                           "[[]]",
                                           "[{}]",
                                           R"([{"eventType":7}])",
                                           R"({"specversion":"0.3","type":"x"})",
                                           R"({"specversion":"1.0"})",
                                           R"({"Records":7})",
                                           "\xff\xfe",
                                           deep,
                                           many + "]",
                                           records + "]}",
                                           std::string(kMostEventBytes + 1, ' ')};
  for (const std::string& body : bodies) {
    const auto result = parse_event_body({}, body);
    ASSERT_FALSE(result.ok()) << body.substr(0, 100);
    EXPECT_EQ(result.error().code, Code::invalid_argument);
  }
  EXPECT_FALSE(parse_event_body({{"ce-specversion", "0.3"}, {"ce-type", "x"}}, "{}").ok());
  EXPECT_TRUE(parsed("[]").blobs.empty());
}

TEST(EventBody, MembersOfOtherTypesHarmNobody) {
  for (const char* body :
       {R"([{"eventType":"Microsoft.Storage.BlobCreated","data":7}])",
        R"([{"eventType":"Microsoft.Storage.BlobCreated","data":{"url":[]}}])",
        R"({"Records":[7,{"s3":[]},{"eventName":"ObjectCreated:Put","s3":{"object":{"key":1}}}]})",
        R"({"specversion":"1.0","type":"x","data":"text"})",
        R"({"specversion":"1.0","type":"x","data":{"url":"in/a.mp4"}})"}) {
    const EventBody found = parsed(body);
    EXPECT_TRUE(found.blobs.empty()) << body;
    EXPECT_GE(found.ignored, 1U) << body;
  }
}

TEST(EventBody, TheHandshakeAllowsWhoAsks) {
  const auto allowed = allow_event_origin({{"webhook-request-origin", "eventgrid.azure.net"},
                                           {"webhook-request-callback", "https://h/x"},
                                           {"webhook-request-rate", "120"}});
  ASSERT_TRUE(allowed.ok());
  EXPECT_EQ(allowed->at("WebHook-Allowed-Origin"), "eventgrid.azure.net");
  EXPECT_EQ(allowed->at("WebHook-Allowed-Rate"), "*");
  EXPECT_FALSE(allow_event_origin({}).ok());
  EXPECT_FALSE(allow_event_origin({{"webhook-request-origin", "a\r\nSet-Cookie: x"}}).ok());
}

TEST(EventBody, SnsCarriesWhatS3Tells) {
  const auto sns = [](const std::string& type, const std::string& message) {
    return R"({"Type": ")" + type +
           R"(", "MessageId": "22", "TopicArn": "arn:aws:sns:us-west-2:123456789012:films",
      "Subject": "Amazon S3 Notification", "Message": ")" +
           message + R"(", "Timestamp": "2026-11-30T01:02:03.456Z", "SignatureVersion": "1",
      "SubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription"})";
  };
  EXPECT_EQ(urls(parsed(sns("Notification",
                            R"({\"Records\": [{\"eventName\": \"ObjectCreated:Put\", \"s3\": )"
                            R"({\"bucket\": {\"name\": \"films\"}, \"object\": )"
                            R"({\"key\": \"in/a+b.mp4\", \"eTag\": \"e1\"}}}]})"))),
            "s3://films/in/a%20b.mp4 e1;");
  // Nobody confirms but who subscribed.
  const EventBody asked = parsed(sns("SubscriptionConfirmation", "You have chosen"));
  EXPECT_EQ(asked.ignored, 1U);
  EXPECT_TRUE(asked.blobs.empty());
  EXPECT_FALSE(parse_event_body({}, sns("Notification", "Hello")).ok());
  EXPECT_FALSE(parse_event_body({}, sns("Notification", std::string(100, '['))).ok());
  // A message in a message is none.
  EXPECT_FALSE(parse_event_body({}, sns("Notification", R"({\"TopicArn\": \"a\"})")).ok());
}

TEST(EventBody, EventBridgeTellsOfAnObjectByItsPlainKey) {
  const auto event = [](const std::string& source, const std::string& type) {
    return R"({"version": "0", "id": "17793124-05d4", "detail-type": ")" + type +
           R"(", "source": ")" + source + R"(", "account": "111122223333",
      "time": "2026-11-30T01:02:03Z", "region": "ca-central-1",
      "resources": ["arn:aws:s3:::films"], "detail": {"version": "0",
        "bucket": {"name": "films"}, "object": {"key": "in/a+b %41.mp4", "size": 5,
          "etag": "b1946ac92492d2347c6235b4d2611184", "sequencer": "00617F08299329D189"},
        "request-id": "N4N7GDK58NMKJ12R", "requester": "123456789012", "reason": "PutObject"}})";
  };
  EXPECT_EQ(urls(parsed(event("aws.s3", "Object Created"))),
            "s3://films/in/a%2Bb%20%2541.mp4 b1946ac92492d2347c6235b4d2611184;");
  EXPECT_EQ(parsed(event("aws.s3", "Object Deleted")).ignored, 1U);
  EXPECT_EQ(parsed(event("aws.ec2", "Object Created")).ignored, 1U);
}

}  // namespace
}  // namespace atelier::server
