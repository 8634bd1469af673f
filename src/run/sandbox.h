// SPDX-License-Identifier: Apache-2.0
// Locks the calling process in: what it does from then on is arithmetic on memory and on
// descriptors that it has or is given. For a process that parses what strangers wrote.
//
// Idea: three layers, each of which alone would do for most of it.
//   1. The process gives up what it has: no_new_privs, no capabilities, resource limits, and nobody
//      can dump or trace it.
//   2. seccomp, an allow-list of system calls (sandbox_filter.cc). Memory (executable too, since
//      oneDNN makes code), threads, clocks, and input and output on open descriptors are allowed.
//      Names mean nothing any more: no file is opened, made, removed or looked at, no socket made,
//      connected or accepted.
//   3. Landlock without any rule, where the kernel has it: no file, no TCP; from ABI 6 on no signal
//      and no abstract socket to anybody outside.
//
// What a denial looks like:
//   - a path (open, stat, readlink, unlink, ...): EACCES, as of a file that one may not read;
//   - sockets, signals to others, limits, identity, affinity: EPERM;
//   - what no library of ours calls, only code that was smuggled in (exec, fork, ptrace, another
//     process' memory, bpf, io_uring, userfaultfd, keys, perf, mounts, namespaces, modules, calls
//     by the numbers of another architecture): SIGSYS ends the whole process;
//   - everything else, today's and tomorrow's: ENOSYS, as of an older kernel: only then
//     does glibc fall back from what is new (clone3 to clone). ftruncate is among them: a file
//     that shrinks kills a broker that has mapped it.
// Each is tried by sandbox_test.cc in processes of its own, and by tests/e2e/injected_test.py with
// code injected into the real scorer while it scores: after an error it goes on, after a SIGSYS its
// broker starts another one, and the run gives the bits that it gives undisturbed.
//
// Seen on Debian 12 (Linux 6.18, glibc 2.36), tested by sandbox_work_test.cc: with this, every
// decoder and encoder of ours gives the bits that it gives without. What was tried and denied:
//   - glibc, each thread: clone3, whose flags a filter cannot see; it falls back to clone.
//   - glibc, number of processors (dav1d, libaom, libvpx, libav's FFV1): cpu/online under
//     /sys/devices/system, then /proc/stat; it falls back to sched_getaffinity.
//   - glibc, giving an arena's memory back: /proc/sys/vm/overcommit_memory; it does so by madvise.
//   - oneDNN, first code made: dlopen of libJitPI.so, a profiler's, all along the library path; it
//     goes without.
//   - OpenSSL, first hash: openssl.cnf; it goes without.
//   - SVT-AV1: /proc/cpuinfo (sockets; means nothing with lp=1) and, for each thread, affinity and,
//     where it runs as root, real-time priority 99: denied, it runs as for any other user.
//   - libav's MPEG-TS demuxer, service names: iconv's tables; the names stay as they are.
//     Nothing of ours reads them.
//   - x265, each thread of its pools: libnuma's memory policy, files of /sys, affinity; it goes
//     without, and cli/numa_messages.cc keeps libnuma from printing that.
//   - libgomp's and oneDNN's own probing happens when the program is loaded, before.
// In sanitizer builds pipe2 is allowed as well (UBSan tries memory by it). A report names addresses
// without functions, since the program's own file cannot be read, and nothing looks for leaks at
// the end of a locked process: that needs a second process and ptrace.
//
// Not prevented: metadata of files (glibc's fstat is newfstatat with an empty path, and a filter
// cannot see that the path is empty); descriptors sent out by SCM_RIGHTS (the other side must not
// take any); as much memory and as many threads as the kernel gives (the broker watches both from
// outside: scorer_limits.h; /proc/PID/status stays readable, smaps does not). Sockets that a locked
// process has must be SOCK_STREAM or SOCK_SEQPACKET: sendmsg on a datagram socket can name somebody
// else.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace atelier::run {

// What a process knows of itself when it locks itself in. A scorer's broker sets limits of files
// and processor time from outside, later, when more is known (scorer_limits.h).
struct SandboxPolicy {
  uint64_t cpu_seconds = 0;  // of all threads together, then SIGXCPU; 0: no limit
  uint64_t file_bytes = 0;   // in any one file, then EFBIG (SIGXFSZ is ignored); 0: no limit
  uint64_t open_files = 0;   // descriptor numbers lie below, else EMFILE; 0: as it was
};

// What is in force besides seccomp, for the log.
struct SandboxReport {
  int landlock_abi = 0;         // 0: the kernel has none, or a container around us refuses it
  bool landlock_whole = false;  // false: not for threads that were there before; they are under
                                // seccomp alone
};

// For the rest of the process' life, on all its threads. Call it before the first byte of a
// stranger and, for Landlock, before the first thread. Needs no privilege; works inside containers.
// A parent death signal (PR_SET_PDEATHSIG) set before stays set. Errors: conflict: locked in
// already, and nothing has changed; internal: the kernel refuses a layer; some of the layers may
// then be in force, so the caller should end.
Result<SandboxReport> lock_down(const SandboxPolicy& policy);

}  // namespace atelier::run
