#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every encoder in every container that takes it: joined from chunks of one and two frames, with
variable rate; the same bits whatever the threads and processors; what cannot be had is refused."""

import json
import os
import pathlib
import subprocess
import sys

import support
from support import ffmpeg, ffprobe, frame_count, make_video, picture, run, sha256, streams, tone

CONTAINERS = {
    "mp4": ["libx264", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9", "mjpeg"],
    "mov": ["libx264", "libx265", "prores_ks", "ffv1", "mjpeg"],
    "mkv": ["libx264", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9", "prores_ks", "ffv1",
            "mjpeg"],
    "webm": ["libvpx-vp9", "libsvtav1", "libaom-av1"],
    "ts": ["libx264", "libx265"],
}
CODECS = CONTAINERS["mkv"]
FAST = {"libx264": "ultrafast", "libx265": "ultrafast", "libsvtav1": "12", "libaom-av1": "8",
        "libvpx-vp9": "5"}
TAGS = ["-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709",
        "-color_range", "tv"]
# What an SVT-AV1 of Debian 12 takes: nothing below 64x64. Frames 0 1 3 6 8 12 ... of 50 a second.
VARIABLE = ["-f", "lavfi", "-i", "testsrc2=size=80x64:rate=50,trim=end_frame=40,"
            "select='eq(n\\,0)+eq(n\\,1)+eq(n\\,3)+eq(n\\,6)+eq(n\\,8)+eq(n\\,12)+eq(n\\,20)+"
            "eq(n\\,22)'"]
HDR = ("hdr10=1:repeat-headers=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:"
       "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):"
       "max-cll=1000,400:log-level=none")


def preset(codec):
    return ["--codec", codec, *(["--preset", FAST[codec]] if codec in FAST else [])]


def picture_hashes(path, pixel_format):
    """Of each decoded frame, whatever its time."""
    text = support.tool("ffmpeg", "-v", "error", "-i", path, "-map", "0:v:0", "-fps_mode",
                        "passthrough", "-pix_fmt", pixel_format, "-f", "framemd5", "-").decode()
    return [line.split(",")[5].strip() for line in text.splitlines() if not line.startswith("#")]


class Outputs(support.Case):
    def variable(self, name, sound, *options):
        source = self.folder / name
        ffmpeg(*VARIABLE, *tone(0.8), "-fps_mode", "vfr", "-vf", "setsar=4/3", *options,
               *TAGS, "-c:a", sound, "-b:a", "32k", source)
        return source

    def source_for(self, container, codec):
        if codec == "mjpeg":  # JPEG is full range BT.601 to everybody
            return self.variable("jpeg.mkv", "aac", "-c:v", "ffv1", "-pix_fmt", "yuvj420p",
                                 *TAGS[:4], "-colorspace", "smpte170m", "-color_range", "pc")
        if container == "webm":
            return self.variable("opus.webm", "libopus", "-c:v", "libvpx-vp9", "-cpu-used", "8")
        return self.variable("in.mp4", "aac", "-c:v", "libx264", "-bf", "2", "-pix_fmt", "yuv420p")

    def assert_kept_moved(self, source, output, report):
        done = subprocess.run(
            [sys.executable, support.ROOT / "tests/independent_check.py", source, output, "--shift",
             f"{report['shifted_seconds']:.6f}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout.decode(errors="replace"))

    def assert_is_its_chunks(self, output):
        """A player sees exactly what was encoded: nothing is lost where chunks meet."""
        pixel_format = streams(output)[0]["pix_fmt"]
        folder = self.run_folders()[-1]
        encoded = []
        for chunk in sorted((folder / "chunks").glob("*.nut")):
            encoded += picture_hashes(chunk, pixel_format)
        self.assertEqual(picture_hashes(output, pixel_format), encoded)

    def score_and_check(self, source, output, *options):
        for seconds in ("0.001", "0.05"):  # one frame a chunk; one or two
            self.runs = self.folder / f"runs-{output.name}-{seconds}"
            done = self.score(source, output, "--chunk-seconds", seconds, "--force", "--json",
                              *options)
            self.assertEqual(done.stderr, "", "an encoder printed by itself")
            report = json.loads(done.stdout)
            self.assert_kept_moved(source, output, report)
            self.assert_is_its_chunks(output)
        return report

    def check_container(self, container):
        for codec in CONTAINERS[container]:
            with self.subTest(codec=codec, container=container):
                source = self.source_for(container, codec)
                output = self.folder / f"{codec}.{container}"
                self.score_and_check(source, output, *preset(codec))
                found = streams(output)[0]
                if codec == "libx265" and container in ("mp4", "mov"):
                    self.assertEqual(found["codec_tag_string"], "hvc1")
                if codec == "prores_ks" and container == "mov":
                    self.assertEqual(found["codec_tag_string"], "apch")

    def test_mp4(self):
        self.check_container("mp4")

    def test_mov(self):
        self.check_container("mov")

    def test_matroska(self):
        self.check_container("mkv")

    def test_webm(self):
        self.check_container("webm")

    def test_transport_stream(self):
        self.check_container("ts")

    def test_same_bits_whatever_the_machine(self):
        source = make_video(self.folder / "in.mp4", "-bf", "2", frames=12, size="320x192",
                            sound=False)
        for codec in CODECS:
            with self.subTest(codec=codec):
                hashes = set()
                for threads, processors in ((1, "0"), (4, None)):
                    output = self.folder / f"{codec}-{threads}.mkv"
                    command = [support.PROGRAM, *self.command(
                        source, output, "--threads", str(threads), "--chunk-seconds", "0.2",
                        *preset(codec), runs=self.folder / f"runs-{codec}-{threads}")]
                    if processors:
                        command = ["taskset", "-c", processors, *command]
                    subprocess.run(command, check=True, stdout=subprocess.DEVNULL,
                                   timeout=support.TIMEOUT)
                    hashes.add(sha256(output))
                self.assertEqual(len(hashes), 1)

    def test_ten_bit_hdr(self):
        source = self.folder / "hdr.mp4"
        ffmpeg(*picture("80x64", frames=5), "-c:v", "libx265", "-pix_fmt", "yuv420p10le",
               "-x265-params", HDR, "-tag:v", "hvc1", source)
        for codec in ("libx264", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9"):
            for container in ("mkv", "mp4"):
                with self.subTest(codec=codec, container=container):
                    output = self.folder / f"{codec}.{container}"
                    self.score_and_check(source, output, *preset(codec))
                    self.assertEqual(streams(output)[0]["pix_fmt"], "yuv420p10le")

    def test_chroma_and_alpha_are_kept_where_the_codec_can(self):
        cases = [("yuv422p10le", "libx265", "mkv", "yuv422p10le"),
                 ("yuv444p", "libx265", "mkv", "yuv444p"),
                 ("yuv444p", "libaom-av1", "mkv", "yuv444p"),
                 ("yuv422p10le", "libvpx-vp9", "mkv", "yuv422p10le"),
                 ("yuv420p", "prores_ks", "mov", "yuv422p10le"),
                 ("yuva444p10le", "prores_ks", "mov", "yuva444p12le"),  # as the decoder says it
                 ("yuva420p", "ffv1", "mkv", "yuva420p"),
                 ("yuv422p", "mjpeg", "mkv", "yuvj422p")]
        for pixel_format, codec, container, wanted in cases:
            with self.subTest(codec=codec, pixel_format=pixel_format):
                source = self.folder / f"{pixel_format}.mkv"
                ffmpeg(*picture("66x64", frames=3), "-c:v", "ffv1", "-pix_fmt", pixel_format, source)
                output = self.folder / f"{codec}-{pixel_format}.{container}"
                done = self.score(source, output, "--json", *preset(codec))
                self.assertEqual(streams(output)[0]["pix_fmt"], wanted)
                self.assertEqual(frame_count(output), 3)
                if codec != "mjpeg":
                    self.assertEqual(json.loads(done.stdout)["notes"], [])

    def test_what_a_codec_loses_is_said(self):
        source = self.folder / "in.mkv"
        ffmpeg(*picture("64x64", frames=2), "-c:v", "ffv1", "-pix_fmt", "yuva444p", source)
        done = self.score(source, self.folder / "out.webm", "--json")
        self.assertIn("alpha", " ".join(json.loads(done.stdout)["notes"]))
        done = self.score(source, self.folder / "out.mp4", "--json", "--codec", "libsvtav1")
        self.assertIn("4:4:4", " ".join(json.loads(done.stdout)["notes"]))
        done = self.score(source, self.folder / "out.mov", "--json", "--codec", "prores_ks",
                          "--crf", "4", "--preset", "fast")
        notes = " ".join(json.loads(done.stdout)["notes"])
        self.assertIn("--crf is ignored", notes)
        self.assertIn("--preset is ignored", notes)

    def test_defaults_follow_the_container(self):
        source = make_video(self.folder / "in.mp4", frames=2, sound=False)
        for container, codec in (("mp4", "h264"), ("webm", "vp9"), ("ts", "h264")):
            output = self.folder / f"out.{container}"
            self.score(source, output)
            self.assertEqual(streams(output)[0]["codec_name"], codec)

    def test_refusals_come_before_decoding(self):
        source = self.folder / "in.mp4"
        source.write_text("no video at all")
        for name, options, words in (
                ("out.webm", ["--codec", "libx264"], ["libvpx-vp9", ".mkv"]),
                ("out.ts", ["--codec", "prores_ks"], [".mov", "libx264"]),
                ("out.mp4", ["--codec", "ffv1"], [".mkv"]),
                ("out.mkv", ["--codec", "libx265", "--preset", "13"], ["veryfast"]),
                ("out.mkv", ["--codec", "libsvtav1", "--crf", "0"], ["1 (best) to 63"]),
                ("out.mkv", ["--encoder-opts", "x264-params=nonsense"], ["nonsense"]),
                ("out.mkv", ["--encoder-opts", "ref=1:ref=2"], ["ref", "twice"]),
                ("out.mkv", ["--codec", "libx265", "--encoder-opts", "pools=9"], ["pools"])):
            with self.subTest(options):
                self.assert_refused(2, self.command(source, self.folder / name, *options),
                                    self.folder / name, words)

    def test_small_and_odd_pictures(self):
        source = make_video(self.folder / "in.mkv", "-c:v", "ffv1", filters=",scale=33:17",
                            frames=3, sound=False)
        for codec in CODECS:
            output = self.folder / f"{codec}.mkv"
            with self.subTest(codec=codec):
                if codec == "libsvtav1":
                    self.assert_refused(2, self.command(source, output, *preset(codec)), output,
                                        ["64x64", "libaom-av1"])
                    continue
                self.score(source, output, *preset(codec))
                self.assertEqual((streams(output)[0]["width"], streams(output)[0]["height"]),
                                 (33, 17))
                self.assertEqual(frame_count(output), 3)

    def test_streams_that_do_not_fit_are_named(self):
        texts = self.folder / "s.srt"
        texts.write_text("1\n00:00:00,100 --> 00:00:00,300\nHello\n")
        source = self.folder / "in.mkv"
        ffmpeg(*picture("64x64", frames=10), *tone(0.4), *tone(0.4, 660), "-i", texts,
               "-map", "0", "-map", "1", "-map", "2", "-map", "3", "-c:v", "libx264", "-c:a:0",
               "aac", "-c:a:1", "libopus", "-c:s", "srt", "-metadata", "title=A title", source)
        done = self.score(source, self.folder / "out.webm", "--json", *preset("libvpx-vp9"))
        notes = json.loads(done.stdout)["notes"]
        self.assertTrue(any("stream 1" in n and "aac" in n and "keeps it" in n for n in notes),
                        notes)
        kinds = [s["codec_name"] for s in streams(self.folder / "out.webm")]
        self.assertEqual(kinds, ["vp9", "opus", "webvtt"])
        done = self.score(source, self.folder / "out.ts", "--json", *preset("libx264"))
        notes = json.loads(done.stdout)["notes"]
        self.assertTrue(any("stream 3" in n and "subrip" in n for n in notes), notes)
        self.assertTrue(any("titles and tags" in n for n in notes), notes)
        kinds = [s["codec_name"] for s in streams(self.folder / "out.ts")]
        self.assertEqual(kinds, ["h264", "aac", "opus"])

    def test_captions_in_the_picture_stream(self):
        source = support.need_shared_media() / "captions.mp4"
        if not source.exists():
            self.skipTest("no video with captions in ../shared/media")


if __name__ == "__main__":
    support.main()
