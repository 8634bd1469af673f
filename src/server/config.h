// SPDX-License-Identifier: Apache-2.0
// atelier.toml, the configuration of `atelier serve`, as a value. Pure; safe from several threads.
// Durations are "90s", "10m", "2h", "30d", sizes "8GiB" (text_values.h); paths are taken from the
// file's folder. In brackets: the default.
//
//   listen = "127.0.0.1:8080"        requests. A host and a port, 0 for any that is free, which is
//                                    said at the start. Plain HTTP (without [tls]) is
//                                    served on loopback only, unless
//   allow_plain_http = false         a proxy in front of it speaks TLS; also for webhooks
//   events_listen = "127.0.0.1:8081" event streams, which hold a thread each [listen's port + 1]
//   data = "/var/lib/atelier"        the database and the logs of attempts; this machine's folder
//   pipelines = ["paint.toml"]       published at the start where they changed [none]
//
//   [tls]                            both, PEM; read again on SIGHUP [none]
//   certificate = "server.pem"
//   key = "server.key"               nobody but the service's user (or root) may read it
//
//   [stores]
//   media = ["/srv/media"]           what runs may read and write, at least one; az:// and s3://,
//   too ops = "/srv/runs"                run folders; apart from media and models [DATA/runs]
//   models = ["/srv/models"]         where models may lie that are given as locations, not as names
//                                    of installed ones, which are always allowed [none]
//
//   [limits]
//   max_queued = 10000               runs that wait, of all owners together; more get 429
//   max_queued_per_owner = 1000
//   max_queued_bytes_per_owner = "4TiB"  of the inputs of the runs that wait, where they are known
//   max_running_per_owner = 16
//   max_input_bytes = "64GiB"        of one run's input; looked at again when it starts
//   max_minutes = 600                of its length
//   max_pixels = 33177600            of its frames: 7680 x 4320
//   requests_per_second = 50         of one token; as many again may come at once
//   requests_per_second_per_address = 200
//   max_body_bytes = "1MiB"          of one request
//   max_streams = 64                 event streams at the same time; half of them of one address
//   max_streams_per_token = 16       of the tokens of one name
//   request_timeout = "10s"          until a slow client is cut off
//   [limits.owners.NAME]             for one owner, instead: max_queued, max_queued_bytes,
//                                    max_running, max_input_bytes, max_minutes, max_pixels,
//                                    requests_per_second
//
//   [[pool]]                         where runs are scored. The first takes runs that name none;
//                                    without any there is one named "local"
//   name = "nights"
//   engine = "slurm"                 local, mpi or slurm [local]
//   max = 4                          nodes at the same time [1]
//   price_per_node_hour = 0.5        [0]
//   idle_timeout = "10m"             until one without work goes [10m]. Of local: a process that
//                                    keeps its model loaded for its owner's next run; "0s": none
//                                    does. Else how the cluster itself treats nodes, as the next
//                                    two, for who looks at pools and for `atelier costs`
//   min = 1                          of local: processes that never go [0]
//   start_time = "90s"               until one that was switched off works [none]
//   preemptible = true               whether they may be taken away [false]
//                                    and what `atelier run` needs of the engine:
//   workers, threads, memory         of local: --workers, --threads, --memory (also of others)
//   progress_timeout = "5m"          a scorer that takes longer for a frame is ended [30m]
//   nodes = "1..8"                   of mpi and slurm
//   partition, account, constraint, gres, time, gang                               of slurm
//   interface                                                         of mpi and of gangs of slurm
//   hosts, ranks_per_node                                                          of mpi
//
//   [[webhook]]                      told of the end of runs
//   name = "team"
//   url = "https://hooks.example.com/atelier"
//   secret_file = "hook.secret"      what the messages are signed with; private like tls.key
//   events = ["finished", "failed", "set_aside"]    [all three]
//   [webhooks]
//   allow = ["hooks.example.com:443"]               the only addresses that are called [none]
//
//   [retention]                      how long what has ended is kept
//   runs = "30d"
//   logs = "7d"
//   events = "30d"
//   audit = "365d"
//   run_folders = "90d"              what nobody changed for so long, as `atelier gc` does, so that
//                                    scoring it again begins anew; at least a day [for ever]
//   backups = "30d"                  but the newest one [for ever]
//
//   [[trigger]]                      what makes runs by itself; `name`, and the rest is read by
//   name = "landing"                 whoever reads triggers
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/location_policy.h"
#include "server/text_values.h"
#include "store/location.h"

