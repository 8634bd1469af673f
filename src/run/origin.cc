// SPDX-License-Identifier: Apache-2.0
// Whether a process of this machine is gone (proc(5), pid_namespaces(7)).
#include <unistd.h>

#include <array>
#include <fstream>
#include <sstream>

#include "run/ledger.h"

namespace atelier::run {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string pid_namespace() {
  std::array<char, 64> space{};
  const ssize_t length = ::readlink("/proc/self/ns/pid", space.data(), space.size() - 1);
  return length > 0 ? std::string(space.data(), static_cast<size_t>(length)) : std::string();
}

struct ProcessState {
  char state = 0;  // 0: there is no such process
  uint64_t started = 0;
};

ProcessState state_of(int64_t pid) {
  const std::string line = first_line("/proc/" + std::to_string(pid) + "/stat");
  // The name, in parentheses, may itself hold any character.
  const size_t end = line.rfind(')');
  if (end == std::string::npos) return {};
  std::istringstream fields(line.substr(end + 1));
  ProcessState found;
  fields >> found.state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  fields >> found.started;
  return fields ? found : ProcessState{};
}

}  // namespace

Origin this_process() {
  const int64_t pid = ::getpid();
  return {first_line("/etc/machine-id"), first_line("/proc/sys/kernel/random/boot_id"),
          pid_namespace(), pid, state_of(pid).started};
}

Liveness liveness_of(const Origin& origin) {
  const Origin here = this_process();
  if (origin.boot.empty() || here.boot.empty()) return Liveness::unknown;
  if (origin.boot != here.boot) {
    const bool restarted = !here.machine.empty() && origin.machine == here.machine;
    return restarted ? Liveness::dead : Liveness::unknown;
  }
  if (origin.space != here.space || origin.space.empty()) return Liveness::unknown;
  if (origin.pid <= 0 || origin.started == 0) return Liveness::unknown;
  const ProcessState found = state_of(origin.pid);
  const bool gone = found.state == 0 || found.state == 'Z' || found.state == 'X' ||
                    found.started != origin.started;
  return gone ? Liveness::dead : Liveness::alive;
}

bool certainly_dead(const Origin& origin) { return liveness_of(origin) == Liveness::dead; }

}  // namespace atelier::run
