// SPDX-License-Identifier: Apache-2.0
// Every operator case of the ONNX project, through the reference and through the runner that
// scores. A case passes both or stands in the table of conformance_claims.cc with the reason why
// not; one that passes may not stand there.
#include "model/conformance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "base/bytes.h"
#include "model/reference.h"
#include "model/runner.h"

namespace atelier::model {
namespace {

// Of the 1072 cases of libonnx-testdata 1.12.0-2.
constexpr size_t kLeastCases = 1072;
constexpr size_t kLeastPassed = 814;

using Tensors = std::map<std::string, Tensor>;

std::string compare(const Graph& graph, const ConformanceData& data, const Tensors& outputs) {
  for (size_t i = 0; i < data.outputs.size(); ++i) {
    const std::string& name = graph.outputs[i].name;
    const auto made = outputs.find(name);
    const std::string why =
        made == outputs.end() ? "it is missing" : difference(data.outputs[i], made->second);
    if (!why.empty()) return "'" + name + "': " + why;
  }
  return {};
}

Result<Tensors> run_planned(const Graph& graph, const Tensors& inputs) {
  ModelSpec spec;
  spec.name = "case";
  const auto runner = TRY(make_onednn_runner(graph, spec, {2, {}}));
  return runner->run(inputs);
}

// Axes, shapes and ranges that a case passes as inputs, as initialisers: how models have them. A
// runner that scores plans once, so it refuses a node whose shape comes with each picture.
Result<Tensors> run_planned_with_initializers(Graph graph, Tensors inputs) {
  std::erase_if(graph.inputs, [&](const ValueInfo& input) {
    const auto at = inputs.find(input.name);
    if (!at->second.is_int()) return false;
    graph.initializers[input.name] = std::move(at->second);
    inputs.erase(at);
    return true;
  });
  return run_planned(graph, inputs);
}

bool has_empty(const Tensors& inputs) {
  return std::ranges::any_of(inputs, [](const auto& input) { return input.second.count() == 0; });
}

// Empty if the case passes, else why it does not.
std::string run_case(const ConformanceCase& test_case) {
  const auto data = read_case(test_case);
  if (!data.ok()) return data.error().message;
  const auto graph = import_onnx(as_bytes(data->model), test_case.name);
  if (!graph.ok()) return graph.error().message;
  if (graph->inputs.size() != data->inputs.size()) return "other inputs than the model has";
  if (graph->outputs.size() != data->outputs.size()) return "other outputs than the model has";
  Tensors inputs;
  for (size_t i = 0; i < data->inputs.size(); ++i) {
    inputs[graph->inputs[i].name] = data->inputs[i];
  }
  const auto outputs = run_reference(*graph, inputs);
  if (!outputs.ok()) return outputs.error().message;
  const std::string why = compare(*graph, *data, *outputs);
  if (!why.empty()) return why;
  // A graph without inputs has nothing to score, and a picture is never empty.
  if (graph->inputs.empty() || has_empty(inputs)) return {};
  auto scored = run_planned(*graph, inputs);
  if (!scored.ok()) scored = run_planned_with_initializers(*graph, inputs);
  if (!scored.ok()) return "planned: " + scored.error().message;
  const std::string planned = compare(*graph, *data, *scored);
  return planned.empty() ? planned : "planned: " + planned;
}

TEST(Conformance, EveryClaimedCaseOfTheOnnxProjectPasses) {
  const auto cases = conformance_cases();
  if (cases.empty()) GTEST_SKIP() << "NOT TESTED: libonnx-testdata is not installed";
  size_t passed = 0;
  std::vector<std::string> names;
  for (const ConformanceCase& test_case : cases) {
    names.push_back(test_case.name);
    const std::string why = run_case(test_case);
    const std::string_view excuse = not_claimed(test_case.name);
    if (why.empty()) {
      ++passed;
      EXPECT_TRUE(excuse.empty()) << test_case.name << " passes: take it out of the table";
    } else if (!excuse.empty()) {
      std::printf("not claimed: %s (%.*s): %s\n", test_case.name.c_str(),
                  static_cast<int>(excuse.size()), excuse.data(), why.c_str());
    } else {
      ADD_FAILURE() << test_case.name << ": " << why;
    }
  }
  std::printf("conformance: passed %zu of %zu cases\n", passed, cases.size());
  RecordProperty("passed", static_cast<int>(passed));
  EXPECT_EQ(stale_patterns(names), std::vector<std::string>{});
  EXPECT_GE(cases.size(), kLeastCases);
  EXPECT_GE(passed, kLeastPassed);
}

}  // namespace
}  // namespace atelier::model
