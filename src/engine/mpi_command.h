// SPDX-License-Identifier: Apache-2.0
// The command lines of mpirun (Open MPI 4.1). Pure.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace atelier::engine {

struct MpiHost {
  std::string name;  // as mpirun reaches it
  int ranks = 1;
  bool operator==(const MpiHost&) const = default;
};

// Open MPI's own format, a host a line: "n1", "n1 slots=2"; '#' begins a comment. A host has
// `ranks` ranks, or without that (0) as many as it has slots, or one. Errors: invalid_argument
// naming file and line (a host twice, none at all, other keys).
Result<std::vector<MpiHost>> parse_hosts(std::string_view text, const std::string& file, int ranks);

struct MpiSetup {
  std::string mpirun = "mpirun";
  std::string interface;               // the only one that ranks and daemons use: "eth0"
  std::string program;                 // what a rank runs: the same path on every host
  std::vector<std::string> variables;  // of the environment, set here, that ranks get
};

// What ranks speak over, as parameters of Open MPI: TCP, by that interface alone.
std::vector<std::pair<std::string, std::string>> transport_parameters(const std::string& interface);

// All ranks of a gang: rank 0 is the first of the first host, and so on.
std::vector<std::string> gang_command(const MpiSetup& setup, const std::vector<MpiHost>& hosts,
                                      const std::vector<std::string>& arguments);
// One process on one host.
std::vector<std::string> host_command(const MpiSetup& setup, const std::string& host,
                                      const std::vector<std::string>& arguments);
// One process on each of `nodes` hosts that a resource manager has given to mpirun.
std::vector<std::string> nodes_command(const MpiSetup& setup, int nodes,
                                       const std::vector<std::string>& arguments);

// The name of the host of a rank.
std::string host_of_rank(const std::vector<MpiHost>& hosts, int rank);
int ranks_of(const std::vector<MpiHost>& hosts);

}  // namespace atelier::engine
