#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`show` tells of every chunk who scored it and how, and what failed first."""

import json
import os
import signal
import time

import support
from support import make_video, run


class Show(support.Case):
    CUT = ["--chunk-seconds", "0.4"]

    def setUp(self):
        super().setUp()
        self.source = make_video(self.folder / "in.mp4", frames=40)

    def show(self):
        folder = self.run_folders()[0]
        done = run("show", "--json", folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        text = run("show", folder)
        self.assertEqual(text.returncode, 0, text.stderr)
        return json.loads(done.stdout), text.stdout

    def stopped(self):
        """A process that works and stands still."""
        process = self.start(*self.command(self.source, self.folder / "out.mp4", *self.CUT,
                                           "--quiet", model=self.slow_model()))
        self.wait_for_commits(process, 1)
        process.send_signal(signal.SIGSTOP)
        return process

    def test_done(self):
        self.score(self.source, self.folder / "out.mp4", *self.CUT)
        found, text = self.show()
        self.assertEqual((found["state"], found["frames"], found["failures"]), ("done", 40, []))
        self.assertIn("40 of 40 frames in 4 of 4 chunks done, published", text)
        self.assertEqual(len(found["workers"]), 1)
        worker = found["workers"][0]
        self.assertTrue(worker["left"])
        self.assertEqual(worker["frames"], 40)
        for number, chunk in enumerate(found["chunks"]):
            self.assertEqual((chunk["index"], chunk["state"], chunk["frames"], chunk["attempts"]),
                             (number, "done", 10, 1))
            self.assertEqual(chunk["worker"], worker["worker"])
            self.assertEqual(set(chunk["seconds"]), {"decode", "score", "encode"})
            self.assertAlmostEqual(chunk["fps"]["score"], 10 / chunk["seconds"]["score"], places=3)
            self.assertRegex(text, rf"(?m)^ +{number}  done +1 .* {worker['worker']}$")

    def test_working_then_killed(self):
        process = self.stopped()
        found, text = self.show()
        self.assertEqual(found["state"], "scoring")
        states = [chunk["state"] for chunk in found["chunks"]]
        self.assertEqual(states[0], "done")
        self.assertIn("being scored", states)
        held = found["chunks"][states.index("being scored")]
        self.assertEqual(held["worker"], found["workers"][0]["worker"])
        self.assertEqual(held["attempts"], 1)
        self.assertRegex(text, rf"(?m)^Worker {held['worker']}: \d+ frames, beat \d+ s ago\.$")
        process.kill()
        process.communicate()
        found, text = self.show()
        self.assertEqual(found["state"], "unfinished")
        self.assertEqual({chunk["state"] for chunk in found["chunks"]}, {"done", "waiting"})
        self.assertRegex(text, rf"waiting .* left by {held['worker']}\n")

    def test_the_first_cause_comes_first(self):
        self.score(self.source, self.folder / "out.mp4", *self.CUT)
        folder = self.run_folders()[0]
        (folder / "report.json").unlink()

        def put(name, ago, **record):
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(record))
            os.utime(path, (time.time() - ago,) * 2)

        for chunk in (1, 3):
            (folder / f"chunks/{chunk:06}.json").unlink()
        put("chunks/000001.claim.2", 9, worker="", attempt=2, losses=0, error="Later.", **{"from": "b"})
        put("chunks/000003.claim.2", 90, worker="", attempt=2, losses=0, error="At first.",
            **{"from": "a"})
        put("failed/000003.json", 5, attempts=3, losses=0, worker="c", error="At last.")
        found, text = self.show()
        self.assertEqual([(f["error"], f["chunk"], f["attempt"], f["worker"])
                          for f in found["failures"]],
                         [("At first.", 3, 1, "a"), ("Later.", 1, 1, "b"), ("At last.", 3, 3, "c")])
        self.assertEqual([chunk["state"] for chunk in found["chunks"]],
                         ["done", "waiting", "done", "failed"])
        self.assertEqual(found["state"], "unfinished")
        lines = text.splitlines()
        self.assertRegex(lines[1], r"^First failure: chunk 3, attempt 1, \d+ s ago, by a: At first\.$")
        self.assertRegex(lines[3], "At last")
        self.assertIn("  chunk  state", lines[4])
        put("failed/000001.json", 1, attempts=3, losses=0, worker="c", error="At the very last.")
        self.assertEqual(self.show()[0]["state"], "failed")


if __name__ == "__main__":
    support.main()
