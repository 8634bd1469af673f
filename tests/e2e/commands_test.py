#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Options of `run`, and the other commands."""

import json
import os

import onnx_model
import support
from support import (ffmpeg, ffprobe, frame_count, frame_times, make_video, packets, run, streams,
                     tool)


class Options(support.Case):
    def setUp(self):
        super().setUp()
        self.source = make_video(self.folder / "in.mp4", "-bf", "2", frames=60)
        self.output = self.folder / "out.mp4"

    def test_from_to(self):
        for options, first, count in ((["--from", "0.4", "--to", "1.2"], 10, 20),
                                      (["--to", "0.52"], 0, 13), (["--from", "2"], 50, 10)):
            with self.subTest(options):
                self.score(self.source, self.output, "--force", "--chunk-seconds", "0.3", *options)
                times = frame_times(self.output)
                self.assertEqual(len(times), count)
                wanted = frame_times(self.source)[first:first + count]
                for ours, theirs in zip(times, wanted):
                    self.assertAlmostEqual(ours - times[0], theirs - wanted[0], delta=0.002)
                sound = packets(self.output, "a:0")
                begin = float(sound[0]["pts_time"])
                end = float(sound[-1]["pts_time"]) + float(sound[-1]["duration_time"])
                self.assertAlmostEqual(begin, times[0], delta=0.08)
                self.assertAlmostEqual(end, times[-1] + 0.04, delta=0.12)

    def test_times_as_clock(self):
        self.score(self.source, self.output, "--from", "00:00:00.4", "--to", "0:01.2")
        self.assertEqual(frame_count(self.output), 20)

    def test_size(self):
        for size, wanted in (("128x96", (128, 96)), ("128x0", (128, 96)), ("0x24", (32, 24)),
                             ("100x40", (100, 40))):
            with self.subTest(size):
                self.score(self.source, self.output, "--force", "--size", size)
                found = streams(self.output)[0]
                self.assertEqual((found["width"], found["height"]), wanted)
                self.assertEqual(frame_count(self.output), 60)

    def test_keep_frames(self):
        for kind in ("png", "jpg"):
            with self.subTest(kind):
                self.score(self.source, self.output, "--force", "--keep-frames", kind)
                kept = [path for folder in self.run_folders()
                        for path in sorted((folder / "frames").glob(f"*.{kind}"))]
                self.assertEqual([path.stem for path in kept], [f"{n:08}" for n in range(1, 61)])
                for path in (kept[0], kept[-1]):
                    found = ffprobe(path, "-show_streams")["streams"][0]
                    self.assertEqual((found["width"], found["height"]), (64, 48))

    def test_options_of_engines(self):
        for options, saying in ((["--partition", "spot"], "--partition goes with --engine slurm"),
                                (["--gang"], "--gang goes with --engine slurm"),
                                (["--restarts", "3"], "--restarts goes with --engine mpi"),
                                (["--gang-timeout", "60"], "--gang-timeout goes with --engine mpi"),
                                (["--beat-timeout", "30"], "--beat-timeout goes with --engine mpi"),
                                (["--engine", "slurm", "--restarts", "3"], "--restarts goes with --engine mpi"),
                                (["--engine", "slurm", "--gang", "--beat-timeout", "30"], "--beat-timeout goes with"),
                                (["--nodes", "2"], "on this machine say --workers"),
                                (["--engine", "slurm", "--nodes", "0"], "--nodes takes N or A..B"),
                                (["--engine", "slurm", "--nodes", "3..2"], "--nodes takes N or A..B"),
                                (["--engine", "slurm", "--nodes", "2.."], "--nodes takes N or A..B")):
            with self.subTest(options):
                self.assert_refused(2, self.command(self.source, self.output, *options), self.output, saying)
        self.assertEqual(self.run_folders(), [], "something was prepared")

    def test_a_worker_of_another_version_refuses(self):
        done = self.assert_refused(4, ["worker", self.runs / "0123456789abcdef", "--prepared-by", "0.0.1"])
        self.assertIn("but the run was prepared by 0.0.1; install the same version", done.stderr)

    def test_json_is_one_object(self):
        done = self.score(self.source, self.output, "--json")
        report = json.loads(done.stdout)
        self.assertIsInstance(report, dict)
        self.assertEqual(report.get("frames"), 60)

    def test_quiet_says_nothing(self):
        done = self.score(self.source, self.output, "--quiet")
        self.assertEqual(done.stdout + done.stderr, "")

    def test_progress_has_frames_and_rate(self):
        done = self.score(self.source, self.output)
        self.assertIn("60", done.stdout + done.stderr)
        self.assertRegex(done.stdout + done.stderr, r"fps|frames a second")
        self.assertNotIn("\r", done.stdout + done.stderr, "a bar was drawn where no terminal is")

    def test_codec_and_encoder_options(self):
        self.score(self.source, self.output, "--crf", "40", "--preset", "medium")
        small = os.path.getsize(self.output)
        self.score(self.source, self.output, "--force", "--crf", "5")
        self.assertLess(small, os.path.getsize(self.output))
        self.score(self.source, self.output, "--force", "--encoder-opts", "aq-mode=0:psy=0")
        self.score(self.source, self.folder / "out.mkv", "--codec", "ffv1")
        self.assertEqual(streams(self.folder / "out.mkv")[0]["codec_name"], "ffv1")

    def test_model_changes_the_picture(self):
        negative = onnx_model.write_negative(self.folder / "models")
        self.score(self.source, self.output, model=negative)
        first = [tool("ffmpeg", "-v", "error", "-i", path, "-frames:v", "1", "-pix_fmt", "gray",
                      "-f", "rawvideo", "-") for path in (self.source, self.output)]
        worst = sum(abs(a + b - 251) for a, b in zip(*first)) / len(first[0])
        self.assertLess(worst, 8, "255 - x is not what came out")

    def test_model_without_spec_warns(self):
        path = onnx_model.write(self.folder / "bare", "bare", self.identity.read_bytes(), None)
        done = self.score(self.source, self.output, model=path)
        self.assertIn("RGB", done.stdout + done.stderr)

    def test_report_is_in_the_run_folder(self):
        self.score(self.source, self.output)
        report = json.loads((self.run_folders()[0] / "report.json").read_text())
        self.assertEqual(report.get("frames"), 60)


