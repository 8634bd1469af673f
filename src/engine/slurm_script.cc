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

// Of a node that others share, too, a worker has the memory that goes with its processors.
std::string share_of_node(const SlurmSetup& setup) {
  if (setup.threads == 0) return {};
  return " --machine-share \"$SLURM_CPUS_ON_NODE/$(grep -c ^processor /proc/cpuinfo)\"";
}

// A gang's ranks are told apart by a shell on each node, independent workers by their task.
std::string worker_command(const SlurmSetup& setup, int tasks) {
  std::vector<std::string> words = setup.arguments;
  words.insert(words.begin(), setup.program);
  if (!setup.gang) {
    return fmt::format(
        "{} --worker \"$SLURM_ARRAY_TASK_ID/{}\" --name {}\".$SLURM_JOB_ID.$restart\" "
        "--threads \"$SLURM_CPUS_ON_NODE\"{}{}",
        quoted(words), tasks, quoted(setup.name), share_of_node(setup),
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
      "srun --mpi={} --ntasks-per-node=1 --kill-on-bad-exit=1 --cpu-bind=none bash -c {} {} {}",
      // What sbatch was told to export would go for this step, too, and leave out the transport.
      ranks ? "pmix --export=ALL" : "none",
      quoted("exec \"$@\" " + who + " --threads \"$SLURM_CPUS_ON_NODE\"" + share_of_node(setup)),
      quoted(setup.name), quoted(words));
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
  # Where no worker said anything, srun may have.
  [ -n "$said" ] || said=$(sed -n 's/^srun: error: //p' "$words" | head -n 1 | head -c 600)
  scontrol update "JobId=$me" "Comment=atelier $restart $code $SLURMD_NODENAME $1 ${said#atelier: }"
  [ "$words" = /dev/null ] || rm -f "$words"
}

# How often in a row with this time; Slurm's own doings lie in between and count nothing.
in_a_row() {
  before=$(squeue -h -j "$me" -o %k | sed -n "s/^atelier [0-9]* [0-9]* [^ ]* $1\([0-9]*\).*/\1/p")
  echo $((${before:-0} + 1))
}

# Slurm signals all processes of a task; this one stays until the worker has left.
trap : TERM
)";

// The code of a gang's step is the highest, that of workers which were sent away too; and srun has
// failures of its own, after which no worker has said anything.
constexpr const char* kGangCode = R"(case $code in
0) # So srun (22.05) may end, too, where a task was not launched and it has ended the others.
  ! grep -q '^srun: error: .*launch failed' "$words" || code=75
  ;;
*)
  verdict=$(sed -n 's/^srun: error: .*: Exited with exit code \([0-9]*\)$/\1/p' "$words" |
    grep -x -m 1 '[1-4]\|75\|12[67]')
  code=${verdict:-$code}
  ;;
esac
case $code in
[1-4]) grep '^atelier: ' "$words" | grep -qv 'Interrupted\.$' || code=75 ;;
esac
case $code in
4 | 126 | 127) [ "$restart" = 0 ] || code=75 ;;
esac
if [ "$code" = 75 ]; then
  vain=$(in_a_row vain)
  end=vain$vain
  [ "$vain" -le "$gang_restarts" ] || code=4
fi
)";

constexpr const char* kAfter = R"(
case $code in
0 | 1 | 2 | 3 | 4 | 126 | 127)
  tell verdict
  exit "$code"
  ;;
esac
# Whoever stopped the run means all of its tasks.
if [ "$code" = 130 ] && grep -q '^atelier: .* was cancelled' "$words"; then
  tell cancelled
  exit "$code"
fi
case $(squeue -h -j "$me" -o '%T %r') in
*TimeLimit*) # No comment is taken before it is back in the queue.
  end=$(in_a_row time)
  [ "$end" -gt "$most_time_limits" ] || scontrol requeue "$me"
  tell "time$end"
  ;;
RUNNING*)
  died=0
  if [ -z "$end" ]; then
    died=$(in_a_row died)
    end=died$died
  fi
  tell "$end"
  [ "$died" -gt "$most_deaths" ] || scontrol requeue "$me"
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
      "{}most_deaths={}\nmost_time_limits={}\ngang_restarts={}\nend=\n\n"
      "{}{} >/dev/null 2>\"$words\"\ncode=$?\n{}{}",
      kBefore, setup.most_deaths, setup.most_time_limits, setup.gang_restarts,
      transport_of_ranks(setup), worker_command(setup, tasks), setup.gang ? kGangCode : "", kAfter);
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
    // A number of tasks, or of tasks a node, would fix that of nodes at the least: srun has it.
    words.push_back(fmt::format("--nodes={}-{}", setup.least_nodes, setup.most_nodes));
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
