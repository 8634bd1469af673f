// SPDX-License-Identifier: Apache-2.0
// Every denial, tried with bare system calls by a process of its own that is locked in, and by one
// that is free: the answers must differ, or nothing was shown.
#include "run/sandbox.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <functional>
#include <thread>

#include "base/file.h"
#include "run/sandbox_layers.h"

namespace atelier::run {
namespace {

// How a process ended: its exit code, or minus the signal that killed it.
int end_of(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(body());
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

constexpr int kNotLocked = 255;

int end_when_locked(const std::function<int()>& body, const SandboxPolicy& policy = {}) {
  return end_of([&] { return lock_down(policy).ok() ? body() : kNotLocked; });
}

// 0, or the errno.
template <class... Args>
int call(long number, Args... args) {
  return ::syscall(number, args...) < 0 ? errno : 0;
}

// Waits for the child if the call made one; in the child itself it ends.
template <class... Args>
int call_process(long number, Args... args) {
  const long made = ::syscall(number, args...);
  if (made == 0) ::_exit(0);
  if (made < 0) return errno;
  ::waitpid(static_cast<pid_t>(made), nullptr, __WALL);
  return 0;
}

sockaddr_in loopback() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(9);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

std::string temporary(const char* name) { return testing::TempDir() + "/" + name; }

struct Attempt {
  const char* what;
  std::function<int()> body;
  int wanted;  // errno, or minus the signal
};

void PrintTo(const Attempt& attempt, std::ostream* out) { *out << attempt.what; }

class Denial : public testing::TestWithParam<Attempt> {};

TEST_P(Denial, IsGivenToTheLockedOnly) {
  const Attempt& attempt = GetParam();
  EXPECT_NE(end_of(attempt.body), attempt.wanted) << "a free process is refused, too";
  EXPECT_EQ(end_when_locked(attempt.body), attempt.wanted)
      << (attempt.wanted > 0 ? std::strerror(attempt.wanted) : "a signal");
}

std::vector<Attempt> of_files() {
  const auto made = temporary("sandbox-made");
  static struct stat info;
  return {
      {"OpenOfAnAbsolutePath", [] { return call(SYS_open, "/etc/passwd", O_RDONLY); }, EACCES},
      {"OpenOfItsOwnMemory", [] { return call(SYS_open, "/proc/self/mem", O_RDWR); }, EACCES},
      {"OpenOfItsOwnDescriptor", [] { return call(SYS_open, "/proc/self/fd/0", O_RDONLY); },
       EACCES},
      {"OpenatOfAFolder", [] { return call(SYS_openat, AT_FDCWD, ".", O_RDONLY | O_PATH); },
       EACCES},
      {"OpenToCreate",
       [=] {
         const int error = call(SYS_openat, AT_FDCWD, made.c_str(), O_CREAT | O_RDWR, 0600);
         ::unlink(made.c_str());
         return error;
       },
       EACCES},
      {"Unlink", [=] { return call(SYS_unlink, "/nonexistent/file"); }, EACCES},
      {"Rename", [] { return call(SYS_rename, "/nonexistent/a", "/nonexistent/b"); }, EACCES},
      {"Mkdir", [] { return call(SYS_mkdir, "/nonexistent/a", 0700); }, EACCES},
      {"Symlink", [] { return call(SYS_symlink, "a", "/nonexistent/b"); }, EACCES},
      {"Stat", [] { return call(SYS_stat, "/etc/passwd", &info); }, EACCES},
      {"StatByFstatat",
       [] { return call(SYS_newfstatat, AT_FDCWD, "/etc/passwd", &info, AT_SYMLINK_NOFOLLOW); },
       EACCES},
      {"Readlink",
       [] {
         std::array<char, 256> target{};
         return call(SYS_readlink, "/proc/self/exe", target.data(), target.size());
       },
       EACCES},
      {"Chdir", [] { return call(SYS_chdir, "/"); }, EACCES},
      {"Chroot", [] { return call(SYS_chroot, "/nonexistent"); }, -SIGSYS},
      {"Mount", [] { return call(SYS_mount, "none", "/nonexistent", "tmpfs", 0, nullptr); },
       -SIGSYS},
      {"OpenByHandle", [] { return call(SYS_open_by_handle_at, -1, nullptr, 0); }, -SIGSYS},
  };
}

std::vector<Attempt> of_sockets() {
  return {
      {"SocketOfTcp", [] { return call(SYS_socket, AF_INET, SOCK_STREAM, 0); }, EPERM},
      {"SocketOfUnix", [] { return call(SYS_socket, AF_UNIX, SOCK_STREAM, 0); }, EPERM},
      {"SocketOfNetlink", [] { return call(SYS_socket, AF_NETLINK, SOCK_RAW, 0); }, EPERM},
      {"Socketpair",
       [] {
         std::array<int, 2> ends{};
         return call(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ends.data());
       },
       EPERM},
      {"Connect",
       [] {
         const auto address = loopback();
         return call(SYS_connect, -1, &address, sizeof address);
       },
       EPERM},
      {"Bind",
       [] {
         const auto address = loopback();
         return call(SYS_bind, -1, &address, sizeof address);
       },
       EPERM},
      {"Listen", [] { return call(SYS_listen, -1, 1); }, EPERM},
      {"Accept", [] { return call(SYS_accept, -1, nullptr, nullptr); }, EPERM},
      {"SendToAnAddress",
       [] {
         const auto address = loopback();
         return call(SYS_sendto, -1, "", 0, 0, &address, sizeof address);
       },
       ENOSYS},
  };
}

std::vector<Attempt> of_processes() {
  return {
      {"Execve",
       [] {
         std::array<const char*, 2> arguments{"true", nullptr};
         return call(SYS_execve, "/bin/true", arguments.data(), nullptr);
       },
       -SIGSYS},
      {"Execveat", [] { return call(SYS_execveat, -1, "", nullptr, nullptr, 0); }, -SIGSYS},
      {"Fork", [] { return call_process(SYS_fork); }, -SIGSYS},
      {"CloneOfAProcess", [] { return call_process(SYS_clone, SIGCHLD, 0, 0, 0, 0); }, -SIGSYS},
      {"CloneIntoAUserNamespace",
       [] { return call_process(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0); }, -SIGSYS},
      {"CloneOfAThreadInANamespace",
       [] {
         constexpr int kThread = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
         return call(SYS_clone, kThread | CLONE_NEWNET, 0, 0, 0, 0);
       },
       ENOSYS},
      {"Clone3", [] { return call(SYS_clone3, nullptr, 0); }, ENOSYS},
      {"Ptrace", [] { return call(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0); }, -SIGSYS},
      {"ReadingAnothersMemory",
       [] { return call(SYS_process_vm_readv, ::getppid(), nullptr, 0, nullptr, 0, 0); }, -SIGSYS},
      {"WritingAnothersMemory",
       [] { return call(SYS_process_vm_writev, ::getppid(), nullptr, 0, nullptr, 0, 0); }, -SIGSYS},
      {"KillOfTheParent", [] { return call(SYS_kill, ::getppid(), 0); }, EPERM},
      {"KillOfEverybody", [] { return call(SYS_kill, 0, 0); }, EPERM},
      {"TgkillOfTheParent", [] { return call(SYS_tgkill, ::getppid(), ::getppid(), 0); }, EPERM},
      {"TkillOfTheParent", [] { return call(SYS_tkill, ::getppid(), 0); }, EPERM},
      {"PidfdOpen", [] { return call(SYS_pidfd_open, ::getppid(), 0); }, -SIGSYS},
      {"OthersAffinity",
       [] {
         cpu_set_t set;
         ::sched_getaffinity(0, sizeof set, &set);
         return call(SYS_sched_setaffinity, 0, sizeof set, &set);
       },
       EPERM},
      {"OthersPriority", [] { return call(SYS_getpriority, PRIO_USER, 0); }, ENOSYS},
      {"SignalsFromADescriptor", [] { return call(SYS_fcntl, -1, F_SETOWN, ::getppid()); }, ENOSYS},
      {"SetNoNewPrivileges", [] { return call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); },
       ENOSYS},
      {"SetDumpable", [] { return call(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0); }, ENOSYS},
      {"SetTracer", [] { return call(SYS_prctl, PR_SET_PTRACER, ::getppid(), 0, 0, 0); }, ENOSYS},
      {"Personality", [] { return call(SYS_personality, 0xffffffff); }, EPERM},
      {"ChangingItsUser", [] { return call(SYS_setuid, ::getuid()); }, EPERM},
      {"RaisingALimit",
       [] {
         struct rlimit limits {};
         ::getrlimit(RLIMIT_CORE, &limits);
         return call(SYS_prlimit64, 0, RLIMIT_CORE, &limits, nullptr);
       },
       ENOSYS},
      {"Unshare", [] { return call(SYS_unshare, CLONE_FILES); }, -SIGSYS},
      {"Setns", [] { return call(SYS_setns, -1, 0); }, -SIGSYS},
  };
}

#ifdef __x86_64__
// Call 20 of i386 is getpid; the return value is in eax.
int getpid_of_i386() {
  long result = 20;
  asm volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
  return result < 0 ? ENOSYS : 0;
}
#endif

std::vector<Attempt> of_the_kernel() {
  return {
      {"Bpf", [] { return call(SYS_bpf, 0, nullptr, 0); }, -SIGSYS},
      {"IoUring", [] { return call(SYS_io_uring_setup, 1, nullptr); }, -SIGSYS},
      {"Userfaultfd", [] { return call(SYS_userfaultfd, 0); }, -SIGSYS},
      {"PerfEvents", [] { return call(SYS_perf_event_open, nullptr, 0, -1, -1, 0); }, -SIGSYS},
      {"Keys", [] { return call(SYS_keyctl, 0, 0, 0, 0, 0); }, -SIGSYS},
      {"Modules", [] { return call(SYS_init_module, nullptr, 0, ""); }, -SIGSYS},
      {"FilesInMemory", [] { return call(SYS_memfd_create, "x", 0); }, EPERM},
      {"SharedMemory", [] { return call(SYS_shmget, 0, 0, 0); }, EPERM},
      {"TypingIntoTheTerminal", [] { return call(SYS_ioctl, -1, TIOCSTI, "x"); }, ENOSYS},
      {"ACallThatNobodyKnows", [] { return call(SYS_epoll_create1, 0); }, ENOSYS},
#ifdef __x86_64__
      {"CallsOfX32", [] { return call(0x40000000 + SYS_getpid); }, -SIGSYS},
      {"CallsOfI386", getpid_of_i386, -SIGSYS},
#endif
  };
}

std::string name_of(const testing::TestParamInfo<Attempt>& attempt) { return attempt.param.what; }

INSTANTIATE_TEST_SUITE_P(Files, Denial, testing::ValuesIn(of_files()), name_of);
INSTANTIATE_TEST_SUITE_P(Sockets, Denial, testing::ValuesIn(of_sockets()), name_of);
INSTANTIATE_TEST_SUITE_P(Processes, Denial, testing::ValuesIn(of_processes()), name_of);
INSTANTIATE_TEST_SUITE_P(Kernel, Denial, testing::ValuesIn(of_the_kernel()), name_of);

// What the layer refuses alone, without seccomp in front of it.
int end_under_landlock(int abi, const std::function<int()>& body) {
  return end_of([&] {
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    const auto restricted = restrict_by_landlock();
    if (!restricted.ok()) return kNotLocked;
    return *restricted < abi ? kNotLocked - 1 : body();
  });
}

struct LandlockCase {
  int abi;
  Attempt attempt;
};

TEST(Landlock, RefusesByItself) {
  const std::vector<LandlockCase> cases = {
      {1, {"open", [] { return call(SYS_open, "/etc/passwd", O_RDONLY); }, EACCES}},
      {1, {"list", [] { return call(SYS_open, "/", O_RDONLY | O_DIRECTORY); }, EACCES}},
      {1, {"execve", [] { return call(SYS_execve, "/bin/true", nullptr, nullptr); }, EACCES}},
      {4,
       {"connect",
        [] {
          const auto address = loopback();
          return call(SYS_connect, ::socket(AF_INET, SOCK_STREAM, 0), &address, sizeof address);
        },
        EACCES}},
      {6, {"kill", [] { return call(SYS_kill, ::getppid(), 0); }, EPERM}},
      {6,
       {"abstract socket",
        [] {
          sockaddr_un address{};
          address.sun_family = AF_UNIX;
          std::memcpy(address.sun_path, "\0atelier-sandbox", 16);
          return call(SYS_connect, ::socket(AF_UNIX, SOCK_STREAM, 0), &address,
                      offsetof(sockaddr_un, sun_path) + 16);
        },
        EPERM}},
  };
  // Somebody listens.
  const Fd listener(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, "\0atelier-sandbox", 16);
  ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address),
         offsetof(sockaddr_un, sun_path) + 16);
  ::listen(listener.get(), 8);
  for (const LandlockCase& one : cases) {
    const int end = end_under_landlock(one.abi, one.attempt.body);
    if (end == kNotLocked - 1)
      GTEST_SKIP() << "this kernel's Landlock is older than ABI " << one.abi;
    EXPECT_EQ(end, one.attempt.wanted) << one.attempt.what;
    EXPECT_NE(end_of(one.attempt.body), one.attempt.wanted) << one.attempt.what;
  }
}

