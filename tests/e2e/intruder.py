# SPDX-License-Identifier: Apache-2.0
"""Code injected into another process: a thread of it makes system calls that we choose.

The thread is stopped with ptrace. Its first foreign call, at a `syscall` instruction of a library's,
gets a page that may be written and run, as oneDNN's does for its own code; from then on the code is
ours as well, in that page. The thread's stack is never touched. Registers are put back in a stop of
the kind that saved them, so the kernel restarts whatever call was interrupted; the process does not
notice. For Linux on x86-64; a process that is locked in is not dumpable, so it takes root or
CAP_SYS_PTRACE.
"""

import ctypes
import os
import pathlib
import platform
import re
import signal
import struct

_REGISTERS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp "
              "ss fs_base gs_base ds es fs gs").split()
_LAYOUT = "<27Q"  # user_regs_struct
_SINGLESTEP, _GETREGS, _SETREGS, _DETACH, _SEIZE, _INTERRUPT = 9, 12, 13, 17, 0x4206, 0x4207
_ALL_THREADS = 0x40000000  # __WALL
_MMAP, _MUNMAP = 9, 11
_SIZE = 8192
_TEXTS = 64  # where in the page the arguments begin; the code is before
# syscall; int 0x80; jmp to itself
_NATIVE, _OF_I386, _FOR_EVER = b"\x0f\x05", b"\xcd\x80", b"\xeb\xfe"

AT_HOME = platform.machine() == "x86_64"
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request, thread, address=0, data=0):
    if _libc.ptrace(request, thread, address, data) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def threads_of(pid):
    return sorted(map(int, os.listdir(f"/proc/{pid}/task")))


class Died(Exception):
    """The process has ended, in a call or because somebody killed it."""

    def __init__(self, by):
        super().__init__(signal.Signals(by).name)
        self.by = by


class Intruder:
    """Holds one thread of a process still, from the beginning to the end of a `with`. Raises
    ProcessLookupError at the beginning if the thread has ended."""

    def __init__(self, pid, thread=None):
        self.pid = pid
        self.thread = thread or pid
        self.gone = False

    def __enter__(self):
        _ptrace(_SEIZE, self.thread)
        _ptrace(_INTERRUPT, self.thread)
        self._wait()
        self.saved = self._registers()
        self.memory = open(f"/proc/{self.pid}/mem", "r+b", buffering=0)
        read_write_run, private_anonymous = 7, 0x22
        self.instruction = self._find_instruction()
        self.page = self._step(self.instruction, _MMAP,
                               [0, _SIZE, read_write_run, private_anonymous, 2**64 - 1, 0])
        assert self.page > 0, self.page
        self._write(self.page, _NATIVE.ljust(8, b"\xcc") + _OF_I386.ljust(8, b"\xcc") + _FOR_EVER)
        return self

    def __exit__(self, *_):
        self.memory.close()
        if self.gone:
            return
        self._step(self.instruction, _MUNMAP, [self.page, _SIZE])
        self._set_registers(self.saved)
        self._trace(_DETACH)

    def call(self, number, *arguments, of_i386=False):
        """What the call returns, -errno for an error. Bytes become pointers to them, in memory that
        the process may write. Raises Died."""
        values, at = [], self.page + _TEXTS
        for argument in arguments:
            if isinstance(argument, bytes):
                self._write(at, argument + b"\0")
                values.append(at)
                at += len(argument) + 16 & ~7
                assert at < self.page + _SIZE
            else:
                values.append(argument % 2**64)
        return self._step(self.page + (8 if of_i386 else 0), number, values)

    def run_away(self):
        """Leaves the thread in an endless loop."""
        self._set_registers({**self.saved, "rip": self.page + 16, "orig_rax": 2**64 - 1})
        self._trace(_DETACH)
        self.gone = True

    def _step(self, where, number, values):
        changed = dict(zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), values + [0] * 6))
        # orig_rax: there is no call to restart. rax of i386 is the same.
        self._set_registers({**self.saved, **changed, "rip": where, "rax": number,
                             "orig_rax": 2**64 - 1})
        self._trace(_SINGLESTEP)
        while (stop := self._wait()) != signal.SIGTRAP:  # other signals are the process' own
            self._trace(_SINGLESTEP, 0 if stop > 255 else stop)
        registers = self._registers()
        assert registers["rip"] == where + 2, "the call was not made"
        result = registers["rax"]
        return result - 2**64 if result >= 2**63 else result

    def _trace(self, request, data=0):
        try:
            _ptrace(request, self.thread, 0, data)
        except ProcessLookupError:  # somebody has killed it
            while True:
                self._wait()

    def _wait(self):
        """The signal that stopped the thread; above 255: an event of ptrace's."""
        _, status = os.waitpid(self.thread, _ALL_THREADS)
        if os.WIFSIGNALED(status):
            self.gone = True
            raise Died(os.WTERMSIG(status))
        if os.WIFEXITED(status):
            raise ProcessLookupError(f"thread {self.thread} has ended")
        return status >> 8

    def _registers(self):
        buffer = ctypes.create_string_buffer(struct.calcsize(_LAYOUT))
        self._trace(_GETREGS, ctypes.addressof(buffer))
        return dict(zip(_REGISTERS, struct.unpack(_LAYOUT, buffer.raw)))

    def _set_registers(self, registers):
        buffer = ctypes.create_string_buffer(
            struct.pack(_LAYOUT, *(registers[name] for name in _REGISTERS)))
        self._trace(_SETREGS, ctypes.addressof(buffer))

    def _find_instruction(self):
        for line in pathlib.Path(f"/proc/{self.pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r-x.* (/\S*libc\S*)$", line)
            if not found:
                continue
            begin, end = int(found[1], 16), int(found[2], 16)
            self.memory.seek(begin)
            at = self.memory.read(end - begin).find(_NATIVE)
            if at >= 0:
                return begin + at
        raise AssertionError("there is no libc")

    def _write(self, where, data):
        self.memory.seek(where)
        self.memory.write(data)
