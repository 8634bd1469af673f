#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Jobs and copies over a network that breaks, on a real Azurite and on a real S3 server (Swift with s3api)."""

import concurrent.futures
import itertools
import pathlib
import random
import re
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import faulty_proxy  # noqa: E402
import remote_job  # noqa: E402
import support  # noqa: E402
from support import make_video, run  # noqa: E402

MIB = 1 << 20


class Faults:
    """The cases; classes below have a service of a kind."""

    TLS = False
    KINDS = faulty_proxy.FAULTS
    SEEDS = 2

    def through(self, fault, patience=()):
        self.proxy = faulty_proxy.FaultyProxy(self.address, fault)
        self.addCleanup(self.proxy.stop)
        self.write_credentials(endpoint=self.proxy.endpoint, patience=patience)
        return self.proxy

    def meet(self, kind, patience=()):
        """A job that meets a kind of fault once at every kind of request; all its own, so that several can be met at once."""
        met = set()
        with faulty_proxy.FaultyProxy(self.address, self.once_at_every_kind_of_request(kind, met)) as proxy:
            credentials = self.folder / f"credentials-{kind}"
            self.write_secret(credentials, self.sections(proxy.endpoint, patience))
            done = run("run", "--runs", self.url("runs", kind), "--model", self.identity, *self.CUT, "--", self.input,
                       self.url("output", f"out/{kind}.mp4"), env={"ATELIER_CREDENTIALS": str(credentials)})
            self.assertEqual(done.returncode, 0, f"{kind}: {done.stderr}")
            self.assertEqual(self.get("output", f"out/{kind}.mp4"), self.undisturbed(), kind)
            self.assertGreater(proxy.faults, 3, kind)
            way = "PUT" if kind == "spoilt" else "GET"
            self.assertTrue(any(method == way and chunks for method, _, chunks, _, _ in met), f"no chunk met {kind}")

    def meet_all(self, kinds, patience=()):
        self.undisturbed()  # once, before the others need it
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            for met in [threads.submit(self.meet, kind, patience) for kind in kinds]:
                met.result()

    @staticmethod
    def once_at_every_kind_of_request(fault, met):
        """`fault`, the first time that a kind of request is seen."""

        def plan(method, target, _nth):
            listed = "comp=" in target or "list-type=" in target
            what = (method, listed, "/chunks/" in target, "manifest" in target, "out/" in target)
            if what in met or not faulty_proxy.can_be_noticed(fault, method, target):
                return None
            met.add(what)
            return fault

        return plan

    def test_every_kind_of_fault_at_every_kind_of_request(self):
        self.meet_all(self.KINDS)

    def test_random_faults_lose_nothing(self):
        for seed in range(1, 9 if support.SLOW_RUN else self.SEEDS + 1):
            self.through(faulty_proxy.seeded(seed, 0.08, self.KINDS))
            done = run(*self.job("--workers", "2", "--no-reuse", "--force"))
            self.assertEqual(done.returncode, 0, f"seed {seed}: {done.stderr}")
            self.assertEqual(self.painted(), self.undisturbed(), f"seed {seed}")
            self.assertGreater(self.proxy.faults, 0)

    def test_a_service_that_is_away_for_some_seconds(self):
        away = {}

        def fault(_method, target, _nth):
            if "/chunks/" in target:
                away.setdefault("since", time.monotonic())
            return "503" if away and time.monotonic() - away["since"] < 4 else None

        self.through(fault)
        done = run(*self.job("--workers", "2"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.painted(), self.undisturbed())

    def test_an_input_that_is_replaced_under_the_run(self):
        # More than is kept of it at a time: what was read once is not asked for again.
        large = make_video(self.folder / "large.mkv", "-c:v", "rawvideo", frames=60, size="640x480")
        self.put("input", "a clip.mp4", large.read_bytes())
        process = self.start_group(*self.job("--quiet", "--size", "64x48", model=self.slow_model()))
        self.wait_until_committed(process, 1)
        self.put("input", "a clip.mp4", self.source.read_bytes())
        _, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 3, err)
        self.assert_one_sentence(err.decode())
        self.assertEqual(self.objects("output"), [])

    def test_a_kill_in_the_middle_of_an_upload_in_parts(self):
        large = self.folder / "large"
        large.write_bytes(random.Random(1).randbytes(20 * MIB))
        parts = itertools.count()

        def hold(_method, target, _nth):
            return "stall" if self.PART.search(target) and next(parts) >= 2 else None

        proxy = self.through(hold)
        process = self.start("cp", "--quiet", large, self.url("output", "large"))
        self.wait_until(process, lambda: proxy.faults > 0 and self.answered(proxy) == 2, "the arrival of two parts")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        proxy.stop()
        self.assertEqual(self.objects("output"), [], "half of it can be seen")
        self.through(lambda *_: None)
        done = run("cp", "--quiet", large, self.url("output", "large"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.get("output", "large"), large.read_bytes())

    def answered(self, proxy):
        """Parts of an upload that have arrived and were answered."""
        with proxy.lock:
            return sum(1 for answer in proxy.passed if self.PART.search(answer))


class FaultsOfAzure(Faults, remote_job.AzureJob):
    """What says nothing, or too slowly, is told by what all services share."""

    PART = re.compile(r"comp=block&")

    def test_who_trickles_and_who_says_nothing(self):
        self.meet_all(("trickle", "stall"), patience=["stall_timeout = 1"])

    def test_who_never_says_anything(self):
        self.through(lambda *_: "stall", patience=["stall_timeout = 1", "give_up_after = 3"])
        self.assert_fails(4, self.job("--quiet"), "did not answer in time")


class FaultsOfS3(Faults, remote_job.S3Job):
    """S3 tells no hash of what it sends, so that damage is seen only in what a record has the hash of: chunks."""

    PART = re.compile(r"partNumber=")
    SEEDS = 1
    KINDS = tuple(kind for kind in faulty_proxy.FAULTS if kind != "damaged")

    def test_chunks_that_arrive_damaged_are_never_published(self):
        damaged = itertools.count()

        def once(method, target, _nth):
            return "damaged" if method == "GET" and ".nut" in target and next(damaged) == 0 else None

        self.through(once)
        done = run(*self.job("--quiet"))
        if done.returncode:
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assert_one_sentence(done.stderr)
            self.assertEqual(self.objects("output"), [])
            done = run(*self.job("--quiet"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.proxy.faults, 1)
        self.assertEqual(self.painted(), self.undisturbed())


if __name__ == "__main__":
    remote_job.run_tests()
