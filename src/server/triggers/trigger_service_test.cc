// SPDX-License-Identifier: Apache-2.0
#include "server/triggers/trigger_service.h"

#include <gtest/gtest.h>

#include <fstream>
#include <latch>
#include <nlohmann/json.hpp>
#include <thread>

#include "server/triggers/receipts_testing.h"
#include "store/counting_store.h"
#include "store/faulty_store.h"
#include "store/local_store.h"
#include "store/memory_store.h"

namespace atelier::server {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

std::string grid_event(const std::string& key, const std::string& etag = "") {
  return R"({"eventType":"Microsoft.Storage.BlobCreated","id":"1","data":{"api":"PutBlob",)"
         R"("eTag":")" +
         etag + R"(","url":"https://acc.blob.core.windows.net/box/in/)" + key + R"("}})";
}

Call post(std::string body) {
  Call call;
  call.method = "POST";
  call.body = std::move(body);
  return call;
}

struct TriggerServiceTest : ::testing::Test {
  TestFolder folder;
  std::unique_ptr<Database> database = open_database(folder.path() / "a.db");
  FakeWallClock wall;
  SystemClock clock;
  std::unique_ptr<ObjectStore> memory = make_memory_store();
  CountingStore store{*memory};
  std::unique_ptr<TriggerService> service;

  void SetUp() override { make(); }
  // What is asked of clouds goes to `store`.
  void make(ObjectStore* cloud = nullptr) {
    ObjectStore* const asked = cloud == nullptr ? &store : cloud;
    const OpenPlace open = [asked](const Location& place) -> Result<std::unique_ptr<ObjectStore>> {
      if (place.is_file()) return open_local_store(place.path);
      return std::unique_ptr<ObjectStore>(std::make_unique<CountingStore>(*asked));
    };
    service = std::make_unique<TriggerService>(
        TriggerParts{*database, clock, wall, open, at_once(submit_row)});
  }
  static Trigger event_trigger() {
    return trigger_of(
        "name='e'\nkind='event'\nlocation='az://acc/box/in'\npipeline='p'\n"
        "suffix='.mp4'\n[parameters]\nx='{url}'\n");
  }
  Trigger folder_trigger(const std::string& name, const std::string& place) const {
    fs::create_directories(folder.path() / place);
    Trigger trigger = trigger_of("name='" + name + "'\nkind='watch'\nlocation='" +
                                 (folder.path() / place).string() + "'\npipeline='p'\n");
    trigger.settle = milliseconds(20);
    return trigger;
  }
  void run(std::vector<Trigger> triggers) {
    const Result<void> replaced = service->replace(std::move(triggers));
    ASSERT_TRUE(replaced.ok()) << replaced.error().message;
  }
  void put(const std::string& key, size_t size = 4) {
    ASSERT_TRUE(memory->put(key, std::vector<std::byte>(size), Condition::always()).ok());
  }
  int64_t runs(const std::string& where = "1") {
    return number_of(*database, "SELECT count(*) FROM runs WHERE " + where);
  }
  // Looks until it is so, for a minute at most: the trigger's thread decides when.
  ::testing::AssertionResult comes_to(int64_t wanted, const std::string& where = "1") {
    const Clock::Duration end = clock.now() + seconds(60);
    int64_t found = 0;
    while (clock.now() < end) {
      found = runs(where);
      if (found == wanted) return ::testing::AssertionSuccess();
      std::this_thread::yield();
    }
    return ::testing::AssertionFailure() << found << " runs, not " << wanted;
  }
  nlohmann::json taken(const std::string& body) {
    const Reply reply = service->handle_event("e", post(body));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return nlohmann::json::parse(reply.body);
  }
};

TEST_F(TriggerServiceTest, AFileInAWatchedFolderStartsARun) {
  run({folder_trigger("w", "in")});
  std::ofstream(folder.path() / "in" / "a.mp4") << "bytes";
  EXPECT_TRUE(comes_to(1));
  std::ofstream(folder.path() / "b") << "bytes";
  fs::rename(folder.path() / "b", folder.path() / "in" / "b.mp4");
  EXPECT_TRUE(comes_to(2));
}