TEST(Sandbox, TellsWhatIsInForce) {
  const long abi = ::syscall(444, nullptr, 0, 1);
  EXPECT_EQ(end_of([&] {
              const auto report = lock_down({});
              if (!report.ok()) return 1;
              if (report->landlock_abi != std::max(abi, 0L)) return 2;
              if (report->landlock_whole != (abi > 0)) return 3;
              return 0;
            }),
            0);
}

TEST(Sandbox, ASecondTimeIsRefusedAndChangesNothing) {
  EXPECT_EQ(end_when_locked([] {
              const auto again = lock_down({});
              if (again.ok() || again.error().code != Code::conflict) return 1;
              return call(SYS_socket, AF_INET, SOCK_STREAM, 0);
            }),
            EPERM);
}

// Three threads: one from before, the one that locks, one from after.
TEST(Sandbox, HoldsForThreadsThatWereThere) {
  EXPECT_EQ(end_of([] {
              std::array<int, 2> pipe{};
              if (::pipe(pipe.data()) != 0) return 1;
              int before = 0;
              std::thread old([&] {
                char byte = 0;
                (void)!::read(pipe[0], &byte, 1);
                before = call(SYS_socket, AF_INET, SOCK_STREAM, 0);
              });
              const auto report = lock_down({});
              (void)!::write(pipe[1], "x", 1);
              old.join();
              if (!report.ok()) return 2;
              if (report->landlock_whole) return 3;
              if (before != EPERM) return 4;
              int after = 0;
              std::thread([&] { after = call(SYS_open, "/etc/passwd", O_RDONLY); }).join();
              return after == EACCES ? 0 : 5;
            }),
            0);
}

