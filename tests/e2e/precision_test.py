#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--precision: int8 and bf16 are near f32 on every frame, has the same bits for any workers, and gives way where it must."""

import json
import pathlib
import re

import support
from support import make_video, run, sha256, tool


def precision_of(done):
    return json.loads(done.stdout)["precision"]


class Precision(support.Case):
    spreads = False
    LOSSLESS = ["--codec", "ffv1", "--json"]

    def setUp(self):
        super().setUp()
        self.source = make_video(self.folder / "in.mp4", frames=30, size="128x96")

    def paint(self, name, *options, source=None):
        output = self.folder / f"{name}.mkv"
        return output, self.score(source or self.source, output, *self.LOSSLESS, *options, model="starry-night",
                                  runs=self.folder / name)

    def psnr_of_frames(self, one, other):
        log = self.folder / "psnr.log"
        tool("ffmpeg", "-v", "error", "-i", one, "-i", other, "-lavfi", f"[0:v][1:v]psnr=stats_file={log}", "-f", "null", "-")
        return [float(value.replace("inf", "200")) for value in re.findall(r"psnr_avg:(\S+)", log.read_text())]

    def test_int8_is_near_f32_on_every_frame(self):
        exact, done = self.paint("f32", "--precision", "f32")
        self.assertEqual(precision_of(done), {"name": "f32", "frames_compared": 0})
        painted, done = self.paint("int8", "--precision", "int8", "--min-psnr", "25")
        found = precision_of(done)
        self.assertEqual((found["name"], found["frames_compared"]), ("int8", 4))
        frames = self.psnr_of_frames(exact, painted)
        self.assertEqual(len(frames), 30)
        self.assertGreater(min(frames), found["sampled_psnr_db"] - 3)
        self.assertLess(min(frames), 200, "int8 painted what f32 paints")

    def test_the_same_bits_for_any_workers_and_threads(self):
        wanted, _ = self.paint("one", "--precision", "int8", "--workers", "1", "--threads", "1", "--chunk-seconds", "0.4")
        for workers, threads in (("3", "1"), ("1", "3")):
            output, done = self.paint(f"{workers}-{threads}", "--precision", "int8", "--workers", workers, "--threads",
                                      threads, "--chunk-seconds", "0.4")
            self.assertEqual(precision_of(done)["name"], "int8")
            self.assertEqual(sha256(output), sha256(wanted), f"{workers} workers of {threads} threads")

    def test_int8_that_is_too_far_away_becomes_f32(self):
        exact, _ = self.paint("f32", "--precision", "f32")
        painted, done = self.paint("strict", "--precision", "int8", "--min-psnr", "120")
        self.assertEqual(precision_of(done)["name"], "f32")
        self.assertIn("--min-psnr asks for 120", " ".join(json.loads(done.stdout)["notes"]))
        self.assertEqual(sha256(painted), sha256(exact))

    def test_bf16_is_near_f32_on_every_frame_or_says_why_it_is_not_used(self):
        exact, _ = self.paint("f32", "--precision", "f32")
        painted, done = self.paint("bf16", "--precision", "bf16", "--min-psnr", "25")
        found = precision_of(done)
        frames = self.psnr_of_frames(exact, painted)
        if "amx_bf16" not in pathlib.Path("/proc/cpuinfo").read_text():
            self.assertEqual((found["name"], sha256(painted)), ("f32", sha256(exact)))
            self.assertIn("No layer of this network gains by bf16", " ".join(json.loads(done.stdout)["notes"]))
            return
        self.assertEqual((found["name"], found["frames_compared"]), ("bf16", 4))
        self.assertGreater(min(frames), found["sampled_psnr_db"] - 3)
        self.assertGreater(min(frames), 40)
        self.assertLess(min(frames), 200, "bf16 painted what f32 paints")
        again, _ = self.paint("three", "--precision", "bf16", "--min-psnr", "25", "--workers", "3", "--threads", "1",
                              "--chunk-seconds", "0.4")
        one, _ = self.paint("alone", "--precision", "bf16", "--min-psnr", "25", "--workers", "1", "--chunk-seconds", "0.4")
        self.assertEqual(sha256(again), sha256(one))

    def test_int8_that_is_too_far_away_becomes_bf16_where_that_is_near_enough(self):
        if "amx_bf16" not in pathlib.Path("/proc/cpuinfo").read_text():
            self.skipTest("no AMX here")
        _, done = self.paint("int8", "--precision", "int8", "--min-psnr", "0")
        _, half = self.paint("bf16", "--precision", "bf16", "--min-psnr", "0")
        between = (precision_of(done)["sampled_psnr_db"] + precision_of(half)["sampled_psnr_db"]) / 2
        _, done = self.paint("between", "--precision", "int8", "--min-psnr", f"{between:.2f}")
        found = precision_of(done)
        self.assertIn(found["name"], ("int8", "bf16"), "some layers in bytes, or none")
        self.assertGreaterEqual(found["sampled_psnr_db"], between)
        manifest = json.loads(next((self.folder / "between").glob("*/manifest.json")).read_text())
        self.assertIn("direct_bf16", {step["algorithm"] for step in manifest["plan"]})

    def test_auto_leaves_a_short_video_as_it_is(self):
        exact, _ = self.paint("f32", "--precision", "f32")
        painted, done = self.paint("auto")
        self.assertEqual(precision_of(done), {"name": "f32", "frames_compared": 0})
        self.assertEqual(sha256(painted), sha256(exact))

    def test_auto_takes_int8_for_a_long_one_only_if_it_is_very_near(self):
        source = make_video(self.folder / "long.mp4", frames=260, size="64x48")
        exact, _ = self.paint("f32", "--precision", "f32", source=source)
        painted, done = self.paint("auto", source=source)
        found = precision_of(done)
        self.assertEqual(found["frames_compared"], 4, "nothing was tried")
        if found["name"] != "f32":
            self.assertGreaterEqual(found["sampled_psnr_db"], 40)
            self.assertGreater(min(self.psnr_of_frames(exact, painted)), 36)
        else:
            self.assertEqual(sha256(painted), sha256(exact))

    def test_a_later_worker_obeys_what_was_chosen(self):
        self.paint("whole", "--precision", "int8", "--chunk-seconds", "0.4")
        run_folder, = (self.folder / "whole").glob("*/")
        chunks = sorted(run_folder.glob("chunks/*.json"))
        for commit in chunks[1:]:
            commit.unlink()  # as if the others had never been scored
        wanted = sha256(self.folder / "whole.mkv")
        again = self.score(self.source, self.folder / "again.mkv", *self.LOSSLESS, "--precision", "int8",
                           "--chunk-seconds", "0.4", model="starry-night", runs=self.folder / "whole")
        self.assertGreater(json.loads(again.stdout)["frames_scored_now"], 0)
        self.assertEqual(sha256(self.folder / "again.mkv"), wanted)

    def test_other_words_are_refused(self):
        for option, value in (("--precision", "int4"), ("--precision", ""), ("--min-psnr", "-1"), ("--min-psnr", "much")):
            with self.subTest(option=option, value=value):
                refused = run(*self.command(self.source, self.folder / "out.mkv", option, value))
                self.assertEqual(refused.returncode, 2)
                self.assert_one_sentence(refused.stderr)


if __name__ == "__main__":
    support.main()
