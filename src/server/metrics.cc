// SPDX-License-Identifier: Apache-2.0
#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace atelier::server {

struct Metrics::Families {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& requests =
      prometheus::BuildCounter()
          .Name("atelier_requests_total")
          .Help("Requests that were answered, by operation and status")
          .Register(registry);
  prometheus::Histogram& seconds =
      prometheus::BuildHistogram()
          .Name("atelier_request_seconds")
          .Help("Time from a request's last byte to its answer")
          .Register(registry)
          .Add({}, prometheus::Histogram::BucketBoundaries{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                           0.1, 0.25, 0.5, 1, 2.5, 5, 10});
};

Metrics::Metrics() : families_(std::make_unique<Families>()) {}
Metrics::~Metrics() = default;

void Metrics::count_request(const std::string& operation, int status, double seconds) {
  families_->requests.Add({{"operation", operation}, {"status", std::to_string(status)}})
      .Increment();
  families_->seconds.Observe(seconds);
}

namespace {

using Labels = std::vector<std::pair<std::string, std::string>>;

// A family with values that are read now.
class Reading {
 public:
  Reading(const char* name, const char* help, prometheus::MetricType type) {
    family_.name = name;
    family_.help = help;
    family_.type = type;
  }
  void add(double value, const Labels& labels = {}) {
    prometheus::ClientMetric metric;
    for (const auto& [name, text] : labels) metric.label.push_back({name, text});
    if (family_.type == prometheus::MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    family_.metric.push_back(std::move(metric));
  }
  prometheus::MetricFamily take() { return std::move(family_); }

 private:
  prometheus::MetricFamily family_;
};

using prometheus::MetricType;

Result<void> read_database(Connection& connection, Millis now,
                           std::vector<prometheus::MetricFamily>& into) {
  Reading runs("atelier_runs", "Runs, by state and pool", MetricType::Gauge);
  {
    Rows rows =
        TRY(connection.query("SELECT state, pool, sum(runs) FROM run_counts GROUP BY state, pool"));
    while (TRY(rows.next())) {
      runs.add(rows.real(2), {{"state", rows.text(0)}, {"pool", rows.text(1)}});
    }
  }
  Reading oldest("atelier_queue_oldest_seconds", "Age of the oldest run in the queue",
                 MetricType::Gauge);
  const auto first = TRY(connection.integer(
      "SELECT created_at FROM runs WHERE state = 'queued' ORDER BY seq LIMIT 1"));
  oldest.add(first ? static_cast<double>(now - *first) / 1000 : 0);
  // Runs are forgotten one day, so that this may fall.
  Reading frames("atelier_frames", "Frames of the runs that are in the table", MetricType::Gauge);
  Reading seconds("atelier_busy_seconds", "Seconds that nodes of a pool worked within a year",
                  MetricType::Gauge);
  {
    Rows rows = TRY(connection.query("SELECT coalesce(sum(frames), 0) FROM runs"));
    if (TRY(rows.next())) frames.add(rows.real(0));
  }
  {
    Rows rows = TRY(connection.query(
        "SELECT pool, sum(end_at - begin_at) FROM pool_time WHERE kind = 'busy' GROUP BY pool"));
    while (TRY(rows.next())) seconds.add(rows.real(1) / 1000, {{"pool", rows.text(0)}});
  }
  Reading receipts("atelier_receipts", "Blobs that triggers saw, by what became of them",
                   MetricType::Gauge);
  {
    Rows rows = TRY(connection.query(
        "SELECT trigger_name, state, count(*) FROM receipts GROUP BY trigger_name, state"));
    while (TRY(rows.next())) {
      receipts.add(rows.real(2), {{"trigger", rows.text(0)}, {"state", rows.text(1)}});
    }
  }
  for (Reading* reading : {&runs, &oldest, &frames, &seconds, &receipts}) {
    into.push_back(reading->take());
  }
  return {};
}

}  // namespace

Result<std::string> Metrics::scrape(Database& database, const ListenerCounts& counts,
                                    const WallClock& wall) {
  std::vector<prometheus::MetricFamily> families = families_->registry.Collect();
  TRY(database.read(
      [&](Connection& connection) { return read_database(connection, wall.now(), families); }));
  Reading waiting("atelier_writes_waiting", "Writes that wait for the database's writer",
                  MetricType::Gauge);
  waiting.add(static_cast<double>(database.waiting()));
  Reading refused("atelier_requests_refused_total", "Requests that were not answered, by reason",
                  MetricType::Counter);
  refused.add(static_cast<double>(counts.refused), {{"reason", "busy"}});
  refused.add(static_cast<double>(counts.too_large), {{"reason", "too_large"}});
  refused.add(static_cast<double>(counts.malformed), {{"reason", "malformed"}});
  refused.add(static_cast<double>(counts.overdue), {{"reason", "overdue"}});
  families.push_back(waiting.take());
  families.push_back(refused.take());
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace atelier::server