TEST(Sandbox, AThreadMayMakeNoForbiddenCallEither) {
  EXPECT_EQ(end_when_locked([] {
              std::thread([] { call(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0); }).join();
              return 0;
            }),
            -SIGSYS)
      << "the whole process ends, not the thread alone";
}

TEST(Sandbox, AbortWorks) {
  EXPECT_EQ(end_when_locked([]() -> int { std::abort(); }), -SIGABRT);
}

TEST(Sandbox, CodeMadeHereRuns) {
  EXPECT_EQ(end_when_locked([] {
#ifdef __x86_64__
              void* page =
                  ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              const std::array<unsigned char, 6> code = {0xb8, 7, 0, 0, 0, 0xc3};  // return 7
              std::memcpy(page, code.data(), code.size());
              if (::mprotect(page, 4096, PROT_READ | PROT_EXEC) != 0) return 1;
              return reinterpret_cast<int (*)()>(page)();
#else
              return 7;
#endif
            }),
            7);
}

// Asks over a socket made before, gets a file by SCM_RIGHTS, writes it and reads it back; it cannot
// shrink it under a mapping of the other side, which would die of SIGBUS.
int use_a_received_file(int socket) {
  if (::send(socket, "file?", 5, MSG_NOSIGNAL) != 5) return 1;
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1) return 2;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return 3;
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  struct stat info {};
  std::array<char, 4> back{};
  if (::write(fd, "abcd", 4) != 4 || ::ftruncate(fd, 3) == 0) return 4;
  if (::fstat(fd, &info) != 0 || info.st_size != 4) return 5;
  if (::pread(fd, back.data(), 4, 0) != 4 || back[2] != 'c') return 6;
  msghdr answer{};
  answer.msg_iov = &part;
  answer.msg_iovlen = 1;
  return ::sendmsg(socket, &answer, MSG_NOSIGNAL) == 1 ? 0 : 7;
}

