#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a run costs in a process that stays from run to run (a local pool of the service), beside one of its own.

Seconds from asking for a run of a short video to its end, which the process's own start is part of where it has one. Both
kinds take turns; the kept process has done one run before.

usage: warm.py [--quick]      environment: ATELIER (program), SHARED (folder with models/)
"""
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import common

SIZE, FRAMES, ROUNDS = "640x360", (1, 25), 7


class KeptProcess:
    """`atelier warm-runs`, as engine/warm_protocol.h has it."""

    def __enter__(self):
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = subprocess.Popen([common.ATELIER, "warm-runs"], stdin=theirs, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.STDOUT)
        theirs.close()
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.process.wait()

    def run(self, words):
        self.socket.send(b"".join(str(word).encode() + b"\0" for word in ["atelier", *words]))
        return int(self.socket.recv(16))


def seconds_of(work):
    begin = time.monotonic()
    code = work()
    if code != 0:
        sys.exit(f"a run ended with exit code {code}")
    return time.monotonic() - begin


def compare(model, frames, rounds):
    with tempfile.TemporaryDirectory() as folder, KeptProcess() as kept:
        folder = pathlib.Path(folder)
        video = folder / "in.mp4"
        common.call(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=size={SIZE}:rate=25,trim=end_frame={frames}",
                     "-c:v", "libx264", "-pix_fmt", "yuv420p", video])
        words = ["run", "--no-reuse", "--force", "--runs", folder / "runs", "--workers", "1", "--model", model, "--quiet", "--",
                 video, folder / "out.mp4"]
        kept.run(words)
        found = common.alternate({
            "own": lambda: seconds_of(lambda: subprocess.run([common.ATELIER, *map(str, words)]).returncode),
            "kept": lambda: seconds_of(lambda: kept.run(words))}, rounds)
        own, warm = common.median(found["own"]), common.median(found["kept"])
        return [f"{model.stem}, {frames} frame{'s' * (frames > 1)}", f"{own:.3f}", f"{warm:.3f}", f"{own - warm:.3f}",
                f"{own / warm:.2f}"]


def main():
    rounds = 3 if "--quick" in sys.argv[1:] else ROUNDS
    print(f"\nWARM  a run of a short video of {SIZE}, {rounds} rounds; {common.machine()}")
    rows = [compare(model, frames, rounds) for model in (common.LEAN, common.WAVE) if model.exists() for frames in FRAMES]
    print(common.table(["", "own process", "kept process", "saved s", "times"], rows), flush=True)


if __name__ == "__main__":
    main()
