#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time-outs, attempts, and what becomes of frames that cannot be scored."""

import json
import os
import pathlib
import signal
import time

import support
from support import children_of, ffmpeg, run, sha256, tool


def pictures_of(path):
    """One hash for each picture, in the order of showing."""
    lines = tool("ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-f", "framemd5", "-").decode()
    return [line.split(",")[-1].strip() for line in lines.splitlines() if not line.startswith("#")]


class Limits(support.Case):
    spreads = False
    # Two chunks, each of more frames than wait between two stages.
    CUT = ["--chunk-seconds", "1.2"]
    CHUNK = 60

    def setUp(self):
        super().setUp()
        self.source = self.folder / "in.mkv"
        ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x64:r=50:d=2.4", "-c:v", "ffv1", "-g", "60", "-pix_fmt",
               "yuv420p", self.source)
        self.output = self.folder / "out.mkv"

    def arguments(self, *options):
        return self.command(self.source, self.output, "--codec", "ffv1", *self.CUT, *options,
                            model=self.slow_model())

    def holds_a_result(self, process):
        """Whether the broker has opened the file of a chunk's result: it was handed out then."""
        for link in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
            try:
                name = os.readlink(link)
            except FileNotFoundError:
                continue
            if name.endswith("(deleted)") and "memfd:" not in name:
                return True
        return False

    def kill_at_the_first_chunk(self, process):
        """It is too long for a second one to have been handed out: this one is to blame."""
        deadline = time.monotonic() + support.TIMEOUT
        while not self.holds_a_result(process):
            self.assertLess(time.monotonic(), deadline)
            self.assertIsNone(process.poll(), "the program ended early")
            time.sleep(0.002)  # another process: nothing to wait on
        os.kill(children_of(process.pid)[0], signal.SIGKILL)

    def undisturbed(self):
        output = self.folder / "undisturbed.mkv"
        self.score(self.source, output, "--codec", "ffv1", *self.CUT, model=self.slow_model(),
                   runs=self.folder / "other")
        return output

    def test_frames_that_cannot_be_scored_show_the_input(self):
        options = ["--max-attempts", "1", "--error-threshold", "100", "--json"]
        process = self.start(*self.arguments(*options))
        self.kill_at_the_first_chunk(process)
        out, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 0, err)
        report = json.loads(out)
        self.assertEqual(report["frames"], 2 * self.CHUNK)
        whole = self.undisturbed()
        wanted, shown, own = (pictures_of(path) for path in (whole, self.output, self.source))
        unpainted = [i for i, hash in enumerate(shown) if hash != wanted[i]]
        self.assertEqual(unpainted, list(range(self.CHUNK)))
        self.assertEqual(report["unpainted_frames"], self.CHUNK)
        self.assertEqual([shown[i] for i in unpainted], [own[i] for i in unpainted])
        self.assertTrue(any("the input's own picture" in note and "signal 9" in note
                            for note in report["notes"]), report["notes"])
        # Asked for again, they are tried again.
        done = run(*self.arguments(*options, "--force"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["unpainted_frames"], 0)
        self.assertEqual(sha256(self.output), sha256(whole))

    def test_more_than_the_threshold_publishes_nothing(self):
        process = self.start(*self.arguments("--max-attempts", "1", "--error-threshold", "5",
                                             "--quiet"))
        self.kill_at_the_first_chunk(process)
        _, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 1, err)
        self.assert_one_sentence(err.decode())
        self.assertIn("--error-threshold", err.decode())
        self.assertFalse(self.output.exists())

    def test_a_chunk_that_takes_too_long_is_given_up(self):
        done = run(*self.arguments("--chunk-timeout", "0.02", "--max-attempts", "2", "--quiet"))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assert_one_sentence(done.stderr)
        self.assertIn("finished no chunk for 0.02 seconds", done.stderr)
        self.assertFalse(self.output.exists())

    def test_stuck_scorers_are_replaced(self):
        wanted = sha256(self.undisturbed())
        for workers in ("1", "2"):
            with self.subTest(workers=workers):
                self.output = self.folder / f"out{workers}.mkv"
                process = self.start(*self.arguments("--progress-timeout", "3", "--workers", workers,
                                                     "--no-reuse", "--quiet"))
                self.wait_for_commits(process, 1)
                parents = [process.pid] if workers == "1" else children_of(process.pid)
                for pid in [scorer for parent in parents for scorer in children_of(parent)][:1]:
                    os.kill(pid, signal.SIGSTOP)
                _, err = process.communicate(timeout=support.TIMEOUT)
                self.assertEqual(process.returncode, 0, err)
                self.assertEqual(sha256(self.output), wanted)


if __name__ == "__main__":
    support.main()
