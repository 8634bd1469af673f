#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`show` tells of every chunk who scored it and how, and what failed first; a trace, who did what
when."""

import json
import os
import signal
import time

import support
from support import make_video, run


class Show(support.Case):
    spreads = False
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


class Traces(support.Case):
    spreads = False
    FRAMES = 40

    def setUp(self):
        super().setUp()
        self.source = make_video(self.folder / "in.mp4", frames=self.FRAMES)
        self.trace = self.folder / "trace.json"

    def traced(self, *options):
        done = self.score(self.source, self.folder / "out.mp4", "--chunk-seconds", "0.4", "--json",
                          "--trace", self.trace, *options)
        return json.loads(self.trace.read_text())["traceEvents"], json.loads(done.stdout)["notes"]

    def check(self, events, workers):
        names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
        lanes = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
        self.assertLessEqual(len(names), workers)
        self.assertEqual(len(set(names.values())), len(names))
        self.assertEqual(sorted(lanes.values()), ["decode", "encode", "score"])
        spans = [e for e in events if e["ph"] == "X"]
        for name in ("score", "encode"):  # encoding: each frame, and the end of each of four chunks
            count = sum(e["args"]["frames"] for e in spans if e["name"] == name)
            self.assertEqual(count, self.FRAMES + (4 if name == "encode" else 0))
        self.assertEqual({e["args"]["chunk"] for e in spans if e["name"] == "score"}, set(range(4)))
        self.assertIn("wait for a frame", {e["name"] for e in spans})
        teams = [e for e in events if e["ph"] == "C"]
        self.assertEqual({e["pid"] for e in teams}, set(names))
        self.assertTrue(all(e["name"] == "scoring threads" and e["args"]["threads"] >= 1 for e in teams))
        for pid in names:
            for tid in lanes:  # a thread does one thing at a time
                lane = sorted((e["ts"], e["dur"]) for e in spans if (e["pid"], e["tid"]) == (pid, tid))
                for (begin, length), (next_begin, _) in zip(lane, lane[1:]):
                    self.assertLessEqual(begin + length, next_begin + 2)  # microseconds: rounding

    def test_one_worker(self):
        self.check(self.traced()[0], 1)

    def test_two_workers(self):
        self.check(self.traced("--workers", "2")[0], 2)

    def test_what_was_scored_without_is_not_in_it(self):
        self.score(self.source, self.folder / "out.mp4", "--chunk-seconds", "0.4")
        events, notes = self.traced("--force")
        self.assertEqual(events, [])
        self.assertTrue(any("trace is empty" in note for note in notes), notes)

    def test_nothing_is_replaced(self):
        self.trace.write_text("mine")
        for trace in (self.trace, self.source, self.folder / "none/trace.json"):
            done = run(*self.command(self.source, self.folder / "out.mp4", "--trace", trace))
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assert_one_sentence(done.stderr)
        done = run(*self.command(self.source, self.folder / "out.mp4", "--trace", self.source, "--force"))
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(self.trace.read_text(), "mine")


if __name__ == "__main__":
    support.main()
