// SPDX-License-Identifier: Apache-2.0
#include "cli/service_commands.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>

#include "cli/commands.h"

namespace atelier::cli {
namespace {

constexpr std::string_view kServiceHelp =
    "Where the service is [$ATELIER_SERVICE, else http://127.0.0.1:8080]; its token is in "
    "$ATELIER_TOKEN, in the file $ATELIER_TOKEN_FILE or in ~/.config/atelier/token";

void add_service(CLI::App& command, std::string& service) {
  command.add_option("--service", service, std::string(kServiceHelp));
}

void add_submit(CLI::App& app, SubmitOptions& o) {
  CLI::App* submit = app.add_subcommand("submit", "Put a run of a pipeline into a service's queue");
  submit->add_option("PIPELINE", o.pipeline, "A published pipeline")->required();
  submit->add_option("-s,--set", o.parameters, "A parameter, name=value; as often as needed");
  submit->add_option("--label", o.labels, "A label, name=value, to find the run by");
  submit->add_option("--version", o.version, "Of the pipeline [the newest]")
      ->check(CLI::PositiveNumber);
  submit->add_option("--pool", o.pool, "Where to score [the pipeline's]");
  submit->add_option("--priority", o.priority, "Higher goes first; above 0 for operators")
      ->check(CLI::Range(-100, 100));
  submit->add_flag("--force", o.replace, "Replace an existing output");
  submit->add_option("--max-cost", o.max_cost, "End it when it cost more")
      ->check(CLI::PositiveNumber);
  submit->add_option("--max-time", o.max_time, "End it when it worked for longer: 30m, 2h");
  submit->add_option("--key", o.key, "Makes the command safe to repeat: one run for one key");
  submit->add_flag("--wait", o.wait, "Until the run is over");
  add_service(*submit, o.service);
}

void add_runs(CLI::App& app, ServiceOptions& o) {
  CLI::App* list = app.add_subcommand("list", "The runs of a service, the newest first");
  list->add_option("--state", o.list.state)
      ->check(CLI::IsMember({"queued", "running", "finished", "failed", "cancelled", "set_aside"}));
  list->add_option("--pipeline", o.list.pipeline, "Of this pipeline");
  list->add_option("--owner", o.list.owner, "Of this owner");
  list->add_option("--label", o.list.label, "With this label, name=value");
  list->add_option("--since", o.list.since, "Submitted then or later: 2026-11-30T03:04:05Z");
  list->add_option("--until", o.list.until, "Submitted before then");
  list->add_option("--limit", o.list.limit)->check(CLI::Range(1, 1000))->capture_default_str();
  list->add_option("--before", o.list.before, "The next page, as the one before says")
      ->check(CLI::PositiveNumber);
  add_service(*list, o.list.service);
  const std::array<std::pair<const char*, const char*>, 3> changes = {{
      {"cancel", "End runs of a service; what was done is kept"},
      {"retry", "Put runs that failed, were cancelled or set aside into the queue again"},
      {"rerun", "New runs of the same pipelines with the same parameters"},
  }};
  for (const auto& [name, help] : changes) {
    CLI::App* change = app.add_subcommand(name, help);
    change->add_option("RUN", o.runs.runs, "Names of runs, run-...")->required();
    if (std::string_view(name) == "rerun") {
      change->add_flag("--even-if-changed", o.runs.even_if_changed,
                       "Also if an input or a model is not what it was");
    }
    add_service(*change, o.runs.service);
  }
  CLI::App* logs = app.add_subcommand("logs", "What a run of a service and its workers printed");
  logs->add_option("RUN", o.logs.run, "The name of a run, run-...")->required();
  logs->add_option("--worker", o.logs.worker, "Of this worker alone");
  logs->add_flag("--follow", o.logs.follow, "Go on until the run is over");
  add_service(*logs, o.logs.service);
}

void add_administration(CLI::App& app, ServiceOptions& o) {
  CLI::App* publish = app.add_subcommand("publish", "Publish a pipeline as its next version");
  publish->add_option("FILE", o.publish.file, "Its TOML file")->required();
  add_service(*publish, o.publish.service);
  CLI::App* token = app.add_subcommand("token", "Make, list and revoke tokens of a service");
  token->add_option("ACTION", o.token.action)
      ->required()
      ->check(CLI::IsMember({"create", "list", "revoke"}));
  token->add_option("NAME", o.token.name, "Of who gets it; the id of one to revoke");
  token->add_option("--role", o.token.role)
      ->check(CLI::IsMember({"reader", "submitter", "operator", "admin"}))
      ->capture_default_str();
  token->add_option("--pipeline", o.token.pipelines, "For this pipeline alone; may be repeated");
  token->add_option("--prefix", o.token.prefixes,
                    "For places below this location alone; may be repeated");
  token->add_option("--days", o.token.days, "Until it expires")
      ->check(CLI::Range(0.001, 365.0))
      ->capture_default_str();
  add_service(*token, o.token.service);
  CLI::App* costs =
      app.add_subcommand("costs", "What pools cost, and what would have been cheaper");
  costs->add_option("--days", o.costs.days)->check(CLI::Range(1, 366))->capture_default_str();
  add_service(*costs, o.costs.service);
  CLI::App* backup =
      app.add_subcommand("backup", "Copy a service's database, while it is used, into its folder");
  add_service(*backup, o.backup);
}

constexpr std::array<std::string_view, 11> kNames = {"serve", "submit", "list",  "cancel",
                                                     "retry", "rerun",  "logs",  "publish",
                                                     "token", "costs",  "backup"};

}  // namespace

void add_service_commands(CLI::App& app, ServiceOptions& o) {
  CLI::App* serve = app.add_subcommand(
      "serve", "The service: a queue of runs, pipelines, triggers and a REST interface");
  serve->add_option("--config", o.serve.config, "Its configuration, atelier.toml")->required();
  serve->add_option("--die-before-commit", o.serve.die_before_commit)->group("");  // for tests
  add_submit(app, o.submit);
  add_runs(app, o);
  add_administration(app, o);
}

bool is_service_command(const std::string& name) {
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

Result<void> dispatch_service(const std::string& name, const ServiceOptions& o, Console& console,
                              Interrupt& interrupt) {
  if (name == "serve") return serve_command(o.serve, console, interrupt);
  if (name == "submit") return submit_command(o.submit, console, interrupt.token());
  if (name == "list") return list_command(o.list, console);
  if (name == "cancel") return cancel_command(o.runs, console);
  if (name == "retry") return retry_command(o.runs, console);
  if (name == "rerun") return rerun_command(o.runs, console);
  if (name == "logs") return logs_command(o.logs, console, interrupt.token());
  if (name == "publish") return publish_command(o.publish, console);
  if (name == "token") return token_command(o.token, console);
  if (name == "costs") return costs_command(o.costs, console);
  return backup_command(o.backup, console);
}

Result<void> show_anything(const std::string& what, Console& console) {
  const size_t runs = what.find("/v1/runs/");
  const bool is_address = what.starts_with("http://") || what.starts_with("https://");
  if (is_address && runs != std::string::npos) {
    return show_service_run(what.substr(0, runs), what.substr(what.rfind('/') + 1), console);
  }
  if (what.starts_with("run-") && what.find('/') == std::string::npos) {
    return show_service_run("", what, console);
  }
  return show_command(what, console);
}

}  // namespace atelier::cli
