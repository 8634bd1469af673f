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


def with_parity(byte):
    return byte | (0x80 if bin(byte).count("1") % 2 == 0 else 0)


def with_captions(stream):
    """An Annex B stream of one slice a picture, with CTA-608 in each (ATSC A/53 Part 4, 6.2.3)."""
    pairs = [(0x14, 0x25), (0x14, 0x2D), (0x14, 0x70), *((ord(c), ord(c) + 1) for c in "acegikmoq")]
    out, count = b"", 0
    for unit in stream.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]:
        if unit[0] & 31 in (1, 5):
            a, b = map(with_parity, pairs[count % len(pairs)])
            count += 1
            payload = b"\xb5\0\x31GA94\3" + bytes([0xC1, 0xFF, 0xFC, a, b, 0xFF])
            out += b"\0\0\0\1\x06\x04" + bytes([len(payload)]) + payload + b"\x80"
        out += b"\0\0\0\1" + unit
    return out


def caption_bytes(path):
    return support.tool("ffmpeg", "-v", "error", "-f", "lavfi", "-i",
                        f"movie={path}[out0+subcc]", "-map", "0:1", "-c", "copy", "-f", "data", "-")


class Outputs(support.Case):
    def variable(self, name, sound, *options):
        source = self.folder / name
        ffmpeg(*VARIABLE, *tone(0.8), "-fps_mode", "vfr", "-vf", "setsar=4/3", *TAGS,
               *options, "-c:a", sound, "-b:a", "32k", source)
        return source

    def source_for(self, container, codec):
        if codec == "mjpeg":  # JPEG is full range BT.601 (its 625-line name) to everybody
            return self.variable("jpeg.mkv", "aac", "-c:v", "ffv1", "-pix_fmt", "yuvj420p",
                                 *TAGS[:4], "-colorspace", "bt470bg", "-color_range", "pc")
        if codec == "ffv1" and container == "mov":  # which has no place for the range
            return self.variable("unsaid.mkv", "aac", "-c:v", "ffv1", "-pix_fmt", "yuv420p",
                                 "-color_range", "0")
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
        # Chunks of one or two frames; then of one each.
        for seconds in ("0.05", "0.001") if support.SLOW_RUN else ("0.05",):
            self.runs = self.folder / f"runs-{output.name}-{seconds}"
            done = self.score(source, output, "--chunk-seconds", seconds, "--force", "--json",
                              *options)
            self.assertEqual(done.stderr, "", "an encoder printed by itself")
            report = json.loads(done.stdout)
            self.assert_kept_moved(source, output, report)
            self.assert_is_its_chunks(output)
        return report

    def check_container(self, container):
        codecs = CONTAINERS[container]
        for codec in codecs if container == "mkv" else support.share(codecs):
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
        for number, codec in enumerate(("libx264", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9")):
            for container in support.one_of(("mkv", "mp4"), number):
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
                if codec in ("libsvtav1", "libx265"):  # x265 writes beyond its buffers there
                    self.assert_refused(2, self.command(source, output, *preset(codec)), output,
                                        ["pictures of 64x", "33x17"])
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
        source = self.folder / "in.mp4"
        bare = self.folder / "bare.h264"
        ffmpeg(*picture("64x48", frames=12), "-c:v", "libx264", "-bf", "0", "-x264-params",
               "slices=1:threads=1", bare)
        (self.folder / "cc.h264").write_bytes(with_captions(bare.read_bytes()))
        ffmpeg("-i", self.folder / "cc.h264", "-c", "copy", source)
        wanted = caption_bytes(source)
        self.assertGreater(len(wanted), 20)
        for container in ("mp4", "mkv", "ts"):
            output = self.folder / f"out.{container}"
            self.score(source, output, "--chunk-seconds", "0.15", "--preset", "medium")
            self.assertEqual(caption_bytes(output), wanted, container)
        done = self.score(source, self.folder / "hevc.mp4", "--json", *preset("libx265"))
        self.assertIn("captions of 12 frames", " ".join(json.loads(done.stdout)["notes"]))

    # GIF ------------------------------------------------------------------------------------------
    def gif_frames(self, path):
        return ffprobe(path, "-min_delay", "0", "-show_entries", "frame=pts,pkt_duration")["frames"]

    def test_gif(self):
        source = self.variable("in.mp4", "aac", "-c:v", "libx264", "-pix_fmt", "yuv420p")
        output = self.folder / "out.gif"
        for seconds in ("0.001", "0.05", "4"):
            with self.subTest(chunk_seconds=seconds):
                self.runs = self.folder / f"runs-{seconds}"
                done = self.score(source, output, "--chunk-seconds", seconds, "--force", "--json")
                notes = " ".join(json.loads(done.stdout)["notes"])
                self.assertIn("256 colours", notes)
                self.assertIn("the other stream", notes)
                self.assertEqual([f["pts"] for f in self.gif_frames(output)],
                                 [0, 2, 6, 12, 16, 24, 40, 44])
                self.assert_is_its_chunks(output)
        # Colours stand by themselves in each frame, so chunks of any length give the same bytes.
        hashes = set()
        for seconds in ("0.001", "4"):
            self.runs = self.folder / f"again-{seconds}"
            self.score(source, output, "--chunk-seconds", seconds, "--force")
            hashes.add(sha256(output))
        self.assertEqual(len(hashes), 1)
        self.assertIn(b"NETSCAPE2.0\x03\x01\x00\x00", output.read_bytes())  # for ever

    def test_gif_rounds_each_time_and_keeps_the_whole(self):
        source = make_video(self.folder / "in.mp4", rate=60, frames=31, sound=False)
        done = self.score(source, self.folder / "out.gif", "--json")
        frames = self.gif_frames(self.folder / "out.gif")
        self.assertEqual([f["pts"] for f in frames], [(n * 100 + 30) // 60 for n in range(31)])
        self.assertEqual(frames[-1]["pts"] + frames[-1]["pkt_duration"], 52)
        self.assertIn("a hundredth of a second", " ".join(json.loads(done.stdout)["notes"]))
        crowded = make_video(self.folder / "crowded.mp4", rate=500, frames=10, sound=False)
        self.score(crowded, self.folder / "crowded.gif")
        self.assertEqual([f["pts"] for f in self.gif_frames(self.folder / "crowded.gif")],
                         list(range(10)))

    # Pictures -------------------------------------------------------------------------------------
    def pictures(self, source, pattern, *options):
        return run(*self.command(source, self.folder / pattern, "--quiet", *options))

    def test_pictures(self):
        source = self.folder / "in.mkv"
        ffmpeg(*picture("63x47", frames=12), *tone(0.4), "-c:v", "ffv1", "-pix_fmt", "bgr0", source)
        done = run(*self.command(source, self.folder / "%03d.png", "--json", "--chunk-seconds",
                                 "0.1"))
        self.assertEqual(done.returncode, 0, done.stderr)
        notes = " ".join(json.loads(done.stdout)["notes"])
        self.assertIn("the frames' times", notes)
        self.assertIn("the other stream", notes)
        names = sorted(path.name for path in self.folder.glob("*.png"))
        self.assertEqual(names, [f"{n:03d}.png" for n in range(1, 13)])
        shown = [picture_hashes(self.folder / name, "rgb24")[0] for name in names]
        self.assertEqual(shown, picture_hashes(source, "rgb24"))
        ffmpeg(*picture("64x48", frames=2), "-c:v", "ffv1", "-pix_fmt", "yuv420p10le",
               self.folder / "deep.mkv")
        self.assertEqual(self.pictures(self.folder / "deep.mkv", "deep-%d.png").returncode, 0)
        self.assertEqual(streams(self.folder / "deep-2.png")[0]["pix_fmt"], "rgb48be")
        self.assertEqual(self.pictures(source, "%d.jpg", "--crf", "2").returncode, 0)
        self.assertEqual(streams(self.folder / "12.jpg")[0]["codec_name"], "mjpeg")
        # In a URL the percent sign is written as one is there.
        done = run(*self.command(source, f"file://{self.folder}/url-%2502d.png", "--quiet"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(list(self.folder.glob("url-??.png"))), 12)

    def test_pictures_that_exist_are_kept(self):
        source = make_video(self.folder / "in.mp4", frames=4, sound=False)
        other = self.folder / "3.png"
        other.write_bytes(b"mine")
        done = self.pictures(source, "%d.png")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assert_one_sentence(done.stderr)
        self.assertIn("3.png", done.stderr)
        self.assertEqual([path.name for path in self.folder.glob("*.png")], ["3.png"])
        self.assertEqual(other.read_bytes(), b"mine")
        self.assertEqual(self.pictures(source, "%d.png", "--force").returncode, 0)
        self.assertEqual(len(list(self.folder.glob("*.png"))), 4)
        # As after a run that was killed while it published.
        (self.folder / "4.png").unlink()
        self.assertEqual(self.pictures(source, "%d.png").returncode, 0)
        self.assertEqual(len(list(self.folder.glob("*.png"))), 4)
        # A longer job's pictures go on where this one's end.
        (self.folder / "5.png").write_bytes(b"older")
        done = self.pictures(source, "%d.png")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assert_one_sentence(done.stderr)
        self.assertIn("5.png", done.stderr)
        done = run(*self.command(source, self.folder / "%d.png", "--json", "--force"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("5.png", " ".join(json.loads(done.stdout)["notes"]))
        self.assertEqual((self.folder / "5.png").read_bytes(), b"older")
        for name in ("%s.png", "%d%d.png", "a.png", "%1000d.png"):
            self.assert_refused(2, self.command(source, self.folder / name), None, "%06d.png")

    def test_pictures_never_replace_the_input(self):
        clips = self.folder / "clips"
        clips.mkdir()
        ffmpeg(*picture("64x48", frames=3), "-f", "apng", clips / "1.png")
        (self.folder / "link.png").symlink_to(clips / "1.png")
        before = sha256(clips / "1.png")
        for source in (clips / "1.png", self.folder / "link.png"):
            self.assert_refused(2, self.command(source, clips / "%d.png", "--force"),
                                clips / "1.png", "another name or folder")
        self.assertEqual(sha256(clips / "1.png"), before)
        for pattern in ("clips/%02d.png", "%d.png"):
            self.assertEqual(self.pictures(clips / "1.png", pattern).returncode, 0)
        self.assertEqual(sha256(clips / "1.png"), before)
        self.assertEqual(sorted(os.listdir(clips)), ["01.png", "02.png", "03.png", "1.png"])


if __name__ == "__main__":
    support.main()