TEST_F(TriggerServiceTest, TriggersAreReplacedWhileTheyRun) {
  run({folder_trigger("w", "in"), folder_trigger("v", "other")});
  std::ofstream(folder.path() / "in" / "a.mp4") << "bytes";
  std::ofstream(folder.path() / "other" / "a.mp4") << "bytes";
  EXPECT_TRUE(comes_to(2));
  Trigger moved = folder_trigger("w", "third");
  moved.pipeline = "q";
  run({moved});
  std::ofstream(folder.path() / "third" / "b.mp4") << "bytes";
  EXPECT_TRUE(comes_to(1, "pipeline = 'q'"));
  const auto reports = service->reports();
  ASSERT_TRUE(reports.ok());
  ASSERT_EQ(reports->size(), 1U);
  EXPECT_EQ(reports->at(0).trigger, moved);
  EXPECT_EQ(reports->at(0).receipts.submitted, 2);
  const auto json = nlohmann::json::parse(to_json(reports->at(0)));
  EXPECT_EQ(json.at("kind"), "watch");
  EXPECT_EQ(json.at("started"), 2);
  run({});
  EXPECT_TRUE(service->reports()->empty());
}

TEST_F(TriggerServiceTest, AStoreThatHangsHoldsUpNobodyElse) {
  std::latch asked(1), go_on(1);
  struct Hanging final : ObjectStore {
    std::latch& asked;
    std::latch& go_on;
    Hanging(std::latch& a, std::latch& g) : asked(a), go_on(g) {}
    Result<std::optional<ObjectInfo>> head(std::string_view) override { return none(); }
    Result<std::vector<std::byte>> get(std::string_view, ByteRange, std::string_view) override {
      return none();
    }
    Result<PutOutcome> put(std::string_view, std::span<const std::byte>,
                           const Condition&) override {
      return none();
    }
    Result<std::unique_ptr<Upload>> begin_upload(std::string_view) override { return none(); }
    Result<ListPage> list(std::string_view, std::string_view, size_t) override {
      asked.count_down();
      go_on.wait();
      return none();
    }
    Result<bool> remove(std::string_view) override { return none(); }
    Result<bool> decides_conditions(std::string_view) override { return none(); }
    std::string url(std::string_view) const override { return ""; }
    static Error none() { return Error{Code::unavailable, "It is away.", {}}; }
  } hanging(asked, go_on);
  make(&hanging);
  run({trigger_of("name='h'\nkind='poll'\nlocation='s3://b/in'\npipeline='p'\n"),
       folder_trigger("w", "in")});
  asked.wait();
  std::ofstream(folder.path() / "in" / "a.mp4") << "bytes";
  EXPECT_TRUE(comes_to(1));
  // Nor does replacing it wait.
  run({folder_trigger("w", "in")});
  EXPECT_EQ(service->reports()->size(), 1U);
  go_on.count_down();
  service.reset();  // its thread looks at the latch once more when it wakes
}

TEST_F(TriggerServiceTest, AnEventStartsWhatIsThere) {
  run({event_trigger()});
  put("a.mp4");
  put("empty.mp4", 0);
  const auto json =
      taken("[" + grid_event("a.mp4") + "," + grid_event("absent.mp4") + "," + grid_event("a.txt") +
            "," + grid_event("empty.mp4") + "," + grid_event("../../etc/passwd") + "]");
  EXPECT_EQ(json.at("accepted"), 1);
  EXPECT_EQ(json.at("ignored"), 4);
  EXPECT_TRUE(comes_to(1));
  EXPECT_EQ(store.counts().of(StoreVerb::head), 3U);
  EXPECT_EQ(store.counts().of(StoreVerb::list), 0U);
}

TEST_F(TriggerServiceTest, EventsThatComeTwiceOrInAnyOrderStartOnce) {
  run({event_trigger()});
  put("a.mp4");
  const std::string etag = (*memory->head("a.mp4"))->etag;
  EXPECT_EQ(taken("[" + grid_event("a.mp4", etag) + "]").at("accepted"), 1);
  const auto again = taken("[" + grid_event("a.mp4", etag) + "," + grid_event("a.mp4") + "," +
                           grid_event("a.mp4", "older") + "]");
  EXPECT_EQ(again.at("accepted"), 0);
  EXPECT_EQ(again.at("known"), 3);
  // The first was known by its etag.
  EXPECT_EQ(store.counts().of(StoreVerb::head), 3U);
  put("a.mp4");
  EXPECT_EQ(taken("[" + grid_event("a.mp4", "older") + "]").at("accepted"), 1);
  EXPECT_TRUE(comes_to(2));
}

