#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real `atelier serve` under load: submissions a second, their latency, and whether what it took is there afterwards.

benchmarks/service_load.py [--quick]      environment: ATELIER (program)

`bench_service_load` asks over 32 connections, at 2,000 a second and then as fast as it is answered; into a queue that is
full; and of a service that is killed meanwhile and started again. Latency counts from when a request was due. Service and
load share the processors, and so do the runs that the queue goes on starting: their input is absent, so each is a process
that soon ends. The exit code is 1 when a goal was missed.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
os.environ.setdefault("ATELIER", str(ROOT / "build/release/atelier"))
sys.path.insert(0, str(ROOT / "tests" / "service"))

import common  # noqa: E402
from service_case import GENEROUS, ServiceCase  # noqa: E402

LOAD = os.environ.get("SERVICE_LOAD", str(pathlib.Path(common.ATELIER).parent / "bench_service_load"))
CONNECTIONS, RATE = 32, 2000
# What issue 8 asks for.
MOST_P99_MS, MOST_PAGE_MS = 50, 100


class Loaded(ServiceCase):
    """A service with room for `room` runs in its queue."""

    def __init__(self, room):
        super().__init__()
        self.limits = f"{GENEROUS}max_queued = {room}\nmax_queued_per_owner = {room}\n"

    def __enter__(self):
        self.setUp()
        assert self.start(), self.said().decode()
        return self

    def __exit__(self, *_):
        self.doCleanups()

    def tool(self, *words):
        port = self.address.rsplit(":", 1)[1]
        return subprocess.Popen([LOAD, words[0], port, *map(str, words[1:])], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, text=True, env={**os.environ, "ATELIER_TOKEN": self.token})

    def load(self, seconds, rate):
        return self.tool("load", CONNECTIONS, seconds, rate, f"{self.media}/absent.mp4", f"{self.media}/out",
                         self.folder / "accepted")

    def look(self):
        return answer_of(self.tool("look", self.folder / "accepted"))


def answer_of(process):
    text, _ = process.communicate()
    if not text:
        sys.exit(f"{LOAD} ended with exit code {process.returncode} and said nothing")
    return json.loads(text)


def row(name, told, looked):
    numbers = [f"{told['accepted'] / told['seconds']:.0f}", told["refused"], told["errors"]]
    times = [f"{told[key]:.1f}" for key in ("p50_ms", "p99_ms", "max_ms")]
    return [name, told["sent"], told["accepted"], *numbers, *times, looked["lost"]]


def case(name, room, seconds, rate, killed=False):
    with Loaded(room) as service:
        process = service.load(seconds, rate)
        if killed:
            time.sleep(seconds / 2)
            service.stop(signal.SIGKILL)
        told = answer_of(process)
        if killed:
            assert service.start()
        looked = service.look()
        if told["errors"] and not killed:
            print(f"{name}: {told['first_error']}")
        return row(name, told, looked), told, looked


def main():
    seconds = 5 if "--quick" in sys.argv[1:] else 30
    print(f"\nService: {CONNECTIONS} connections, {seconds} s; {common.machine()}")
    plenty = 1_000_000
    rows, first, pages = [None] * 4, None, None
    rows[0], first, pages = case(f"{RATE} a second", plenty, seconds, RATE)
    rows[1], _, _ = case("as fast as it goes", plenty, seconds / 3, 0)
    rows[2], _, _ = case("into a full queue", 1000, seconds / 3, RATE)
    rows[3], _, _ = case("killed meanwhile", plenty, seconds / 3, RATE, killed=True)
    print(common.table(["", "sent", "accepted", "a second", "refused", "errors", "p50 ms", "p99 ms", "max ms", "lost"], rows))
    print(f"Pages of {pages['listed']} runs, the slowest of 20 in ms: 50 runs {pages['page_50_ms']:.1f}, of those queued "
          f"{pages['page_50_queued_ms']:.1f}; 1000 runs {pages['page_1000_ms']:.1f}, of those queued "
          f"{pages['page_1000_queued_ms']:.1f}; the slowest of all pages {pages['worst_page_ms']:.1f}.")
    return tell_goals(goals_of(rows, first, pages))


def goals_of(rows, first, pages):
    """What issue 8 asks for, and whether it is so."""
    slowest = max(pages[key] for key in ("page_50_queued_ms", "page_1000_queued_ms", "worst_page_ms"))
    return {f"p99 under {MOST_P99_MS} ms": first["p99_ms"] < MOST_P99_MS, "no errors": first["errors"] == 0,
            "nothing lost": all(one[-1] == 0 for one in rows), f"pages under {MOST_PAGE_MS} ms": slowest < MOST_PAGE_MS}


def tell_goals(goals):
    """The exit code."""
    for goal, met in goals.items():
        print(f"  {goal}: {'yes' if met else 'NO'}")
    return 0 if all(goals.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
