#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--norm shot: cuts are found, the bits are the same for any workers and chunks, and words that mean nothing are refused."""

import json

import support
from onnx_model import write_negative
from support import run, sha256, tool


class Norm(support.Case):
    spreads = False
    LOSSLESS = ["--codec", "ffv1", "--json"]

    def setUp(self):
        super().setUp()
        self.source = self.folder / "in.mkv"
        # A hard cut after 18 frames: not where a chunk ends.
        tool("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=0.72", "-f", "lavfi", "-i",
             "mandelbrot=s=96x64:r=25", "-filter_complex", "[1:v]trim=duration=0.88[b];[0:v][b]concat=n=2,format=yuv420p",
             "-c:v", "ffv1", self.source)

    def paint(self, name, *options, model="starry-night", runs=None):
        output = self.folder / f"{name}.mkv"
        done = self.score(self.source, output, *self.LOSSLESS, *options, model=model, runs=self.folder / (runs or name))
        return output, json.loads(done.stdout)

    def test_the_same_bits_for_any_workers_threads_and_chunks(self):
        wanted, report = self.paint("one", "--norm", "shot", "--workers", "1", "--threads", "1", "--chunk-seconds", "0.4")
        self.assertEqual((report["norm"], report["shots"]), ("shot", 2))
        for workers, threads, chunk in (("2", "1", "0.4"), ("1", "3", "0.4"), ("2", "2", "5")):
            output, _ = self.paint(f"{workers}-{threads}-{chunk}", "--norm", "shot", "--workers", workers, "--threads", threads,
                                   "--chunk-seconds", chunk)
            if chunk == "0.4":
                self.assertEqual(sha256(output), sha256(wanted))
            self.assertEqual(self.pictures(output), self.pictures(wanted), f"{workers} workers, chunks of {chunk} s")
        exact, report = self.paint("frame")
        self.assertEqual((report["norm"], report["shots"]), ("frame", 0))
        self.assertNotEqual(self.pictures(exact), self.pictures(wanted))

    def pictures(self, video):
        return tool("ffmpeg", "-v", "error", "-i", video, "-map", "0:v:0", "-f", "framemd5", "-")

    def test_what_is_left_is_scored_with_the_statistics_of_the_manifest(self):
        wanted, _ = self.paint("whole", "--norm", "shot", "--chunk-seconds", "0.4")
        run_folder, = (self.folder / "whole").glob("*/")
        for commit in sorted(run_folder.glob("chunks/*.json"))[1:]:
            commit.unlink()  # as if the others had never been scored
        again, report = self.paint("again", "--norm", "shot", "--chunk-seconds", "0.4", runs="whole")
        self.assertGreater(report["frames_scored_now"], 0)
        self.assertEqual(sha256(again), sha256(wanted))

    def test_int8_is_compared_with_the_same_normalisation(self):
        _, report = self.paint("int8", "--norm", "shot", "--precision", "int8", "--min-psnr", "20")
        self.assertEqual((report["norm"], report["precision"]["name"]), ("shot", "int8"))

    def test_a_network_that_normalises_nothing_says_so(self):
        model = write_negative(self.folder / "models")
        output, report = self.paint("negative", "--norm", "shot", model=model)
        self.assertEqual((report["norm"], report["shots"]), ("frame", 0))
        self.assertIn("--norm shot changes nothing", " ".join(report["notes"]))
        exact, _ = self.paint("negative-frame", model=model)
        self.assertEqual(sha256(output), sha256(exact))

    def test_other_words_are_refused(self):
        for value in ("scene", ""):
            refused = run(*self.command(self.source, self.folder / "out.mkv", "--norm", value))
            self.assertEqual(refused.returncode, 2)
            self.assert_one_sentence(refused.stderr)


if __name__ == "__main__":
    support.main()
