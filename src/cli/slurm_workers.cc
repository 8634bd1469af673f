// SPDX-License-Identifier: Apache-2.0
#include "cli/slurm_workers.h"

#include <filesystem>

#include "cli/mpi_workers.h"
#include "engine/slurm.h"
#include "engine/slurm_check.h"
#include "engine/slurm_cluster.h"
#include "run/gang_record.h"
#include "run/scorer_process.h"
#include "run/worker_beats.h"

namespace atelier::cli {
namespace {

// Its commands repeat themselves for a while where slurmctld is away.
constexpr std::chrono::seconds kPatience(60);
// Of who only wants to look.
constexpr std::chrono::seconds kPatienceOfLooks(10);

// Ranks of MPI where they can be started; else workers that start and end together.
Result<bool> is_gang_of_ranks(const EngineOptions& engine, engine::Commands& commands,
                              const std::stop_token& stop) {
  return engine.gang && rank_program().ok() && TRY(engine::has_pmix(commands, stop));
}

Result<void> check_gang(const EngineOptions& engine, engine::Commands& commands,
                        const std::stop_token& stop) {
  const bool ranks = TRY(is_gang_of_ranks(engine, commands, stop));
  const bool for_ranks = !engine.mpi.interface.empty() || engine.mpi.gang_timeout;
  if (ranks ? !engine.mpi.interface.empty() : !for_ranks) return {};
  if (ranks) {
    return make_error(Code::invalid_argument,
                      "--gang needs --interface NAME, that of a private network of the nodes: what "
                      "ranks say to each other is neither encrypted nor signed.");
  }
  return make_error(Code::invalid_argument,
                    "{} is for a gang of MPI ranks, and {}; leave it out, and the workers start "
                    "and end together all the same.",
                    engine.mpi.interface.empty() ? "--gang-timeout" : "--interface",
                    rank_program().ok() ? "this Slurm has no PMIx (srun --mpi=list)"
                                        : "this program was built without -DATELIER_MPI=ON");
}

// What became of the gang, as its rank 0 left it.
std::map<std::string, double> statistics_of(const WorkersRequest& request,
                                            const std::string& run_id) {
  const auto record = run::read_gang(*request.store, run_id);
  const bool ours = record.ok() && *record && (*record)->gang.starts_with(request.name + ".");
  return ours ? (*record)->statistics : std::map<std::string, double>();
}

// The path of this very program: on the nodes it must be the same.
Result<std::string> program_path() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink(run::kThisProgram, error);
  if (!error) return path.string();
  return make_error(Code::internal, "Cannot find out where this program lies ({}).",
                    error.message());
}

// What sbatch gets of the options as they are.
Result<void> hand_on(const EngineOptions& options, engine::SlurmSetup& setup) {
  const NodeCount nodes = TRY(parse_nodes(options.nodes));
  setup.partition = options.partition;
  setup.account = options.account;
  setup.constraint = options.constraint;
  setup.gres = options.gres;
  setup.time = options.time;
  setup.least_nodes = nodes.least;
  setup.most_nodes = nodes.most;
  setup.gang = options.gang;
  return {};
}

run::EngineTask task_row(const engine::SlurmTask& task) {
  return {task.number > 0 ? std::to_string(task.number) : std::string(), task.word, task.reason,
          task.nodes, task.restarts};
}

}  // namespace

Result<void> check_slurm_engine(const EngineOptions& engine, std::stop_token stop) {
  const auto commands = engine::make_commands(kPatience);
  // Independent workers start with the first node.
  const int least = engine.gang ? TRY(parse_nodes(engine.nodes)).least : 1;
  TRY(engine::check_slurm(*commands, engine.partition, least, stop));
  return engine.gang ? check_gang(engine, *commands, stop) : Result<void>();
}

Result<std::optional<engine::SlurmPartition>> slurm_partition(const EngineOptions& engine,
                                                              std::stop_token stop) {
  const auto commands = engine::make_commands(kPatienceOfLooks);
  return engine::look_at_partition(*commands, engine.partition, std::move(stop));
}

Result<std::string> try_slurm_job(const EngineOptions& engine, std::stop_token stop) {
  const auto commands = engine::make_commands(kPatienceOfLooks);
  engine::SlurmSetup setup;
  setup.program = TRY(program_path());
  TRY(hand_on(engine, setup));
  return engine::try_job(*commands, setup, std::move(stop));
}