TEST(Sandbox, InheritedSocketsAndReceivedFilesWork) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  std::string path = temporary("sandbox-XXXXXX");
  const Fd file(::mkostemp(path.data(), O_CLOEXEC));
  ::unlink(path.c_str());
  // The broker's side waits in the socket's buffer.
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  char byte = 'x';
  iovec part{&byte, 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = file.get();
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  ASSERT_EQ(::sendmsg(ends[0], &message, 0), 1);
  EXPECT_EQ(end_when_locked([&] { return use_a_received_file(ends[1]); }), 0);
  std::array<char, 8> heard{};
  EXPECT_EQ(::recv(ends[0], heard.data(), heard.size(), 0), 6);
  EXPECT_EQ(std::string(heard.data(), 6), "file?x");
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(Sandbox, AFileThatGrowsTooLargeIsAnError) {
  SandboxPolicy policy;
  policy.file_bytes = 1000;
  std::string path = temporary("sandbox-XXXXXX");
  const Fd file(::mkostemp(path.data(), O_CLOEXEC));
  ::unlink(path.c_str());
  const std::vector<char> bytes(1001);
  EXPECT_EQ(end_when_locked(
                [&] {
                  if (::write(file.get(), bytes.data(), bytes.size()) != 1000) return 1;
                  return ::write(file.get(), "x", 1) < 0 ? errno : 2;
                },
                policy),
            EFBIG);
}

TEST(Sandbox, DescriptorsAreCounted) {
  SandboxPolicy policy;
  policy.open_files = 32;
  EXPECT_EQ(end_when_locked(
                [] {
                  for (int i = 0; i < 32; ++i) {
                    if (::dup(STDERR_FILENO) < 0) return errno;
                  }
                  return 0;
                },
                policy),
            EMFILE);
}

TEST(Sandbox, AnEndlessLoopEnds) {
  SandboxPolicy policy;
  policy.cpu_seconds = 1;
  EXPECT_EQ(end_when_locked(
                [] {
                  for (;;) call(SYS_getpid);
                  return 0;
                },
                policy),
            -SIGXCPU);
}

TEST(Sandbox, NothingIsLeftOfPrivileges) {
  EXPECT_EQ(end_when_locked([] {
              if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return 1;
              if (::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) return 2;
              struct rlimit core {};
              ::getrlimit(RLIMIT_CORE, &core);
              return core.rlim_max == 0 ? 0 : 3;
            }),
            0);
}

// PR_SET_PDEATHSIG, set before, outlives the loss of capabilities (credentials(7) names what clears
// it): the locked process tells its parent, which ends, and ends itself.
TEST(Sandbox, TheEndOfTheParentStillEndsIt) {
  std::array<int, 2> ends{};
  std::array<int, 2> pipe{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  EXPECT_EQ(end_of([&] {
              if (::fork() == 0) {
                ::close(ends[0]);
                ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
                char byte = lock_down({}).ok() ? 'l' : 'n';
                (void)!::write(pipe[1], &byte, 1);
                pollfd waiting{ends[1], POLLIN, 0};
                ::poll(&waiting, 1, 20000);
                (void)!::write(ends[1], "alive", 5);
                ::_exit(0);
              }
              char byte = 0;
              return ::read(pipe[0], &byte, 1) == 1 && byte == 'l' ? 0 : 1;
            }),
            0);
  ::close(ends[1]);
  std::array<char, 8> heard{};
  EXPECT_EQ(::read(ends[0], heard.data(), heard.size()), 0) << "it lives";
  for (const int fd : {ends[0], pipe[0], pipe[1]}) ::close(fd);
}

// The broker watches the memory of a process that is locked in.
TEST(Sandbox, TheParentStillSeesItsMemory) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char byte = lock_down({}).ok() ? 'l' : 'n';
    (void)!::write(ends[1], &byte, 1);
    (void)!::read(ends[1], &byte, 1);
    ::_exit(0);
  }
  char byte = 0;
  EXPECT_EQ(::read(ends[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'l');
  const std::string folder = "/proc/" + std::to_string(child);
  const Fd statm(::open((folder + "/statm").c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 64> text{};
  EXPECT_GT(::read(statm.get(), text.data(), text.size()), 10);
  // All capabilities are gone, whoever runs this test.
  const Fd status(::open((folder + "/status").c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> lines{};
  EXPECT_GT(::read(status.get(), lines.data(), lines.size() - 1), 100);
  for (const char* line : {"CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n",
                           "NoNewPrivs:\t1\n", "Seccomp:\t2\n"}) {
    EXPECT_NE(std::string(lines.data()).find(line), std::string::npos) << line;
  }
  EXPECT_EQ(::write(ends[0], "x", 1), 1);
  int ended = 0;
  EXPECT_EQ(::waitpid(child, &ended, 0), child);
  EXPECT_EQ(ended, 0);
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace atelier::run
