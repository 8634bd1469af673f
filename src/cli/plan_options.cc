// SPDX-License-Identifier: Apache-2.0
#include "cli/plan_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "cli/inputs.h"
#include "engine/arrivals.h"

namespace atelier::cli {
namespace {

constexpr double kYear = 31536000;
constexpr int kMostNodes = 100000;
constexpr int kMostWorkers = 1024;  // of a node
constexpr double kLargestPrice = 1e9;
constexpr size_t kMostRows = 1000;
constexpr uint64_t kLargestLog = uint64_t{256} << 20;
constexpr std::string_view kPoisson = "poisson:";

template <class Number>
bool parse_all(std::string_view text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (;;) {
    const size_t comma = text.find(',', begin);
    parts.push_back(text.substr(begin, comma - begin));
    if (comma == std::string::npos) return parts;
    begin = comma + 1;
  }
}

void add_work(CLI::App& plan, PlanOptions& o) {
  const CLI::Range seconds(0.0, kYear);
  plan.add_option("--chunks", o.chunks, "Chunks of a job [those of the run]")
      ->check(CLI::Range(1, 100'000'000));
  plan.add_option("--chunk-seconds-of-work", o.chunk_seconds,
                  "Seconds that one worker takes for a chunk [as measured]")
      ->check(seconds);
  plan.add_option("--spread", o.spread,
                  "With it: standard deviation of those seconds, as a part of their mean")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
  plan.add_option("--worker-start", o.worker_start,
                  "Seconds until a worker begins its first chunk of a job [as measured, or 0]")
      ->check(seconds);
  plan.add_option("--prepare-seconds", o.prepare, "Before a job's chunks are there [likewise]")
      ->check(seconds);
  plan.add_option("--finish-seconds", o.finish,
                  "To join a job of so many chunks [as measured for each chunk, or 0]")
      ->check(seconds);
  plan.add_option("--bytes-in", o.bytes_in, "Input of a chunk, like 2M [as measured, or 0]");
  plan.add_option("--bytes-out", o.bytes_out, "Result of a chunk [likewise]");
}

void add_pool(CLI::App& plan, PlanOptions& o) {
  const CLI::Range seconds(0.0, kYear);
  plan.add_option("--nodes", o.nodes,
                  "At most so many: 1,10,100, or A..B for 1, 2, 5, 10, 20, ... between them")
      ->capture_default_str();
  plan.add_option("--min-nodes", o.min_nodes, "So many are always on; 0: scale to zero")
      ->check(CLI::Range(0, kMostNodes))
      ->capture_default_str();
  plan.add_option("--shape", o.shapes,
                  "Compare kinds of nodes, one each time: NAME=WORKERS,PRICE[,CHUNK_SECONDS], with "
                  "workers of a node, price of a node and hour, and seconds that one of its "
                  "workers takes for a chunk")
      ->type_name("SHAPE")
      ->take_all()
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  plan.add_option("--workers-per-node", o.workers_per_node, "Without --shape [1]")
      ->check(CLI::Range(1, kMostWorkers));
  plan.add_option("--start-delay", o.start_delay, "Seconds until a node that was asked for works")
      ->check(seconds)
      ->capture_default_str();
  plan.add_option("--idle-timeout", o.idle_timeout,
                  "Seconds without a job until a node is switched off, or never")
      ->capture_default_str();
  plan.add_option("--preemptions", o.preemptions, "Preemptions per node and hour")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  plan.add_option("--detection", o.detection,
                  "Seconds until a preempted worker's chunk is taken over; 0: known at once")
      ->check(seconds)
      ->capture_default_str();
  plan.add_option("--price", o.price, "Of a node and hour, in any currency; without --shape [0]")
      ->check(CLI::Range(0.0, kLargestPrice));
}

void add_demand(CLI::App& plan, PlanOptions& o) {
  plan.add_option("--arrivals", o.arrivals,
                  "When jobs come: a file with a time (seconds, or like 2026-11-29T21:55:09Z) and "
                  "perhaps a number of chunks a line, or poisson:JOBS_PER_HOUR [one job]");
  plan.add_option("--jobs", o.jobs, "With poisson: how many")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  plan.add_option("--sweep-idle", o.sweep_idle,
                  "Compare idle time-outs like 0,60,300,never, and nodes that are always on, for "
                  "the largest of --nodes");
  plan.add_option("--wait-price", o.wait_price,
                  "There: what an hour costs for which a job is under way")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
  plan.add_option("--store-latency", o.store_latency,
                  "Milliseconds that a call of the store takes: bounds how often waiting workers "
                  "ask")
      ->check(CLI::Range(0.0, 60000.0))
      ->capture_default_str();
  plan.add_option("--seed", o.seed, "Of the random numbers")->capture_default_str();
}

// 1, 2, 5, 10, 20, ... between both, and both.
void add_range(int first, int last, std::set<int>& nodes) {
  nodes.insert({first, last});
  for (int64_t decade = 1; decade <= last; decade *= 10) {
    for (const int64_t step : {1, 2, 5}) {
      if (step * decade >= first && step * decade <= last) {
        nodes.insert(static_cast<int>(step * decade));
      }
    }
  }
}

Result<std::vector<int>> parse_pool_sizes(const std::string& text) {
  std::set<int> nodes;
  for (const std::string& part : split(text)) {
    const size_t dots = part.find("..");
    int first = 0;
    int last = 0;
    const bool parsed =
        parse_all(std::string_view(part).substr(0, dots), first) &&
        (dots == std::string::npos || parse_all(std::string_view(part).substr(dots + 2), last));
    if (dots == std::string::npos) last = first;
    if (!parsed || first < 1 || last < first || last > kMostNodes) {
      return make_error(Code::invalid_argument,
                        "--nodes takes numbers up to {} like 1,10,100 or 1..100, not '{}'.",
                        kMostNodes, text);
    }
    if (dots == std::string::npos) {
      nodes.insert(first);
    } else {
      add_range(first, last, nodes);
    }
  }
  if (nodes.size() > kMostRows) {
    return make_error(Code::invalid_argument, "--nodes takes at most {} numbers.", kMostRows);
  }
  return std::vector<int>(nodes.begin(), nodes.end());
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

Result<NodeShape> parse_shape(const std::string& text) {
  NodeShape shape;
  const size_t equals = std::min(text.find('='), text.size());
  shape.name = text.substr(0, equals);
  const auto parts = split(equals < text.size() ? text.substr(equals + 1) : std::string());
  double seconds = 0;
  const bool timed = parts.size() == 3;
  const bool parsed = is_name(shape.name) && (parts.size() == 2 || timed) &&
                      parse_all(parts[0], shape.workers) && parse_all(parts[1], shape.price) &&
                      (!timed || parse_all(parts[2], seconds));
  if (!parsed || shape.workers < 1 || shape.workers > kMostWorkers ||
      !(shape.price >= 0 && shape.price <= kLargestPrice) ||
      (timed && !(seconds > 0 && seconds <= kYear))) {
    return make_error(Code::invalid_argument,
                      "--shape takes NAME=WORKERS,PRICE[,CHUNK_SECONDS] like big=8,1.60,12.5, with "
                      "1 to {} workers, not '{}'.",
                      kMostWorkers, text);
  }
  if (timed) shape.chunk_seconds = seconds;
  return shape;
}

Result<std::vector<NodeShape>> read_shapes(const PlanOptions& options) {
  if (options.shapes.empty()) {
    return std::vector<NodeShape>{
        {"", options.workers_per_node.value_or(1), options.price.value_or(0), std::nullopt}};
  }
  if (options.workers_per_node || options.price) {
    return make_error(Code::invalid_argument, "{} is part of each --shape; leave it out.",
                      options.price ? "--price" : "--workers-per-node");
  }
  if (options.shapes.size() > 1 && !options.sweep_idle.empty()) {
    return make_error(Code::invalid_argument,
                      "--sweep-idle compares time-outs of one shape; give one --shape with it.");
  }
  std::set<std::string> names;
  std::vector<NodeShape> shapes;
  for (const std::string& text : options.shapes) {
    shapes.push_back(TRY(parse_shape(text)));
    if (names.insert(shapes.back().name).second) continue;
    return make_error(Code::invalid_argument, "There are two shapes '{}'; give each its own name.",
                      shapes.back().name);
  }
  return shapes;
}

Result<double> parse_size_option(const std::string& text, const char* option, double otherwise) {
  if (text.empty()) return otherwise;
  const auto bytes = parse_bytes(text);
  uint64_t plain = 0;
  if (bytes) return static_cast<double>(*bytes);
  if (parse_all(text, plain)) return static_cast<double>(plain);
  return make_error(Code::invalid_argument, "{} takes a size like 500K or 2M, not '{}'.", option,
                    text);
}

Result<std::vector<engine::PlannedJob>> read_jobs(const PlanOptions& options, int chunks) {
  if (options.arrivals.empty()) return std::vector<engine::PlannedJob>{{0, chunks}};
  if (options.arrivals.starts_with(kPoisson)) {
    double rate = 0;
    if (!parse_all(std::string_view(options.arrivals).substr(kPoisson.size()), rate) ||
        !(rate > 0 && rate <= 1e9)) {
      return make_error(Code::invalid_argument,
                        "--arrivals poisson: takes jobs per hour, like poisson:2.5, not '{}'.",
                        options.arrivals);
    }
    return engine::poisson_arrivals(rate, options.jobs, chunks, options.seed);
  }
  const Place place = TRY(open_place(options.arrivals));
  const auto text = TRY(read_object(*place.store, place.key, kLargestLog));
  if (!text) {
    return make_error(Code::invalid_argument, "There is no file of arrivals at '{}'.",
                      options.arrivals);
  }
  return engine::parse_arrivals(as_text(*text), chunks);
}

// What the options say goes before what was measured.
Result<engine::PlannedWork> read_work(const PlanOptions& options,
                                      const std::optional<run::RunRates>& measured, int chunks) {
  engine::PlannedWork work;
  if (measured) {
    work.chunk_seconds = measured->chunk_seconds;
    work.worker_start_seconds = measured->worker_start_seconds;
    work.prepare_seconds = measured->prepare_seconds.value_or(0);
    work.finish_seconds_per_chunk =
        measured->finish_seconds.value_or(0) / static_cast<double>(measured->chunks);
    work.bytes_in_per_chunk = measured->bytes_in_per_chunk;
    work.bytes_out_per_chunk = measured->bytes_out_per_chunk;
  }
  // Without either each shape has its own, and this is their measure.
  if (options.chunk_seconds || !measured) {
    work.chunk_seconds =
        engine::spread_seconds(options.chunk_seconds.value_or(1), options.spread, options.seed);
  }
  work.worker_start_seconds = options.worker_start.value_or(work.worker_start_seconds);
  work.prepare_seconds = options.prepare.value_or(work.prepare_seconds);
  if (options.finish) work.finish_seconds_per_chunk = *options.finish / chunks;
  work.bytes_in_per_chunk =
      TRY(parse_size_option(options.bytes_in, "--bytes-in", work.bytes_in_per_chunk));
  work.bytes_out_per_chunk =
      TRY(parse_size_option(options.bytes_out, "--bytes-out", work.bytes_out_per_chunk));
  return work;
}

}  // namespace

void add_plan(CLI::App& app, PlanOptions& options) {
  CLI::App* plan = app.add_subcommand(
      "plan", "Time, cost and store calls of jobs on 1 to 10,000 nodes, simulated");
  plan->add_option("RUN-URL", options.run_url,
                   "A run whose rates are taken; without it --chunks and --chunk-seconds-of-work");
  add_work(*plan, options);
  add_pool(*plan, options);
  add_demand(*plan, options);
}

namespace {

Result<double> parse_timeout(const std::string& text, const char* option) {
  double seconds = 0;
  if (text == "never") return std::numeric_limits<double>::infinity();
  if (parse_all(text, seconds) && seconds >= 0 && seconds <= kYear) return seconds;
  return make_error(Code::invalid_argument, "{} takes seconds or 'never', not '{}'.", option, text);
}

}  // namespace

Result<PlanQuestion> read_question(const PlanOptions& options) {
  PlanQuestion question;
  question.nodes = TRY(parse_pool_sizes(options.nodes));
  question.shapes = TRY(read_shapes(options));
  if (question.nodes.size() * question.shapes.size() > kMostRows) {
    return make_error(Code::invalid_argument,
                      "--nodes and --shape make more than {} plans; take fewer of them.",
                      kMostRows);
  }
  const bool all_timed =
      std::all_of(question.shapes.begin(), question.shapes.end(),
                  [](const NodeShape& shape) { return shape.chunk_seconds.has_value(); });
  question.input.pool.idle_timeout = TRY(parse_timeout(options.idle_timeout, "--idle-timeout"));
  if (!options.sweep_idle.empty()) {
    for (const std::string& part : split(options.sweep_idle)) {
      question.idle_timeouts.push_back(TRY(parse_timeout(part, "--sweep-idle")));
    }
  }
  if (!options.run_url.empty()) {
    const Place place = TRY(open_place(options.run_url));
    question.measured = TRY(run::read_rates(*place.store, place.key));
  } else if (!options.chunks || (!options.chunk_seconds && !all_timed)) {
    return make_error(Code::invalid_argument,
                      "A plan needs a run to measure, or --chunks and --chunk-seconds-of-work.");
  }
  if (options.spread > 0 && !options.chunk_seconds && question.measured) {
    return make_error(Code::invalid_argument,
                      "--spread goes with --chunk-seconds-of-work; a run has its own.");
  }
  const int chunks =
      options.chunks.value_or(question.measured ? static_cast<int>(question.measured->chunks) : 1);
  engine::PlanInput& input = question.input;
  input.jobs = TRY(read_jobs(options, chunks));
  input.work = TRY(read_work(options, question.measured, chunks));
  input.pool.min_nodes = options.min_nodes;
  input.pool.start_delay = options.start_delay;
  input.pool.preemptions_per_node_hour = options.preemptions;
  input.pool.detection_seconds = options.detection;
  input.store.call_seconds = options.store_latency / 1000;
  input.seed = options.seed;
  question.wait_price = options.wait_price;
  return question;
}

engine::PlanInput of_shape(const PlanQuestion& question, const NodeShape& shape, int nodes) {
  engine::PlanInput input = question.input;
  input.pool.workers_per_node = shape.workers;
  input.pool.price_per_node_hour = shape.price;
  input.pool.max_nodes = nodes;
  input.pool.min_nodes = std::min(input.pool.min_nodes, nodes);
  if (!shape.chunk_seconds) return input;
  std::vector<double>& seconds = input.work.chunk_seconds;
  const double mean = std::accumulate(seconds.begin(), seconds.end(), 0.0) /
                      static_cast<double>(std::max<size_t>(1, seconds.size()));
  if (mean > 0) {
    for (double& one : seconds) one *= *shape.chunk_seconds / mean;
  } else {
    seconds = {*shape.chunk_seconds};
  }
  return input;
}

}  // namespace atelier::cli
