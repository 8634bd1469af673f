// SPDX-License-Identifier: Apache-2.0
#include "run/sandbox.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <string_view>

#include "base/file.h"
#include "run/sandbox_layers.h"

#ifdef __SANITIZE_ADDRESS__
// The leak check at exit clones a process that traces this one: deadly here. The runtime asks
// this function first (sanitizer/lsan_interface.h).
extern "C" __attribute__((visibility("default"))) int __lsan_is_turned_off();
extern "C" int __lsan_is_turned_off() { return ::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0; }
#endif

namespace atelier::run {
namespace {

Error cannot(std::string_view what) {
  return make_error(Code::internal,
                    "Cannot {} to lock the scorer in: {}; --sandbox off goes "
                    "without.",
                    what, describe_errno(errno));
}

Result<void> limit(__rlimit_resource resource, rlim_t most, rlim_t grace = 0) {
  struct rlimit now {};
  ::getrlimit(resource, &now);
  const struct rlimit limits { std::min(most, now.rlim_max), std::min(most + grace, now.rlim_max) };
  if (::setrlimit(resource, &limits) != 0) return cannot("limit resources");
  return {};
}

// Processes and threads have no limit here: RLIMIT_NPROC counts everything that the user runs
// anywhere, and root is exempt from it. seccomp allows no process; threads and their memory are the
// broker's to watch (scorer_limits.h).
Result<void> set_limits(const SandboxPolicy& policy) {
  // Soft before hard, so that the end is SIGXCPU, which says what happened.
  if (policy.cpu_seconds > 0) TRY(limit(RLIMIT_CPU, policy.cpu_seconds, 5));
  if (policy.open_files > 0) TRY(limit(RLIMIT_NOFILE, policy.open_files));
  if (policy.file_bytes > 0) {
    TRY(limit(RLIMIT_FSIZE, policy.file_bytes));
    // As an error of write() it has a sentence; as a signal it has none.
    ::signal(SIGXFSZ, SIG_IGN);
  }
  return limit(RLIMIT_CORE, 0);
}

Result<void> drop_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
  if (::syscall(SYS_capset, &header, none.data()) != 0) return cannot("drop capabilities");
  return {};
}

bool has_one_thread() {
  std::error_code error;
  std::filesystem::directory_iterator threads("/proc/self/task", error);
  return !error && std::distance(begin(threads), end(threads)) == 1;
}

}  // namespace

Result<SandboxReport> lock_down(const SandboxPolicy& policy) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return make_error(Code::conflict, "This process is locked in already.");
  }
  SandboxReport report;
  TRY(set_limits(policy));
  TRY(drop_capabilities());
  // RLIMIT_CORE does not hold for cores that are piped to a program (core(5)).
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return cannot("forbid core dumps");
  const bool alone = has_one_thread();
  report.landlock_abi = TRY(restrict_by_landlock());
  report.landlock_whole = report.landlock_abi > 0 && alone;
  TRY(filter_system_calls());
  return report;
}

}  // namespace atelier::run
