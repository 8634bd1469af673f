#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A scorer is a process of its own: it may die at any moment, its broker goes on."""

import json
import os
import pathlib
import signal
import threading
import time

import support
from support import children_of, make_video, parent_of, run, sha256


class Scorers(support.Case):
    spreads = False
    CUT = ["--chunk-seconds", "0.4"]

    def setUp(self):
        super().setUp()
        self.source = make_video(self.folder / "in.mp4", "-bf", "2", frames=60)
        self.output = self.folder / "out.mp4"

    def begin(self, *options):
        return self.start(*self.command(self.source, self.output, *self.CUT, *options,
                                        model=self.slow_model()))

    def scorer_of(self, process):
        deadline = time.monotonic() + support.TIMEOUT
        while time.monotonic() < deadline and process.poll() is None:
            found = children_of(process.pid)
            if found:
                return found[0]
            time.sleep(0.005)  # another process: nothing to wait on
        self.fail(f"there is no scorer: {process.returncode}")

    def undisturbed(self):
        output = self.folder / "undisturbed.mp4"
        self.score(self.source, output, *self.CUT, model=self.slow_model(), runs=self.folder / "other")
        return sha256(output)

    def test_a_scorer_that_is_killed_is_replaced(self):
        process = self.begin("--json")
        for commits in (1, 2):
            self.wait_for_commits(process, commits)
            os.kill(self.scorer_of(process), signal.SIGKILL)
        out, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 0, err)
        self.assertEqual(json.loads(out)["frames"], 60)
        self.assertEqual(sha256(self.output), self.undisturbed())

    def test_scorers_that_always_die_end_the_run_and_nothing_is_lost(self):
        process = self.begin("--quiet")
        claims = lambda: len(list(self.runs.glob("*/chunks/*.claim.*")))
        stop = threading.Event()
        killed = []

        def kill_all():
            while not stop.is_set():
                # Not before it has a chunk: before the first one that would blame model or input.
                for pid in children_of(process.pid) if claims() else []:
                    if pid not in killed:
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)
                stop.wait(0.02)  # sooner than a fast machine scores a chunk

        killer = threading.Thread(target=kill_all)
        killer.start()
        try:
            _, err = process.communicate(timeout=support.TIMEOUT)
        finally:
            stop.set()
            killer.join()
        self.assertEqual(process.returncode, 1, err)
        self.assert_one_sentence(err.decode())
        self.assertIn("signal 9", err.decode())
        self.assertGreaterEqual(len(killed), 3, "it gave up too early")
        self.assertFalse(self.output.exists())
        self.score(self.source, self.output, *self.CUT, model=self.slow_model())
        self.assertEqual(sha256(self.output), self.undisturbed())

    def test_it_cannot_fill_the_disk_and_dies_before_its_broker_where_memory_ends(self):
        process = self.begin("--quiet")
        self.wait_for_commits(process, 1)
        proc = pathlib.Path(f"/proc/{self.scorer_of(process)}")
        limits = proc.joinpath("limits").read_text()
        most = next(line for line in limits.splitlines() if line.startswith("Max file size")).split()
        self.assertLess(int(most[4]), 500 << 20, limits)
        self.assertEqual(most[3], most[4], "it may raise the limit")
        most = next(line for line in limits.splitlines() if line.startswith("Max cpu time")).split()
        self.assertLess(int(most[3]), 1800 * 2 * os.cpu_count(), limits)
        adjusted = [int(pathlib.Path(f"/proc/{pid}/oom_score_adj").read_text())
                    for pid in (process.pid, int(proc.name))]
        self.assertGreater(adjusted[1], adjusted[0])
        out, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 0, err)

    def test_one_that_needs_more_memory_than_it_may_take_is_ended_with_a_sentence(self):
        less = self.command(self.source, self.output, "--memory", "10M", "--quiet",
                            model=self.slow_model())
        done = self.assert_refused(1, less, self.output, ["may take 10 MiB", "--memory"])
        self.assertNotIn("signal", done.stderr)
        self.score(self.source, self.output, "--memory", "1T", "--workers", "2",
                   model=self.slow_model())

    def test_one_that_dies_before_it_is_told_to_score(self):
        process = self.begin()
        scorer = self.scorer_of(process)
        deadline = time.monotonic() + support.TIMEOUT
        while not list(self.runs.glob("*/manifest.json")):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.001)
        os.kill(scorer, signal.SIGKILL)
        out, err = process.communicate(timeout=60)
        self.assertIn(process.returncode, (0, 1), err)
        if process.returncode:  # it had not said that it was ready
            self.assertIn("while it looked", err.decode())

    def test_it_gets_none_of_the_environment(self):
        os.environ["ATELIER_TEST_TOKEN"] = "hunter2"
        self.addCleanup(os.environ.pop, "ATELIER_TEST_TOKEN")
        process = self.begin("--sandbox", "off")
        scorer = self.scorer_of(process)
        self.wait_for_commits(process, 1)
        self.assertNotIn(b"hunter2", pathlib.Path(f"/proc/{scorer}/environ").read_bytes())

    def test_frames_are_counted_once(self):
        process = self.begin("--json")
        self.wait_for_commits(process, 2)
        os.kill(self.scorer_of(process), signal.SIGKILL)
        out, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 0, err)
        self.assertEqual(json.loads(out)["frames_scored_now"], 60)

    def test_no_scorer_outlives_its_broker(self):
        process = self.begin()
        self.wait_for_commits(process, 1)
        scorer = self.scorer_of(process)
        process.kill()
        process.communicate()
        deadline = time.monotonic() + 30
        while parent_of(scorer) is not None:
            self.assertLess(time.monotonic(), deadline, "the scorer lives on")
            time.sleep(0.01)  # the kernel ends it

    def test_a_scorer_has_no_file_of_the_user_open(self):
        process = self.begin()
        self.wait_for_commits(process, 1)
        scorer = self.scorer_of(process)
        try:
            opened = [os.readlink(f"/proc/{scorer}/fd/{fd}") for fd in os.listdir(f"/proc/{scorer}/fd")]
        except PermissionError:
            self.skipTest("only root may look into a process that is locked in")
        for name in (str(self.source), str(self.runs), str(self.slow_model())):
            self.assertEqual([path for path in opened if path.startswith(name)], [], name)

    def test_started_by_hand_it_says_nothing_and_ends(self):
        done = run("scorer-process", "1")
        self.assertEqual((done.returncode, done.stdout), (1, ""))


if __name__ == "__main__":
    support.main()
