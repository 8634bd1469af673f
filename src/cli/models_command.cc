// SPDX-License-Identifier: Apache-2.0
// atelier models [NAME]: what is installed, and what it costs.
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/model_library.h"
#include "model/runner.h"

namespace atelier::cli {
namespace {

using nlohmann::json;

// A megapixel whose sides are multiples of whatever strides networks have.
constexpr model::Size kMegapixel{1024, 1024};

json spec_json(const model::LoadedModel& model) {
  const model::ModelSpec& s = model.spec;
  return {{"name", s.name},
          {"title", s.title},
          {"licence", s.licence},
          {"sha256", model.sha256},
          {"input", s.input},
          {"output", s.output},
          {"color_order", s.order == model::ModelSpec::Order::rgb ? "rgb" : "bgr"},
          {"range", s.range},
          {"output_range", s.output_range},
          {"output_kind", s.kind == model::ModelSpec::Kind::image ? "image" : "tensor"},
          {"size_multiple", s.size_multiple},
          {"nodes", model.graph.nodes.size()}};
}

// Null for networks of a fixed size.
json cost_json(const model::LoadedModel& model) {
  const auto runner = model::make_onednn_runner(model.graph, model.spec, {});
  if (!runner.ok()) return nullptr;
  const auto gflop = (*runner)->gflop(kMegapixel);
  if (!gflop.ok()) return nullptr;
  return *gflop / (1024.0 * 1024.0 / 1e6);
}

}  // namespace

Result<void> models_command(const std::string& name, Console& console) {
  std::vector<std::string> names;
  if (!name.empty()) {
    names.push_back(name);
  } else {
    for (const NamedModel& model : installed_models()) names.push_back(model.path.string());
  }
  json list = json::array();
  for (const std::string& each : names) {
    const model::LoadedModel model = TRY(load_model(each));
    json row = spec_json(model);
    row["gflop_per_megapixel"] = cost_json(model);
    const json& cost = row["gflop_per_megapixel"];
    console.say(fmt::format(
        "{}: {}{}{}{}", model.spec.name, model.spec.title.empty() ? "(no title)" : model.spec.title,
        model.spec.licence.empty() ? "" : ", " + model.spec.licence,
        cost.is_number() ? fmt::format(", {:.1f} GFLOP per megapixel", cost.get<double>()) : "",
        name.empty() ? "" : fmt::format(", {} nodes", model.graph.nodes.size())));
    list.push_back(std::move(row));
  }
  console.object(json{{"models", list}}.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  return {};
}

}  // namespace atelier::cli
