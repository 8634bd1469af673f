// SPDX-License-Identifier: Apache-2.0
#include "engine/slurm_script.h"

#include <fmt/format.h>

#include "engine/mpi_command.h"

namespace atelier::engine {
namespace {

// One word for a shell, whatever is in it.
std::string quoted(const std::string& text) {
  std::string word = "'";
  for (const char c : text) {
    if (c == '\'') {
      word += "'\\''";
    } else {
      word += c;
    }
  }
  return word + "'";
}

std::string quoted(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + quoted(word);
  return text;
}

// A gang's ranks are told apart by a shell on each node, independent workers by their task.
std::string worker_command(const SlurmSetup& setup, int tasks) {
  std::vector<std::string> words = setup.arguments;
  words.insert(words.begin(), setup.program);
  if (!setup.gang) {
    return fmt::format(
        "{} --worker \"$SLURM_ARRAY_TASK_ID/{}\" --name {}\".$SLURM_JOB_ID.$restart\" "
        "--threads \"$SLURM_CPUS_ON_NODE\"{}",
        quoted(words), tasks, quoted(setup.name),
        setup.tells_life ? " --drilled-life \"$restart\"" : "");
  }
  const bool ranks = !setup.interface.empty();
  const std::string life = "$0.$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}";
  const std::string who = ranks ? fmt::format("--gang \"{}\"", life)
                                : fmt::format(
                                      "--worker \"$((SLURM_PROCID + 1))/$SLURM_NTASKS\" "
                                      "--name \"{}.$SLURM_PROCID\"",
                                      life);
  return fmt::format(
      "srun --mpi={} --kill-on-bad-exit=1 --cpu-bind=none bash -c {} {} {}",
      // What sbatch was told to export would go for this step, too, and leave out the transport.
      ranks ? "pmix --export=ALL" : "none",
      quoted("exec \"$@\" " + who + " --threads \"$SLURM_CPUS_ON_NODE\""), quoted(setup.name),
      quoted(words));
}

// Ranks find these in their environment; without mpirun there is nothing else to tell them.
std::string transport_of_ranks(const SlurmSetup& setup) {
  if (!setup.gang || setup.interface.empty()) return {};
  std::string text;
  for (const auto& [name, value] : transport_parameters(setup.interface)) {
    text += fmt::format("export OMPI_MCA_{}={}\n", name, quoted(value));
  }
  return text;
}

constexpr const char* kBefore = R"(#!/bin/bash
# By `atelier run --engine slurm`: requeues itself unless the worker has come to a verdict.

# A job's number alone would mean every task of its array.
me=$SLURM_JOB_ID
[ -z "$SLURM_ARRAY_JOB_ID" ] || me=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
restart=${SLURM_RESTART_COUNT:-0}
words=$(mktemp) || words=/dev/null
tell() {
  said=$(grep '^atelier: ' "$words" | grep -v 'Interrupted\.$' | tail -n 1 | head -c 600)
  scontrol update "JobId=$me" "Comment=atelier $restart $code $SLURMD_NODENAME $1 ${said#atelier: }"
  [ "$words" = /dev/null ] || rm -f "$words"
}

# Slurm signals all processes of a task; this one stays until the worker has left.
trap : TERM
)";

constexpr const char* kAfter = R"(code=$?
case $code in
130 | 137 | 143) # A gang's step gives the highest code, those of workers that it sent away too.
  verdict=$(sed -n 's/^srun: error: .*: Exited with exit code \([1-4]\|12[67]\)$/\1/p' "$words" | head -n 1)
  code=${verdict:-$code}
  ;;
esac

case $code in
0 | 1 | 2 | 3 | 4 | 126 | 127)
  tell verdict
  exit "$code"
  ;;
esac
case $(squeue -h -j "$me" -o '%T %r') in
*TimeLimit*) # No comment is taken before it is back in the queue.
  again
  tell time
  ;;
RUNNING*)
  tell died
  again
  ;;
*) # Slurm's own doing: it requeues what it preempted and ends what was cancelled.
  tell asked
  ;;
esac
exit "$code"
)";

}  // namespace

std::string batch_script(const SlurmSetup& setup, int tasks) {
  return fmt::format(
      "{}again() {{ [ \"$restart\" -ge {} ] || scontrol requeue \"$me\"; }}\n\n"
      "{}{} >/dev/null 2>\"$words\"\n{}",
      kBefore, setup.most_restarts, transport_of_ranks(setup), worker_command(setup, tasks),
      kAfter);
}

std::string job_name(const SlurmSetup& setup, int submission) {
  return fmt::format("atelier-{}-{}.{}", setup.run_id, setup.name, submission);
}

std::vector<std::string> submit_command(const SlurmSetup& setup, const std::string& job, int tasks,
                                        const std::vector<std::string>& variables) {
  std::string environment = "NIL";
  for (size_t i = 0; i < variables.size(); ++i) {
    environment = i == 0 ? variables[i] : environment + "," + variables[i];
  }
  std::vector<std::string> words = {"sbatch",
                                    "--parsable",
                                    "--job-name=" + job,
                                    "--requeue",
                                    "--open-mode=append",
                                    "--output=/dev/null",
                                    "--export=" + environment};
  if (setup.gang) {
    words.push_back(fmt::format("--nodes={}-{}", setup.least_nodes, setup.most_nodes));
    words.emplace_back("--ntasks-per-node=1");
  } else {
    words.push_back(fmt::format("--array=1-{}", tasks));
    words.emplace_back("--nodes=1");
    words.emplace_back("--ntasks=1");
  }
  if (setup.threads > 0) {
    words.push_back(fmt::format("--cpus-per-task={}", setup.threads));
  } else {
    words.emplace_back("--exclusive");
    words.emplace_back("--mem=0");  // all that the node has
  }
  for (const auto& [option, value] :
       {std::pair("--partition", &setup.partition), std::pair("--account", &setup.account),
        std::pair("--constraint", &setup.constraint), std::pair("--gres", &setup.gres),
        std::pair("--time", &setup.time)}) {
    if (!value->empty()) words.push_back(fmt::format("{}={}", option, *value));
  }
  return words;
}

}  // namespace atelier::engine
