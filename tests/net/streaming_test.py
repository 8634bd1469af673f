#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What jobs ask of a store, counted by proxies before a real Azurite: how much of the input each process reads, and how
many requests a chunk costs."""

import json
import os
import pathlib
import re
import signal
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import faulty_proxy  # noqa: E402
import remote_job  # noqa: E402
import support  # noqa: E402
from support import make_video, run  # noqa: E402

CLAIM = re.compile(r"/chunks/\d+\.claim\.")


def is_claim(method, target):
    return method == "PUT" and CLAIM.search(target)


class EvenShares:
    """Lets each of two workers claim half of the chunks before either helps the other, however fast they are."""

    def __init__(self, chunks):
        self.half = chunks // 2
        self.claimed = ({}, {})  # as sets that keep their order
        self.changed = threading.Condition()

    def of(self, worker):
        def hold(method, target, _nth):
            if is_claim(method, target):
                with self.changed:
                    self.claimed[worker][target] = True
                    self.changed.notify_all()
                    if len(self.claimed[worker]) > self.half:
                        self.changed.wait_for(lambda: len(self.claimed[1 - worker]) >= self.half, support.TIMEOUT)
            return None

        return hold


class Streaming(remote_job.AzureJob):
    TLS = False

    def behind(self, name, fault=lambda *_: None):
        """A proxy for one process, and the environment in which that finds the store through it."""
        proxy = faulty_proxy.FaultyProxy(self.address, fault)
        self.addCleanup(proxy.stop)
        path = self.folder / f"credentials-{name}"
        self.write_secret(path, self.sections(proxy.endpoint, ()))
        return proxy, {"ATELIER_CREDENTIALS": str(path)}

    def of_input(self, proxy):
        """Which part of the input was sent."""
        with proxy.lock:
            sent = sum(size for method, target, size in proxy.seen if method == "GET" and "large.mp4" in target)
        return sent / self.source.stat().st_size

    def prepare(self, *job):
        """As far as the first claim, at which it is killed; the part of the input that it read."""
        proxy, environment = self.behind("prepare", lambda method, target, _: "stall" if is_claim(method, target) else None)
        process = self.start_group(*job, env=environment)
        self.wait_until(process, lambda: proxy.faults > 0, "a claim")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return self.of_input(proxy)

    def test_prepare_reads_the_input_once_and_the_workers_do_together(self):
        # Noise, so that each worker's half is many times what is read ahead.
        self.source = make_video(self.folder / "large.mp4", "-preset", "ultrafast", "-g", "25", "-crf", "8", frames=300,
                                 size="320x240", filters=",noise=alls=80:allf=t")
        self.put("input", "large.mp4", self.source.read_bytes())
        self.input, self.CUT = self.url("input", "large.mp4"), ("--chunk-seconds", "1")
        planned = self.prepare(*self.job("--quiet", "--precision", "f32"))
        done = run("show", self.run_url(), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        chunks = len(json.loads(done.stdout)["chunks"])
        shares = EvenShares(chunks)
        proxies, workers = [], []
        for i in range(2):
            proxy, environment = self.behind(f"worker{i}", shares.of(i))
            proxies.append(proxy)
            workers.append(self.start_group("worker", self.run_url(), "--worker", f"{i + 1}/2", env=environment))
        for worker in workers:
            _, err = worker.communicate(timeout=support.TIMEOUT)
            self.assertEqual(worker.returncode, 0, err)
        self.assertEqual(len(self.commits_there()), chunks)
        scored = [self.of_input(proxy) for proxy in proxies]
        proxy, environment = self.behind("finish")
        done = run("finish", self.run_url(), env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        joined = self.of_input(proxy)
        print(f"of an input of {self.source.stat().st_size} bytes prepare read {planned:.2f}, the workers {scored[0]:.2f} "
              f"and {scored[1]:.2f}, finish {joined:.2f}", file=sys.stderr)
        self.assertLess(planned, 1.1)
        self.assertLess(max(scored), 0.7)
        self.assertLess(sum(scored), 1.3)
        self.assertLess(joined, 1.1)

    def requests(self, seconds):
        """How many chunks a job has with chunks of that length, and how many requests besides input and heartbeats."""
        proxy, environment = self.behind(f"cut{seconds}")
        done = run("run", "--runs", self.url("runs", f"cut{seconds}"), "--model", self.identity, "--workers", "2",
                   "--precision", "f32", "--chunk-seconds", str(seconds), "--", self.input,
                   self.url("output", f"cut{seconds}.mp4"), env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        chunks = sum(f"cut{seconds}/" in name for name in self.commits_there())
        with proxy.lock:
            return chunks, sum("large.mp4" not in target and ".beat" not in target for _, target, _ in proxy.seen)

    def test_a_chunk_takes_eight_requests_at_most(self):
        self.source = make_video(self.folder / "large.mp4", frames=400)
        self.put("input", "large.mp4", self.source.read_bytes())
        self.input = self.url("input", "large.mp4")
        (few, once), (many, all_of_them) = self.requests(4), self.requests(0.4)
        for_one = (all_of_them - once) / (many - few)
        print(f"{once} requests for {few} chunks, {all_of_them} for {many}: {for_one:.1f} for a chunk and "
              f"{once - few * for_one:.0f} for the job", file=sys.stderr)
        self.assertGreaterEqual(many - few, 30)
        self.assertLessEqual(for_one, 8)


if __name__ == "__main__":
    remote_job.run_tests()
