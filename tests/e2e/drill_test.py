#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The drill: whatever is killed, frozen or fails, the same bits; and it says when that is not so."""

import glob
import json
import os
import signal
import time

import support
from support import make_video, run

STEPS = ["read manifest", "look for removal", "look for cancel", "list records", "look for commit",
         "claim", "take over", "read claim", "read beat", "give back", "beat", "leave", "decode",
         "score", "encode", "put result", "commit"]
KINDS = ["broker_killed", "scorer_killed", "broker_frozen", "scorer_frozen", "store_faults"]


class Drill(support.Case):
    def setUp(self):
        super().setUp()
        self.scratch = self.folder / "scratch"
        self.scratch.mkdir()
        self.environment = {"TMPDIR": str(self.scratch)}
        self.source = make_video(self.folder / "in.mp4", "-bf", "3", "-x264-params",
                                 "open-gop=1:scenecut=0", frames=60)

    def command(self, *options, source=None):
        return ["drill", source or self.source, "--model", self.identity, "--chunk-seconds", "0.3",
                "--claim-timeout", "0.4", *options]

    def drill(self, *options, timeout=support.TIMEOUT, **keywords):
        return run(*self.command(*options, **keywords), env=self.environment, timeout=timeout)

    def assert_nothing_left(self):
        self.assertEqual(os.listdir(self.scratch), [])

    def test_seeds(self):
        count = 100 if support.SLOW_RUN else 5
        done = self.drill("--seed", f"1-{count}", "--json",
                          "--workers", "3" if support.SLOW_RUN else "2", timeout=3600)
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual([seed["seed"] for seed in report["seeds"]], list(range(1, count + 1)))
        self.assertEqual({seed["wrong"] for seed in report["seeds"]}, {""})
        self.assertEqual([step["step"] for step in report["steps"]], STEPS)
        for kind in KINDS:
            self.assertGreater(sum(step[kind] for step in report["steps"]), 0, kind)
        if support.SLOW_RUN:
            never = [step["step"] for step in report["steps"] if not any(step[k] for k in KINDS)]
            self.assertEqual((never, report["never_met"]), ([], []))
        self.assert_nothing_left()

    def test_many_seeds_that_never_met_a_step_are_a_failure(self):
        source = make_video(self.folder / "short.mp4", frames=2, sound=False)
        done = self.drill("--seed", "1-20", "--kill", "0", "--freeze", "0", "--store-faults", "0",
                          "--workers", "1", "--quiet", source=source)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assert_one_sentence(done.stderr)
        self.assertIn("Nothing happened in 20 runs at these steps of the ledger", done.stderr)
        self.assertIn(", ".join(STEPS), done.stderr)
        self.assert_nothing_left()

    def begin(self, *options):
        environment = dict(os.environ)
        os.environ.update(self.environment)
        try:
            return self.start(*self.command(*options))
        finally:
            os.environ.clear()
            os.environ.update(environment)

    def wait_for(self, pattern, process):
        deadline = time.monotonic() + support.TIMEOUT
        while not (found := glob.glob(str(self.scratch / pattern))):
            self.assertLess(time.monotonic(), deadline, f"there is no {pattern}")
            self.assertIsNone(process.poll(), "the program ended early")
            time.sleep(0.002)  # another process: nothing to wait on
        return found[0]

    def test_other_bits_are_a_failure(self):
        process = self.begin("--quiet", "--workers", "1", "--kill", "0", "--freeze", "0")
        self.wait_for("*/seed-1", process)
        with open(self.wait_for("*/undisturbed.mkv", process), "r+b") as file:
            file.write(b"\0")
        _, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 1, err)
        self.assert_one_sentence(err.decode())
        self.assertIn("1 of 1 runs went wrong, the first with seed 1, the bits differ", err.decode())
        self.assert_nothing_left()

    def test_a_run_that_does_not_end_is_a_failure(self):
        done = self.drill("--limit", "0.01", "--quiet")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("the run did not end within", done.stderr)
        self.assert_nothing_left()

    def test_interrupted(self):
        process = self.begin("--quiet", "--seed", "1-1000")
        self.wait_for("*/seed-1/runs/*/workers/*.beat", process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 130, err)
        self.assert_one_sentence(err.decode())
        self.assert_nothing_left()

    def test_what_it_says_and_keeps(self):
        done = self.drill("--seed", "7", "--keep", "--freeze", "0", "--workers", "2")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"Undisturbed, one worker: [\d.]+ s, sha256 [0-9a-f]{16}\.")
        self.assertRegex(done.stdout, r"(?m)^ +[\d.]+ s  worker \d\.\d+: ")
        self.assertRegex(done.stdout, r"(?m)^Seed 7: the same bits after \d+ kills, ")
        for step in STEPS:
            self.assertRegex(done.stdout, rf"(?m)^{step}(  +\d+){{5}}$")
        folder = next(self.scratch.iterdir())
        self.assertIn(str(folder), done.stdout + done.stderr)
        for name in ("undisturbed.mkv", "seed-7/out.mkv", "seed-7/accidents-*.jsonl"):
            self.assertTrue(list(folder.glob(name)), name)

    def test_what_it_does_not_take(self):
        for options in (["--kill", "0.6", "--freeze", "0.6"], ["--kill", "1.1"], ["--seed", "2-1"],
                        ["--seed", "x"], ["--seed", "1-"], ["--seed", "1-9999999"],
                        ["--claim-timeout", "0"], ["--workers", "0"]):
            with self.subTest(options):
                self.assert_refused(2, self.command(*options))
        self.assert_refused(2, ["worker", "file:///nowhere/run", "--drill", "{}"],
                            saying="--drill takes what `atelier drill` gives")
        self.assert_nothing_left()


if __name__ == "__main__":
    support.main()
