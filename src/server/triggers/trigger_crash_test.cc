// SPDX-License-Identifier: Apache-2.0
// The process ends before any commit, as one does that is killed, and is started again: nothing is
// missed and nothing doubled.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <thread>

#include "server/triggers/receipts_testing.h"
#include "server/triggers/trigger_service.h"
#include "store/counting_store.h"
#include "store/local_store.h"
#include "store/memory_store.h"

namespace atelier::server {
namespace {

namespace fs = std::filesystem;

#ifndef ATELIER_STORM_EVENTS
#define ATELIER_STORM_EVENTS 10'000
#endif
constexpr int kEvents = ATELIER_STORM_EVENTS;
constexpr int kRestarts = 20;
constexpr int kDied = 9;
constexpr int kCallers = 4;

// Runs `life` in a process of its own that ends before its commit number `dies_at` (0: never).
// Whether it came to its end.
template <class Life>
bool live(const fs::path& file, uint64_t dies_at, const Life& life) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    DatabaseOptions options;
    options.before_commit = [dies_at](uint64_t n) {
      if (n == dies_at) ::_exit(kDied);
    };
    auto database = Database::open(file, std::move(options));
    if (!database.ok()) ::_exit(1);
    const bool good = life(**database);
    (*database).reset();
    ::_exit(good ? 0 : 2);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_TRUE(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == kDied) << WEXITSTATUS(status);
  return WEXITSTATUS(status) == 0;
}

OpenPlace lend(ObjectStore& store) {
  return [&store](const Location&) {
    return Result<std::unique_ptr<ObjectStore>>(std::make_unique<CountingStore>(store));
  };
}

TEST(TriggerCrash, ADeathBeforeAnyCommitLosesAndDoublesNothing) {
  constexpr int kFiles = 6;
  TestFolder folder;
  const fs::path in = folder.path() / "in";
  fs::create_directories(in);
  for (int i = 0; i < kFiles; ++i) std::ofstream(in / fmt::format("{}.mp4", i)) << "bytes";
  Trigger trigger =
      trigger_of("name='t'\nkind='poll'\nlocation='" + in.string() + "'\npipeline='p'\n");
  trigger.settle = std::chrono::milliseconds(0);
  // Notices the files one by one and all together, starting in between.
  const auto life = [&](Database& database) {
    FakeWallClock wall;
    FakeClock clock;
    Receipts receipts(database, wall, at_once(submit_row));
    const auto store = open_local_store(in);
    TriggerScan scan(trigger, **store, receipts, clock);
    bool good = true;
    for (int i = 0; i < kFiles / 2; ++i) {
      good = scan.look({fmt::format("{}.mp4", i)}, true).ok() && good;
      good = receipts.start_due(trigger, always).ok() && good;
    }
    good = scan.scan(always).ok() && good;
    return receipts.start_due(trigger, always).ok() && good;
  };
  uint64_t dies_at = 1;
  for (bool ended = false; !ended; ++dies_at) {
    const fs::path file = folder.path() / fmt::format("{}.db", dies_at);
    ended = live(file, dies_at, life);
    if (!ended) {
      // It dies at the same place again, of what is left, and then does not.
      (void)live(file, 1, life);
      EXPECT_TRUE(live(file, 0, life));
    }
    const auto database = open_database(file);
    EXPECT_EQ(number_of(*database, "SELECT count(*) FROM runs"), kFiles) << dies_at;
    EXPECT_EQ(number_of(*database,
                        "SELECT count(*) FROM receipts WHERE state = 'submitted' AND "
                        "run_id IN (SELECT id FROM runs)"),
              kFiles);
  }
  // Three of one file each and what starts it, and one of all the others.
  EXPECT_EQ(dies_at - 1, 2U * (kFiles / 2) + 2 + 1);
}

// Shared between the lives: what senders know.
struct Senders {
  // Of each event, whether its call was answered by 200; the others are sent again.
  std::array<std::atomic<bool>, static_cast<size_t>(kEvents)> answered;
};

struct Storm {
  std::vector<int> events;  // each names a blob; in no order, many of them twice
  int blobs = 0;
};

Storm make_storm() {
  Storm storm;
  storm.blobs = kEvents * 7 / 10;
  for (int i = 0; i < kEvents; ++i) storm.events.push_back(i % storm.blobs);
  std::mt19937 random(7);
  std::shuffle(storm.events.begin(), storm.events.end(), random);
  return storm;
}

std::string body_of(const Storm& storm, const std::vector<int>& numbers) {
  std::string body = R"({"Records":[)";
  for (size_t i = 0; i < numbers.size(); ++i) {
    body += fmt::format(R"({}{{"eventName":"ObjectCreated:Put","s3":{{"bucket":{{"name":"b"}},)"
                        R"("object":{{"key":"in/{}.mp4"}}}}}})",
                        i == 0 ? "" : ",", storm.events[static_cast<size_t>(numbers[i])]);
  }
  return body + "]}";
}

// Sends what has no answer yet, one to forty at a time.
void send(TriggerService& service, const Storm& storm, Senders& senders, int caller) {
  std::mt19937 random(static_cast<unsigned>(caller));
  std::vector<int> numbers;
  const auto flush = [&] {
    Call call;
    call.method = "POST";
    call.body = body_of(storm, numbers);
    if (service.handle_event("e", call).status == 200) {
      for (const int number : numbers) senders.answered[static_cast<size_t>(number)] = true;
    }
    numbers.clear();
  };
  for (int number = caller; number < kEvents; number += kCallers) {
    if (senders.answered[static_cast<size_t>(number)]) continue;
    numbers.push_back(number);
    if (numbers.size() > random() % 40) flush();
  }
  flush();
}

bool storm_life(Database& database, ObjectStore& store, const Storm& storm, Senders& senders) {
  SystemClock clock;
  SystemWallClock wall;
  TriggerService service(TriggerParts{database, clock, wall, lend(store), at_once(submit_row)});
  const Trigger trigger =
      trigger_of("name='e'\nkind='event'\nlocation='s3://b/in'\npipeline='p'\n");
  if (!service.replace({trigger}).ok()) return false;
  {
    std::vector<std::jthread> callers;
    for (int c = 0; c < kCallers; ++c) {
      callers.emplace_back([&, c] { send(service, storm, senders, c); });
    }
  }
  // All were answered: what is on disk starts.
  while (service.receipts().counts("e")->seen > 0) std::this_thread::yield();
  return true;
}

TEST(TriggerCrash, AStormOfEventsOverManyRestartsMissesAndDoublesNothing) {
  const Storm storm = make_storm();
  const auto store = make_memory_store();
  const std::vector<std::byte> bytes(1);
  for (int i = 0; i < storm.blobs; ++i) {
    ASSERT_TRUE(store->put(fmt::format("{}.mp4", i), bytes, Condition::always()).ok());
  }
  void* memory =
      ::mmap(nullptr, sizeof(Senders), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto& senders = *new (memory) Senders{};
  TestFolder folder;
  const fs::path file = folder.path() / "a.db";
  const auto life = [&](Database& database) {
    return storm_life(database, *store, storm, senders);
  };
  const Clock::Duration begin = system_clock().now();
  std::mt19937 random(11);
  int deaths = 0;
  for (int i = 0; i < kRestarts; ++i) {
    // About as many commits as a twentieth of the events takes.
    if (!live(file, 1 + random() % (kEvents / 800), life)) ++deaths;
  }
  ASSERT_TRUE(live(file, 0, life));
  const double took = std::chrono::duration<double>(system_clock().now() - begin).count();
  RecordProperty("events_per_second", static_cast<int>(kEvents / took));
  EXPECT_EQ(deaths, kRestarts);
  const auto database = open_database(file);
  EXPECT_EQ(number_of(*database, "SELECT count(*) FROM runs"), storm.blobs);
  EXPECT_EQ(number_of(*database, "SELECT count(DISTINCT input) FROM runs"), storm.blobs);
  EXPECT_EQ(number_of(*database, "SELECT count(*) FROM receipts WHERE state = 'submitted'"),
            storm.blobs);
  ::munmap(memory, sizeof(Senders));
}

}  // namespace
}  // namespace atelier::server
