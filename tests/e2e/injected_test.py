#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The sandbox of the real scorer: each denial, tried by code injected into it while it scores; and
what the sandbox allows but its broker watches.

run/sandbox_test.cc tries the same in processes of its own that lock themselves in. Not under the
sanitizers: what is injected is no code of ours, and their scorer's filter is another one.
"""

import contextlib
import os
import resource
import signal
import socket
import struct
import sys
import time
import unittest

import intruder
import support
from intruder import Died, Intruder, threads_of
from support import children_of, make_video, parent_of, sha256

ACCES, PERM, NOSYS, SIGSYS = -13, -1, -38, "SIGSYS"
HERE = -100  # AT_FDCWD
A_THREAD = 0x10d00  # CLONE_VM, _FS, _SIGHAND, _THREAD...
LOOPBACK = struct.pack("=H", socket.AF_INET) + struct.pack("!HI8x", 9, 0x7f000001)
NOBODY = struct.pack("=H", socket.AF_UNIX) + b"/nonexistent/socket"
LIMITS = struct.pack("=QQ", 2**64 - 1, 2**64 - 1)
ITSELF = 0


def refused(folder, broker, source):
    """(what, number of the call on x86-64, arguments, what it returns)."""
    victim, new = (os.fsencode(folder / name) for name in ("victim", "new"))
    return [
        ("open", 2, [b"/etc/passwd", os.O_RDONLY], ACCES),
        ("open of the input", 2, [os.fsencode(source), os.O_RDONLY], ACCES),
        ("open of its own memory", 2, [b"/proc/self/mem", os.O_RDWR], ACCES),
        ("open of its own descriptor", 2, [b"/proc/self/fd/5", os.O_RDWR], ACCES),
        ("openat", 257, [HERE, victim, os.O_WRONLY], ACCES),
        ("openat to create", 257, [HERE, new, os.O_CREAT | os.O_WRONLY, 0o600], ACCES),
        ("openat2", 437, [HERE, victim, bytes(24), 24], ACCES),
        ("creat", 85, [new + b"2", 0o600], ACCES),
        ("stat", 4, [victim, bytes(200)], ACCES),
        ("newfstatat", 262, [HERE, victim, bytes(200), 0], ACCES),
        ("statx", 332, [HERE, victim, 0, 0x7ff, bytes(256)], ACCES),
        ("access", 21, [victim, 0], ACCES),
        ("readlink", 89, [b"/proc/self/exe", bytes(64), 64], ACCES),
        ("getcwd", 79, [bytes(256), 256], ACCES),
        ("chdir", 80, [b"/"], ACCES),
        ("chmod", 90, [victim, 0o600], ACCES),
        ("truncate", 76, [victim, 1], ACCES),
        ("utimensat", 280, [HERE, victim, 0, 0], ACCES),
        ("setxattr", 188, [victim, b"user.a", b"b", 1, 0], ACCES),
        ("mkdir", 83, [new + b"3", 0o700], ACCES),
        ("symlink", 88, [b"a", new + b"4"], ACCES),
        ("link", 86, [victim, new + b"5"], ACCES),
        ("mknod", 133, [new + b"6", 0o100600, 0], ACCES),
        ("rename", 82, [victim, new + b"7"], ACCES),
        ("unlink", 87, [victim], ACCES),
        ("unlinkat", 263, [HERE, victim, 0], ACCES),
        ("socket of TCP", 41, [socket.AF_INET, socket.SOCK_STREAM, 0], PERM),
        ("socket of UDP", 41, [socket.AF_INET6, socket.SOCK_DGRAM, 0], PERM),
        ("socket of Unix", 41, [socket.AF_UNIX, socket.SOCK_STREAM, 0], PERM),
        ("socket of netlink", 41, [socket.AF_NETLINK, socket.SOCK_RAW, 0], PERM),
        ("socketpair", 53, [socket.AF_UNIX, socket.SOCK_STREAM, 0, bytes(8)], PERM),
        ("connect", 42, [3, NOBODY, len(NOBODY)], PERM),
        ("bind", 49, [3, LOOPBACK, len(LOOPBACK)], PERM),
        ("listen", 50, [3, 1], PERM),
        ("accept", 43, [3, 0, 0], PERM),
        ("setsockopt", 54, [3, socket.SOL_SOCKET, socket.SO_PASSCRED, bytes(4), 4], PERM),
        ("sendto an address", 44, [3, b"", 0, 0x40, NOBODY, len(NOBODY)], NOSYS),
        ("kill of the broker", 62, [broker, 0], PERM),
        ("kill of everybody", 62, [-1, 0], PERM),
        ("tgkill of the broker", 234, [broker, broker, 0], PERM),
        ("tkill of the broker", 200, [broker, 0], PERM),
        ("setrlimit", 160, [resource.RLIMIT_CORE, bytes(16)], PERM),
        ("prlimit", 302, [ITSELF, resource.RLIMIT_CPU, LIMITS, 0], NOSYS),
        ("prlimit of the broker", 302, [broker, resource.RLIMIT_CPU, 0, bytes(16)], NOSYS),
        ("sched_setaffinity", 203, [ITSELF, 8, b"\1" + bytes(7)], PERM),
        ("setpriority", 141, [0, ITSELF, 1], NOSYS),
        ("personality", 135, [0xffffffff], PERM),
        ("setuid", 105, [os.getuid()], PERM),
        ("setresgid", 119, [-1, -1, -1], PERM),
        ("capset", 126, [struct.pack("=II", 0x20080522, 0), 0], PERM),
        ("seccomp", 317, [1, 0, 0], PERM),
        ("setsid", 112, [], PERM),
        ("memfd_create", 319, [b"code", 0], PERM),
        ("shmget", 29, [0, 4096, 0o600], PERM),
        ("mq_open", 240, [b"queue", os.O_RDONLY, 0, 0], PERM),
        ("mlockall", 151, [0], PERM),
        ("clone3", 435, [bytes(88), 88], NOSYS),
        ("clone of a thread in a namespace", 56, [A_THREAD | 0x10000000, 0, 0, 0, 0], NOSYS),
        ("prctl that makes it dumpable", 157, [4, 1, 0, 0, 0], NOSYS),
        ("prctl that names a tracer", 157, [0x59616d61, broker, 0, 0, 0], NOSYS),
        ("prctl that lets it outlive its broker", 157, [1, 0, 0, 0, 0], NOSYS),
        ("ftruncate of what it shares", 77, [5, 0], NOSYS),
        ("ioctl that types", 16, [2, 0x5412, b"x"], NOSYS),
        ("fcntl for another's signals", 72, [3, 8, broker], NOSYS),
        ("fcntl of a lease", 72, [5, 1024, 0], NOSYS),
        ("epoll_create1", 291, [0], NOSYS),
    ]


def deadly(broker):
    """The same; the first ones are one of each kind, the others are for the slow tests."""
    command = [b"/nonexistent/true", 0, 0]
    iovec = [broker, bytes(16), 1, bytes(16), 1, 0]
    return [
        ("execve", 59, command), ("fork", 57, []), ("ptrace", 101, [0x4206, broker, 0, 0]),
        ("process_vm_readv", 310, iovec), ("io_uring_setup", 425, [1, bytes(120)]),
        ("bpf", 321, [0, bytes(64), 64]), ("userfaultfd", 323, [0]),
        ("perf_event_open", 298, [bytes(128), 0, -1, -1, 0]), ("keyctl", 250, [0, -3, 0, 0, 0]),
        ("mount", 165, [b"none", b"/nonexistent", b"tmpfs", 0, 0]), ("unshare", 272, [0x400]),
        ("init_module", 175, [b"", 0, b""]), ("a call of i386", "i386", []),
    ], [
        ("execveat", 322, [HERE, *command, 0]), ("vfork", 58, []),
        ("clone of a process", 56, [signal.SIGCHLD, 0, 0, 0, 0]),
        ("clone into a user's namespace", 56, [0x10000000 | signal.SIGCHLD, 0, 0, 0, 0]),
        ("process_vm_writev", 311, iovec), ("kcmp", 312, [broker, broker, 0, 0, 0]),
        ("pidfd_open", 434, [broker, 0]), ("pidfd_getfd", 438, [3, 3, 0]),
        ("pidfd_send_signal", 424, [3, 0, 0, 0]), ("io_uring_enter", 426, [3, 0, 0, 0, 0, 0]),
        ("add_key", 248, [b"user", b"a", b"b", 1, -3]), ("request_key", 249, [b"user", b"a", 0, 0]),
        ("umount", 166, [b"/nonexistent", 0]), ("chroot", 161, [b"/nonexistent"]),
        ("pivot_root", 155, [b"/nonexistent", b"/nonexistent"]), ("setns", 308, [3, 0]),
        ("open_by_handle_at", 304, [HERE, bytes(16), 0]), ("fsopen", 430, [b"none", 0]),
        ("finit_module", 313, [3, b"", 0]), ("kexec_load", 246, [0, 0, 0, 0]),
        ("reboot", 169, [0, 0, 0, 0]), ("syslog", 103, [10, 0, 0]), ("iopl", 172, [0]),
        ("modify_ldt", 154, [0, bytes(16), 16]), ("a call of x32", 0x40000000 + 39, []),
    ]


class Injected(support.Case):
    spreads = False
    CUT = ["--chunk-seconds", "0.12"]
    undisturbed = []  # the hash, once one of the tests has found it

    def setUp(self):
        super().setUp()
        if not intruder.AT_HOME:
            raise unittest.SkipTest("code is injected on x86-64 only")
        # What dies here dies on purpose.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        self.frames = 420 if support.SLOW_RUN else 150
        self.source = make_video(self.folder / "in.mp4", "-g", "3", "-bf", "0", frames=self.frames)
        self.output = self.folder / "out.mp4"
        self.victim = self.folder / "victim"
        self.victim.write_text("whole")

    def begin(self, *options):
        process = self.start(*self.command(self.source, self.output, *self.CUT, *options,
                                           model=self.slow_model()))
        self.wait_for_commits(process, 1)
        return process

    def scorer_of(self, process, before=None):
        """The scorer, once it is another one than that before."""
        others = lambda: [pid for pid in children_of(process.pid) if pid != before]
        return self.wait_for(others, process)[0]

    def wait_for(self, what, process):
        deadline = time.monotonic() + support.TIMEOUT
        while time.monotonic() < deadline and process.poll() is None:
            if found := what():
                return found
            time.sleep(0.005)  # another process: nothing to wait on
        self.fail(f"it did not come to that: {process.returncode}")

    @contextlib.contextmanager
    def intrude(self, pid, k=0):
        """Into the k-th thread, from the first again after the last."""
        try:
            os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))
        except PermissionError:
            print("SKIPPED: only root (CAP_SYS_PTRACE) may look into a process that is locked in, "
                  "so no code was injected", file=sys.stderr)
            raise unittest.SkipTest("code cannot be injected without CAP_SYS_PTRACE") from None
        while True:
            threads = threads_of(pid)
            if len(threads) < 4:  # it does not score yet
                time.sleep(0.001)
                continue
            with contextlib.ExitStack() as stack:
                try:
                    one = stack.enter_context(Intruder(pid, threads[k % len(threads)]))
                except ProcessLookupError:  # those of a decoder live for a chunk
                    k += 1
                    continue
                yield one
                return

    def assert_same_bits_in_the_end(self, process):
        _, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 0, err)
        if not self.undisturbed:
            output = self.folder / "undisturbed.mp4"
            self.score(self.source, output, *self.CUT, model=self.slow_model(),
                       runs=self.folder / "other")
            self.undisturbed.append(sha256(output))
        self.assertEqual(sha256(self.output), self.undisturbed[0])

    def outcome(self, one, number, arguments):
        try:
            if number == "i386":
                return one.call(20, *arguments, of_i386=True)
            return one.call(number, *arguments)
        except Died as death:
            return str(death)

    def test_what_is_refused_is_refused_in_all_threads_and_the_work_goes_on(self):
        process = self.begin()
        scorer = self.scorer_of(process)
        attempts = refused(self.folder, process.pid, self.source)
        at_once = 8
        threads = set()
        for k in range(0, len(attempts), at_once):
            with self.intrude(scorer, k // at_once) as one:
                self.assertEqual(one.call(39), scorer, "getpid is not injected")
                self.assertEqual(one.call(186), one.thread)
                threads.add(one.thread)
                for what, number, arguments, wanted in attempts[k:k + at_once]:
                    self.assertEqual(self.outcome(one, number, arguments), wanted, what)
                self.assertEqual(self.outcome(one, 62, [process.pid, signal.SIGKILL]), PERM)
        self.assertGreater(len(threads), 3)
        self.assertEqual(self.scorer_of(process), scorer, "it was replaced")
        self.assert_same_bits_in_the_end(process)
        self.assertEqual(self.victim.read_text(), "whole")
        self.assertEqual(list(self.folder.glob("new*")), [])

    def test_what_is_deadly_ends_the_scorer_and_another_one_goes_on(self):
        process = self.begin("--quiet")
        each_kind, others = deadly(process.pid)
        attempts = each_kind + (others if support.SLOW_RUN else [])
        scorer = None
        for k, (what, number, arguments) in enumerate(attempts):
            scorer = self.scorer_of(process, before=scorer)
            # Another chunk in between: three deaths while the same one is scored set it aside.
            self.wait_for_commits(process, len(self.commits()) + 1)
            with self.intrude(scorer, k) as one:
                self.assertEqual(self.outcome(one, number, arguments), SIGSYS, what)
        self.assert_same_bits_in_the_end(process)

    def test_memory_is_watched_and_a_chunk_that_takes_too_much_is_named(self):
        self.CUT = ["--chunk-seconds", "60"]
        process = self.start(*self.command(self.source, self.output, *self.CUT, "--memory", "400M",
                                           model=self.slow_model()))
        self.wait_for(lambda: list(self.runs.glob("*/chunks/*.claim.*")), process)
        scorer, greedy = None, 0
        while process.poll() is None:
            found = children_of(process.pid)
            if not found or found[0] == scorer:
                time.sleep(0.005)  # another process: nothing to wait on
                continue
            scorer = found[0]
            # It may be ended before it has all.
            with contextlib.suppress(Died, FileNotFoundError, ProcessLookupError), \
                    self.intrude(scorer) as one:
                greedy += 1
                read_write, populate_private_anonymous = 3, 0x8022
                one.call(9, 0, 500 << 20, read_write, populate_private_anonymous, -1, 0)
        self.assertGreaterEqual(greedy, 3)
        _, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 1, err)
        self.assertRegex(err.decode(), "Chunk 0 was given up: .* MiB of memory where it may take 400 ")

    if support.SLOW_RUN:  # it burns seconds of every processor
        def test_one_that_runs_away_while_its_broker_is_stopped_is_ended_by_the_kernel(self):
            process = self.begin("--progress-timeout", "2")
            scorer = self.scorer_of(process)
            os.kill(process.pid, signal.SIGSTOP)
            for k in range(len(threads_of(scorer))):
                with self.intrude(scorer, k) as one:
                    one.run_away()
            deadline = time.monotonic() + support.TIMEOUT
            while parent_of(scorer) is not None:
                self.assertLess(time.monotonic(), deadline, "it runs on")
                time.sleep(0.1)  # another process: nothing to wait on
            os.kill(process.pid, signal.SIGCONT)
            self.assert_same_bits_in_the_end(process)

    def test_a_scorer_that_is_not_locked_in_may_do_all_that(self):
        process = self.begin("--sandbox", "off")
        attempts = refused(self.folder, process.pid, self.source)
        each_kind, others = deadly(process.pid)
        attempts += [(what, number, arguments, SIGSYS)
                     for what, number, arguments in each_kind + others]
        scorer = self.scorer_of(process)
        self.addCleanup(os.kill, scorer, signal.SIGKILL)
        with self.intrude(scorer) as one:
            for what, number, arguments, wanted in attempts:
                self.assertNotEqual(self.outcome(one, number, arguments), wanted, what)


if __name__ == "__main__":
    support.main()
