// SPDX-License-Identifier: Apache-2.0
#include "store/open_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <fstream>

#include "store/azure/fake_azure.h"
#include "store/memory_store.h"
#include "store/prefix_store.h"
#include "store/s3/fake_s3.h"
#include "store/test_folder.h"

namespace atelier {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class OpenStore : public testing::Test {
 protected:
  void write(const char* name, std::string_view text) {
    std::ofstream(folder() / name, std::ios::binary) << text;
    EXPECT_EQ(::chmod((folder() / name).c_str(), 0600), 0);
  }
  Result<std::unique_ptr<ObjectStore>> open(const std::string& place) {
    const auto credentials =
        TRY(Credentials::load([this](const char* name) -> std::optional<std::string> {
          if (std::string_view(name) != "ATELIER_CREDENTIALS") return std::nullopt;
          return (folder() / "credentials").string();
        }));
    return open_store(TRY(parse_location(place)), credentials, clock_, [](const std::string&) {});
  }
  std::string runs() const { return (folder() / "runs").string(); }
  // The folder of runs is encrypted with this key.
  void encrypt_runs() {
    write("key", std::string(64, 'a'));
    write("credentials",
          fmt::format("[file://{}]\nmaster_key_file = {}\n", runs(), (folder() / "key").string()));
  }
  const std::filesystem::path& folder() const { return folder_.path(); }
  FakeClock& clock() { return clock_; }