TEST_F(TriggerServiceTest, MissedEventsAreMadeUpForByAList) {
  put("a.mp4");
  put("b.mp4");
  Trigger safe = event_trigger();
  safe.every = milliseconds(20);
  run({safe});
  EXPECT_TRUE(comes_to(2));
  put("c.mp4");
  EXPECT_TRUE(comes_to(3));
}

TEST_F(TriggerServiceTest, EventsOfOtherPlacesAreIgnored) {
  run({event_trigger()});
  put("a.mp4");
  const std::string body =
      R"([{"eventType":"Microsoft.Storage.BlobCreated","data":{"api":"PutBlob",)"
      R"("url":"https://other.blob.core.windows.net/box/in/a.mp4"}}])";
  EXPECT_EQ(taken(body).at("ignored"), 1);
  EXPECT_EQ(taken(R"({"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"box"},)"
                  R"("object":{"key":"in/a.mp4"}}}]})")
                .at("ignored"),
            1);
  EXPECT_EQ(store.counts().of(StoreVerb::head), 0U);
}

TEST_F(TriggerServiceTest, AStoreThatIsAwayLetsTheSenderTryAgain) {
  FaultyStore faulty(store, scripted_faults({{StoreVerb::head, 1, Fault::before}}));
  make(&faulty);
  run({event_trigger()});
  put("a.mp4");
  put("b.mp4");
  const std::string body = "[" + grid_event("a.mp4") + "," + grid_event("b.mp4") + "]";
  const Reply first = service->handle_event("e", post(body));
  EXPECT_EQ(first.status, 503);
  EXPECT_EQ(first.headers.count("Retry-After"), 1U);
  EXPECT_TRUE(comes_to(1));
  EXPECT_EQ(taken(body).at("accepted"), 1);
  EXPECT_TRUE(comes_to(2));
}

TEST_F(TriggerServiceTest, HandshakesAreAnswered) {
  run({event_trigger()});
  const auto json =
      taken(R"([{"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","id":"1",)"
            R"("data":{"validationCode":"512d-38b6","validationUrl":"https://h/x"}}])");
  EXPECT_EQ(json, nlohmann::json({{"validationResponse", "512d-38b6"}}));
  Call options;
  options.method = "OPTIONS";
  options.headers["webhook-request-origin"] = "eventgrid.azure.net";
  const Reply reply = service->handle_event("e", options);
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.headers.at("WebHook-Allowed-Origin"), "eventgrid.azure.net");
  options.headers.clear();
  EXPECT_EQ(service->handle_event("e", options).status, 400);
}

TEST_F(TriggerServiceTest, WhatIsWrongIsRefused) {
  run({event_trigger(), folder_trigger("w", "in")});
  EXPECT_EQ(service->handle_event("absent", post("[]")).status, 404);
  EXPECT_EQ(service->handle_event("w", post("[]")).status, 409);
  EXPECT_EQ(service->handle_event("e", post("nonsense")).status, 400);
  EXPECT_EQ(service->handle_event("e", post(std::string(kMostEventBytes + 1, ' '))).status, 413);
  Call get;
  get.method = "GET";
  EXPECT_EQ(service->handle_event("e", get).status, 405);
}

TEST_F(TriggerServiceTest, ManyCallersAtOnceStartEachBlobOnce) {
  run({event_trigger()});
  constexpr int kBlobs = 400, kCallers = 6;
  for (int i = 0; i < kBlobs; ++i) put(fmt::format("{}.mp4", i));
  {
    std::vector<std::jthread> callers;
    for (int c = 0; c < kCallers; ++c) {
      callers.emplace_back([&, c] {
        for (int i = 0; i < kBlobs; ++i) {
          const int blob = c % 2 == 0 ? i : kBlobs - 1 - i;
          const Reply reply =
              service->handle_event("e", post("[" + grid_event(fmt::format("{}.mp4", blob)) + "]"));
          EXPECT_EQ(reply.status, 200);
        }
      });
    }
  }
  EXPECT_TRUE(comes_to(kBlobs));
  EXPECT_EQ(number_of(*database, "SELECT count(DISTINCT input) FROM runs"), kBlobs);
}

}  // namespace
}  // namespace atelier::server
