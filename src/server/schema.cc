// SPDX-License-Identifier: Apache-2.0
#include "server/schema.h"

#include <array>

namespace atelier::server {
namespace {

// Step k brings version k to k + 1. A step that was released is never changed: another is added.
constexpr std::array kSteps = {R"(
CREATE TABLE pipelines (
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  toml TEXT NOT NULL,
  published_at INTEGER NOT NULL,
  published_by TEXT NOT NULL,
  PRIMARY KEY (name, version)
) WITHOUT ROWID;

CREATE TABLE runs (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  pipeline TEXT NOT NULL,
  version INTEGER NOT NULL,
  sha256 TEXT NOT NULL,             -- of the pipeline's version
  parameters TEXT NOT NULL,         -- JSON, complete: defaults are filled in
  labels TEXT NOT NULL DEFAULT '{}',
  owner TEXT NOT NULL,              -- the name of the token, or of the trigger's owner
  pool TEXT NOT NULL,
  priority INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL,              -- queued, running, finished, failed, cancelled, set_aside
  reason TEXT NOT NULL DEFAULT '',
  exit_code INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0,
  step INTEGER NOT NULL DEFAULT 0,  -- of the pipeline, that is next or goes on
  cancel_asked INTEGER NOT NULL DEFAULT 0,
  replace_output INTEGER NOT NULL DEFAULT 0,
  not_before INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  started_at INTEGER,               -- first
  ended_at INTEGER,
  input TEXT NOT NULL DEFAULT '',   -- URLs, for lineage
  output TEXT NOT NULL DEFAULT '',
  bytes INTEGER NOT NULL DEFAULT 0, -- of the input, where known
  run_urls TEXT NOT NULL DEFAULT '[]', -- run folders, one per scoring step
  rerun_of TEXT,
  trigger_name TEXT,
  max_cost REAL,
  max_seconds REAL,
  busy_ms INTEGER NOT NULL DEFAULT 0, -- of its attempts, in all
  cost REAL NOT NULL DEFAULT 0,
  frames INTEGER NOT NULL DEFAULT 0,
  report TEXT
);
CREATE INDEX runs_by_state ON runs (state, seq);
CREATE INDEX runs_by_turn ON runs (state, pool, owner, priority DESC, seq);
CREATE INDEX runs_by_pipeline ON runs (pipeline, seq);
CREATE INDEX runs_by_owner ON runs (owner, state);
CREATE INDEX runs_by_input ON runs (input);
CREATE INDEX runs_by_output ON runs (output);

-- How many runs of an owner are in a state: kept by triggers, so that no submission has to count.
CREATE TABLE run_counts (
  owner TEXT NOT NULL,
  pool TEXT NOT NULL,
  state TEXT NOT NULL,
  runs INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (state, pool, owner)
) WITHOUT ROWID;
CREATE TRIGGER runs_added AFTER INSERT ON runs BEGIN
  INSERT INTO run_counts (owner, pool, state, runs, bytes) VALUES (new.owner, new.pool, new.state, 1, new.bytes)
    ON CONFLICT DO UPDATE SET runs = runs + 1, bytes = bytes + new.bytes;
END;
CREATE TRIGGER runs_removed AFTER DELETE ON runs BEGIN
  UPDATE run_counts SET runs = runs - 1, bytes = bytes - old.bytes
    WHERE state = old.state AND pool = old.pool AND owner = old.owner;
END;
CREATE TRIGGER runs_moved AFTER UPDATE OF state, bytes ON runs BEGIN
  UPDATE run_counts SET runs = runs - 1, bytes = bytes - old.bytes
    WHERE state = old.state AND pool = old.pool AND owner = old.owner;
  INSERT INTO run_counts (owner, pool, state, runs, bytes) VALUES (new.owner, new.pool, new.state, 1, new.bytes)
    ON CONFLICT DO UPDATE SET runs = runs + 1, bytes = bytes + new.bytes;
END;

-- What a client's Idempotency-Key stood for.
CREATE TABLE idempotency (
  owner TEXT NOT NULL,
  key TEXT NOT NULL,
  request_sha256 TEXT NOT NULL,
  run_id TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (owner, key)
) WITHOUT ROWID;

CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id TEXT NOT NULL,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,               -- a state of runs, retried, cancel_asked
  detail TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX events_by_run ON events (run_id, seq);

CREATE TABLE triggers (
  name TEXT PRIMARY KEY,
  toml TEXT NOT NULL,
  changed_at INTEGER NOT NULL,
  changed_by TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE receipts (
  trigger_name TEXT NOT NULL,
  url TEXT NOT NULL,
  etag TEXT NOT NULL,
  seen_at INTEGER NOT NULL,
  state TEXT NOT NULL,              -- seen, submitted, ignored
  run_id TEXT,
  reason TEXT NOT NULL DEFAULT '',
  detail TEXT NOT NULL DEFAULT '{}',
  PRIMARY KEY (trigger_name, url, etag)
) WITHOUT ROWID;
CREATE INDEX receipts_by_state ON receipts (state, trigger_name, seen_at);

CREATE TABLE tokens (
  id TEXT PRIMARY KEY,
  sha256 TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  role TEXT NOT NULL,               -- reader, submitter, operator, admin
  pipelines TEXT NOT NULL DEFAULT '[]', -- JSON list; empty: all
  prefixes TEXT NOT NULL DEFAULT '[]',  -- URLs that its runs may read and write below; empty: all
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  revoked_at INTEGER
) WITHOUT ROWID;

CREATE TABLE audit (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  who TEXT NOT NULL,
  address TEXT NOT NULL,
  action TEXT NOT NULL,             -- an operation's id
  subject TEXT NOT NULL,
  detail TEXT NOT NULL DEFAULT '{}'
);

CREATE TABLE deliveries (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  webhook TEXT NOT NULL,
  run_id TEXT NOT NULL,
  event_seq INTEGER NOT NULL,
  body TEXT NOT NULL,
  state TEXT NOT NULL,              -- waiting, delivered, given_up
  attempts INTEGER NOT NULL DEFAULT 0,
  next_at INTEGER NOT NULL,
  last_error TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL,
  UNIQUE (webhook, event_seq)
);
CREATE INDEX deliveries_by_webhook ON deliveries (webhook, state, next_at);

CREATE TABLE pool_time (
  seq INTEGER PRIMARY KEY,
  pool TEXT NOT NULL,
  node TEXT NOT NULL,
  kind TEXT NOT NULL,               -- busy
  begin_at INTEGER NOT NULL,
  end_at INTEGER NOT NULL,
  run_id TEXT
);
CREATE INDEX pool_time_by_pool ON pool_time (pool, begin_at);
)",
                               R"(
CREATE TABLE outputs (
  url TEXT NOT NULL,                -- as the run has it, and with links followed where that differs
  run_id TEXT NOT NULL,             -- which may be forgotten since
  input TEXT NOT NULL,              -- the run's
  state TEXT NOT NULL,              -- begun, perhaps (written before it ended), written
  PRIMARY KEY (url, run_id)
) WITHOUT ROWID;
CREATE INDEX outputs_by_run ON outputs (run_id);
INSERT INTO outputs SELECT output, id, input, 'written' FROM runs WHERE output != '' AND
  (state = 'finished' OR (state IN ('queued', 'running') AND run_urls != '[]'));

ALTER TABLE runs ADD COLUMN prefixes TEXT NOT NULL DEFAULT '[]';   -- of who asked: JSON
ALTER TABLE runs ADD COLUMN troubles INTEGER NOT NULL DEFAULT 0;   -- attempts that were nobody's fault
ALTER TABLE runs ADD COLUMN replace_own INTEGER NOT NULL DEFAULT 0;
)",
                               R"(
CREATE INDEX IF NOT EXISTS pool_time_by_end ON pool_time (pool, end_at);
)",
                               R"(
ALTER TABLE runs ADD COLUMN repeats TEXT;   -- the run folder that its first step must find again
)"};

Result<void> take_steps(Connection& connection, size_t from) {
  for (size_t step = from; step < kSteps.size(); ++step) {
    TRY(connection.run_script(kSteps.at(step)));
  }
  return connection.run_script(fmt::format("PRAGMA user_version={}", kSteps.size()));
}

}  // namespace

int schema_version() { return static_cast<int>(kSteps.size()); }

Result<void> migrate(Connection& connection, const std::string& file) {
  const int64_t version = TRY(connection.integer("PRAGMA user_version")).value_or(0);
  if (version > schema_version()) {
    return make_error(Code::invalid_argument,
                      "The database '{}' is of a newer version ({}) than this program knows ({}); "
                      "use the newer program, or restore an older backup.",
                      file, version, schema_version());
  }
  if (version == schema_version()) return {};
  TRY(connection.run_script("BEGIN IMMEDIATE"));
  const Result<void> done = take_steps(connection, static_cast<size_t>(version));
  TRY(connection.run_script(done ? "COMMIT" : "ROLLBACK"));
  return done;
}

}  // namespace atelier::server
