// SPDX-License-Identifier: Apache-2.0
#include "server/status_page.h"

namespace atelier::server {

// The token stays in this tab's memory. Texts of others become text nodes, never markup.
std::string_view status_page() {
  return R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Atelier</title>
<style>
  :root { color-scheme: light dark; --line: #8884; --soft: #8888; }
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
  h1 { font-size: 1.4rem; margin: 0; }
  header, form { display: flex; gap: 1rem; align-items: baseline; flex-wrap: wrap; }
  header { margin-bottom: 1.5rem; }
  #said { color: var(--soft); }
  table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
  caption { text-align: left; font-weight: 600; padding: .3rem 0; }
  th, td { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
  th { font-weight: 500; color: var(--soft); }
  th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; }
  td.id { font-family: ui-monospace, monospace; font-size: .85em; white-space: nowrap; }
  .state { padding: 0 .5em; border-radius: 1em; border: 1px solid currentColor; font-size: .85em; white-space: nowrap; }
  .finished { color: #2a8f4c; } .failed, .set_aside { color: #c0392b; } .running { color: #2471a3; }
  input { font: inherit; padding: .2rem .4rem; width: 22rem; max-width: 100%; }
  button { font: inherit; }
</style>
</head>
<body>
<header><h1>Atelier</h1><span id="said">Give a token to see what goes on.</span></header>
<form id="form"><label>Token <input id="token" type="password" autocomplete="off" placeholder="atl_..."></label>
<button>Show</button></form>
<table hidden id="pools"><caption>Pools</caption>
<thead><tr><th>Name<th>Engine<th class="number">Nodes<th class="number">Queued<th class="number">Running</tr></thead><tbody></tbody></table>
<table hidden id="runs"><caption>Runs</caption>
<thead><tr><th>Run<th>State<th>Pipeline<th>Owner<th>Input<th class="number">Frames<th class="number">Busy<th>Submitted<th>Reason</tr></thead><tbody></tbody></table>
<script>
"use strict";
const said = document.getElementById("said");
let token = "", timer = 0;
async function ask(path) {
  const reply = await fetch(path, { headers: { Authorization: "Bearer " + token } });
  const body = await reply.json();
  if (!reply.ok) throw new Error(body.detail || reply.statusText);
  return body;
}
function cell(row, text, kind) {
  const made = row.insertCell();
  if (kind) made.className = kind;
  made.textContent = text;
  return made;
}
function fill(name, rows, draw) {
  const table = document.getElementById(name), body = document.createElement("tbody");
  for (const one of rows) draw(body.insertRow(), one);
  table.tBodies[0].replaceWith(body);
  table.hidden = false;
}
function drawPool(row, pool) {
  cell(row, pool.name); cell(row, pool.engine); cell(row, pool.max, "number");
  cell(row, pool.runs.queued, "number"); cell(row, pool.runs.running, "number");
}
function nameOf(url) {
  const name = url.split("/").pop();
  try { return decodeURIComponent(name); } catch { return name; }
}
function drawRun(row, run) {
  cell(row, run.id, "id");
  const state = document.createElement("span");
  state.className = "state " + run.state;
  state.textContent = run.state.replace("_", " ");
  row.insertCell().append(state);
  cell(row, run.pipeline + " " + run.version); cell(row, run.owner);
  cell(row, nameOf(run.input));
  cell(row, run.frames || "", "number");
  cell(row, run.busy_seconds ? run.busy_seconds.toFixed(1) + " s" : "", "number");
  cell(row, new Date(run.created_at).toLocaleString()); cell(row, run.reason);
}
async function show() {
  clearTimeout(timer);
  try {
    const [pools, runs] = await Promise.all([ask("/v1/pools"), ask("/v1/runs?limit=100")]);
    fill("pools", pools.pools, drawPool);
    fill("runs", runs.runs, drawRun);
    said.textContent = runs.runs.length + (runs.next ? " newest runs" : " runs") + " at " + new Date().toLocaleTimeString();
    timer = setTimeout(show, 3000);
  } catch (error) {
    said.textContent = error.message;
    if (token) timer = setTimeout(show, 10000);
  }
}
document.getElementById("form").addEventListener("submit", event => {
  event.preventDefault();
  token = document.getElementById("token").value.trim();
  show();
});
</script>
</body>
</html>
)html";
}

}  // namespace atelier::server
