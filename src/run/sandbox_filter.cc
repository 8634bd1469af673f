// SPDX-License-Identifier: Apache-2.0
// The allow-list of system calls. What libraries were seen to try is in sandbox.h.
#include <fcntl.h>
#include <linux/prctl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include "base/file.h"
#include "run/sandbox_layers.h"

namespace atelier::run {
namespace {

// clang-format off
constexpr int kAllowed[] = {
    // Descriptors that are open. Files do not shrink: the other side may have mapped them.
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64),
    SCMP_SYS(pwrite64), SCMP_SYS(lseek), SCMP_SYS(fstat), SCMP_SYS(fsync),
    SCMP_SYS(close), SCMP_SYS(dup), SCMP_SYS(poll), SCMP_SYS(ppoll),
    // Sockets that were inherited or received.
    SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(shutdown),
    SCMP_SYS(getsockopt),
    // Memory, executable too.
    SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mprotect), SCMP_SYS(mremap), SCMP_SYS(madvise),
    SCMP_SYS(brk),
    // Threads, and their end.
    SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(membarrier),
    SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(gettid), SCMP_SYS(getpid),
    SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(restart_syscall),
    // Signals to itself.
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigtimedwait), SCMP_SYS(sigaltstack),
    // Clocks, counters, chance.
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(getrusage),
    SCMP_SYS(getrandom), SCMP_SYS(getcpu), SCMP_SYS(uname), SCMP_SYS(sysinfo),
    SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getppid),
};

#ifdef __SANITIZE_ADDRESS__
// How UBSan finds out whether an object's memory is there before it looks at its type.
constexpr int kAllowedToSanitizers[] = {SCMP_SYS(pipe2)};
#else
constexpr std::span<const int> kAllowedToSanitizers;
#endif

// Whatever has a path: "permission denied".
constexpr int kPaths[] = {
    SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(creat), SCMP_SYS(stat),
    SCMP_SYS(lstat), SCMP_SYS(statx), SCMP_SYS(statfs), SCMP_SYS(access), SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getcwd),
    SCMP_SYS(chdir), SCMP_SYS(fchdir), SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(rmdir),
    SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat),
    SCMP_SYS(renameat2), SCMP_SYS(link), SCMP_SYS(linkat), SCMP_SYS(symlink), SCMP_SYS(symlinkat),
    SCMP_SYS(mknod), SCMP_SYS(mknodat), SCMP_SYS(truncate), SCMP_SYS(chmod), SCMP_SYS(fchmod),
    SCMP_SYS(fchmodat), SCMP_SYS(chown), SCMP_SYS(fchown), SCMP_SYS(lchown), SCMP_SYS(fchownat),
    SCMP_SYS(utime), SCMP_SYS(utimes), SCMP_SYS(futimesat), SCMP_SYS(utimensat),
    SCMP_SYS(setxattr), SCMP_SYS(lsetxattr), SCMP_SYS(fsetxattr), SCMP_SYS(getxattr),
    SCMP_SYS(lgetxattr), SCMP_SYS(listxattr), SCMP_SYS(llistxattr), SCMP_SYS(removexattr),
    SCMP_SYS(lremovexattr), SCMP_SYS(fremovexattr), SCMP_SYS(inotify_add_watch),
};

// What a library may try in good faith: "operation not permitted".
constexpr int kRefused[] = {
    SCMP_SYS(socket), SCMP_SYS(socketpair), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen),
    SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(setsockopt),
    SCMP_SYS(tkill), SCMP_SYS(rt_sigqueueinfo), SCMP_SYS(rt_tgsigqueueinfo),
    SCMP_SYS(setrlimit), SCMP_SYS(sched_setaffinity), SCMP_SYS(sched_setscheduler),
    SCMP_SYS(sched_setparam), SCMP_SYS(sched_setattr), SCMP_SYS(ioprio_set),
    SCMP_SYS(set_mempolicy), SCMP_SYS(mbind), SCMP_SYS(migrate_pages), SCMP_SYS(move_pages),
    SCMP_SYS(get_mempolicy), SCMP_SYS(mlock), SCMP_SYS(mlock2), SCMP_SYS(mlockall),
    SCMP_SYS(personality), SCMP_SYS(capset), SCMP_SYS(seccomp),
    SCMP_SYS(setuid), SCMP_SYS(setgid), SCMP_SYS(setreuid), SCMP_SYS(setregid),
    SCMP_SYS(setresuid), SCMP_SYS(setresgid), SCMP_SYS(setgroups), SCMP_SYS(setfsuid),
    SCMP_SYS(setfsgid), SCMP_SYS(setsid), SCMP_SYS(setpgid), SCMP_SYS(shmget), SCMP_SYS(shmat),
    SCMP_SYS(msgget), SCMP_SYS(semget), SCMP_SYS(mq_open), SCMP_SYS(memfd_create),
};

