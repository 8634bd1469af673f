// SPDX-License-Identifier: Apache-2.0
// A rank up to where it would start a scorer; whole gangs are tested by tests/mpi/mpi_test.py.
#include "cli/rank_command.h"

#include <gtest/gtest.h>

#include "base/clock.h"
#include "cli/inputs.h"
#include "run/ledger.h"
#include "run/run_folder.h"
#include "store/test_folder.h"

namespace atelier::cli {
namespace {

// One whose others never come.
class LonelyGang final : public engine::Gang {
 public:
  int rank() const override { return 0; }
  int size() const override { return 2; }
  int local_size() const override { return 1; }
  Result<void> meet(std::stop_token) override {
    return make_error(Code::cancelled, "Interrupted.");
  }
  Result<std::vector<std::byte>> broadcast(std::vector<std::byte>, std::stop_token) override {
    ADD_FAILURE() << "nobody is there";
    return std::vector<std::byte>();
  }
  Result<void> sum(std::span<double>, std::stop_token) override { return {}; }
  Result<void> largest(std::span<double>, std::stop_token) override { return {}; }
};

class RankTest : public testing::Test {
 protected:
  RankTest() {
    options_.run_url = (folder_.path() / "00112233445566aa").string();
    options_.gang = "job.1";
    options_.input = (folder_.path() / "in.mp4").string();
    options_.model = "none";
  }
  Result<std::map<std::string, double>> score(engine::Gang& gang) {
    return score_as_rank(options_, gang, [this] { ++complete_; }, {});
  }

  TestFolder folder_;
  RankOptions options_;
  int complete_ = 0;
};

TEST_F(RankTest, NothingIsReadBeforeAllAreThere) {
  LonelyGang gang;
  EXPECT_EQ(score(gang).error().code, Code::cancelled);
  EXPECT_EQ(complete_, 0);
}

TEST_F(RankTest, ARunThatWasNotPreparedIsRefused) {
  engine::SoloGang gang;
  EXPECT_EQ(score(gang).error().code, Code::invalid_argument);
  EXPECT_EQ(complete_, 1);
}

TEST_F(RankTest, ARankBeatsUnderTheNameOfItsGangBeforeItReadsTheInput) {
  const auto store = open_folder(parse_location(folder_.path().string()).value()).value();
  run::Manifest manifest;
  manifest.run_id = "00112233445566aa";
  manifest.input.etag = "e";
  const std::string text = run::to_json(manifest);
  ASSERT_TRUE(
      store->put("00112233445566aa/manifest.json", as_bytes(text), Condition::always()).ok());
  engine::SoloGang gang;
  EXPECT_EQ(score(gang).error().code, Code::invalid_input) << "there is no in.mp4";
  EXPECT_TRUE(store->head("00112233445566aa/workers/job.1.0.beat").value());
}

TEST_F(RankTest, ARunIsSeenByTheBeatOfItsWorker) {
  const auto store = open_folder(parse_location(folder_.path().string()).value()).value();
  EXPECT_FALSE(sees_run(options_.run_url, "job").value());
  run::Ledger::Setup setup;
  setup.run_id = "00112233445566aa";
  setup.worker = "job";
  run::Ledger ledger(*store, system_clock(), setup);
  ASSERT_TRUE(ledger.beat(0).ok());
  EXPECT_TRUE(sees_run(options_.run_url, "job").value());
  EXPECT_FALSE(sees_run(options_.run_url, "jo").value()) << "another name";
}

}  // namespace
}  // namespace atelier::cli
