#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what several workers gain on one machine, and what a chunk costs besides its frames.

Efficiency: a video of 360 seconds by one worker of one thread and by two; whole jobs, prepared and joined.
Ledger: a video of tiny frames in many chunks and in few; the difference for each chunk is claim, beats, commit, the
encoder's begin and end, and the join: an upper bound of what the ledger takes. Nothing here asserts a time.

usage: workers.py [--quick]      environment: ATELIER (program)
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
ATELIER = os.environ.get("ATELIER", str(ROOT / "build/release/atelier"))
ROUNDS = 3


def clip(path, size, seconds):
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d={seconds}", "-c:v", "libx264",
                    "-preset", "ultrafast", "-g", "50", path], check=True)
    return path


def report_of(folder, video, *options):
    """The whole job, from nothing; its report."""
    with tempfile.TemporaryDirectory(dir=folder) as runs:
        out = subprocess.run([ATELIER, "run", video, f"{runs}/out.mkv", "--model", "starry-night", "--threads", "1",
                              "--runs", f"{runs}/runs", "--json", *map(str, options)],
                             check=True, stdout=subprocess.PIPE).stdout
        return json.loads(out)


def efficiency(folder, quick):
    size = "160x96" if quick else "320x180"
    video = clip(f"{folder}/long.mp4", size, 360)
    print(f"\nWhole job of 360 seconds of {size} (9,000 frames), starry-night, chunks of 2 s, workers of one thread; "
          f"medians of {ROUNDS} alternating rounds")
    seconds = {1: [], 2: []}
    for _ in range(ROUNDS):
        for workers, found in seconds.items():
            found.append(report_of(folder, video, "--chunk-seconds", 2, "--workers", workers)["wall_seconds"])
    one, two = (statistics.median(found) for found in seconds.values())
    print(f"  1 worker {one:8.2f} s    2 workers {two:8.2f} s    efficiency {one / two / 2:.3f}")
    return one / 9000


def ledger(folder, seconds_per_frame):
    video = clip(f"{folder}/tiny.mp4", "32x32", 360)
    many, few = [], []
    for _ in range(ROUNDS):
        for length, found in ((2, many), (360, few)):
            found.append(report_of(folder, video, "--chunk-seconds", length, "--codec", "ffv1")["wall_seconds"])
    chunk = (statistics.median(many) - statistics.median(few)) / 179
    print(f"\nA chunk besides its frames: {chunk * 1000:.2f} ms; of scoring a chunk of 50 frames as above "
          f"{chunk / (50 * seconds_per_frame) * 100:.2f} %")


def main():
    with tempfile.TemporaryDirectory() as folder:
        ledger(folder, efficiency(folder, "--quick" in sys.argv[1:]))


if __name__ == "__main__":
    main()
