// SPDX-License-Identifier: Apache-2.0
#include "server/triggers/receipts.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "server/outputs.h"

namespace atelier::server {
namespace {

// In one transaction: so many that commits cost little, so few that others get their turn.
constexpr size_t kRecordedTogether = 500;
constexpr int64_t kStartedTogether = 200;

// What map_blob and the filters will need that the key of the row does not say.
std::string detail_of(const Blob& blob) {
  nlohmann::json detail = {{"bytes", blob.size}};
  if (!blob.metadata.empty()) detail["metadata"] = blob.metadata;
  return detail.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void read_detail(const std::string& text, Blob& blob) {
  const auto detail = nlohmann::json::parse(text, nullptr, false);
  if (!detail.is_object()) return;
  const auto bytes = detail.find("bytes");
  if (bytes != detail.end() && bytes->is_number_unsigned()) blob.size = bytes->get<uint64_t>();
  const auto metadata = detail.find("metadata");
  if (metadata == detail.end() || !metadata->is_object()) return;
  for (const auto& [name, value] : metadata->items()) {
    if (value.is_string()) blob.metadata[name] = value.get<std::string>();
  }
}

// The blob that a receipt is for; nothing if it does not lie in the trigger's place.
std::optional<Blob> blob_of(const Trigger& trigger, const std::string& url, const std::string& etag,
                            const std::string& detail) {
  const Result<Location> place = parse_location(url);
  if (!place.ok()) return std::nullopt;
  std::optional<std::string> path = path_below(trigger, *place);
  if (!path) return std::nullopt;
  Blob blob{*place, *std::move(path), 0, etag, {}};
  read_detail(detail, blob);
  return blob;
}

// All that a run's output may be called whose file this is, also behind links.
std::vector<std::string> names_of(const Location& place, const ResolveLinks& resolve) {
  std::vector<std::string> names;
  for (const std::string& url : known_urls(place.url(), resolve)) {
    const auto known = parse_location(url);
    if (!known.ok()) continue;
    for (std::string& name : output_urls(*known)) names.push_back(std::move(name));
  }
  return names;
}

bool is_refusal(Code code) { return code == Code::invalid_argument || code == Code::invalid_input; }

Result<void> settle(Connection& connection, const std::string& trigger, const Receipt& receipt) {
  TRY(connection.run(
      "UPDATE receipts SET state = ?, run_id = ?, reason = ? "
      "WHERE trigger_name = ? AND url = ? AND etag = ?",
      {receipt.state, receipt.run_id.empty() ? Value(nullptr) : Value(receipt.run_id),
       receipt.reason, trigger, receipt.url, receipt.etag}));
  return {};
}

}  // namespace

Result<RetriedPage> retry_ignored(Connection& connection, const std::string& trigger,
                                  const std::string& url, const RetriedPage& after, int64_t most) {
  RetriedPage page{0, after.last_url, after.last_etag};
  std::vector<std::pair<std::string, std::string>> found;
  {
    Rows rows = TRY(connection.query(
        "SELECT url, etag FROM receipts WHERE trigger_name = ? AND state = 'ignored' AND (url, "
        "etag) > (?, ?) AND (? = '' OR url = ?) ORDER BY url, etag LIMIT ?",
        {trigger, after.last_url, after.last_etag, url, url, most}));
    while (TRY(rows.next())) found.emplace_back(rows.text(0), rows.text(1));
  }
  for (auto& [found_url, etag] : found) {
    page.retried += TRY(connection.run(
        "UPDATE receipts SET state = 'seen', reason = '' WHERE trigger_name = ? AND url = ? AND "
        "etag = ?",
        {trigger, found_url, etag}));
    page.last_url = std::move(found_url);
    page.last_etag = std::move(etag);
  }
  return page;
}

// A row that is seen, and where the next page begins.
struct Receipts::Due {
  Millis seen_at = -1;
  std::string url;
  std::string etag;
  std::string detail;
};

// What can be told of one before the transaction that starts it.
struct Receipts::Prepared {
  Due due;
  std::vector<std::string> names;  // that its file has
  Result<AddRun> run;
};

struct Receipts::Batch {
  Started started;
  Due last;
  bool full = false;  // there may be more
  bool stop = false;  // the queue takes none
};

Result<std::vector<Blob>> Receipts::unknown(const Trigger& trigger, std::vector<Blob> blobs) {
  std::vector<Blob> found;
  TRY(database_.read([&](Connection& connection) -> Result<void> {
    for (Blob& blob : blobs) {
      const auto row =
          TRY(connection.integer("SELECT 1 FROM receipts WHERE trigger_name = ? AND url = ? AND "
                                 "etag = ?",
                                 {trigger.name, blob.url(), blob.etag}));
      if (!row) found.push_back(std::move(blob));
    }
    return {};
  }));
  return found;
}

Result<int64_t> Receipts::record_seen(const Trigger& trigger, std::span<const Blob> blobs) {
  int64_t added = 0;
  while (!blobs.empty()) {
    const size_t count = std::min(blobs.size(), kRecordedTogether);
    added += TRY(record_some(trigger, blobs.first(count)));
    blobs = blobs.subspan(count);
  }
  return added;
}

Result<int64_t> Receipts::record_some(const Trigger& trigger, std::span<const Blob> blobs) {
  const Millis now = clock_.now();
  int64_t added = 0;
  TRY(database_.write([&](Connection& connection) -> Result<void> {
    added = 0;
    for (const Blob& blob : blobs) {
      const std::string url = blob.url();
      const int64_t changed =
          TRY(connection.run("INSERT INTO receipts (trigger_name, url, etag, seen_at, state, "
                             "detail) VALUES (?, ?, ?, ?, 'seen', ?) ON CONFLICT DO NOTHING",
                             {trigger.name, url, blob.etag, now, detail_of(blob)}));
      added += changed;
    }
    return {};
  }));
  return added;
}

Result<Started> Receipts::start_due(const Trigger& trigger, const std::function<bool()>& go_on) {
  Started all;
  Batch batch;
  do {
    if (!go_on()) return all;
    batch = TRY(start_batch(trigger, batch.last));
    all.submitted += batch.started.submitted;
    all.ignored += batch.started.ignored;
    if (batch.started.waits) all.waits = batch.started.waits;
  } while (batch.full && !batch.stop);
  return all;
}

// Looked at before the transaction, so that a trigger without work costs no commit.
Result<std::vector<Receipts::Due>> Receipts::due_after(const Trigger& trigger, const Due& after) {
  std::vector<Due> rows;
  TRY(database_.read([&](Connection& connection) -> Result<void> {
    rows.clear();
    Rows found = TRY(connection.query(
        "SELECT seen_at, url, etag, detail FROM receipts WHERE state = 'seen' AND trigger_name = ? "
        "AND (seen_at, url, etag) > (?, ?, ?) ORDER BY seen_at, url, etag LIMIT ?",
        {trigger.name, after.seen_at, after.url, after.etag, kStartedTogether}));
    while (TRY(found.next())) {
      rows.push_back({found.integer(0), found.text(1), found.text(2), found.text(3)});
    }
    return {};
  }));
  return rows;
}

Result<Receipts::Batch> Receipts::start_batch(const Trigger& trigger, const Due& after) {
  std::vector<Prepared> rows;
  for (Due& due : TRY(due_after(trigger, after))) rows.push_back(prepare(trigger, std::move(due)));
  if (rows.empty()) return Batch{};
  Batch batch;
  TRY(database_.write([&](Connection& connection) -> Result<void> {
    batch = Batch{};
    return start_rows(connection, trigger, rows, batch);
  }));
  batch.last = rows.back().due;
  batch.full = rows.size() == static_cast<size_t>(kStartedTogether);
  return batch;
}

Receipts::Prepared Receipts::prepare(const Trigger& trigger, Due due) const {
  const std::optional<Blob> blob = blob_of(trigger, due.url, due.etag, due.detail);
  if (!blob || !wants_path(trigger, blob->path) || !wants_size(trigger, blob->size)) {
    return {std::move(due),
            {},
            Error{Code::invalid_input,
                  "The trigger was changed before the run could start, and does not want it any "
                  "more."}};
  }
  Result<AddRun> run = prepare_run(trigger, due, *blob);
  return {std::move(due), names_of(blob->place, resolve_), std::move(run)};
}

Result<AddRun> Receipts::prepare_run(const Trigger& trigger, const Due& due,
                                     const Blob& blob) const {
  TriggeredRun run{trigger.name, trigger.owner, trigger.pipeline, "",
                   due.url,      due.etag,      blob.size,        trigger.asks};
  run.parameters = TRY(map_blob(trigger, blob));
  return prepare_(run);
}

Result<void> Receipts::start_rows(Connection& connection, const Trigger& trigger,
                                  const std::vector<Prepared>& rows, Batch& batch) {
  for (const Prepared& prepared : rows) {
    if (batch.stop) return {};
    // Between the look and this transaction it may have been replaced, or started by another.
    const auto still = TRY(connection.integer(
        "SELECT 1 FROM receipts WHERE trigger_name = ? AND url = ? AND etag = ? AND state = 'seen'",
        {trigger.name, prepared.due.url, prepared.due.etag}));
    if (still) TRY(start_one(connection, trigger, prepared, batch));
  }
  return {};
}

Result<void> Receipts::start_one(Connection& connection, const Trigger& trigger,
                                 const Prepared& prepared, Batch& batch) {
  const auto submit = [&]() -> Result<std::string> {
    if (const auto id = TRY(run_that_writes(connection, prepared.names))) {
      return make_error(Code::invalid_input, "It is the output of the run {}.", *id);
    }
    if (!prepared.run.ok()) return prepared.run.error();
    return (*prepared.run)(connection);
  };
  TRY(connection.run("SAVEPOINT receipt"));
  const Result<std::string> run = submit();
  if (!run.ok()) TRY(connection.run("ROLLBACK TO receipt"));
  TRY(connection.run("RELEASE receipt"));
  const Due& due = prepared.due;
  if (run.ok()) {
    ++batch.started.submitted;
    return settle(connection, trigger.name, {due.url, due.etag, 0, "submitted", *run, ""});
  }
  const Error& error = run.error();
  if (is_refusal(error.code)) {
    ++batch.started.ignored;
    return settle(connection, trigger.name, {due.url, due.etag, 0, "ignored", "", error.message});
  }
  // A disk that is full breaks the transaction anyway.
  if (error.code == Code::no_space) return error;
  batch.started.waits = error;
  // The queue is full, and says when to come again. Anything else may be this blob's alone.
  batch.stop = error.code == Code::unavailable && error.retry_after.count() > 0;
  return {};
}

Result<ReceiptCounts> Receipts::counts(const std::string& trigger) {
  ReceiptCounts counts;
  TRY(database_.read([&](Connection& connection) -> Result<void> {
    for (const auto& [state, count] : {std::pair<const char*, int64_t*>{"seen", &counts.seen},
                                       {"submitted", &counts.submitted},
                                       {"ignored", &counts.ignored}}) {
      *count = TRY(connection.integer(
                       "SELECT count(*) FROM receipts WHERE state = ? AND trigger_name = ?",
                       {state, trigger}))
                   .value_or(0);
    }
    return {};
  }));
  return counts;
}

Result<std::vector<Receipt>> Receipts::list(const std::string& trigger, const std::string& state,
                                            const std::string& after_url,
                                            const std::string& after_etag, size_t limit) {
  std::vector<Receipt> receipts;
  TRY(database_.read([&](Connection& connection) -> Result<void> {
    receipts.clear();
    Rows rows = TRY(connection.query(
        "SELECT url, etag, seen_at, state, run_id, reason FROM receipts WHERE trigger_name = ? AND "
        "(url, etag) > (?, ?) AND (? = '' OR state = ?) ORDER BY url, etag LIMIT ?",
        {trigger, after_url, after_etag, state, state, static_cast<int64_t>(limit)}));
    while (TRY(rows.next())) {
      receipts.push_back(
          {rows.text(0), rows.text(1), rows.integer(2), rows.text(3), rows.text(4), rows.text(5)});
    }
    return {};
  }));
  return receipts;
}

}  // namespace atelier::server
