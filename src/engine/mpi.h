// SPDX-License-Identifier: Apache-2.0
// The MPI engine: a run's workers as one gang of ranks on several hosts, started by Open MPI's
// mpirun. Nothing is scored before all ranks are there. MPI knows no loss: a rank, a daemon or a
// host that is lost ends the gang, and the engine starts another one on the hosts that still
// answer. What was scored lies in the run folder, so that costs the chunks that were being scored,
// and the time until the loss is noticed. A loss is noticed by mpirun where a process ends or a
// host's TCP connection breaks or keeps silent for four seconds (keepalives), and by ourselves
// where a rank's beats stop (see `beats`). No MPI header here: ranks are another program, and this
// one needs mpirun alone. Tested by mpi_test.cc without a process and by tests/mpi/mpi_test.py on
// hosts of namespaces.
#pragma once

#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/host_facts.h"
#include "engine/launcher.h"
#include "engine/mpi_command.h"

namespace atelier::engine {

struct MpiJob {
  MpiSetup setup;
  std::vector<MpiHost> hosts;  // empty: `nodes` of those that a resource manager has given
  int nodes = 0;
  int ranks_per_node = 1;  // with `nodes`
  std::string version;     // of this program, which all hosts must have
  // What a rank of gang 1, 2, ... is called with, and what a host is looked at with.
  std::function<std::vector<std::string>(int gang)> rank_arguments;
  std::vector<std::string> host_arguments;
  int restarts = 3;                                                     // at most
  std::chrono::milliseconds gang_timeout = std::chrono::seconds(60);    // until all ranks are there
  std::chrono::milliseconds answer_timeout = std::chrono::seconds(20);  // of a host
  std::chrono::milliseconds beat_timeout = std::chrono::seconds(30);
  std::chrono::milliseconds patience = std::chrono::seconds(10);  // of mpirun, asked to leave
  // What changes with each beat, for the ranks of that gang that ever beat. Called
  // every two seconds. Unset: nobody watches; an error, as from a store that is away: no news.
  std::function<Result<std::map<int, std::string>>(int gang)> beats;
  // That gang has ended before its work: its ranks are gone, whatever they last said. May be unset.
  std::function<void(int gang, int ranks)> bury;
  // Whether ranks that were asked to leave by somebody else are a loss; unset: yes.
  std::function<bool()> goes_on;
  std::function<void(const std::string&)> say;   // what goes on; may be unset
  std::function<void(const std::string&)> note;  // what went wrong; may be unset
};

// What became of a job that was done.
struct MpiOutcome {
  std::vector<std::string> hosts;  // of the last gang
  int ranks = 0;                   // likewise
  int restarts = 0;
  struct Event {
    double seconds = 0;  // since the engine began
    std::string text;
  };
  std::vector<Event> events;                 // starts and losses, in order
  std::map<std::string, double> statistics;  // as rank 0 says them
};

// Looks at every host of the job, by mpirun, and starts no gang: whether it answers, has the same
// version, sees the run, has room for scratch files and a clock that is right. All are in the
// answer, fit or not. Errors: cancelled; unavailable (mpirun cannot be started, or no node of an
// allocation answers).
Result<std::vector<HostTrouble>> look_at_hosts(const MpiJob& job, Launcher& launcher,
                                               const Clock& clock, std::stop_token stop);

// Blocks until a gang has ended well. What runs ends with the calling thread. Errors: cancelled;
// unavailable, naming it: mpirun cannot be started, at first a host that does not answer, has
// another version or does not see the run, or that nobody came from, and later that too much was
// lost; whatever a rank says that is no loss.
Result<MpiOutcome> run_mpi_gang(const MpiJob& job, Launcher& launcher, const Clock& clock,
                                std::stop_token stop);

}  // namespace atelier::engine
