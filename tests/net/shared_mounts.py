#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A folder mounted twice, as two machines of a cluster see it: no locks, names or pages in common.

tests/net/shared_mounts.py -- CMD...   runs CMD with ATELIER_TEST_SHARED_A, _B (two mounts of one folder), and
                                       ATELIER_TEST_SHARED_PLAIN_A, _B (two of another one, whose file system has no
                                       links) and ATELIER_TEST_SHARED_STALE_A, _B (whose names go stale now and then)
                                       set, and ends the mounts

The mounts are made by shared_mount ($ATELIER_SHARED_MOUNT; default build/release/shared_mount) by FUSE in a mount
namespace of their own, which takes root; they believe what they have seen for SECONDS. Exit code: CMD's; 77 when
nothing can be mounted here.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from azurite import die_with_parent

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SKIPPED = 77
SECONDS = 1
MEMORY = "/dev/shm"  # flushing to a disk is not what is tested
OWN_MOUNTS = "ATELIER_TEST_OWN_MOUNTS"  # set in the namespace


def program():
    return os.environ.get("ATELIER_SHARED_MOUNT") or str(ROOT / "build/release/shared_mount")


def why_not():
    """Why nothing can be mounted here; empty if it can."""
    if os.geteuid() != 0:
        return "mounting takes root"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse cannot be opened: {error.strerror}"
    if shutil.which("unshare") is None:
        return "unshare is missing: run tools/setup net"
    return ""


def enter_namespace():
    """Starts this program again where its mounts are nobody else's and end with it; skips it if that cannot be."""
    if OWN_MOUNTS in os.environ:
        return
    reason = why_not()
    if reason:
        print(f"SKIPPED: no folder can be mounted twice here: {reason}", file=sys.stderr)
        sys.exit(SKIPPED)
    os.environ[OWN_MOUNTS] = "1"
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, "-B", *sys.argv])


class SharedMounts:
    """Mounted when made: `paths`, two of one folder; `stop` (or leaving the with block) ends them."""

    def __init__(self, plain=False, stale=False):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="atelier-shared-", dir=MEMORY if os.path.isdir(MEMORY) else None))
        self.processes, self.paths = [], []
        (self.folder / "disk").mkdir()
        try:
            for name in ("a", "b"):
                self.mount(self.folder / name, ["plain"] * plain + ["stale"] * stale)
        except BaseException:
            self.stop()
            raise

    def mount(self, path, kind):
        path.mkdir()
        device = path.stat().st_dev
        log = self.folder / f"{path.name}.log"
        with log.open("wb") as said:
            self.processes.append(subprocess.Popen(
                [program(), self.folder / "disk", path, str(SECONDS), *kind],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, preexec_fn=die_with_parent))
        deadline = time.monotonic() + 30
        while path.stat().st_dev == device:
            if self.processes[-1].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{path} was not mounted: {log.read_text(errors='replace')}")
            time.sleep(0.01)
        self.paths.append(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    if len(sys.argv) < 3 or sys.argv[1] != "--":
        print(__doc__)
        return 2
    enter_namespace()
    with SharedMounts() as shared, SharedMounts(plain=True) as plain, SharedMounts(stale=True) as stale:
        environment = os.environ | {"ATELIER_TEST_SHARED_A": str(shared.paths[0]),
                                    "ATELIER_TEST_SHARED_B": str(shared.paths[1]),
                                    "ATELIER_TEST_SHARED_PLAIN_A": str(plain.paths[0]),
                                    "ATELIER_TEST_SHARED_PLAIN_B": str(plain.paths[1]),
                                    "ATELIER_TEST_SHARED_STALE_A": str(stale.paths[0]),
                                    "ATELIER_TEST_SHARED_STALE_B": str(stale.paths[1])}
        return subprocess.run(sys.argv[2:], env=environment, check=False, preexec_fn=die_with_parent).returncode


if __name__ == "__main__":
    sys.exit(main())
