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
        stop = threading.Event()

        def kill_all():
            while not stop.is_set():
                # Not before it has a chunk: that would blame the model or the input.
                claims = list(self.runs.glob("*/chunks/*.claim.*"))
                for pid in children_of(process.pid) if claims else []:
                    os.kill(pid, signal.SIGKILL)
                stop.wait(0.2)

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
        self.assertFalse(self.output.exists())
        self.score(self.source, self.output, *self.CUT, model=self.slow_model())
        self.assertEqual(sha256(self.output), self.undisturbed())

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