class OtherCommands(support.Case):
    def setUp(self):
        super().setUp()
        self.source = make_video(self.folder / "in.mp4", frames=40)

    def test_probe(self):
        done = run("probe", "--json", self.source)
        self.assertEqual(done.returncode, 0, done.stderr)
        seen = json.loads(done.stdout)
        self.assertEqual(seen["video_stream"], 0)
        self.assertEqual([s["kind"] for s in seen["streams"]], ["video", "audio"])
        text = run("probe", self.source)
        self.assertEqual(text.returncode, 0)
        for word in ("64x48", "h264", "aac"):
            self.assertIn(word, text.stdout)

    def test_probe_of_no_video(self):
        source = self.folder / "notes.txt"
        source.write_text("notes")
        self.assert_refused(3, ["probe", source])

    def test_models(self):
        listed = json.loads(run("models", "--json").stdout)
        names = [model["name"] for model in listed["models"]]
        self.assertIn("starry-night", names)
        self.assertIn("starry-night", run("models").stdout)
        one = run("models", "starry-night")
        self.assertEqual(one.returncode, 0, one.stderr)
        self.assertIn("Apache-2.0", one.stdout)
        self.assert_refused(2, ["models", "no-such-model"])

    def test_models_from_another_folder(self):
        """Models by name come from the program's own place, not from where one stands."""
        done = run("models", "--json", cwd="/")
        self.assertIn("starry-night", done.stdout)

    def test_show(self):
        self.score(self.source, self.folder / "out.mp4", "--chunk-seconds", "0.4")
        folder = self.run_folders()[0]
        done = run("show", folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("40 of 40 frames in 4 of 4 chunks", done.stdout)
        self.assertIsInstance(json.loads(run("show", "--json", folder).stdout), dict)
        self.assertEqual(run("show", self.folder / "nowhere").returncode in (2, 3, 4), True)

    def test_preview(self):
        sheet = self.folder / "sheet.png"
        done = run("preview", self.source, sheet, "--model", self.identity)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sheet.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")
        found = ffprobe(sheet, "-show_streams")["streams"][0]
        self.assertGreaterEqual(found["width"], 128)
        self.assertGreaterEqual(found["height"], 96)

    def test_preview_stands_upright_with_square_pixels(self):
        source, turned = self.folder / "wide.mp4", self.folder / "turned.mp4"
        ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10,setsar=2,trim=end_frame=3",
               "-c:v", "libx264", source)
        ffmpeg("-i", source, "-c", "copy", "-metadata:s:v", "rotate=90", turned)
        sheet = self.folder / "sheet.png"
        done = run("preview", turned, sheet, "--model", self.identity)
        self.assertEqual(done.returncode, 0, done.stderr)
        found = ffprobe(sheet, "-show_streams")["streams"][0]
        self.assertEqual((found["width"], found["height"]), (2 * 64 + 8, 3 * 192 + 2 * 8))

    def test_preview_of_bad_input(self):
        source = self.folder / "notes.mp4"
        source.write_text("notes")
        self.assert_refused(3, ["preview", source, self.folder / "s.png", "--model", self.identity])
        self.assertFalse((self.folder / "s.png").exists())

    def test_bench(self):
        done = run("bench", "--model", self.identity, "--size", "64x48", "--threads", "1", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        self.assertGreater(found["score_seconds_per_frame"], 0)
        self.assertIsInstance(found["layers"], list)

    def test_shipped_style(self):
        source = self.folder / "small.mp4"
        ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10,trim=end_frame=5", "-c:v",
               "libx264", source)
        self.score(source, self.folder / "out.mp4", model="starry-night")
        self.assertEqual(frame_count(self.folder / "out.mp4"), 5)


if __name__ == "__main__":
    support.main()
