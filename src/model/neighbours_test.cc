// SPDX-License-Identifier: Apache-2.0
// What a step does for the next one: a convolution takes the statistics that a normalisation needs,
// and what is padded is made where its padding leaves room. Compared with the reference, with the
// same bits for any number of threads.
#include <gtest/gtest.h>

#include <cstring>

#include "model/reference.h"
#include "model/runner_testing.h"
#include "model/test_net.h"

namespace atelier::model {
namespace {

void expect_reference(const Graph& graph, int64_t channels, int64_t height, int64_t width,
                      const std::string& what) {
  const std::map<std::string, Tensor> inputs{{"in", noise({1, channels, height, width}, 3)}};
  const auto expected = run_reference(graph, inputs);
  ASSERT_TRUE(expected.ok()) << expected.error().message;
  std::map<std::string, Tensor> first;
  for (int threads = 1; threads <= 4; threads++) {
    const auto made = runner(graph, threads);
    // The second time memory holds what the first left.
    ASSERT_TRUE(made->run(inputs).ok());
    const auto got = made->run(inputs);
    ASSERT_TRUE(got.ok()) << got.error().message;
    if (threads == 1) first = *got;
    for (const auto& [name, tensor] : *expected) {
      const std::vector<float>& values = got->at(name).floats;
      ASSERT_EQ(values.size(), tensor.floats.size());
      for (size_t i = 0; i < values.size(); i++) {
        ASSERT_NEAR(values[i], tensor.floats[i], 2e-3) << what << ", " << name << " at " << i;
      }
      ASSERT_EQ(0, std::memcmp(values.data(), first.at(name).floats.data(),
                               values.size() * sizeof(float)))
          << what << ", " << threads << " threads";
    }
  }
}

TEST(Neighbours, AConvolutionTakesTheMomentsForTheNormalisation) {
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{1, 3}, {9, 14}, {23, 7}}) {
    for (const int64_t out : {3, 8, 20}) {
      Net direct(1, 3), strided(2, 16), phases(3, 9), thirds(4, 16), enlarged(5, 16), twice(6, 8);
      expect_reference(direct.conv({.out = out, .kernel = 5, .pad = 2}).norm().graph(), 3, height,
                       width, "direct");
      expect_reference(strided.conv({.out = out, .stride = 2}).norm().then("Relu").graph(), 16,
                       height, width, "strided");
      expect_reference(
          phases.transposed({.out = out, .kernel = 3, .stride = 2, .pad = 1}, 1).norm().graph(), 9,
          height, width, "two phases");
      expect_reference(
          thirds.transposed({.out = out, .kernel = 4, .stride = 3, .pad = 1}, 0).norm().graph(), 16,
          height, width, "three phases, some without a tap");
      enlarged.then("Resize", {"", enlarged.given({4}, {1, 1, 2, 2})}, {{"mode", "nearest"}});
      expect_reference(enlarged.conv({.out = out}).norm().then("Tanh").graph(), 16, height, width,
                       "enlarged");
      twice.conv({.out = out, .kernel = 5, .pad = 2});
      const std::string made = twice.last();
      twice.norm().then("Add", {made});
      expect_reference(twice.graph(), 8, height, width, "read twice");
    }
  }
}

TEST(Neighbours, SoDoesWinograd) {
  for (const auto& [height, width] :
       {std::pair<int64_t, int64_t>{1, 1}, {4, 8}, {5, 30}, {33, 70}}) {
    for (const int64_t out : {16, 20}) {
      Net plain(1, 16), bounded(2, 24), added(3, 16);
      expect_reference(plain.conv({.out = out}).norm().graph(), 16, height, width, "plain");
      expect_reference(bounded.conv({.out = out}).then("Relu").norm().graph(), 24, height, width,
                       "bounded before");
      added.conv({.out = 16});
      const std::string made = added.last();
      added.conv({.out = 16}).then("Add", {made}).norm().then("Relu");
      expect_reference(added.graph(), 16, height, width, "added before");
    }
  }
}

TEST(Neighbours, AMeanFarFromZeroLeavesTheVariance) {
  for (const int64_t kernel : {3, 5}) {
    Net net(1, 16);
    net.then("Conv",
             {net.floats({16, 16, kernel, kernel}, -0.1F, 0.1F),
              net.given({16}, std::vector<float>(16, 1000.0F))},
             {{"pads", std::vector<int64_t>(4, kernel / 2)}});
    expect_reference(net.norm().graph(), 16, 20, 37, "kernel " + std::to_string(kernel));
  }
}

TEST(Neighbours, WhatIsPaddedIsMadeInItsPlace) {
  for (const std::string mode : {"reflect", "edge", "constant"}) {
    for (const int64_t channels : {3, 16}) {
      const auto pad = [&](Net& net, const std::vector<int64_t>& p) {
        net.then("Pad", {net.ints({0, 0, p[0], p[1], 0, 0, p[2], p[3]}), net.given({}, {0.5F})},
                 {{"mode", mode}});
      };
      const std::string what = mode + ", channels " + std::to_string(channels);
      Net input(1, channels), chain(2, channels), twice(3, channels), both(4, channels),
          none(5, channels), halo(6, channels), cropped(7, channels);
      pad(input, {2, 1, 3, 4});
      expect_reference(input.conv({.out = 8, .kernel = 5, .pad = 2}).graph(), channels, 7, 11,
                       what + ", an input");
      chain.conv({.out = 16}).norm().then("Relu").then("Tanh");
      pad(chain, {4, 4, 4, 4});
      expect_reference(chain.conv({.out = channels}).graph(), channels, 6, 9, what + ", a chain");
      twice.then("Relu");
      const std::string read = twice.last();
      pad(twice, {0, 0, 1, 0});
      twice.slice({2, 3}, {0, 0}, {5, 8}, {1, 1});
      twice.then("Add", {read});
      expect_reference(twice.graph(), channels, 5, 8, what + ", read twice");
      both.then("Relu");
      pad(both, {1, 2, 0, 0});
      pad(both, {0, 0, 2, 1});
      expect_reference(both.then("Tanh").graph(), channels, 8, 8, what + ", padded twice");
      none.then("Relu");
      pad(none, {0, 0, 0, 0});
      expect_reference(none.then("Tanh").graph(), channels, 4, 4, what + ", by nothing");
      cropped.then("Tanh").slice({2, 3}, {1, 2}, {6, 8}, {1, 1});
      pad(cropped, {1, 1, 1, 1});
      expect_reference(cropped.graph(), channels, 7, 9, what + ", a crop");
    }
  }
}

}  // namespace
}  // namespace atelier::model
