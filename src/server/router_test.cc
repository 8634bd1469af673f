// SPDX-License-Identifier: Apache-2.0
#include "server/router.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "server/openapi.h"

namespace atelier::server {
namespace {

using ::testing::HasSubstr;

struct FakeGate final : Gate {
  std::map<std::string, Principal> known;
  bool address_full = false, token_full = false, guessing = false;
  static Error later() { return {Code::unavailable, "Too many.", std::chrono::seconds(3)}; }
  Result<Principal> identify(const Call& call) override {
    if (guessing) return later();
    const auto found = known.find(call.header("authorization"));
    if (found == known.end()) return make_error(Code::invalid_argument, "A token is needed.");
    return found->second;
  }
  Result<void> admit_address(const Call&) override {
    if (address_full) return later();
    return {};
  }
  Result<void> admit(const Principal&) override {
    if (token_full) return later();
    return {};
  }
};

struct RouterTest : ::testing::Test {
  FakeGate gate;
  std::vector<std::string> calls;

  Router router() {
    std::vector<Operation> table;
    const auto record = [this](const Call& call) -> Result<Reply> {
      const auto id = call.path_parameters.find("id");
      calls.push_back(id == call.path_parameters.end() ? "" : id->second);
      if (calls.back() == "conflict") return make_error(Code::conflict, "It changed.");
      return Reply{200, "text/plain", call.who.name, {}};
    };
    table.push_back({"open",
                     "GET",
                     "/health",
                     "Open.",
                     "t",
                     Role::nobody,
                     {},
                     "",
                     "",
                     200,
                     "text/plain",
                     "",
                     {},
                     record});
    table.push_back({"get",
                     "GET",
                     "/v1/runs/{id}",
                     "Get.",
                     "t",
                     Role::reader,
                     {},
                     "",
                     "",
                     200,
                     "text/plain",
                     "",
                     {},
                     record});
    table.push_back({"put",
                     "PUT",
                     "/v1/runs/{id}",
                     "Put.",
                     "t",
                     Role::operator_,
                     {},
                     "application/json",
                     "",
                     200,
                     "text/plain",
                     "",
                     {},
                     record});
    gate.known["r"] = {"rita", Role::reader, {}, {}};
    gate.known["o"] = {"otto", Role::operator_, {}, {}};
    return {std::move(table), gate};
  }
  Reply ask(const std::string& method, const std::string& path, const std::string& token = "",
            const std::string& type = "", const std::string& body = "") {
    Call call;
    call.method = method;
    call.path = path;
    call.body = body;
    if (!token.empty()) call.headers["authorization"] = token;
    if (!type.empty()) call.headers["content-type"] = type;
    return router().answer(call);
  }
};

TEST_F(RouterTest, PathsAndMethodsChooseTheOperation) {
  EXPECT_EQ(ask("GET", "/v1/runs/abc", "r").body, "rita");
  EXPECT_EQ(calls.back(), "abc");
  EXPECT_EQ(ask("HEAD", "/v1/runs/abc", "r").status, 200);
  for (const char* path :
       {"/v1/runs", "/v1/runs/", "/v1/runs/a/b", "/v1//runs/a", "", "v1/runs/a"}) {
    EXPECT_EQ(ask("GET", path, "r").status, 404) << path;
  }
  const Reply other = ask("DELETE", "/v1/runs/abc", "o");
  EXPECT_EQ(other.status, 405);
  EXPECT_EQ(other.headers.at("Allow"), "GET, PUT");
}

TEST_F(RouterTest, NothingIsCalledWithoutTheRightToken) {
  const Reply none = ask("GET", "/v1/runs/a");
  EXPECT_EQ(none.status, 401);
  EXPECT_THAT(none.headers.at("WWW-Authenticate"), HasSubstr("Bearer"));
  EXPECT_EQ(ask("PUT", "/v1/runs/a", "r").status, 403);
  EXPECT_TRUE(calls.empty());
  EXPECT_EQ(ask("PUT", "/v1/runs/a", "o").status, 200);
  EXPECT_EQ(ask("GET", "/health").status, 200);
}

TEST_F(RouterTest, WhoAsksTooOftenHearsWhenToComeAgain) {
  for (bool* full : {&gate.address_full, &gate.token_full, &gate.guessing}) {
    *full = true;
    const Reply reply = ask("GET", "/v1/runs/a", "r");
    EXPECT_EQ(reply.status, 429);
    EXPECT_EQ(reply.headers.at("Retry-After"), "3");
    *full = false;
  }
  EXPECT_TRUE(calls.empty());
}

TEST_F(RouterTest, ErrorsAndTypesAreProblems) {
  const Reply conflict = ask("GET", "/v1/runs/conflict", "r");
  EXPECT_EQ(conflict.status, 409);
  EXPECT_EQ(conflict.type, "application/problem+json");
  EXPECT_EQ(nlohmann::json::parse(conflict.body)["detail"], "It changed.");
  EXPECT_EQ(ask("PUT", "/v1/runs/a", "o", "image/png", "x").status, 415);
  EXPECT_EQ(ask("PUT", "/v1/runs/a", "o", "application/json; charset=utf-8", "{}").status, 200);
  EXPECT_EQ(ask("PUT", "/v1/runs/a", "o", "application/cloudevents+json", "{}").status, 200);
}

TEST_F(RouterTest, TheDescriptionHasEveryOperation) {
  const auto document = nlohmann::json::parse(make_openapi(router().operations(), {}, "1", ""));
  EXPECT_EQ(document["paths"]["/v1/runs/{id}"]["get"]["operationId"], "get");
  EXPECT_EQ(document["paths"]["/v1/runs/{id}"]["put"]["parameters"][0]["in"], "path");
  EXPECT_TRUE(document["paths"]["/health"]["get"]["security"].empty());
}

}  // namespace
}  // namespace atelier::server
