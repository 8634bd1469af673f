#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One run by several workers, each of which sees its folder through a mount of its own, as machines of a cluster do."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import shared_mounts  # noqa: E402
import support  # noqa: E402
from support import make_video, run  # noqa: E402

support.SHORT |= {"test_two_runs_of_one_command_and_one_is_killed"}


class Sides(support.Case):
    spreads = False
    CUT = ("--chunk-seconds", "0.4")
    FRAMES = 150
    LINKS = True

    def setUp(self):
        super().setUp()
        mounts = shared_mounts.SharedMounts(plain=not self.LINKS)
        self.addCleanup(mounts.stop)
        self.sides = mounts.paths
        self.source = make_video(self.folder / "in.mp4", "-bf", "2", frames=self.FRAMES)
        shutil.copy(self.source, self.sides[0] / "in.mp4")

    def slow_model(self):
        """Slow enough that the other side comes while there is something left."""
        return support.onnx_model.write_slow(self.folder / "slow", support.slow_layers(milliseconds=30))

    def start_on(self, side, *options):
        """The same command, each with its own names of what they share."""
        place = self.sides[side]
        process = subprocess.Popen(
            [support.PROGRAM, *self.command(place / "in.mp4", place / "out.mp4", *self.CUT, *options,
                                            model=self.slow_model(), runs=place / "runs")],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        self.addCleanup(self.end, process)
        return process

    def undisturbed(self):
        alone = self.folder / "alone.mp4"
        self.score(self.source, alone, *self.CUT, model=self.slow_model())
        return alone.read_bytes()

    def finish(self, process):
        out, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 0, err)
        return json.loads(out)

    def workers_of_commits(self, side):
        return [json.loads(pathlib.Path(path).read_text())["worker"] for path in self.commits(self.sides[side] / "runs")]

    def assert_nothing_hidden(self):
        self.assertEqual(list(self.sides[0].rglob(".atelier-tmp-*")), [])

    def wait_for_both(self, process):
        """Until `process`, whose worker has its pid in its name, and somebody else have committed something."""
        chunks = 0
        while True:
            chunks += 1
            self.wait_for_commits(process, chunks, self.sides[0] / "runs")
            own = [f"-{process.pid}-" in worker for worker in self.workers_of_commits(0)]
            if any(own) and not all(own):
                return

    def kill_one_of_two(self):
        # At once: on a busy machine the second may take as long to begin as the first to be done.
        first = self.start_on(0, "--workers", "2", "--quiet")
        second = self.start_on(1, "--workers", "1", "--json")
        self.wait_for_both(second)
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
        report = self.finish(second)
        self.assertLess(report["frames_scored_now"], self.FRAMES)
        self.assertGreater(report["frames_scored_now"], 0)
        self.assertEqual((self.sides[0] / "out.mp4").read_bytes(), self.undisturbed())


class SharedFolder(Sides):
    def test_two_runs_of_one_command_share_the_chunks(self):
        both = [self.start_on(side, "--workers", "1", "--json") for side in (0, 1)]
        reports = [self.finish(process) for process in both]
        self.assertEqual(reports[0]["frames"], self.FRAMES)
        self.assertEqual((self.sides[1] / "out.mp4").read_bytes(), self.undisturbed())
        self.assertEqual(len(self.run_folders(self.sides[1] / "runs")), 1, "they made two runs of it")
        scored = [report["frames_scored_now"] for report in reports]
        self.assertEqual(sum(scored), self.FRAMES, "a chunk was scored twice or its claim was not seen")
        self.assertGreater(min(scored), 0, "one of them did all")
        self.assert_nothing_hidden()

    def test_two_runs_of_one_command_and_one_is_killed(self):
        self.kill_one_of_two()

    def test_a_worker_by_hand_on_the_other_side_goes_on(self):
        first = self.start_on(0, "--workers", "1", "--quiet")
        self.wait_for_commits(first, 1, self.sides[1] / "runs")
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
        run_folder = self.run_folders(self.sides[1] / "runs")[0]
        done = run("worker", run_folder, "--input", self.sides[1] / "in.mp4", "--model", self.slow_model())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(set(self.workers_of_commits(0))), 2)
        report = self.finish(self.start_on(0, "--json"))
        self.assertEqual(report["frames_scored_now"], 0)
        self.assertEqual((self.sides[1] / "out.mp4").read_bytes(), self.undisturbed())

    def test_gc_on_the_other_side_keeps_what_is_in_use(self):
        first = self.start_on(0, "--workers", "1", "--json")
        self.wait_for_commits(first, 1, self.sides[1] / "runs")
        done = run("gc", "--runs", self.sides[1] / "runs", "--older-than", "0m", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.finish(first)
        done = run("gc", "--runs", self.sides[1] / "runs", "--older-than", "0m", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.run_folders(self.sides[0] / "runs"), [])


class SharedFolderWithoutLinks(Sides):
    LINKS = False

    def test_two_runs_of_one_command_and_one_is_killed(self):
        self.kill_one_of_two()


if __name__ == "__main__":
    shared_mounts.enter_namespace()
    support.main()
