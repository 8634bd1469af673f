// SPDX-License-Identifier: Apache-2.0
// What Slurm is asked to run, as text: pure functions of a SlurmSetup. Tested by
// slurm_script_test.cc, and on a real Slurm by tests/slurm/.
#pragma once

#include <string>
#include <vector>

namespace atelier::engine {

struct SlurmSetup {
  std::string program;                 // its path on every node
  std::vector<std::string> arguments;  // of every worker; --worker, --name and --threads are added
  std::string name;                    // workers are "NAME.JOB.RESTART", in a gang with ".RANK"
  std::string run_id;

  std::string partition;  // as all up to `time` handed on to sbatch; empty: Slurm's default
  std::string account;
  std::string constraint;
  std::string gres;
  std::string time;
  int least_nodes = 1;  // a gang starts with so many; independent workers with the first
  int most_nodes = 1;
  int threads = 0;  // of each worker; 0: whole nodes, and as many threads as Slurm gives processors
  bool gang = false;
  // Of a gang of ranks (atelier-rank, by srun --mpi=pmix), which get --gang, what their names begin
  // with: the only network interface by which they speak. Empty: workers that start and end
  // together and know nothing of each other.
  std::string interface;
  // Independent workers get --drilled-life: how often Slurm has started that task before.
  bool tells_life = false;
  // After so many deaths in a row a task is left to the engine. What Slurm itself requeues counts
  // nothing, however long a job goes on.
  int most_deaths = 20;
  // In a row. Whoever waits sees whether work goes on and gives up sooner if it does not
  // (slurm_watch.h); this is the end of a job for which nobody waits.
  int most_time_limits = 1000;
  // A gang that came to nothing, because its ranks did not meet or because one could not work in a
  // later life than the first, is tried again so often in a row.
  int gang_restarts = 3;
};

// The batch script. It ends with the worker's code where that is a verdict (0 to 4; 126 and 127:
// the program could not be started) or the run was cancelled, and goes back into the queue where it
// is none: killed, asked to leave by somebody else, out of time. Of a gang, what a node cannot do
// (4, 126, 127) is a verdict in the first life only: later it is a node that others may stand for.
// What Slurm itself is about to requeue or has cancelled is left to it. Its last words stand in the
// job's comment, see slurm_queue.h: nodes need not share a folder for that.
std::string batch_script(const SlurmSetup& setup, int tasks);

// No other job has it, as long as no other command has the setup's name: by it a job is found whose
// number never came. `submission`: from 1.
std::string job_name(const SlurmSetup& setup, int submission);

// The command that submits it, the script on its stdin: an array of so many tasks of one node each,
// or a gang, called `job`. `variables` of the environment go along; everything else of it stays
// here, since Slurm would keep it in files.
std::vector<std::string> submit_command(const SlurmSetup& setup, const std::string& job, int tasks,
                                        const std::vector<std::string>& variables);

}  // namespace atelier::engine
