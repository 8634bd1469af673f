// SPDX-License-Identifier: Apache-2.0
// What is read of answers in XML, whoever wrote them, and the text that a shared key signs.
#include "store/azure/azure_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "store/azure/azure_service.h"
#include "store/azure/fake_azure_test.h"

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

TEST(AzureList, FoldersAreNoBlobs) {
  std::string folder = blob_xml("folder", "0");
  folder.insert(folder.find("<Content-Length>"), "<ResourceType>directory</ResourceType>");
  std::string file = blob_xml("folder/file");
  file.insert(file.find("<Content-Length>"), "<ResourceType>file</ResourceType>");
  const BlobPage page = parse_blob_page(page_xml(folder + file, "m")).value();
  ASSERT_THAT(page.blobs, SizeIs(1));
  EXPECT_EQ(page.blobs[0].key, "folder/file");
  EXPECT_EQ(page.next_marker, "m");
}

TEST(AzureList, WhatXmlCannotHoldIsDecoded) {
  const auto encoded = [](const std::string& name) {
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
class AzureLists : public FakeAzureTest {};

TEST_F(AzureLists, ListsGoOnByMarker) {
  open([](const TestRequest&) { return fine(); }, {}, "p/");
  for (const char* key : {"a", "b/1", "b/2", "c", "d"}) ASSERT_TRUE(put(key, "x").ok());
  const size_t before = requests().size();
  EXPECT_THAT(all_keys("", "", 2), ElementsAre("a", "b/1", "b/2", "c", "d"));
  EXPECT_EQ(requests().size(), before + 3) << "one for each page";
  EXPECT_EQ(requests().back().query("marker"), "4");
  EXPECT_EQ(requests().back().query("prefix"), "p/");
  EXPECT_THAT(all_keys("b/", "", 1), ElementsAre("b/1", "b/2"));
}

TEST_F(AzureLists, ListsGoOnFromAnyText) {
  open([](const TestRequest&) { return fine(); });
  for (const char* key : {"a", "b/1", "b/2", "c", "d"}) ASSERT_TRUE(put(key, "x").ok());
  for (const size_t limit : {1U, 2U, 3U, 9U}) {
    EXPECT_THAT(all_keys("", "b/11", limit), ElementsAre("b/2", "c", "d")) << limit;
    EXPECT_THAT(all_keys("", "b/2", limit), ElementsAre("c", "d")) << limit;
    EXPECT_THAT(all_keys("b/", "a", limit), ElementsAre("b/1", "b/2")) << limit;
    EXPECT_THAT(all_keys("", "zz", limit), IsEmpty());
  }
}

// They are stored behind all others, and sort before them as bytes.
TEST_F(AzureLists, PagesLoseNoNamesOfOddBytes) {
  open([](const TestRequest&) { return fine(); });
  for (const char* key : {"\x01", "a", "b\xff", "\xC3\xA9", "b"}) ASSERT_TRUE(put(key, "x").ok());
  for (const size_t limit : {1U, 2U, 3U, 9U}) {
    EXPECT_THAT(all_keys("", "", limit),
                testing::UnorderedElementsAre("\x01", "a", "b\xff", "\xC3\xA9", "b"))
        << limit;
    EXPECT_THAT(all_keys("b", "", limit), ElementsAre("b", "b\xff"));
  }
}

TEST_F(AzureLists, EmptyPagesAreReadOn) {
  std::atomic<int> seen{0};
  open([&](const TestRequest&) {
    return http_answer(200,
                       ++seen < 4 ? page_xml("", std::to_string(seen)) : page_xml(blob_xml("a")));
  });
  EXPECT_THAT(store().list("", "", 3).value().objects, SizeIs(1));
}

TEST_F(AzureLists, AMarkerThatLeadsNowhereEnds) {
  open_with(http_answer(200, page_xml("", "same")));
  EXPECT_EQ(store().list("", "", 3).error().code, Code::unavailable);
}

TEST_F(AzureLists, AListThatDoesNotMoveEnds) {
  for (const bool fresh : {false, true}) {
    std::atomic<int> seen{0};
    open([&](const TestRequest&) {
      return http_answer(
          200, page_xml(blob_xml("a") + blob_xml("b"), fresh ? std::to_string(++seen) : "same"));
    });
    for (const char* after : {"", "b", "c"}) {
      EXPECT_EQ(store().list("", after, 9).error().code, Code::unavailable) << fresh << after;
    }
    EXPECT_LE(requests().size(), 6U);
  }
}

TEST_F(AzureLists, ListsTellHowManyBlobsHaveNoNameOfOurs) {
  open([](const TestRequest& request) -> std::optional<TestAnswer> {
    if (request.query("comp") != "list" || request.query("marker") == "end") return fine();
    return http_answer(200, page_xml(blob_xml("a") + blob_xml("a//x") + blob_xml("b/", "0") +
                                     blob_xml("b/.atelier-tmp-1") + blob_xml("c") +
                                     blob_xml("d/../x") + blob_xml("e")));
  });
  for (const size_t limit : {1U, 2U, 9U}) {
    const ListPage whole = list_whole(store(), "", limit).value();
    EXPECT_EQ(whole.unnamed, 2U) << limit;
    EXPECT_EQ(whole.first_unnamed, "a//x");
  }
}

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
