// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "server/config_parts.h"

namespace atelier::server {
namespace {

constexpr size_t kMostPools = 64;
constexpr int kMostNodes = 1024;  // of one run, as `atelier run --nodes` has it
constexpr std::array<std::string_view, 3> kEngines = {"local", "mpi", "slurm"};

struct TextOption {
  const char* key;
  std::string PoolConfig::*value;
  std::optional<EngineName> engine;  // whose it is; none: of both that have many nodes
};
constexpr std::array<TextOption, 7> kTextOptions = {{
    {"nodes", &PoolConfig::nodes, std::nullopt},
    {"partition", &PoolConfig::partition, EngineName::slurm},
    {"account", &PoolConfig::account, EngineName::slurm},
    {"constraint", &PoolConfig::constraint, EngineName::slurm},
    {"gres", &PoolConfig::gres, EngineName::slurm},
    {"time", &PoolConfig::time, EngineName::slurm},
    {"interface", &PoolConfig::interface, std::nullopt},
}};

Result<EngineName> read_engine(TomlReader& reader) {
  const std::string name = TRY(reader.text("engine")).value_or("local");
  const auto known = std::find(kEngines.begin(), kEngines.end(), name);
  if (known == kEngines.end()) return reader.wrong("engine", "one of: local, mpi, slurm");
  return static_cast<EngineName>(known - kEngines.begin());
}

// "4" or "2..8"; whether it is the latter. Nothing if it is neither.
std::optional<bool> is_range(std::string_view text) {
  std::array<int, 2> ends{};
  const size_t dots = std::min(text.find(".."), text.size());
  const bool range = dots < text.size();
  const std::array<std::string_view, 2> parts = {text.substr(0, dots),
                                                 range ? text.substr(dots + 2) : text};
  for (size_t i = 0; i < 2; ++i) {
    const char* end = parts[i].data() + parts[i].size();
    const auto read = std::from_chars(parts[i].data(), end, ends[i]);
    if (read.ec != std::errc() || read.ptr != end || ends[i] < 1 || ends[i] > kMostNodes) {
      return std::nullopt;
    }
  }
  return ends[0] <= ends[1] ? std::optional(range) : std::nullopt;
}

Error of_other_engine(const TomlReader& reader, std::string_view key, std::string_view engine) {
  return reader.error_at(key, fmt::format("'{}' goes with engine = \"{}\".", key, engine));
}

Result<void> read_texts(TomlReader& reader, PoolConfig& pool) {
  for (const TextOption& option : kTextOptions) {
    if (reader.find(option.key) == nullptr) continue;
    pool.*option.value = TRY(reader.needed_text(option.key));
    if (option.engine && *option.engine != pool.engine) {
      return of_other_engine(reader, option.key, to_string(*option.engine));
    }
    if (!option.engine && pool.engine == EngineName::local) {
      return of_other_engine(reader, option.key, "slurm\" or \"mpi");
    }
  }
  return {};
}

// The same rules as `atelier run` has for its options (cli/engine_options.cc), before a run fails
// by them.
Result<void> read_engine_options(TomlReader& reader, const std::filesystem::path& folder,
                                 PoolConfig& pool) {
  TRY(read_texts(reader, pool));
  const bool is_mpi = pool.engine == EngineName::mpi;
  pool.threads = static_cast<int>(TRY(reader.integer("threads", 0, 1024, 0)));
  pool.memory = TRY(reader.bytes("memory", 0));
  pool.progress_timeout = TRY(reader.duration("progress_timeout", pool.progress_timeout));
  pool.workers = static_cast<int>(TRY(reader.integer("workers", 0, 1024, 0)));
  if (pool.workers > 0 && pool.engine != EngineName::local) {
    return of_other_engine(reader, "workers", "local");
  }
  pool.gang = TRY(reader.boolean("gang", false));
  if (pool.gang && pool.engine != EngineName::slurm)
    return of_other_engine(reader, "gang", "slurm");
  if (!pool.interface.empty() && !is_mpi && !pool.gang) {
    return reader.error_at("interface", "'interface' goes with engine = \"mpi\" or gang = true.");
  }
  pool.ranks_per_node = static_cast<int>(TRY(reader.integer("ranks_per_node", 0, 1024, 0)));
  if (pool.ranks_per_node > 0 && !is_mpi) return of_other_engine(reader, "ranks_per_node", "mpi");
  if (reader.find("hosts") != nullptr) {
    pool.hosts = path_from(folder, TRY(reader.needed_text("hosts")));
    if (!is_mpi) return of_other_engine(reader, "hosts", "mpi");
  }
  if (!pool.nodes.empty()) {
    const auto range = is_range(pool.nodes);
    if (!range) return reader.wrong("nodes", "a text like \"4\" or \"2..8\", from 1 to 1024");
    if (is_mpi && *range) return reader.wrong("nodes", "one number, since a gang begins together");
  }
  if (!is_mpi) return {};
  if (pool.hosts.empty() == pool.nodes.empty()) {
    return reader.error_at("hosts", "a pool of mpi has either 'hosts' or 'nodes'.");
  }
  if (!pool.interface.empty()) return {};
  return reader.error_at("interface",
                         "a pool of mpi needs 'interface', that of a private network: what ranks "
                         "say to each other is neither encrypted nor signed.");
}

Result<PoolConfig> read_pool(TomlReader& reader, const std::filesystem::path& folder) {
  constexpr double kMostPrice = 1e6;
  PoolConfig pool;
  pool.name = TRY(reader.name("name"));
  pool.engine = TRY(read_engine(reader));
  pool.max = static_cast<int>(TRY(reader.integer("max", 1, 10000, 1)));
  pool.min = static_cast<int>(TRY(reader.integer("min", 0, pool.max, 0)));
  if (pool.min > 0 && pool.engine != EngineName::local) {
    return of_other_engine(reader, "min", "local");
  }
  pool.idle_timeout =
      TRY(reader.duration("idle_timeout", pool.idle_timeout, std::chrono::seconds(0)));
  pool.start_time = TRY(reader.duration("start_time", pool.start_time));
  pool.price_per_node_hour = TRY(reader.number("price_per_node_hour", 0, kMostPrice, 0));
  pool.preemptible = TRY(reader.boolean("preemptible", false));
  TRY(read_engine_options(reader, folder, pool));
  TRY(reader.finish());
  return pool;
}

}  // namespace

std::string_view to_string(EngineName engine) { return kEngines.at(static_cast<size_t>(engine)); }

std::vector<std::string> engine_arguments(const PoolConfig& pool) {
  std::vector<std::string> words = {fmt::format("--engine={}", to_string(pool.engine))};
  const auto add_number = [&](const char* name, uint64_t value, const char* unit = "") {
    if (value > 0) words.push_back(fmt::format("--{}={}{}", name, value, unit));
  };
  add_number("workers", static_cast<uint64_t>(pool.workers));
  add_number("threads", static_cast<uint64_t>(pool.threads));
  add_number("memory", pool.memory == 0 ? 0 : std::max<uint64_t>(pool.memory >> 10, 1), "K");
  add_number("progress-timeout", static_cast<uint64_t>(pool.progress_timeout.count()));
  add_number("ranks-per-node", static_cast<uint64_t>(pool.ranks_per_node));
  for (const TextOption& option : kTextOptions) {
    const std::string& value = pool.*option.value;
    if (!value.empty()) words.push_back(fmt::format("--{}={}", option.key, value));
  }
  if (!pool.hosts.empty()) words.push_back("--hosts=" + pool.hosts.native());
  if (pool.gang) words.emplace_back("--gang");
  return words;
}

Result<std::vector<PoolConfig>> read_pools(TomlReader& reader,
                                           const std::filesystem::path& folder) {
  std::vector<PoolConfig> pools;
  for (const toml::table* table : TRY(reader.tables("pool", kMostPools))) {
    TomlReader one(*table, reader.what(), "pool.");
    PoolConfig pool = TRY(read_pool(one, folder));
    const bool is_known = std::any_of(pools.begin(), pools.end(), [&](const PoolConfig& other) {
      return other.name == pool.name;
    });
    if (is_known) return one.wrong("name", "another than that of the pools before");
    pools.push_back(std::move(pool));
  }
  if (pools.empty()) {
    pools.emplace_back();
    pools.back().name = "local";
  }
  return pools;
}

}  // namespace atelier::server
