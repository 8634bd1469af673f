// SPDX-License-Identifier: Apache-2.0
#include "run/model_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace atelier::run {
namespace {

std::vector<std::byte> shipped_model() {
  std::ifstream file(ATELIER_SOURCE_DIR "/models/starry-night.onnx", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

ModelFiles files(std::vector<std::byte> bytes = shipped_model()) {
  ModelFiles made;
  made.name = "net";
  made.onnx = std::make_unique<MemorySource>(std::move(bytes));
  return made;
}

model::RunnerOptions with_threads(int threads) {
  model::RunnerOptions options;
  options.threads = threads;
  return options;
}

TEST(ModelKeeper, TheSameModelIsLoadedOnce) {
  ModelKeeper keeper;
  const auto first = keeper.load(files());
  ASSERT_TRUE(first.ok()) << first.error().message;
  const std::string hash = (*first)->sha256;
  EXPECT_EQ(keeper.load(files()).value()->sha256, hash);
  EXPECT_EQ(keeper.loads(), 1);
  // Another name or toml is another model, though the bytes are the same.
  ModelFiles renamed = files();
  renamed.name = "other";
  EXPECT_EQ(keeper.load(std::move(renamed)).value()->spec.name, "other");
  EXPECT_EQ(keeper.loads(), 2);
  ModelFiles described = files();
  described.toml = "range = [0, 1]";
  ASSERT_TRUE(keeper.load(std::move(described)).ok());
  EXPECT_EQ(keeper.loads(), 3);
}

TEST(ModelKeeper, WhatIsNoModelLeavesNothing) {
  ModelKeeper keeper;
  ASSERT_TRUE(keeper.load(files()).ok());
  EXPECT_FALSE(keeper.load(files(std::vector<std::byte>(10))).ok());
  ASSERT_TRUE(keeper.load(files()).ok());
  EXPECT_EQ(keeper.loads(), 2);
}

TEST(ModelKeeper, ARunnerThatWasKeptIsGivenOnce) {
  ModelKeeper keeper;
  ASSERT_TRUE(keeper.load(files()).ok());
  auto runner = keeper.runner(with_threads(1)).value();
  const model::Runner* const first = runner.get();
  EXPECT_NE(keeper.runner(with_threads(1)).value().get(), first) << "it is not kept yet";
  keeper.keep(with_threads(1), std::move(runner));
  EXPECT_NE(keeper.runner(with_threads(2)).value().get(), first);
  EXPECT_EQ(keeper.made(), 3);
  const auto again = keeper.runner(with_threads(1)).value();
  EXPECT_EQ(again.get(), first);
  EXPECT_NE(keeper.runner(with_threads(1)).value().get(), first) << "somebody has it";
  EXPECT_EQ(keeper.made(), 4);
}

TEST(ModelKeeper, TheTwoKeptLastStay) {
  ModelKeeper keeper;
  ASSERT_TRUE(keeper.load(files()).ok());
  for (const int threads : {1, 2, 3}) {
    keeper.keep(with_threads(threads), keeper.runner(with_threads(threads)).value());
  }
  for (const int threads : {2, 3}) (void)keeper.runner(with_threads(threads)).value();
  EXPECT_EQ(keeper.made(), 3);
  (void)keeper.runner(with_threads(1)).value();
  EXPECT_EQ(keeper.made(), 4);
}

TEST(ModelKeeper, NoRunnerIsKeptForEver) {
  ModelKeeper keeper;
  ASSERT_TRUE(keeper.load(files()).ok());
  for (int i = 0; i < 250; ++i) {
    keeper.keep(with_threads(1), keeper.runner(with_threads(1)).value());
  }
  EXPECT_EQ(keeper.made(), 3);
}

TEST(ModelKeeper, ARunnerOfAnotherModelIsNotGiven) {
  ModelKeeper keeper;
  ASSERT_TRUE(keeper.load(files()).ok());
  keeper.keep(with_threads(1), keeper.runner(with_threads(1)).value());
  ModelFiles renamed = files();
  renamed.name = "other";
  ASSERT_TRUE(keeper.load(std::move(renamed)).ok());
  (void)keeper.runner(with_threads(1)).value();
  EXPECT_EQ(keeper.made(), 2);
}

}  // namespace
}  // namespace atelier::run
