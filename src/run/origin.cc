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

// Containers of one machine may share its id and number their processes each from 1.
std::string machine_name() {
  std::array<char, 64> space{};
  const ssize_t length = ::readlink("/proc/self/ns/pid", space.data(), space.size() - 1);
  const std::string machine = first_line("/etc/machine-id");
  if (length <= 0 || machine.empty()) return {};
  return machine + " " + std::string(space.data(), static_cast<size_t>(length));
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
  return {machine_name(), first_line("/proc/sys/kernel/random/boot_id"), pid,
          state_of(pid).started};
}

bool certainly_dead(const Origin& origin) {
  const Origin here = this_process();
  if (origin.machine.empty() || origin.boot.empty() || here.boot.empty() || origin.pid <= 0 ||
      origin.started == 0) {
    return false;
  }
  if (origin.boot != here.boot) {
    // Without the namespace: that has another number after each start of the machine.
    const auto id = [](const std::string& machine) { return machine.substr(0, machine.find(' ')); };
    return id(origin.machine) == id(here.machine);
  }
  if (origin.machine != here.machine) return false;
  const ProcessState found = state_of(origin.pid);
  return found.state == 0 || found.state == 'Z' || found.state == 'X' ||
         found.started != origin.started;
}

}  // namespace atelier::run
