// SPDX-License-Identifier: Apache-2.0
// Whole requests to the service's own table of operations, over a database and with a gate that
// lets everybody in: "METHOD TARGET", headers, an empty line, the body. Whatever is asked, the
// answer is none of an error of the service's own, and JSON is JSON.
//
// One service answers all inputs of a process, since libFuzzer has no end to tell; its queue is
// short, so that it is soon full, too. Backups are left out: each would be a file.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "fuzz.h"
#include "server/api.h"
#include "server/http_target.h"
#include "server/operations_policy.h"
#include "store/memory_store.h"
#include "store/test_folder.h"

namespace fuzz = atelier::fuzz;
using namespace atelier;
using namespace atelier::server;

namespace {

constexpr const char* kPipeline = R"(
name = "paint"
[parameters]
input = {type = "input"}
output = {type = "output"}
crf = {type = "integer", min = 0, max = 51, default = 23}
[[steps]]
kind = "prepare"
input = "{input}"
[[steps]]
kind = "score"
model = "starry-night"
[[steps]]
kind = "finish"
output = "{output}"
crf = "{crf}"
)";

// The role is the token: none is guessed in minutes.
struct OpenGate final : Gate {
  Result<Principal> identify(const Call& call) override {
    const auto role = role_named(call.header("authorization"));
    if (!role) return make_error(Code::invalid_argument, "A token is needed.");
    return Principal{"ann", *role, {}, {}};
  }
  Result<void> admit_address(const Call&) override { return {}; }
  Result<void> admit(const Principal&) override { return {}; }
};

SubmissionRules rules() {
  SubmissionRules made;
  made.places.media = {parse_location("/srv/media").value()};
  made.resolve = [](const std::filesystem::path& path) -> Result<std::filesystem::path> {
    return path;
  };
  made.pools = {"local"};
  made.default_pool = "local";
  made.limits_of = [](const std::string&) { return QueueLimits{50, 50, INT64_MAX}; };
  made.max_input_bytes_of = [](const std::string&) { return int64_t{1} << 30; };
  return made;
}

struct Server {
  TestFolder folder;
  SystemClock clock;
  FakeWallClock wall;
  std::unique_ptr<Database> database = Database::open(folder.path() / "atelier.db").value();
  std::unique_ptr<ObjectStore> ops = make_memory_store();
  RunFolders folders{*ops};
  Tokens tokens{*database, clock, wall};
  Submissions submissions{rules()};
  EventBell bell;
  Metrics metrics;
  TriggerService triggers{TriggerParts{
      *database, clock, wall,
      [](const Location&) -> Result<std::unique_ptr<ObjectStore>> { return make_memory_store(); },
      [](const TriggeredRun&) -> Result<AddRun> {
        return make_error(Code::invalid_argument, "Nothing is started here.");
      }}};
  TriggerTools tools{triggers, [](const std::string&) { return false; },
                     [](const Trigger&) { return Result<void>(); }, [] { return Result<void>(); }};
  ApiParts parts{
      *database,
      wall,
      submissions,
      folders,
      tokens,
      bell,
      metrics,
      folder.path() / "logs",
      folder.path() / "backups",
      folder.path() / "previews",
      {PoolInfo{"local", "local"}},
      "0",
      "http://127.0.0.1:1",
      [] { return std::string(); },
      [] { return ListenerCounts{}; },
      [](const RunRow&) { return Result<std::optional<std::filesystem::path>>(std::nullopt); }};
  OpenGate gate;
  Router router{table(), gate};

  Server() {
    const auto published = database->write([](Connection& connection) -> Result<void> {
      TRY(publish_pipeline(connection, kPipeline, "", "fuzz", 1));
      return {};
    });
    fuzz::must(published.ok(), "the pipeline is published");
  }

  std::vector<Operation> table() {
    std::vector<Operation> all;
    const auto add = [&all](std::vector<Operation> more) {
      for (Operation& operation : more) all.push_back(std::move(operation));
    };
    add(run_operations(parts));
    add(pipeline_operations(parts));
    add(trigger_operations(parts, tools));
    add(pool_operations(parts));
    add(token_operations(parts));
    add(system_operations(parts, [] { return std::string("{}"); }));
    std::erase_if(all, [](const Operation& operation) { return operation.id == "backUp"; });
    return all;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Server server;
  std::string_view rest = fuzz::text_of(data, size);
  const std::string_view first = fuzz::take_line(rest);
  const size_t blank = first.find(' ');
  Call call;
  if (blank == std::string_view::npos || !read_target(first.substr(blank + 1), call)) return 0;
  call.method = first.substr(0, blank);
  call.headers = fuzz::take_headers(rest);
  call.body = rest;
  call.address = "127.0.0.1";
  const Reply reply = server.router.answer(call);
  fuzz::must(reply.status >= 200 && reply.status < 600, "a status is one of HTTP");
  fuzz::must(reply.status != 500, reply.body.c_str());
  if (reply.type.ends_with("json") && !reply.body.empty()) {
    fuzz::must(!nlohmann::json::parse(reply.body, nullptr, false).is_discarded(), "JSON is JSON");
  }
  for (const auto& [name, value] : reply.headers) {
    fuzz::must(value.find_first_of("\r\n") == std::string::npos, "a header is one line");
  }
  return 0;
}