Result<std::vector<engine::HostTrouble>> look_at_slurm_nodes(const EngineOptions& engine, int nodes,
                                                             ObjectStore& runs,
                                                             std::stop_token stop) {
  const auto commands = engine::make_commands(kPatience);
  engine::SlurmNodeLook look;
  look.setup.program = TRY(rank_program());
  TRY(hand_on(engine, look.setup));
  look.nodes = nodes;
  look.version = ATELIER_VERSION;
  return while_run_beats(runs, [&](const std::vector<std::string>& arguments) {
    look.setup.arguments = arguments;
    return engine::look_at_nodes(*commands, look, std::move(stop));
  });
}

Result<run::EngineReport> score_on_slurm(const WorkersRequest& request, run::RunFolder& folder,
                                         std::vector<std::string> arguments, Console& console,
                                         std::stop_token stop) {
  const EngineOptions& options = request.engine;
  const NodeCount nodes = TRY(parse_nodes(options.nodes));
  run::EngineReport report;
  report.name = options.name;
  Clock& clock = system_clock();
  const Clock::Duration begin = clock.now();

  engine::SlurmRequest slurm;
  if (options.gang && !options.mpi.interface.empty()) {
    slurm.setup.program = TRY(rank_program());
    slurm.setup.arguments = rank_arguments(request, folder.url());
    slurm.setup.arguments.push_back(fmt::format("--gang-timeout={}", options.mpi.gang_seconds()));
    slurm.setup.interface = options.mpi.interface;
  } else {
    slurm.setup.program = TRY(program_path());
    slurm.setup.arguments = std::move(arguments);
  }
  for (const char* word : {"--prepared-by", ATELIER_VERSION}) {
    slurm.setup.arguments.emplace_back(word);
  }
  if (request.more_arguments) {
    for (std::string& more : request.more_arguments(0)) {
      slurm.setup.arguments.push_back(std::move(more));
    }
    slurm.setup.tells_life = true;
  }
  slurm.setup.name = request.name;
  slurm.setup.run_id = folder.run_id();
  TRY(hand_on(options, slurm.setup));
  slurm.setup.threads = request.threads;
  slurm.setup.gang_restarts = options.mpi.most_restarts();
  slurm.unsettled = request.unsettled;
  slurm.goes_on = request.goes_on;
  slurm.submitted = [&](int64_t job) {
    console.say(
        fmt::format("Slurm job {}: `atelier show {}` tells how it goes.", job, folder.url()));
    const auto kept = folder.put_engine(run::to_json({options.name, job, options.partition}));
    if (!kept.ok()) console.note("`atelier show` will not see the job: " + kept.error().message);
  };
  slurm.bury = [&](int64_t job, int restart) {
    for (int rank = 0; rank < nodes.most; ++rank) {
      // Its chunk is taken over all the same, later.
      (void)run::bury(*request.store, folder.run_id(),
                      fmt::format("{}.{}.{}.{}", request.name, job, restart, rank));
    }
  };
  slurm.say = [&](const std::string& text) { console.say(text); };
  slurm.event = [&](const std::string& text) {
    const std::chrono::duration<double> seconds = clock.now() - begin;
    report.events.push_back({seconds.count(), text});
    console.note(text);
  };
  const auto commands = engine::make_commands(kPatience);
  engine::SlurmOutcome outcome =
      TRY(engine::run_slurm_workers(slurm, *commands, clock, std::move(stop)));
  report.nodes = std::move(outcome.nodes);
  report.workers = outcome.workers;
  report.restarts = outcome.restarts;
  report.statistics = statistics_of(request, folder.run_id());
  return report;
}

Result<std::optional<run::EngineState>> ask_engine(run::RunFolder& folder) {
  const auto text = TRY(folder.read_engine());
  if (!text) return std::optional<run::EngineState>();
  run::EngineState state;
  state.record = TRY(run::engine_from_json(*text));
  if (state.record.name != "slurm") return std::optional<run::EngineState>();
  const auto commands = engine::make_commands(kPatienceOfLooks);
  const auto tasks = engine::ask_slurm(*commands, state.record.job, {});
  if (!tasks.ok()) {
    state.error = tasks.error().message;
  } else {
    for (const engine::SlurmTask& task : *tasks) state.tasks.push_back(task_row(task));
  }
  return std::optional(std::move(state));
}

}  // namespace atelier::cli
