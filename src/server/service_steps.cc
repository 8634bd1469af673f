// SPDX-License-Identifier: Apache-2.0
#include "server/service_steps.h"

#include <algorithm>
#include <charconv>

#include "server/pipeline_commands.h"

namespace atelier::server {
namespace {

const PoolConfig& pool_named(const Config& config, const std::string& name) {
  for (const PoolConfig& pool : config.pools) {
    if (pool.name == name) return pool;
  }
  return config.pools.front();
}

}  // namespace

std::string text_of(const Location& place) {
  return place.is_file() ? place.path.string() : place.url();
}

std::string between_key(const std::string& run_id, size_t step, std::string_view extension) {
  return fmt::format("between-{}-{}{}", run_id, step, extension);
}

Result<std::vector<std::vector<std::string>>> run_commands(const Config& config,
                                                           const std::string& program,
                                                           const Submissions::Of& of,
                                                           const RunRow& run) {
  const RunLocations places = TRY(locations_of(*of.pipeline, of.parameters));
  StepPlaces steps;
  const size_t count = of.pipeline->scores.size();
  for (size_t step = 0; step + 1 < count; ++step) {
    steps.between.push_back(
        config.stores.ops.child(between_key(run.id, step, intermediate_extension(places.output)))
            .url());
  }
  const bool last_began = run.run_urls.size() >= count;
  steps.replace_output = run.replace_output || last_began;
  const PoolConfig& pool = pool_named(config, run.pool);
  std::vector<std::string> more = {"--runs=" + text_of(config.stores.ops)};
  for (std::string& word : engine_arguments(pool)) more.push_back(std::move(word));
  const OwnerLimits& limits = config.limits.of(run.owner);
  more.push_back(fmt::format("--max-minutes={}", limits.max_minutes));
  more.push_back(fmt::format("--max-pixels={}", limits.max_pixels));
  std::vector<std::vector<std::string>> commands;
  for (const StepCommand& command : TRY(commands_of(*of.pipeline, of.parameters, steps))) {
    std::vector<std::string> words = {program};
    std::vector<std::string> own = more;
    // What later steps read comes from the one before, in a file of its own.
    if (commands.empty() && run.repeats) own.push_back("--repeats=" + *run.repeats);
    for (std::string& word : command.argv(own)) words.push_back(std::move(word));
    commands.push_back(std::move(words));
  }
  return commands;
}

Result<std::vector<std::string>> preview_command(const std::string& program,
                                                 const Submissions::Of& of,
                                                 const std::filesystem::path& path) {
  const RunLocations places = TRY(locations_of(*of.pipeline, of.parameters));
  const Location input = TRY(parse_location(places.input));
  std::string model = places.models.front().model;
  if (!is_model_name(model)) model = text_of(TRY(parse_location(model)));
  return std::vector<std::string>{program, "preview",      "--force",    "--model=" + model,
                                  "--",    text_of(input), path.string()};
}

int64_t most_nodes(const PoolConfig& pool) {
  const size_t dots = pool.nodes.rfind("..");
  const std::string most = dots == std::string::npos ? pool.nodes : pool.nodes.substr(dots + 2);
  int64_t nodes = 1;
  (void)std::from_chars(most.data(), most.data() + most.size(), nodes);
  return std::max<int64_t>(1, nodes);
}

int64_t runs_at_once(const PoolConfig& pool) {
  return std::max<int64_t>(1, pool.max / most_nodes(pool));
}

}  // namespace atelier::server
