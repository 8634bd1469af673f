// SPDX-License-Identifier: Apache-2.0
// atelier plan [RUN-URL]: what jobs would take and cost on so many nodes, by simulation.
#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "engine/idle_sweep.h"
#include "engine/store_limits.h"

namespace atelier::cli {
namespace {

using engine::PlanResult;
using nlohmann::json;

struct Row {
  const NodeShape* shape = nullptr;
  int nodes = 0;
  PlanResult result;
};

// "41.3 s", "12.5 min", "3.2 h", "9.1 d".
std::string duration_text(double seconds) {
  if (std::isinf(seconds)) return "never";
  if (seconds < 120) return fmt::format("{:.1f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.1f} min", seconds / 60);
  if (seconds < 172800) return fmt::format("{:.1f} h", seconds / 3600);
  return fmt::format("{:.1f} d", seconds / 86400);
}

// " of big"; nothing where nobody named a shape.
std::string of_name(const Row& row) {
  return row.shape->name.empty() ? std::string() : " of " + row.shape->name;
}

json shape_json(const Row& row) {
  return row.shape->name.empty() ? json(nullptr) : json(row.shape->name);
}

double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

// JSON has no infinity.
json number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

double moved(const PlanResult& result) {
  return result.store.bytes_read + result.store.bytes_written;
}

double mean_calls(const PlanResult& result) {
  return result.finished > 0 ? (result.store.reads + result.store.writes) / result.finished : 0;
}

int64_t chunks_of(const engine::PlanInput& input) {
  return std::accumulate(input.jobs.begin(), input.jobs.end(), int64_t{0},
                         [](int64_t sum, const auto& job) { return sum + job.chunks; });
}

double mean_seconds(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

bool has_names(const PlanQuestion& question) { return !question.shapes.front().name.empty(); }

std::string workers_text(int workers) {
  return fmt::format("{} worker{}", workers, workers == 1 ? "" : "s");
}

double seconds_of_shape(const PlanQuestion& question, const NodeShape& shape) {
  return shape.chunk_seconds.value_or(mean_seconds(question.input.work.chunk_seconds));
}

void say_question(Console& console, const PlanOptions& options, const PlanQuestion& question) {
  const engine::PlanInput& in = question.input;
  if (const auto& m = question.measured) {
    console.say(fmt::format("Measured in {}: {} chunks by {} worker{}, {:.2f} s each{}.",
                            options.run_url, m->chunk_seconds.size(), m->workers,
                            m->workers == 1 ? "" : "s", m->mean_chunk_seconds(),
                            m->gaps == 0 ? " by the slowest stage alone" : ""));
    if (!m->prepare_seconds) {
      console.note(
          "The run was not done by one command from nothing, so the time to prepare, to start and "
          "to join is not known and taken as 0; --prepare-seconds, --worker-start and "
          "--finish-seconds say it.");
    }
  }
  const bool named = has_names(question);
  console.say(fmt::format(
      "Planned: {} job{} of {} chunks in all{}; preparing {:.1f} s, a worker's start {:.1f} s, "
      "joining {:.3f} s a chunk.",
      in.jobs.size(), in.jobs.size() == 1 ? "" : "s", chunks_of(in),
      named ? "" : fmt::format(", {:.2f} s each", mean_seconds(in.work.chunk_seconds)),
      in.work.prepare_seconds, in.work.worker_start_seconds, in.work.finish_seconds_per_chunk));
  const NodeShape& first = question.shapes.front();
  console.say(fmt::format(
      "Nodes{}: {} to start, switched off after {}, {} preemptions an hour, found after {}.",
      named ? "" : fmt::format(" of {}", workers_text(first.workers)),
      duration_text(in.pool.start_delay), duration_text(in.pool.idle_timeout),
      in.pool.preemptions_per_node_hour, duration_text(in.pool.detection_seconds)));
  if (!named) return;
  for (const NodeShape& shape : question.shapes) {
    console.say(fmt::format("  {}: {} a node, {:.2f} an hour, {:.2f} s a chunk", shape.name,
                            workers_text(shape.workers), shape.price,
                            seconds_of_shape(question, shape)));
  }
}

// As a column before the others; nothing where nobody named a shape.
std::string column_of(std::string_view text, size_t width) {
  return width == 0 ? std::string() : fmt::format("  {:>{}}", text, width);
}

void say_rows(Console& console, const std::vector<Row>& rows) {
  size_t width = 0;
  for (const Row& row : rows) width = std::max(width, row.shape->name.size());
  if (width > 0) width = std::max<size_t>(width, 5);
  console.say(column_of("shape", width) +
              "   nodes    finished    job mean     job p95        cost   busy   idle  start   lost"
              "  preempted  repeated       moved  calls/s      peak");
  for (const Row& row : rows) {
    const PlanResult& r = row.result;
    const double all = r.workers.sum();
    console.say(fmt::format(
        "{}  {:6}  {:>10}  {:>10}  {:>10}  {:10.2f}  {:4.0f}%  {:4.0f}%  {:4.0f}%  {:4.0f}%  {:9}"
        "  {:8}  {:>10}  {:7.1f}  {:8.0f}",
        column_of(row.shape->name, width), row.nodes, duration_text(r.finished),
        duration_text(r.turnaround_mean), duration_text(r.turnaround_p95), r.cost,
        percent(r.workers.busy, all), percent(r.workers.idle, all),
        percent(r.workers.starting, all), percent(r.workers.lost, all), r.evictions,
        r.chunks_repeated, size_text(static_cast<uint64_t>(moved(r))), mean_calls(r),
        r.store.peak_calls));
  }
  for (const Row& row : rows) {
    if (row.result.chunks_given_up == 0) continue;
    console.note(
        fmt::format("With {} nodes{} {} chunks would be lost too often and be given up; take "
                    "shorter chunks.",
                    row.nodes, of_name(row), row.result.chunks_given_up));
  }
}

// Of rows that cost the same the one that is done first; none where all would lose chunks.
const Row* cheapest_of(const std::vector<Row>& rows) {
  const Row* cheapest = nullptr;
  const auto key = [](const Row& row) { return std::pair(row.result.cost, row.result.finished); };
  for (const Row& row : rows) {
    if (row.result.chunks_given_up > 0) continue;
    if (cheapest == nullptr || key(row) < key(*cheapest)) cheapest = &row;
  }
  return cheapest;
}

// Where there are shapes to choose from.
json say_cheapest(Console& console, const PlanQuestion& question, const std::vector<Row>& rows) {
  const Row* row = has_names(question) ? cheapest_of(rows) : nullptr;
  if (row == nullptr) return nullptr;
  console.say(fmt::format("The cheapest: {} node{}{}, {:.2f}, done after {}.", row->nodes,
                          row->nodes == 1 ? "" : "s", of_name(*row), row->result.cost,
                          duration_text(row->result.finished)));
  return {{"shape", row->shape->name}, {"nodes", row->nodes}, {"cost", row->result.cost}};
}

// The row beyond the limit with the fewest nodes; nothing if none is.
const Row* first_beyond(const engine::StoreLimit& limit, const std::vector<Row>& rows) {
  const Row* first = nullptr;
  for (const Row& row : rows) {
    if (!limit.is_exceeded(row.result.store)) continue;
    if (first == nullptr || row.nodes < first->nodes) first = &row;
  }
  return first;
}

json say_limits(Console& console, const std::vector<Row>& rows) {
  json found = json::array();
  bool any = false;
  for (const engine::StoreLimit& limit : engine::published_limits()) {
    const Row* row = first_beyond(limit, rows);
    found.push_back({{"service", limit.service},
                     {"what", limit.what},
                     {"most", limit.most},
                     {"exceeded_from_nodes", row != nullptr ? json(row->nodes) : json(nullptr)},
                     {"exceeded_by_shape", row != nullptr ? shape_json(*row) : json(nullptr)}});
    if (row == nullptr) continue;
    if (!any) console.say("In the busiest second beyond what services publish (docs/plan.md):");
    any = true;
    console.say(fmt::format("  {}, {} {}: from {} node{}{} on, {:.0f}", limit.service, limit.most,
                            limit.what, row->nodes, row->nodes == 1 ? "" : "s", of_name(*row),
                            limit.load(row->result.store)));
  }
  if (!any) console.say("Within what services publish, also in the busiest second.");
  return found;
}

json to_json(const PlanResult& r) {
  return {{"finished_seconds", r.finished},
          {"job_seconds",
           {{"mean", r.turnaround_mean}, {"p95", r.turnaround_p95}, {"max", r.turnaround_max}}},
          {"cost", r.cost},
          {"node_seconds", r.node_seconds},
          {"worker_seconds",
           {{"busy", r.workers.busy},
            {"idle", r.workers.idle},
            {"starting", r.workers.starting},
            {"lost", r.workers.lost}}},
          {"peak_nodes", r.peak_nodes},
          {"node_starts", r.node_starts},
          {"preemptions", r.evictions},
          {"chunks", r.chunks_done},
          {"chunks_repeated", r.chunks_repeated},
          {"chunks_given_up", r.chunks_given_up},
          {"store",
           {{"reads", r.store.reads},
            {"writes", r.store.writes},
            {"bytes_read", r.store.bytes_read},
            {"bytes_written", r.store.bytes_written},
            {"calls_per_second", mean_calls(r)},
            {"peak_calls", r.store.peak_calls},
            {"peak_reads", r.store.peak_reads},
            {"peak_writes", r.store.peak_writes},
            {"peak_cancel_looks", r.store.peak_cancel_looks},
            {"peak_input_reads", r.store.peak_input_reads},
            {"peak_bytes_read", r.store.peak_bytes_read},
            {"peak_bytes_written", r.store.peak_bytes_written}}}};
}

// What shapes say for themselves is null.
json planned_json(const PlanQuestion& question) {
  const engine::PlanInput& in = question.input;
  const NodeShape& shape = question.shapes.front();
  const auto of_all = [&](auto value) { return has_names(question) ? json(nullptr) : json(value); };
  return {{"jobs", in.jobs.size()},
          {"chunks", chunks_of(in)},
          {"chunk_seconds", of_all(mean_seconds(in.work.chunk_seconds))},
          {"worker_start_seconds", in.work.worker_start_seconds},
          {"prepare_seconds", in.work.prepare_seconds},
          {"finish_seconds_per_chunk", in.work.finish_seconds_per_chunk},
          {"bytes_in_per_chunk", in.work.bytes_in_per_chunk},
          {"bytes_out_per_chunk", in.work.bytes_out_per_chunk},
          {"min_nodes", in.pool.min_nodes},
          {"workers_per_node", of_all(shape.workers)},
          {"start_delay", in.pool.start_delay},
          {"idle_timeout", number(in.pool.idle_timeout)},
          {"preemptions_per_node_hour", in.pool.preemptions_per_node_hour},
          {"detection_seconds", in.pool.detection_seconds},
          {"price_per_node_hour", of_all(shape.price)},
          {"seed", in.seed}};
}

json shapes_json(const PlanQuestion& question) {
  json shapes = json::array();
  if (!has_names(question)) return shapes;
  for (const NodeShape& shape : question.shapes) {
    shapes.push_back({{"name", shape.name},
                      {"workers_per_node", shape.workers},
                      {"price_per_node_hour", shape.price},
                      {"chunk_seconds", seconds_of_shape(question, shape)}});
  }
  return shapes;
}

json measured_json(const PlanOptions& options, const std::optional<run::RunRates>& m) {
  if (!m) return nullptr;
  const auto known = [](const std::optional<double>& s) { return s ? json(*s) : json(nullptr); };
  return {{"run", options.run_url},
          {"chunks", m->chunks},
          {"workers", m->workers},
          {"gaps", m->gaps},
          {"chunk_seconds", m->mean_chunk_seconds()},
          {"worker_start_seconds", m->worker_start_seconds},
          {"prepare_seconds", known(m->prepare_seconds)},
          {"finish_seconds", known(m->finish_seconds)},
          {"bytes_in_per_chunk", m->bytes_in_per_chunk},
          {"bytes_out_per_chunk", m->bytes_out_per_chunk}};
}

Result<json> sweep(const PlanQuestion& question, Console& console, const std::stop_token& stop) {
  if (question.idle_timeouts.empty()) return json(nullptr);
  const engine::PlanInput input =
      of_shape(question, question.shapes.front(), question.nodes.back());
  const engine::IdleSweep found =
      TRY(engine::sweep_idle_timeouts(input, question.idle_timeouts, question.wait_price, stop));
  const double gap = engine::break_even_gap(input.pool, question.wait_price);
  console.say(fmt::format("Idle time-outs, for at most {} node{}:", input.pool.max_nodes,
                          input.pool.max_nodes == 1 ? "" : "s"));
  console.say("   time-out        cost       total   idle  node starts    job mean     job p95");
  json choices = json::array();
  for (size_t i = 0; i < found.choices.size(); ++i) {
    const engine::IdleChoice& choice = found.choices[i];
    const PlanResult& r = choice.result;
    console.say(fmt::format(
        "  {:>9}  {:10.2f}  {:10.2f}  {:4.0f}%  {:11}  {:>10}  {:>10}{}",
        choice.always_on ? "always on" : duration_text(choice.idle_timeout), r.cost, choice.total,
        percent(r.workers.idle, r.workers.sum()), r.node_starts, duration_text(r.turnaround_mean),
        duration_text(r.turnaround_p95), i == found.cheapest ? "  the cheapest" : ""));
    json one = to_json(r);
    one["idle_timeout"] = number(choice.idle_timeout);
    one["always_on"] = choice.always_on;
    one["total"] = choice.total;
    choices.push_back(std::move(one));
  }
  console.say(fmt::format(
      "A node that is kept over a gap costs what a start does (and the wait for it) after {}.",
      duration_text(gap)));
  return json{{"max_nodes", input.pool.max_nodes},
              {"choices", choices},
              {"cheapest", found.cheapest},
              {"break_even_seconds", number(gap)}};
}

}  // namespace

Result<void> plan_command(const PlanOptions& options, Console& console,
                          const std::stop_token& stop) {
  const PlanQuestion question = TRY(read_question(options));
  for (const std::string& note : notes_of_stores()) console.note(note);
  say_question(console, options, question);
  std::vector<Row> rows;
  json nodes = json::array();
  for (const NodeShape& shape : question.shapes) {
    for (const int most : question.nodes) {
      const auto result = TRY(engine::simulate(of_shape(question, shape, most), stop));
      rows.push_back({&shape, most, result});
      json row = to_json(rows.back().result);
      row["nodes"] = most;
      row["shape"] = shape_json(rows.back());
      nodes.push_back(std::move(row));
    }
  }
  say_rows(console, rows);
  const json cheapest = say_cheapest(console, question, rows);
  const json limits = say_limits(console, rows);
  const json idle = TRY(sweep(question, console, stop));
  const json object = {{"measured", measured_json(options, question.measured)},
                       {"planned", planned_json(question)},
                       {"shapes", shapes_json(question)},
                       {"nodes", nodes},
                       {"cheapest", cheapest},
                       {"limits", limits},
                       {"idle_sweep", idle},
                       {"notes", console.notes()}};
  console.object(object.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  return {};
}

}  // namespace atelier::cli
