#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Several workers on one run: the same bits however many there are and whatever dies."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time

import support
from support import children_of, make_video, parent_of, run, sha256


def arguments_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def workers_of(process):
    return [pid for pid in children_of(process.pid) if "worker" in arguments_of(pid)]


class Workers(support.Case):
    CUT = ["--chunk-seconds", "0.3"]

    def setUp(self):
        super().setUp()
        # Open GOPs and B-frames across every border.
        self.source = make_video(self.folder / "in.mp4", "-bf", "3", "-x264-params",
                                 "open-gop=1:scenecut=0", frames=80)
        self.output = self.folder / "out.mp4"

    def alone(self):
        output = self.folder / "alone.mp4"
        self.score(self.source, output, *self.CUT, model=self.slow_model(), runs=self.folder / "alone")
        return sha256(output)

    def begin(self, *options):
        return self.start(*self.command(self.source, self.output, *self.CUT, *options,
                                        model=self.slow_model()))

    def finish(self, process):
        out, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 0, err)
        return out.decode(), err.decode()

    def wait_for_workers(self, process, wanted):
        deadline = time.monotonic() + support.TIMEOUT
        while len(found := workers_of(process)) < wanted:
            self.assertLess(time.monotonic(), deadline, "there are no workers")
            self.assertIsNone(process.poll(), "the program ended early")
            time.sleep(0.005)  # other processes: nothing to wait on
        return found

    def test_same_bits_for_any_number(self):
        wanted = self.alone()
        for workers, threads in (("2", "0"), ("3", "2"), ("7", "1")):
            output = self.folder / f"{workers}.mp4"
            done = self.score(self.source, output, *self.CUT, "--workers", workers, "--threads", threads,
                              "--json", model=self.slow_model(), runs=self.folder / workers)
            self.assertEqual(sha256(output), wanted, f"{workers} workers")
            report = json.loads(done.stdout)
            self.assertEqual((report["frames"], report["frames_scored_now"]), (80, 80))
            names = {json.loads(pathlib.Path(path).read_text())["worker"]
                     for path in self.commits(self.folder / workers)}
            self.assertGreater(len(names), 1, "one worker did it all")

    def test_workers_that_are_killed_are_replaced(self):
        process = self.begin("--workers", "2")
        for commits in (1, 3):
            self.wait_for_commits(process, commits)
            os.kill(self.wait_for_workers(process, 1)[0], signal.SIGKILL)
        out, err = self.finish(process)
        self.assertIn("killed by signal 9; another one takes its place", out + err)
        self.assertEqual(sha256(self.output), self.alone())

    def begin_again_and_expect_the_rest(self):
        kept = self.commits()
        self.finish(self.begin("--workers", "3"))
        now = self.commits()
        for path, facts in kept.items():
            self.assertEqual(now[path], facts, f"{path} was scored again")
        self.assertEqual(sha256(self.output), self.alone())

    def test_killed_as_a_whole_and_begun_again(self):
        process = self.begin("--workers", "2")
        self.wait_for_commits(process, 2)
        left = workers_of(process)
        process.kill()
        process.communicate()
        deadline = time.monotonic() + 30
        while any(parent_of(pid) is not None for pid in left):
            self.assertLess(time.monotonic(), deadline, "workers outlive the program")
            time.sleep(0.01)  # they leave in good order
        self.begin_again_and_expect_the_rest()

    def test_the_machine_starts_anew_and_the_run_goes_on(self):
        process = self.begin("--workers", "2")
        self.wait_for_commits(process, 2)
        everybody = [process.pid, *workers_of(process)]
        for pid in everybody:
            os.kill(pid, signal.SIGKILL)  # nobody leaves in good order
        process.communicate()
        started = int(pathlib.Path("/proc/self/stat").read_text().rsplit(") ", 1)[1].split()[19])
        for path in self.runs.glob("*/workers/*.beat"):
            # Their numbers belong to others now: only the start of the machine tells.
            record = json.loads(path.read_text())
            record["origin"].update(boot="an earlier one", pid=os.getpid(), started=started)
            path.write_text(json.dumps(record))
        self.begin_again_and_expect_the_rest()

    def test_interrupt_keeps_what_is_done(self):
        process = self.begin("--workers", "2", "--quiet")
        self.wait_for_commits(process, 2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 130, err)
        self.assert_one_sentence(err.decode())
        self.assertFalse(self.output.exists())
        self.finish(self.begin("--workers", "2"))
        self.assertEqual(sha256(self.output), self.alone())

    def test_interrupt_from_a_terminal(self):
        """It reaches the whole group; workers leave in good order all the same."""
        process = subprocess.Popen([support.PROGRAM, *map(str, self.command(
            self.source, self.output, *self.CUT, "--workers", "2", "--quiet", model=self.slow_model()))],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True)
        self.addCleanup(self.end, process)
        self.wait_for_commits(process, 2)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 130, err)
        beats = [json.loads(path.read_text()) for path in self.runs.glob("*/workers/*.beat")]
        self.assertGreater(len(beats), 2)
        self.assertEqual([beat["worker"] for beat in beats if not beat["left"]], [])

    def test_one_that_is_asked_to_leave_is_replaced(self):
        process = self.begin("--workers", "2")
        self.wait_for_commits(process, 1)
        os.kill(self.wait_for_workers(process, 1)[0], signal.SIGTERM)
        out, err = self.finish(process)
        self.assertIn("was asked to leave; another one takes its place", out + err)
        self.assertEqual(sha256(self.output), self.alone())

    def test_a_scorer_that_dies_idle_is_replaced(self):
        """More workers than chunks: some scorers only wait, and may die waiting."""
        process = self.start(*self.command(self.source, self.output, "--workers", "3",
                                           "--chunk-seconds", "1.6", model=self.slow_model()))
        self.wait_for_commits(process, 1)
        for worker in self.wait_for_workers(process, 1):
            for scorer in children_of(worker):
                os.kill(scorer, signal.SIGKILL)
        self.finish(process)
        self.assertEqual(support.frame_count(self.output), 80)

    def test_a_worker_by_hand(self):
        process = self.begin("--quiet")
        self.wait_for_commits(process, 1)
        process.send_signal(signal.SIGINT)
        process.communicate()
        url = self.run_folders()[0].as_uri()
        done = run("worker", url)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(re.search(r"scored \d+ frames in \d+ chunks", done.stdout), done.stdout)
        kept = self.commits()
        self.finish(self.begin())
        self.assertEqual(self.commits(), kept, "the worker left something")
        self.assertEqual(sha256(self.output), self.alone())

    def test_a_worker_that_cannot_work_says_why(self):
        self.score(self.source, self.output, *self.CUT, model=self.slow_model())
        url = self.run_folders()[0].as_uri()
        self.assertEqual(run("worker", url).returncode, 0, "nothing to do is done")
        for share in ("0/2", "3/2", "1", "a/b", "1/2/3"):
            self.assert_refused(2, ["worker", url, "--worker", share], saying="--worker takes K/N")
        self.assert_refused(2, ["worker", url + "0"], saying="no prepared run")
        text = self.slow_model().read_bytes()
        self.slow_model().write_bytes(text + b"\x72\x00")  # one empty metadata entry more
        self.assert_refused(3, ["worker", url], saying="changed since the run was prepared")
        self.slow_model().write_bytes(text)
        self.source.write_bytes(self.source.read_bytes() + b"x")
        self.assert_refused(3, ["worker", url], saying="changed since the run was prepared")

    def test_input_and_model_may_move(self):
        process = self.begin("--quiet")
        self.wait_for_commits(process, 1)
        process.send_signal(signal.SIGINT)
        process.communicate()
        wanted = self.alone()
        url = self.run_folders()[0].as_uri()
        moved = self.folder / "moved & renamed.mp4"
        self.source = self.source.rename(moved)
        model = self.slow_model()
        elsewhere = self.folder / "else where"
        elsewhere.mkdir()
        for end in (".onnx", ".toml"):
            if model.with_suffix(end).exists():
                model.with_suffix(end).rename(elsewhere / f"{model.stem}{end}")
        self.slow_model_path = elsewhere / model.name
        self.assert_refused(3, ["worker", url], saying="There is no file")
        self.finish(self.begin("--workers", "2"))
        self.assertEqual(len(self.run_folders()), 1, "another run was begun")
        self.assertEqual(sha256(self.output), wanted)
        done = run("worker", url, "--input", moved, "--model", self.slow_model())
        self.assertEqual(done.returncode, 0, done.stderr)

    def seccomp_of_scorers(self, process):
        """The modes of the scorers of all workers, as proc(5) counts them: 2 is a filter."""
        modes = set()
        for worker in self.wait_for_workers(process, 1):
            for scorer in children_of(worker):
                status = pathlib.Path(f"/proc/{scorer}/status").read_text()
                modes.add(re.search(r"^Seccomp:\t(\d)", status, re.M)[1])
        return modes

    def test_scorers_are_locked_in_unless_told_otherwise(self):
        process = self.begin("--workers", "2")
        self.wait_for_commits(process, 1)
        # Another one may only just begin.
        self.assertIn("2", self.seccomp_of_scorers(process))
        self.finish(process)
        process = self.begin("--workers", "2", "--sandbox", "off", "--crf", "30", "--force")
        self.wait_for_commits(process, len(self.commits()) + 1)
        self.assertEqual(self.seccomp_of_scorers(process), {"0"})
        out, err = self.finish(process)
        self.assertIn("The sandbox is off", out + err)


if __name__ == "__main__":
    support.main()