namespace atelier::server {

struct TlsFiles {
  std::filesystem::path certificate, key;
};

struct Stores {
  std::vector<Location> media;
  Location ops;
  std::vector<Location> models;
};

struct OwnerLimits {
  int64_t max_queued = 1000;
  uint64_t max_queued_bytes = uint64_t{4} << 40;
  int64_t max_running = 16;
  uint64_t max_input_bytes = uint64_t{64} << 30;
  int64_t max_minutes = 600;
  int64_t max_pixels = 7680 * 4320;
  double requests_per_second = 50;
  bool operator==(const OwnerLimits&) const = default;
};

struct ServiceLimits {
  int64_t max_queued = 10000;
  OwnerLimits each;                            // of those that are not named
  std::map<std::string, OwnerLimits> by_name;  // complete
  double requests_per_second_per_address = 200;
  uint64_t max_body_bytes = 1 << 20;
  int64_t max_streams = 64;
  int64_t max_streams_per_token = 16;
  std::chrono::seconds request_timeout{10};
  const OwnerLimits& of(const std::string& owner) const;
};

enum class EngineName { local, mpi, slurm };
std::string_view to_string(EngineName engine);

struct PoolConfig {
  std::string name;
  EngineName engine = EngineName::local;
  int min = 0, max = 1;
  std::chrono::seconds idle_timeout{600}, start_time{0};
  double price_per_node_hour = 0;
  bool preemptible = false;
  // Of the engine; 0 and "" are its defaults.
  int workers = 0, threads = 0, ranks_per_node = 0;
  std::chrono::seconds progress_timeout{0};
  uint64_t memory = 0;  // bytes
  std::string nodes, partition, account, constraint, gres, time, interface;
  std::filesystem::path hosts;
  bool gang = false;
};
// The words of `atelier run` that choose a pool's engine: "--engine=slurm", "--partition=p".
std::vector<std::string> engine_arguments(const PoolConfig& pool);

struct WebhookConfig {
  std::string name;
  std::string url;
  bool is_https = true;
  Address address;  // of the URL, which is among those that are allowed
  std::filesystem::path secret_file;
  bool on_finished = true, on_failed = true, on_set_aside = true;
};

struct Retention {
  std::chrono::hours runs{30 * 24}, logs{7 * 24}, events{30 * 24}, audit{365 * 24};
  std::chrono::hours run_folders{0}, backups{0};  // 0: for ever
};

// A table [[trigger]] as a text of its own: its keys are at the top.
struct TriggerTable {
  std::string name;
  std::string toml;
};

struct Config {
  Address listen{"127.0.0.1", 8080};
  Address events_listen{"127.0.0.1", 8081};
  bool allow_plain_http = false;
  std::filesystem::path data = "/var/lib/atelier";
  std::optional<TlsFiles> tls;
  Stores stores;
  ServiceLimits limits;
  std::vector<PoolConfig> pools;  // at least one; the first is the default
  std::vector<WebhookConfig> webhooks;
  std::vector<Address> webhooks_allow;
  Retention retention;
  std::vector<std::filesystem::path> pipelines;
  std::vector<TriggerTable> triggers;
};

inline constexpr size_t kLongestConfig = 256 << 10;

// `folder`: absolute, where the file lies. Errors: invalid_argument, one sentence with the line (no
// TOML, an unknown key, a wrong value, names given twice, stores that lie in each other, plain HTTP
// beyond loopback, a webhook whose address is not allowed).
Result<Config> parse_config(std::string_view toml, const std::filesystem::path& folder);

// What check_location() and check_apart() ask: the stores, and closed the data folder, the run
// folders and files with secrets.
LocationPolicy policy_of(const Config& config);

// Files that must be private (store/secret.h): the key of TLS and the secrets of webhooks.
std::vector<std::filesystem::path> private_files(const Config& config);

}  // namespace atelier::server
