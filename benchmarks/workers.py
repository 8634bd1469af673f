#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what several workers gain on one machine, and what a chunk costs besides its frames.

Efficiency: a video of 360 seconds by one worker of one thread and by two; whole jobs, prepared and joined.
Ledger: what the scoring stage waits in many chunks and in one, from the traces. Nothing here asserts a time.

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


def waits_of_scoring(path):
    """Seconds that the scoring stage worked, and that it waited between its first and its last frame."""
    events = [e for e in json.loads(pathlib.Path(path).read_text())["traceEvents"] if e.get("ph") == "X"]
    lane = {e["tid"] for e in events if e["name"] == "score"}
    events = sorted((e for e in events if e["tid"] in lane), key=lambda e: e["ts"])
    frames = [i for i, e in enumerate(events) if e["name"] == "score"]
    between = events[frames[0]:frames[-1] + 1]
    seconds = lambda work: sum(e["dur"] for e in between if (e["name"] == "score") == work) / 1e6
    return seconds(True), seconds(False)


def ledger(folder, quick):
    """What the scoring stage waits for is claims, commits and the encoder's begin and end, as far as the queues do not
    hide them; in one long chunk there is none of that."""
    print(f"\nOne worker of one thread, starry-night: what the scoring stage waits, in chunks of 2 s and in one; medians of "
          f"{ROUNDS} alternating rounds")
    for size, seconds in (("320x180", 60), ("640x360", 40), ("1280x720", 16))[:1 if quick else 3]:
        video = clip(f"{folder}/{size}.mp4", size, seconds)
        shares = {2: [], seconds: []}
        for _ in range(ROUNDS):
            for length, found in shares.items():
                trace = f"{folder}/trace.json"
                report_of(folder, video, "--workers", 1, "--chunk-seconds", length, "--trace", trace, "--force")
                worked, waited = waits_of_scoring(trace)
                found.append(100 * waited / worked)
        many, one = (statistics.median(found) for found in shares.values())
        print(f"  {size:9} {seconds // 2:3} chunks: {many:5.2f} % of the time it works    one chunk: {one:5.2f} %    "
              f"for the chunks: {many - one:5.2f} %", flush=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        quick = "--quick" in sys.argv[1:]
        ledger(folder, quick)
        efficiency(folder, quick)


if __name__ == "__main__":
    main()
