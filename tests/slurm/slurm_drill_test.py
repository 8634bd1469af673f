#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`atelier drill --engine slurm` on a real Slurm: workers on its nodes are killed and frozen and their store calls fail, at
steps of the ledger; Slurm and the batch script bring them back, and the bits are those of an undisturbed local run. Two seeds;
with $ATELIER_SLOW fifteen, which aim at every step with every kind of accident."""

import json
import subprocess

import slurm_case
import support
from netlab import wait_until
from support import make_video

KINDS = ["broker_killed", "scorer_killed", "broker_frozen", "scorer_frozen", "store_faults"]


class Drill(slurm_case.SlurmCase):
    def setUp(self):
        super().setUp()
        self.video = make_video(self.folder / "short.mp4", "-bf", "3", "-x264-params", "open-gop=1:scenecut=0", frames=80)

    def drill(self, *options, timeout, runs=None):
        """On the head, as a user there would."""
        return self.lab.run("n0", [support.PROGRAM, "drill", self.video, "--model", self.model, "--chunk-seconds", "0.3",
                                   "--claim-timeout", "0.5", "--runs", runs or self.runs, "--engine", "slurm", *options],
                            env=self.lab.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            timeout=timeout)

    def test_seeds(self):
        count = 15 if support.SLOW_RUN else 2
        done = self.drill("--partition", "spot", "--nodes", "3", "--seed", f"1-{count}", "--json", timeout=200 * count)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        report = json.loads(done.stdout)
        self.assertEqual(report["engine"], "slurm")
        self.assertEqual([(seed["seed"], seed["wrong"]) for seed in report["seeds"]],
                         [(seed, "") for seed in range(1, count + 1)])
        met = {kind: sum(step[kind] for step in report["steps"]) for kind in KINDS}
        for seed in report["seeds"]:
            print(f"   seed {seed['seed']}: {seed['accidents']} accidents, the same bits after {seed['seconds']:.1f} s")
        print("   " + ", ".join(f"{kind.replace('_', ' ')}: {number}" for kind, number in met.items()))
        for kind, number in met.items():
            self.assertGreater(number, 0, kind)
        wait_until(lambda: not self.lab.jobs(), 30, "the end of its tasks")

    def test_what_it_does_not_take(self):
        for saying, runs, options in (("needs --runs FOLDER", "az://account/container", []),
                                      ("workers that die one by one", None, ["--gang"]),
                                      ("say --nodes", None, ["--workers", "2"])):
            with self.subTest(saying):
                done = self.drill("--partition", "spot", *options, timeout=support.TIMEOUT, runs=runs)
                self.assertEqual(done.returncode, 2, done.stderr + done.stdout)
                self.assert_one_sentence(done.stderr)
                self.assertIn(saying, done.stderr)
        done = self.drill("--partition", "nosuch", timeout=support.TIMEOUT)
        self.assertEqual(done.returncode, 4, done.stderr + done.stdout)
        self.assertFalse(self.runs.exists(), "something was made before the engine was looked at")


if __name__ == "__main__":
    slurm_case.main()
