// SPDX-License-Identifier: Apache-2.0
// The planned runner against the reference on seeded random graphs. ATELIER_GRAPHS=20000 tries that
// many of each kind instead of a share that takes seconds.
#include "model/random_graph.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "model/reference.h"
#include "model/runner.h"

namespace atelier::model {
namespace {

using Tensors = std::map<std::string, Tensor>;

uint32_t graphs() {
  const char* wanted = std::getenv("ATELIER_GRAPHS");
  return wanted != nullptr ? static_cast<uint32_t>(std::strtoul(wanted, nullptr, 10)) : 300;
}

Result<Tensors> run(const RandomGraph& random, int threads) {
  ModelSpec spec;
  spec.name = "random";
  spec.input = random.graph.inputs[0].name;
  spec.output = random.graph.outputs[0].name;
  const auto runner = TRY(make_onednn_runner(random.graph, spec, {threads, {}}));
  return runner->run(random.inputs);
}

std::string describe_graph(const Graph& graph) {
  std::string text;
  for (const Node& node : graph.nodes) {
    text += fmt::format("  {} = {}({})\n", fmt::join(node.outputs, ", "), node.op,
                        fmt::join(node.inputs, ", "));
  }
  return text;
}

// Nothing where `got` is what `expected` says, within a thousandth of its largest number.
std::string complaint(const Tensor& got, const Tensor& expected) {
  if (got.shape != expected.shape) {
    return fmt::format("shape {} instead of {}", fmt::join(got.shape, "x"),
                       fmt::join(expected.shape, "x"));
  }
  if (got.type != expected.type || got.ints != expected.ints) return "other type or integers";
  if (got.floats.size() != expected.floats.size()) return "other count";
  double most = 0, scale = 1e-6;
  for (size_t i = 0; i < got.floats.size(); ++i) {
    const double a = got.floats[i], b = expected.floats[i];
    if (std::isfinite(a) != std::isfinite(b)) return fmt::format("{} instead of {}", a, b);
    if (!std::isfinite(b)) continue;
    most = std::max(most, std::abs(a - b));
    scale = std::max(scale, std::abs(b));
  }
  return most <= 1e-3 * scale ? "" : fmt::format("off by {} of {}", most, scale);
}

void check(const RandomGraph& random, uint32_t seed) {
  SCOPED_TRACE(fmt::format("seed {}\n{}", seed, describe_graph(random.graph)));
  const auto expected = run_reference(random.graph, random.inputs);
  ASSERT_TRUE(expected.ok()) << expected.error().message;
  const auto one = run(random, 1), three = run(random, 3);
  ASSERT_TRUE(one.ok()) << one.error().message;
  ASSERT_TRUE(three.ok()) << three.error().message;
  ASSERT_EQ(one->size(), expected->size());
  for (const auto& [name, tensor] : *expected) {
    ASSERT_TRUE(one->contains(name)) << name;
    const Tensor& got = one->at(name);
    EXPECT_EQ(complaint(got, tensor), "") << name;
    const Tensor& other = three->at(name);
    ASSERT_EQ(got.floats.size(), other.floats.size());
    EXPECT_EQ(got.ints, other.ints) << name;
    if (got.floats.empty()) continue;
    EXPECT_EQ(
        0, std::memcmp(got.floats.data(), other.floats.data(), got.floats.size() * sizeof(float)))
        << name << ": three threads give other bits than one";
  }
}

TEST(RandomGraphs, OfPicturesAgreeWithTheReferenceWithTheSameBitsForAnyThreads) {
  for (uint32_t seed = 1; seed <= graphs() && !HasFailure(); ++seed) {
    check(random_picture_graph(seed), seed);
  }
}

TEST(RandomGraphs, OfTensorsAgreeWithTheReferenceWithTheSameBitsForAnyThreads) {
  for (uint32_t seed = 1; seed <= graphs() && !HasFailure(); ++seed) {
    check(random_tensor_graph(seed), seed);
  }
}

}  // namespace
}  // namespace atelier::model