// What only somebody else's code does.
constexpr int kDeadly[] = {
    SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(process_madvise),
    SCMP_SYS(kcmp), SCMP_SYS(pidfd_open), SCMP_SYS(pidfd_getfd), SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(bpf), SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register), SCMP_SYS(userfaultfd), SCMP_SYS(perf_event_open),
    SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key),
    SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(move_mount), SCMP_SYS(open_tree),
    SCMP_SYS(fsopen), SCMP_SYS(fsconfig), SCMP_SYS(fsmount), SCMP_SYS(fspick),
    SCMP_SYS(mount_setattr), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(setns),
    SCMP_SYS(unshare), SCMP_SYS(open_by_handle_at), SCMP_SYS(fanotify_init),
    SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(reboot), SCMP_SYS(swapon),
    SCMP_SYS(swapoff), SCMP_SYS(acct), SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(modify_ldt),
    SCMP_SYS(sethostname), SCMP_SYS(setdomainname), SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime), SCMP_SYS(clock_adjtime), SCMP_SYS(adjtimex), SCMP_SYS(syslog),
    SCMP_SYS(quotactl), SCMP_SYS(lookup_dcookie),
};

constexpr int kFcntl[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD, F_DUPFD_CLOEXEC};
constexpr unsigned kIoctl[] = {TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO};
constexpr int kPrctl[] = {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_GET_NO_NEW_PRIVS,
                          PR_SET_VMA};
// clang-format on

class Filter {
 public:
  static Result<void> install() {
    Filter filter;
    filter.check(filter.context_ ? 0 : -ENOMEM);
    filter.set_attributes();
    filter.add_lists();
    filter.add_choices();
    filter.add_processes();
    if (filter.error_ == 0) filter.check(seccomp_load(filter.context_.get()));
    if (filter.error_ == 0) return {};
    return make_error(Code::internal,
                      "Cannot lock the scorer in by seccomp: {}; --sandbox off goes without.",
                      describe_errno(filter.error_));
  }

 private:
  struct Release {
    void operator()(void* context) const { seccomp_release(context); }
  };

  void check(int code) {
    if (code < 0 && error_ == 0) error_ = -code;
  }

  void set_attributes() {
    check(seccomp_attr_set(context_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS));
    check(seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_TSYNC, 1));
    // The kernel's errno instead of libseccomp's ECANCELED.
    check(seccomp_attr_set(context_.get(), SCMP_FLTATR_API_SYSRAWRC, 1));
    // A tree instead of a list.
    check(seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2));
    // Kernels before 5.16 would otherwise slow every load after a store: a process that holds no
    // secrets needs no guard against itself.
    check(seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_SSB, 1));
  }

  void add(uint32_t action, int call, std::initializer_list<scmp_arg_cmp> when = {}) {
    if (error_ != 0) return;
    check(seccomp_rule_add_array(context_.get(), action, call, static_cast<unsigned>(when.size()),
                                 when.begin()));
  }
  void add_all(uint32_t action, std::span<const int> calls) {
    for (const int call : calls) add(action, call);
  }

  void add_lists() {
    add_all(SCMP_ACT_ALLOW, kAllowed);
    add_all(SCMP_ACT_ALLOW, kAllowedToSanitizers);
    add_all(SCMP_ACT_ERRNO(EACCES), kPaths);
    add_all(SCMP_ACT_ERRNO(EPERM), kRefused);
    add_all(SCMP_ACT_KILL_PROCESS, kDeadly);
  }

  // Calls whose first arguments choose what they do; other choices get ENOSYS.
  void add_choices() {
    for (const int command : kFcntl)
      allow(SCMP_SYS(fcntl), SCMP_A1_64(SCMP_CMP_EQ, number(command)));
    for (const unsigned request : kIoctl) {
      allow(SCMP_SYS(ioctl), SCMP_A1_64(SCMP_CMP_EQ, request));
    }
    for (const int option : kPrctl) allow(SCMP_SYS(prctl), SCMP_A0_64(SCMP_CMP_EQ, number(option)));
    // fstat() of glibc before 2.39. The path cannot be seen from here: see sandbox.h.
    allow(SCMP_SYS(newfstatat), SCMP_A3_64(SCMP_CMP_EQ, AT_EMPTY_PATH));
    add(SCMP_ACT_ERRNO(EACCES), SCMP_SYS(newfstatat), {SCMP_A3_64(SCMP_CMP_NE, AT_EMPTY_PATH)});
    // To the other end and nobody else.
    allow(SCMP_SYS(sendto), SCMP_A4_64(SCMP_CMP_EQ, 0));
    // Limits may be read.
    add(SCMP_ACT_ALLOW, SCMP_SYS(prlimit64),
        {SCMP_A0_64(SCMP_CMP_EQ, 0), SCMP_A2_64(SCMP_CMP_EQ, 0)});
  }

  void add_processes() {
    constexpr uint64_t kNew = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                              CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
    allow(SCMP_SYS(clone), SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD | kNew, CLONE_THREAD));
    add(SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone), {SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)});
    const uint64_t self = number(::getpid());
    for (const int call : {SCMP_SYS(kill), SCMP_SYS(tgkill)}) {
      allow(call, SCMP_A0_64(SCMP_CMP_EQ, self));
      add(SCMP_ACT_ERRNO(EPERM), call, {SCMP_A0_64(SCMP_CMP_NE, self)});
    }
  }

  void allow(int call, scmp_arg_cmp when) { add(SCMP_ACT_ALLOW, call, {when}); }
  static uint64_t number(int value) { return static_cast<uint64_t>(value); }

  std::unique_ptr<void, Release> context_{seccomp_init(SCMP_ACT_ERRNO(ENOSYS))};
  int error_ = 0;
};

}  // namespace

Result<void> filter_system_calls() { return Filter::install(); }

}  // namespace atelier::run
