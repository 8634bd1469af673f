// SPDX-License-Identifier: Apache-2.0
// What is read of answers in XML, whoever wrote them, and the text that a shared key signs.
#include "store/azure/azure_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/azure/azure_service.h"
#include "store/azure/fake_azure.h"

namespace atelier::azure {
namespace {

using namespace std::string_literals;
using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TEST(AzureList, APageIsRead) {
  const BlobPage page =
      parse_blob_page(
          page_xml(blob_xml("a/b &amp; c", "0") + blob_xml(" ", "18446744073709551615"), "m&lt;1"))
          .value();
  ASSERT_THAT(page.blobs, SizeIs(2));
  EXPECT_EQ(page.blobs[0].key, "a/b & c");
  EXPECT_EQ(page.blobs[0].etag, "0x8D");
  EXPECT_EQ(page.blobs[0].size, 0U);
  EXPECT_EQ(std::chrono::system_clock::to_time_t(page.blobs[0].modified), 784111777);
  EXPECT_EQ(page.blobs[1].key, " ");
  EXPECT_EQ(page.blobs[1].size, UINT64_MAX);
  EXPECT_EQ(page.next_marker, "m<1");
  EXPECT_THAT(parse_blob_page(page_xml("")).value().blobs, IsEmpty());
}

TEST(AzureList, WhatXmlCannotHoldIsDecoded) {
  const auto encoded = [](std::string name) {
    std::string xml = page_xml(blob_xml(name));
    return xml.replace(xml.find("<Name>"), 6, "<Name Encoded=\"true\">");
  };
  EXPECT_EQ(parse_blob_page(encoded("a%EF%BF%BFb")).value().blobs.at(0).key,
            "a\xEF\xBF\xBF"
            "b");
  EXPECT_EQ(parse_blob_page(encoded("a%zz")).error().code, Code::unavailable);
  EXPECT_EQ(parse_blob_page(page_xml(blob_xml("a%20b"))).value().blobs.at(0).key, "a%20b");
}

TEST(AzureList, WhatIsNoSuchAnswerIsRefused) {
  for (const std::string& xml :
       {""s, "<"s, "no xml"s, "<html/>"s, "<EnumerationResults/>"s, page_xml("<Blob/>"),
        page_xml(blob_xml("")), page_xml(blob_xml("a", "")), page_xml(blob_xml("a", "-1")),
        page_xml(blob_xml("a", "1x")), page_xml(blob_xml("a", " 1")),
        page_xml(blob_xml("a", "18446744073709551616")), page_xml("<Blob><Name>a</Name></Blob>"),
        page_xml("<Blob><Name>a</Name><Properties><Content-Length>1</Content-Length></Properties>"
                 "</Blob>"),
        page_xml(blob_xml("a")).substr(0, 150)}) {
    const auto page = parse_blob_page(xml);
    ASSERT_FALSE(page.ok()) << xml;
    EXPECT_EQ(page.error().code, Code::unavailable) << xml;
  }
}

TEST(AzureList, EntitiesOfADocumentAreNotExpanded) {
  std::string bomb = "<!DOCTYPE x [<!ENTITY a0 \"aaaaaaaaaa\">";
  for (int i = 1; i < 10; ++i) {
    bomb += fmt::format("<!ENTITY a{0} \"&a{1};&a{1};&a{1};&a{1};&a{1};&a{1};&a{1};\">", i, i - 1);
  }
  bomb += "]>";
  const auto page = parse_blob_page(bomb + page_xml(blob_xml("&a9;")).substr(41));
  ASSERT_TRUE(page.ok());
  EXPECT_THAT(page->blobs, Each(testing::Field(&ObjectInfo::key, SizeIs(4))));
  std::string file = "<!DOCTYPE x [<!ENTITY f SYSTEM \"file:///etc/passwd\">]>";
  const auto outside = parse_blob_page(file + page_xml(blob_xml("&f;")).substr(41));
  ASSERT_TRUE(outside.ok());
  EXPECT_THAT(outside->blobs, Each(testing::Field(&ObjectInfo::key, "&f;")));
}

TEST(AzureList, LargeAndDeepDocumentsDoNoHarm) {
  std::string many;
  for (int i = 0; i < 5000; ++i) many += blob_xml(fmt::format("{:05}", i) + std::string(200, 'x'));
  EXPECT_THAT(parse_blob_page(page_xml(many)).value().blobs, SizeIs(5000));
  std::string deep;
  for (int i = 0; i < 200000; ++i) deep += "<a>";
  EXPECT_FALSE(parse_blob_page(deep).ok());
  EXPECT_THAT(parse_waiting_blocks(deep), IsEmpty());
}

TEST(AzureList, WaitingBlocks) {
  EXPECT_THAT(parse_waiting_blocks("<BlockList><CommittedBlocks><Block><Name>c</Name><Size>1</Size>"
                                   "</Block></CommittedBlocks><UncommittedBlocks><Block><Name>YQ=="
                                   "</Name><Size>8388608</Size></Block></UncommittedBlocks>"
                                   "</BlockList>"),
              ElementsAre(std::pair("YQ=="s, 8388608U)));
  for (const char* xml : {"", "no xml", "<BlockList/>", "<Error/>"}) {
    EXPECT_THAT(parse_waiting_blocks(xml), IsEmpty()) << xml;
  }
}

// The examples of "Authorize with Shared Key" (Azure Storage REST API).
TEST(AzureSharedKey, TextOfTheDocumentation) {
  Call call;
  call.method = "GET";
  call.query = {{"restype", "container"}, {"comp", "metadata"}, {"timeout", "20"}};
  call.headers = {{"x-ms-version", "2015-02-21"}, {"x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT"}};
  const std::string text = shared_key_text("myaccount", "/mycontainer", call);
  EXPECT_EQ(text,
            "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\n"
            "x-ms-version:2015-02-21\n/myaccount/mycontainer\ncomp:metadata\nrestype:container\n"
            "timeout:20");
}

TEST(AzureSharedKey, HeadersAndBody) {
  Call call;
  call.method = "PUT";
  call.query = {{"Comp", "block"}, {"blockid", "YQ=="}};
  call.headers = {
      {"X-MS-Blob-Type", "BlockBlob"}, {"Content-Type", "text/plain"}, {"content-md5", "m"},
      {"If-None-Match", "*"},          {"If-Match", "\"e\""},          {"Host", "h"}};
  const std::string body = "hello world";
  call.body = as_bytes(body);
  EXPECT_EQ(shared_key_text("a", "/a/c/b%20d", call),
            "PUT\n\n\n11\nm\ntext/plain\n\n\n\"e\"\n*\n\n\nx-ms-blob-type:BlockBlob\n/a/a/c/b%20d\n"
            "blockid:YQ==\ncomp:block");
}

}  // namespace
}  // namespace atelier::azure