 private:
  TestFolder folder_;
  FakeClock clock_;
};

std::vector<std::string> keys_of(ObjectStore& store, std::string_view prefix = {}) {
  std::vector<std::string> keys;
  for (const ObjectInfo& info : store.list(prefix, {}, 100).value().objects) {
    keys.push_back(info.key);
  }
  return keys;
}

TEST_F(OpenStore, AFolderIsAsItIs) {
  write("credentials", "# nothing\n");
  const auto store = open(runs()).value();
  ASSERT_TRUE(store->put("a/k", as_bytes("plain"), Condition::if_absent()).value().written);
  std::string text;
  std::ifstream(folder() / "runs/a/k") >> text;
  EXPECT_EQ(text, "plain");
}

TEST_F(OpenStore, AnEncryptedPlaceIsOneAtEveryDepth) {
  encrypt_runs();
  const auto top = open(runs()).value(), deep = open(runs() + "/a b/c").value();
  ASSERT_TRUE(top->put("a b/c/k", as_bytes("hush"), Condition::if_absent()).value().written);
  EXPECT_EQ(as_text(deep->get("k").value()), "hush");
  EXPECT_EQ(deep->url("k"), top->url("a b/c/k"));
  EXPECT_FALSE(deep->put("k", as_bytes("other"), Condition::if_absent()).value().written);
  ASSERT_TRUE(deep->put("l/m", as_bytes("more"), Condition::if_absent()).value().written);
  EXPECT_EQ(as_text(top->get("a b/c/l/m").value()), "more");
  EXPECT_THAT(keys_of(*deep), ElementsAre("k", "l/m"));
  EXPECT_THAT(keys_of(*top), ElementsAre("a b/c/k", "a b/c/l/m"));
  EXPECT_EQ(top->head("a b/c/k").value()->etag, deep->head("k").value()->etag);
  std::ifstream file(folder() / "runs/a b/c/k", std::ios::binary);
  const std::string stored((std::istreambuf_iterator<char>(file)), {});
  EXPECT_THAT(stored, AllOf(Not(HasSubstr("hush")), Not(IsEmpty())));
}

TEST_F(OpenStore, ThePlaceBesideAnEncryptedOneIsNot) {
  encrypt_runs();
  const auto beside = open(runs() + "2").value();
  ASSERT_TRUE(beside->put("k", as_bytes("plain"), Condition::always()).ok());
  std::string text;
  std::ifstream(runs() + "2/k") >> text;
  EXPECT_EQ(text, "plain");
}

TEST_F(OpenStore, AWrongOrAbsentKeyIsToldAtOnce) {
  encrypt_runs();
  ASSERT_TRUE(open(runs())->get()->put("k", as_bytes("x"), Condition::always()).ok());
  write("key", std::string(64, 'b'));
  EXPECT_EQ(open(runs() + "/deep").error().code, Code::invalid_argument);
  std::filesystem::remove(folder() / "key");
  EXPECT_EQ(open(runs()).error().code, Code::invalid_argument);
}

// What an encrypted place in a container asks for: the container's root, a path of it and a path
// below it.
TEST_F(OpenStore, KeysOfContainersBeginAtTheRootOfTheirSection) {
  struct Case {
    const char *section, *place, *ring, *object;
  };
  for (const Case& c :
       {Case{"az://acct/box", "az://acct/box", ".atelier-keys/", "k"},
        Case{"az://acct/box", "az://acct/box/p/q", ".atelier-keys/", "p/q/k"},
        Case{"az://acct/box/p", "az://acct/box/p", "p/.atelier-keys/", "p/k"},
        Case{"az://acct/box/p/", "az://acct/box/p/q", "p/.atelier-keys/", "p/q/k"}}) {
    azure::FakeAzure fake;
    TestServer server([&](const TestRequest& request) { return fake.answer(request); });
    write("key", std::string(64, 'a'));
    write("credentials",
          fmt::format("[{}]\nmaster_key_file = {}\n[az://acct]\nendpoint = {}/acct\n", c.section,
                      (folder() / "key").string(), server.url()));
    auto opened = open(c.place);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    ObjectStore& store = **opened;
    EXPECT_TRUE(store.put("k", as_bytes("hush"), Condition::if_absent()).value().written);
    EXPECT_EQ(as_text(store.get("k").value()), "hush");
    auto blobs = fake.blobs();
    EXPECT_THAT(blobs[c.object], AllOf(Not(HasSubstr("hush")), Not(IsEmpty()))) << c.place;
    blobs.erase(c.object);
    EXPECT_THAT(blobs, Not(IsEmpty()));
    for (const auto& [key, bytes] : blobs) EXPECT_THAT(key, testing::StartsWith(c.ring)) << c.place;
  }
}

// A service that is away for 90 seconds after its first answers, told to an upload of many parts.
TEST_F(OpenStore, PartsAreSentAgainUntilTheTimeOfThePlaceIsOver) {
  azure::FakeAzure azure;
  s3::FakeS3 s3;
  std::atomic<Clock::Duration::rep> until{0};
  TestServer server([&](const TestRequest& request) {
    const bool part = request.query("comp") == "block" || !request.query("partNumber").empty();
    if (part && clock().now() < Clock::Duration(until)) return http_answer(503);
    return request.path().starts_with("/acct") ? azure.answer(request) : s3.answer(request);
  });
  const std::vector<std::byte> large((size_t{9} << 20) + 1);
  for (const char* place : {"az://acct/box", "s3://b"}) {
    for (const int give_up : {1, 5, 300}) {
      write("credentials",
            fmt::format("[az://acct]\nendpoint = {0}/acct\ngive_up_after = {1}\n[s3://b]\n"
                        "endpoint = {0}\naccess_key_id = AKEXAMPLE\nsecret_access_key = s\n"
                        "give_up_after = {1}\n",
                        server.url(), give_up));
      const auto store = open(place).value();
      const auto begin = clock().now();
      until = (begin + std::chrono::seconds(90)).count();
      MemorySource source(large);
      const auto put = put_source_repeatedly(*store, "k", source, Condition::always(), clock());
      EXPECT_EQ(put.ok(), give_up == 300) << place << " " << give_up;
      if (!put.ok()) {
        EXPECT_LE(clock().now() - begin, std::chrono::seconds(30));
      }
    }
  }
}

TEST(PrefixStore, NoKeyLeadsOutOfIt) {
  PrefixStore store(make_memory_store(), "a/b/");
  for (const char* key : {"", "../x", "..", "c/../../x", "/x", "./x", "c//d", "c/"}) {
    EXPECT_EQ(store.head(key).error().code, Code::invalid_argument) << key;
    EXPECT_EQ(store.get(key, {}, {}).error().code, Code::invalid_argument) << key;
    EXPECT_EQ(store.put(key, {}, Condition::always()).error().code, Code::invalid_argument) << key;
    EXPECT_EQ(store.begin_upload(key).error().code, Code::invalid_argument) << key;
    EXPECT_EQ(store.remove(key).error().code, Code::invalid_argument) << key;
  }
}

TEST(PrefixStore, ListsAreOfWhatLiesBelow) {
  auto inner = make_memory_store();
  for (const char* key : {"a/1", "a/b/1", "a/b/2", "a/b/c/3", "a/bc", "a/c"}) {
    ASSERT_TRUE(inner->put(key, as_bytes("x"), Condition::always()).ok());
  }
  PrefixStore store(std::move(inner), "a/b/");
  EXPECT_THAT(keys_of(store), ElementsAre("1", "2", "c/3"));
  EXPECT_THAT(keys_of(store, "c/"), ElementsAre("c/3"));
  EXPECT_EQ(store.list({}, {}, 2)->next, "2");
  EXPECT_THAT(store.list({}, "2", 2)->objects, SizeIs(1));
  EXPECT_EQ(store.head("c/3").value()->key, "c/3");
}

}  // namespace
}  // namespace atelier
