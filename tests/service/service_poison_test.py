#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Inputs that are too much, and inputs that end their scorers or have them hang: each is set aside or fails with a
sentence, and the next run goes on."""

import os
import pathlib
import resource
import signal
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from service_case import GENEROUS, PIPELINE, ServiceCase, support  # noqa: E402

import intruder  # noqa: E402
import onnx_model  # noqa: E402

FORK = 57  # on x86-64; deadly in the scorer's sandbox


class Poisoner(threading.Thread):
    """Does `harm` to every scorer of a run as soon as it has a chunk, until it is told to end."""

    def __init__(self, case, run, harm):
        super().__init__()
        self.case, self.poisoned, self.harm, self.over = case, run, harm, threading.Event()
        self.harmed, self.wrong = [], None

    def run(self):
        try:
            while not self.over.is_set():
                for pid in self.case.scorers():
                    if pid not in self.harmed and self.case.is_scoring(pid, self.poisoned) and self.harm(pid):
                        self.harmed.append(pid)
                self.over.wait(0.01)  # other processes: nothing to wait on
        except BaseException as error:  # noqa: BLE001 - for the test to raise again
            self.wrong = error

    def end(self):
        self.over.set()
        self.join()
        if self.wrong is not None:
            raise self.wrong


class Poison(ServiceCase):
    def setUp(self):
        super().setUp()
        # What dies here dies on purpose.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        model = onnx_model.write_slow(self.folder / "models", support.slow_layers())
        (self.folder / "paint.toml").write_text(PIPELINE.replace('"starry-night"', f'"{model}"'))
        text = (self.folder / "atelier.toml").read_text()
        (self.folder / "atelier.toml").write_text(text.replace("[stores]", f'[stores]\nmodels = ["{model.parent}"]'))
        for name in ("poison.mp4", "next.mp4"):
            support.make_video(self.media / name, frames=60)

    def scorers(self):
        return [scorer for process in support.children_of(self.process.pid) for scorer in support.children_of(process)]

    def is_scoring(self, pid, run):
        """And nothing else than `run`: the pool has one run at a time, and `pid` was there before it was asked for."""
        known = self.run_of(run)
        if known["state"] != "running" or not known["runs"]:
            return False
        # Before its first chunk a death blames model or machine.
        claims = (self.folder / "ops" / known["runs"][-1].rsplit("/", 1)[1]).glob("chunks/*.claim.*")
        try:
            return any(claims) and len(intruder.threads_of(pid)) >= 4
        except FileNotFoundError:
            return False

    def poison(self, run, harm):
        poisoner = Poisoner(self, run, harm)
        poisoner.start()
        self.addCleanup(poisoner.over.set)
        return poisoner

    def crash(self, pid):
        """What a hole in a decoder would be used for, which ends the scorer."""
        try:
            with intruder.Intruder(pid) as one:
                one.call(FORK)
        except intruder.Died as death:
            return death.by == signal.SIGSYS
        except (FileNotFoundError, ProcessLookupError):
            return False
        raise AssertionError("it lives on")

    def hang(self, pid):
        os.kill(pid, signal.SIGSTOP)
        return True

    def need_rights(self):
        if not intruder.AT_HOME:
            raise unittest.SkipTest("code is injected on x86-64 only")
        if os.geteuid() != 0:
            print("SKIPPED: only root (CAP_SYS_PTRACE) may look into a process that is locked in, so no code was injected",
                  file=sys.stderr)
            raise unittest.SkipTest("code cannot be injected without CAP_SYS_PTRACE")

    def test_what_ends_its_scorers_is_set_aside_and_the_next_one_finishes(self):
        self.need_rights()
        self.assertTrue(self.start())
        run = self.submit("poison.mp4").json()["id"]
        poisoner = self.poison(run, self.crash)
        following = self.submit("next.mp4").json()["id"]
        over = self.wait_until_over(run)
        poisoner.end()
        self.assertEqual(over["state"], "set_aside", over)
        self.assertEqual(over["attempts"], 2)  # max_attempts of the pipeline
        self.assertIn("2 attempts, the last one: ", over["reason"])
        self.assertIn(f"signal {int(signal.SIGSYS)}", over["reason"])
        self.assertGreaterEqual(len(poisoner.harmed), 2)
        self.assertFalse((self.media / "out" / "poison.mp4").exists())
        # Between the two attempts was the turn of what stood behind it.
        following = self.run_of(following)
        self.assertEqual((following["state"], following["attempts"]), ("finished", 1), following["reason"])
        self.assertLess(following["ended_at"], over["ended_at"])
        # Released, and with nobody who ends its scorers, it goes on to its end.
        self.assertEqual(self.ask("POST", f"/v1/runs/{run}/retry").status, 200)
        self.assertEqual(self.wait_until_over(run)["state"], "finished")
        self.assertEqual(support.frame_count(self.media / "out" / "poison.mp4"), 60)
        print(f"{len(poisoner.harmed)} scorers ended by the poison")

    def test_what_has_its_scorers_hang_is_set_aside_and_the_next_one_finishes(self):
        config = self.folder / "atelier.toml"
        config.write_text(config.read_text().replace('name = "local"', 'name = "local"\nprogress_timeout = "4s"'))
        self.assertTrue(self.start())
        run = self.submit("poison.mp4").json()["id"]
        poisoner = self.poison(run, self.hang)
        following = self.submit("next.mp4").json()["id"]
        over = self.wait_until_over(run)
        poisoner.end()
        self.assertEqual((over["state"], over["attempts"]), ("set_aside", 2), over["reason"])
        self.assertGreaterEqual(len(poisoner.harmed), 2)
        self.assertEqual(self.wait_until_over(following)["state"], "finished")

    def test_what_has_its_scorers_hang_ends_at_its_bound_and_the_next_one_finishes(self):
        self.assertTrue(self.start())
        run = self.submit("poison.mp4", max_seconds=15).json()["id"]
        poisoner = self.poison(run, self.hang)
        following = self.submit("next.mp4").json()["id"]
        over = self.wait_until_over(run)
        poisoner.end()
        self.assertGreaterEqual(len(poisoner.harmed), 1)
        self.assertEqual((over["state"], over["reason"]), ("failed", "It took longer than it may (max_seconds)."))
        self.assertEqual(self.wait_until_over(following)["state"], "finished")
        for pid in poisoner.harmed:
            self.wait_for(lambda pid=pid: support.parent_of(pid) is None, "the end of what hung")


class Bounds(ServiceCase):
    def test_what_is_longer_than_its_owner_may_give_is_set_aside(self):
        self.limits = GENEROUS + '[limits.owners.ann]\nmax_minutes = 1\nmax_input_bytes = "1MiB"\n'
        self.configure()
        self.assertTrue(self.start())
        support.make_video(self.media / "long.mp4", frames=90, rate=1)
        with open(self.media / "large.mp4", "wb") as file:
            file.truncate((1 << 20) + 1)
        ann = self.make_token("ann", "submitter")

        def submit(name, token, output):
            body = {"pipeline": "paint", "parameters": {"input": f"{self.media}/{name}", "output": f"{self.media}/out/{output}"}}
            return self.ask("POST", "/v1/runs", body, token=token)

        refused = submit("large.mp4", ann, "x.mp4")
        self.assertEqual((refused.status, refused.headers["Content-Type"]), (400, "application/problem+json"))
        self.assertIn(f"has {(1 << 20) + 1} bytes; 'ann' may submit {1 << 20}", refused.json()["detail"])
        run = self.wait_until_over(submit("long.mp4", ann, "ann.mp4").json()["id"])
        self.assertEqual((run["state"], run["attempts"]), ("set_aside", 1), run["reason"])
        self.assertIn("has 1.5 minutes to score, and --max-minutes allows 1", run["reason"])
        self.assertFalse((self.media / "out" / "ann.mp4").exists())
        others = self.wait_until_over(submit("long.mp4", True, "admin.mp4").json()["id"])
        self.assertEqual(others["state"], "finished", others["reason"])


if __name__ == "__main__":
    support.main()
