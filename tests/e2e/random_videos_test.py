#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random small videos through whole jobs with a model that changes nothing.

Everything is judged by tests/independent_check.py and, where the output is lossless, sample by
sample. `random_videos_test.py --seed N` runs seed N again, `--seed N-M` a stretch of them; a failure
prints the commands that make the video and the job. Faults that a seed once found are kept as
commands of their own in KEPT, since a seed means another video whenever the generator changes.
"""

import array
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pixels_test
import random_video
import support
from support import ROOT, tool

SEEDS = range(1, 601) if support.SLOW_RUN else range(1, 13)
# ffmpeg may refuse to make a video; if it refuses many, the test tests nothing.
MOST_REFUSED = 0.15

# What seeds once found: (ffmpeg's commands, files that they read, options of the job, container).
CHAPTERS = ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=First\n" \
    "[CHAPTER]\nTIMEBASE=1/1000\nSTART=200\nEND=900\ntitle=Second\n"
MAKE = ["-v", "error", "-y", "-bitexact", "-f", "lavfi", "-i"]
KEPT = {
    # A part that begins between two frames put the first chapter before zero: Matroska refused all.
    "a_chapter_cut_between_two_frames": (
        [MAKE + ["testsrc2=size=66x64:rate=120,trim=end_frame=6", "-i", "c.txt", "-map_metadata",
                 "1", "-c:v", "libx264", "in.mp4"]],
        {"c.txt": CHAPTERS}, ["--codec", "ffv1", "--from", "0.013", "--to", "0.019"], "mkv"),
    # FFV1's slices one sample high came back as zeros.
    "two_rows_in_slices": (
        [MAKE + ["testsrc2=size=97x2:rate=10,trim=end_frame=3,format=rgba", "-c:v", "png", "in.mkv"]],
        {}, ["--codec", "ffv1"], "mkv"),
    "two_columns_in_slices": (
        [MAKE + ["testsrc2=size=2x9:rate=10,trim=end_frame=3,format=yuv444p", "-c:v", "ffv1",
                 "-slices", "1", "-level", "3", "in.mkv"]],
        {}, ["--codec", "ffv1"], "mkv"),
    # MOV knows "ger" and not "deu".
    "german_in_mov": (
        [MAKE + ["testsrc2=size=64x48:rate=10,trim=end_frame=3", "-f", "lavfi", "-i",
                 "sine=duration=0.3", "-c:v", "libx264", "-c:a", "aac", "-metadata:s:a",
                 "language=deu", "in.mp4"]],
        {}, [], "mov"),
    # The palette comes with the first packet; later chunks begin behind it.
    "palette_of_the_whole_film": (
        [MAKE + ["testsrc2=size=20x72:rate=1,trim=end_frame=3,format=gray", "-c:v", "qtrle", "-g",
                 "2", "in.mov"]],
        {}, ["--codec", "ffv1", "--chunk-seconds", "0.001"], "mkv"),
}

PACKED = {"yuyv422": "yuv422p"}
DEEP_RGB = re.compile(r"(gbra?p1[0-9]|rgb48|rgba64)")


def is_rgb(pixel_format):
    return pixel_format.startswith(("gbr", "rgb", "bgr", "argb", "abgr", "pal8", "0rgb", "0bgr"))


def common_format(before, after):
    """The format in which both can be compared without a loss, or None."""
    before, after = (pixels_test.PLAIN.get(f, f) for f in (before, after))
    before = PACKED.get(before, before)
    if is_rgb(before) and is_rgb(after) and not DEEP_RGB.match(before):
        return "gbrp"
    without_alpha = before.replace("yuva", "yuv")
    return before if before == after or without_alpha == after else None


def planes(pixel_format, width, height):
    if pixel_format == "gbrp":
        return 3 * width * height, 0, 1
    return pixels_test.planes(pixel_format, width, height)


class Trouble(Exception):
    """What is wrong with a job, in words."""


class Job:
    """One recipe made, run and judged in a folder."""

    def __init__(self, case, recipe, options, container):
        self.case, self.recipe, self.options = case, recipe, options
        self.folder = case.folder / f"seed-{recipe.seed}"
        self.folder.mkdir()
        self.output = self.folder / f"out.{container}"
        self.command = None

    def explain(self):
        lines = [f"seed {self.recipe.seed}: {self.recipe.codec} {self.recipe.pixel_format}",
                 self.recipe.text()]
        if self.command:
            lines.append("atelier " + shlex.join(map(str, self.command)))
        return "\n".join(lines)

    def run(self):
        """False when ffmpeg does not make the video."""
        source, refused = self.recipe.make(self.folder)
        if source is None:
            print(f"not made: seed {self.recipe.seed}: {refused}", file=sys.stderr)
            return False
        self.command = self.case.command(source, self.output, "--json", *self.options)
        done = support.run(*self.command)
        if done.returncode:
            self.judge_refusal(done, source)
            return True
        report = json.loads(done.stdout)
        self.judge(source, report)
        if "ffv1" in self.options:
            self.compare_pixels(source, report)
        return True

    def wanted_range(self):
        values = dict(zip(self.options, self.options[1:]))
        return values.get("--from"), values.get("--to")

    def shown(self, source, stream):
        """Times of the frames that ffprobe decodes, those wanted, and where the wanted begin."""
        found = support.ffprobe(source, "-select_streams", str(stream), "-show_entries",
                                "frame=best_effort_timestamp_time")["frames"]
        times = [float(f["best_effort_timestamp_time"]) for f in found
                 if "best_effort_timestamp_time" in f]
        begin, end = (float(t) - 1e-6 if t else None for t in self.wanted_range())
        first = times[0] if times else 0
        inside = [i for i, t in enumerate(times)
                  if (begin is None or t - first >= begin) and (end is None or t - first < end)]
        return times, inside

    def judge_refusal(self, done, source):
        if done.returncode != 3:
            raise Trouble(f"exit code {done.returncode}: {done.stderr}")
        if self.output.exists():
            raise Trouble("published in spite of exit code 3")
        times, inside = self.shown(source, "v:0")
        if inside and not self.all_are_discarded(source):
            raise Trouble(f"refused, but ffprobe decodes {len(inside)} frames: {done.stderr}")

    @staticmethod
    def all_are_discarded(source):
        """An edit list that begins after the last frame: some decoders show it all the same."""
        found = support.ffprobe(source, "-select_streams", "v:0", "-show_packets", "-show_entries",
                                "packet=flags")
        return all("D" in p["flags"] for p in found["packets"])

    def judge(self, source, report):
        dropped = left_out(report["notes"])
        for stream in dropped:
            if self.can_be_copied(source, stream):
                raise Trouble(f"stream {stream} is left out, but ffmpeg copies it to {self.output.suffix}")
        shift, (begin, end) = report["shifted_seconds"], self.wanted_range()
        if shift and begin is None and not self.starts_below_zero(source):
            raise Trouble(f"shifted by {shift} s, but nothing starts below zero")
        # libav ranks several videos by what only its own code knows; which one was taken is said.
        arguments = ["--dropped", ",".join(map(str, sorted(dropped))), "--shift", repr(shift),
                     "--stream", str(scored_stream(source))]
        arguments += ["--from", begin] if begin else []
        arguments += ["--to", end] if end else []
        checked = subprocess.run([sys.executable, ROOT / "tests/independent_check.py", source,
                                  self.output, *arguments],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        if checked.returncode:
            lines = [line for line in checked.stdout.decode(errors="replace").splitlines()
                     if not line.startswith("PASS")]
            raise Trouble("\n".join(lines))

    def can_be_copied(self, source, stream):
        copy = self.folder / f"copy{self.output.suffix}"
        done = subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", source, "-map", f"0:{stream}",
                               "-c", "copy", "-strict", "experimental", copy],
                              stdin=subprocess.DEVNULL, capture_output=True)
        return done.returncode == 0 and not done.stderr

    @staticmethod
    def starts_below_zero(source):
        found = support.ffprobe(source, "-show_packets", "-show_entries", "packet=pts_time")
        return any(float(p.get("pts_time", 0)) < 0 for p in found["packets"])

    def compare_pixels(self, source, report):
        ours = [s for s in support.streams(self.output) if s.get("codec_name") == "ffv1"]
        index = scored_stream(source)
        facts = support.streams(source)[index]
        pixel_format = common_format(facts["pix_fmt"], ours[0]["pix_fmt"])
        if pixel_format is None:
            return
        # The word of the frames goes before the container's (VP8 is always BT.601, whatever Matroska
        # says), which the output has: the same colours, other numbers.
        if facts.get("color_space") != self.matrix_of_frames(source, index):
            return
        before = self.raw(source, index, facts["pix_fmt"], pixel_format)
        after = self.raw(self.output, ours[0]["index"], ours[0]["pix_fmt"], pixel_format)
        luma_count, chroma_count, width = planes(pixel_format, facts["width"], facts["height"])
        size = (luma_count + chroma_count) * width
        times, inside = self.shown(source, index)
        if len(before) != size * len(times):
            return  # sizes change on the way, or frames have no time: not comparable one by one
        if len(after) != size * len(inside):
            raise Trouble(f"{len(after) / size} frames of pixels, {len(inside)} are wanted")
        kind = "H" if width == 2 else "B"
        for ours_at, theirs_at in enumerate(inside):
            a = array.array(kind, before[theirs_at * size:(theirs_at + 1) * size])
            b = array.array(kind, after[ours_at * size:(ours_at + 1) * size])
            luma = pixels_test.largest_difference(a[:luma_count], b[:luma_count])
            chroma = pixels_test.largest_difference(a[luma_count:], b[luma_count:])
            if luma > 1 or chroma > 2:
                raise Trouble(f"frame {ours_at} ({pixel_format}): luma differs by {luma}, chroma by "
                              f"{chroma}")

    @staticmethod
    def matrix_of_frames(source, index):
        found = support.ffprobe(source, "-select_streams", str(index), "-show_frames",
                                "-read_intervals", "%+#1", "-show_entries", "frame=color_space")
        return found["frames"][0].get("color_space") if found.get("frames") else None

    @staticmethod
    def raw(path, stream, own_format, wanted):
        same = [] if own_format.replace("yuvj", "yuv") == wanted else ["-pix_fmt", wanted]
        return tool("ffmpeg", "-v", "error", "-noautorotate", "-threads", "1", "-i", path, "-map",
                    f"0:{stream}", "-fps_mode", "passthrough", *same, "-f", "rawvideo", "-")


def left_out(notes):
    """The streams that the program says it leaves out."""
    found = [re.search(r"\bstream (\d+)\b.* left out", note) for note in notes]
    return {int(match.group(1)) for match in found if match}


def scored_stream(source):
    seen = json.loads(support.run("probe", "--json", source).stdout)
    return seen["video_stream"]


class KeptVideos(support.Case):
    def test_kept_videos(self):
        for name, (commands, files, options, container) in KEPT.items():
            with self.subTest(name):
                recipe = random_video.Recipe(name, "", "", "", commands, files, commands[-1][-1], 0, 0)
                self.assertTrue(Job(self, recipe, options, container).run(), "ffmpeg refuses it")


class RandomVideos(support.Case):
    def test_random_videos(self):
        made, troubles = 0, []
        for seed in SEEDS:
            recipe = random_video.recipe(seed)
            job = Job(self, recipe, *random_video.job_options(seed, recipe))
            try:
                made += job.run()
            except (Trouble, RuntimeError, subprocess.TimeoutExpired) as trouble:
                troubles.append(seed)
                why = f"{job.explain()}\n{trouble}"
                with self.subTest(seed=seed):
                    raise self.failureException(why) from None
            else:
                for path in sorted(job.folder.iterdir()):
                    path.unlink()
        print(f"{made} of {len(SEEDS)} random videos made and scored, {len(troubles)} with faults "
              f"{troubles}", file=sys.stderr)
        self.assertGreaterEqual(made, len(SEEDS) * (1 - MOST_REFUSED), "ffmpeg made too few")


if __name__ == "__main__":
    SEEDS = support.take_range("--seed", SEEDS, "test_random_videos")
    support.main()
