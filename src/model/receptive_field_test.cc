// SPDX-License-Identifier: Apache-2.0
#include "model/receptive_field.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/fix_statistics.h"
#include "model/test_net.h"

namespace atelier::model {
namespace {

using ::testing::HasSubstr;

Result<ReceptiveField> field_of(const Graph& graph, int64_t height, int64_t width, int margin = 0,
                                const Statistics& statistics = {}) {
  const int64_t channels = graph.inputs[0].shape[1];
  ConcreteGraph concrete =
      specialise(graph, {{"in", {ElementType::f32, {1, channels, height, width}}}}).value();
  TRY(fix_statistics(concrete, statistics));
  return receptive_field(find_fast(std::move(concrete)), margin);
}

std::string refusal(const Graph& graph) {
  const auto field = field_of(graph, 32, 32);
  return field.ok() ? "" : field.error().message;
}

TEST(ReceptiveField, AConvolutionIsWrongByItsPadding) {
  const auto field = field_of(Net(1, 3).conv({4, 9, 1, 4}).graph(), 40, 50).value();
  EXPECT_EQ(field.y, (AxisField{1, 1, 4, 4, 0}));
  EXPECT_EQ(field.x, field.y);
}

TEST(ReceptiveField, PixelsOfTheInputMayBeWrongAlready) {
  const auto field = field_of(Net(1, 3).conv({4, 5, 1, 2}).graph(), 40, 50, 3).value();
  EXPECT_EQ(field.y, (AxisField{1, 1, 5, 5, 0}));
}

TEST(ReceptiveField, StridesAlignTilesAndLengthsDecideTheEnd) {
  const Graph graph = Net(1, 3).conv({4, 3, 2, 1}).transposed({4, 2, 2, 0}, 0).graph();
  const auto even = field_of(graph, 40, 41).value();
  // Row 0 of the small picture is wrong, hence rows 0 and 1.
  EXPECT_EQ(even.y, (AxisField{2, 1, 2, 0, 0}));
  // Of an odd length the last row of the small picture looks beyond the end.
  EXPECT_EQ(even.x, (AxisField{2, 1, 2, 2, 1}));
}

TEST(ReceptiveField, WinogradIsWrongByFoursAndAlignsItsGrid) {
  const auto one = field_of(Net(1, 16).conv({16, 3, 1, 1}).graph(), 40, 40).value();
  EXPECT_EQ(one.y, (AxisField{4, 1, 4, 4, 0}));
  const auto two =
      field_of(Net(1, 16).conv({16, 3, 1, 1}).conv({16, 3, 1, 1}).graph(), 40, 42).value();
  EXPECT_EQ(two.y, (AxisField{4, 1, 8, 8, 0}));
  // The last, smaller four are wrong as a whole.
  EXPECT_EQ(two.x, (AxisField{4, 1, 8, 6, 0}));
}

TEST(ReceptiveField, EnlargementsMakeTheOutputLarger) {
  Net net(1, 3);
  net.conv({12, 3, 1, 1}).then("DepthToSpace", {}, {{"blocksize", int64_t{2}}}).channels(3);
  const auto field = field_of(net.graph(), 20, 30).value();
  EXPECT_EQ(field.y, (AxisField{1, 2, 2, 2, 0}));
}

TEST(ReceptiveField, BranchesAreAsWrongAsTheWorse) {
  Net net(1, 3);
  net.conv({4, 3, 1, 1});
  const std::string near = net.last();
  net.conv({4, 7, 1, 3}).then("Add", {near});
  EXPECT_EQ(field_of(net.graph(), 20, 20).value().y, (AxisField{1, 1, 4, 4, 0}));
}

TEST(ReceptiveField, APadAndTheCropThatTakesItAwayAgain) {
  Net net(1, 3);
  net.pad({4, 4, 4, 4}, "reflect").slice({2, 3}, {4, 4}, {-4, -4}, {1, 1});
  EXPECT_EQ(field_of(net.graph(), 20, 20).value().y, (AxisField{1, 1, 0, 0, 0}));
}

TEST(ReceptiveField, WhatLooksAtTheWholePictureIsRefused) {
  EXPECT_THAT(refusal(Net(1, 3).norm().graph()), HasSubstr("statistics of the whole picture"));
  EXPECT_THAT(refusal(Net(1, 3).then("GlobalAveragePool").graph()), HasSubstr("GlobalAveragePool"));
  Net mean(1, 3);
  mean.then("ReduceMean", {}, {{"axes", std::vector<int64_t>{2, 3}}, {"keepdims", int64_t{1}}});
  EXPECT_THAT(refusal(mean.graph()), HasSubstr("ReduceMean"));
  Net map(1, 3);
  map.then("Mul", {map.floats({1, 1, 32, 32}, 0, 1)});
  EXPECT_THAT(refusal(map.graph()), HasSubstr("differs from pixel to pixel"));
  Net sized(1, 3);
  sized.then("Resize", {"", "", sized.ints({1, 3, 48, 48})}, {{"mode", std::string("nearest")}});
  EXPECT_THAT(refusal(sized.graph()), HasSubstr("Resize"));
}

TEST(ReceptiveField, StatisticsThatAreFixedLookAtNothing) {
  const Graph graph = Net(1, 3).conv({4, 3, 1, 1}).norm().then("Relu").graph();
  EXPECT_FALSE(field_of(graph, 20, 20).ok());
  const Statistics fixed{{graph.nodes[1].name, {{0, 1, 2, 3}, {1, 1, 2, 2}}}};
  EXPECT_EQ(field_of(graph, 20, 20, 0, fixed).value().y, (AxisField{1, 1, 1, 1, 0}));
}

TEST(ReceptiveField, ATileHasTheFieldOfItsPicture) {
  const Graph graph = Net(1, 3).conv({8, 3, 2, 1}).transposed({3, 2, 2, 0}, 0).graph();
  EXPECT_EQ(field_of(graph, 101, 203).value(), field_of(graph, 33, 61).value());
  EXPECT_NE(field_of(graph, 101, 203).value(), field_of(graph, 34, 61).value());
}

TEST(ReceptiveField, ACropToAFixedSizeIsNotThatOfATile) {
  const Graph graph = Net(1, 3).slice({2}, {0}, {50}, {1}).graph();
  EXPECT_NE(field_of(graph, 100, 64).value(), field_of(graph, 60, 64).value());
}

TEST(ReceptiveField, AConstantMadeOfTheSizeIsNotThatOfATile) {
  Net net(1, 3);
  const std::string one = net.then("Shape").last();
  const std::string rows = net.node("Gather", {one, net.ints({2})}).last();
  const std::string number = net.node("Cast", {rows}, {{"to", int64_t{1}}}).last();
  net.node("Mul", {"in", number});
  EXPECT_NE(field_of(net.graph(), 100, 64).value(), field_of(net.graph(), 60, 64).value());
  EXPECT_EQ(field_of(net.graph(), 60, 64).value(), field_of(net.graph(), 60, 32).value());
}

}  // namespace
}  // namespace atelier::model
