#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must come through a job unchanged, on inputs made here, as MP4 and as Matroska."""

import json
import pathlib
import re
import zlib

import support
from support import ffmpeg, make_video, picture, tone

X264 = ["-c:v", "libx264", "-g", "10", "-pix_fmt", "yuv420p"]


class Copies(support.Case):
    def check(self, source, *options, containers=("mp4", "mkv")):
        # By the case's name, so that each has one and both are met.
        for container in support.one_of(containers, zlib.crc32(self.id().encode())):
            with self.subTest(container):
                output = self.folder / f"out.{container}"
                self.score(source, output, "--chunk-seconds", "0.5", "--force", *options)
                self.assert_kept(source, output)

    def test_plain_mp4(self):
        self.check(make_video(self.folder / "in.mp4", "-bf", "0"))

    def test_b_frames_and_edit_list(self):
        whole = make_video(self.folder / "whole.mp4", "-bf", "3", frames=60)
        cut = self.folder / "cut.mp4"
        # Stream copy from the middle of a GOP: the edit list hides the frames before the cut.
        ffmpeg("-ss", "0.6", "-i", whole, "-c", "copy", cut)
        self.check(whole)
        self.check(cut)

    def test_matroska_with_everything(self):
        texts = self.folder / "s.srt"
        texts.write_text("1\n00:00:00,200 --> 00:00:00,900\nHello, <i>world</i>\n\n"
                         "2\n00:00:01,000 --> 00:00:01,500\nGrüße\n")
        chapters = self.folder / "c.txt"
        chapters.write_text(
            ";FFMETADATA1\ntitle=A title; with \\= signs\nartist=Nobody\n"
            "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=700\ntitle=First\n"
            "[CHAPTER]\nTIMEBASE=1/1000\nSTART=700\nEND=1600\ntitle=Second\n")
        font = self.folder / "font.ttf"
        font.write_bytes(bytes(range(256)) * 8)
        source = self.folder / "in.mkv"
        ffmpeg(*picture(frames=40), *tone(1.6), *tone(1.6, 660), "-i", texts, "-i", chapters,
               "-map", "0:v", "-map", "1:a", "-map", "2:a", "-map", "3:s", "-map_metadata", "4",
               "-attach", font, "-metadata:s:t", "mimetype=application/x-truetype-font",
               *X264, "-c:a:0", "aac", "-c:a:1", "flac", "-c:s", "srt",
               "-metadata:s:a:0", "language=deu", "-metadata:s:a:1", "language=fra",
               "-metadata:s:a:1", "title=Commentary", "-metadata:s:s:0", "language=eng",
               "-disposition:a:0", "0", "-disposition:a:1", "default+comment",
               "-disposition:s:0", "forced", source)
        self.check(source, containers=["mkv"])

    def test_text_subtitles_and_chapters_in_mp4(self):
        texts = self.folder / "s.srt"
        texts.write_text("1\n00:00:00,200 --> 00:00:00,900\nHello\n")
        source = self.folder / "in.mp4"
        ffmpeg(*picture(), *tone(1.6), "-i", texts, "-map", "0:v", "-map", "1:a", "-map", "2:s",
               *X264, "-c:a", "aac", "-c:s", "mov_text", "-metadata:s:s:0", "language=eng", source)
        self.check(source, containers=["mp4"])

    def test_what_mp4_cannot_hold_is_said(self):
        font = self.folder / "font.ttf"
        font.write_bytes(b"no font")
        source = self.folder / "in.mkv"
        ffmpeg(*picture(), *tone(1.6), "-attach", font, "-metadata:s:t", "mimetype=font/ttf", *X264,
               "-c:a", "aac", source)
        done = self.score(source, self.folder / "out.mp4")
        self.assertIn("mkv", done.stderr + done.stdout)

    def test_mov_with_uncompressed_sound(self):
        source = make_video(self.folder / "in.mov", "-c:a", "pcm_s16le")
        self.check(source, containers=["mkv"])
        output = self.folder / "out.mov"
        self.score(source, output)
        self.assert_kept(source, output)

    def test_transport_stream_and_odd_start(self):
        self.check(make_video(self.folder / "in.ts", "-bf", "2", "-output_ts_offset", "7.3"))

    def test_avi(self):
        self.check(make_video(self.folder / "in.avi", "-c:v", "mpeg4", "-c:a", "libmp3lame"))

    def test_webm(self):
        source = make_video(self.folder / "in.webm", "-c:v", "libvpx-vp9", "-cpu-used", "8",
                            "-c:a", "libopus")
        self.check(source)

    def test_variable_rate(self):
        # Gaps of 1, 2, 3, ... ticks, and one long one.
        filters = ",settb=1/1000,setpts='N*33+mod(N*N\\,17)+gt(N\\,20)*700'"
        for name in ("in.mp4", "in.mkv"):
            source = make_video(self.folder / name, "-fps_mode", "passthrough", "-bf", "2",
                                "-video_track_timescale", "1000", "-enc_time_base", "1/1000",
                                filters=filters)
            self.check(source)

    def test_rotation(self):
        plain = make_video(self.folder / "plain.mp4")
        for degrees in ("90", "180", "270"):
            source = self.folder / f"turned{degrees}.mp4"
            ffmpeg("-i", plain, "-c", "copy", "-metadata:s:v:0", f"rotate={degrees}", source)
            self.check(source, containers=["mp4"])

    def test_sample_aspect_ratio(self):
        self.check(make_video(self.folder / "in.mp4", filters=",setsar=64/45"))

    def test_colour_tags(self):
        for name, tags in {
                "bt709": ("bt709", "bt709", "bt709", "tv"),
                "bt601": ("smpte170m", "smpte170m", "smpte170m", "tv"),
                "full": ("bt470bg", "bt470bg", "bt709", "pc")}.items():
            matrix, primaries, transfer, span = tags
            self.check(make_video(self.folder / f"{name}.mp4", "-colorspace", matrix,
                                  "-color_primaries", primaries, "-color_trc", transfer,
                                  "-color_range", span))

    def test_ten_bit_hdr(self):
        mastering = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
        source = make_video(
            self.folder / "in.mp4", "-c:v", "libx265", "-pix_fmt", "yuv420p10le",
            "-x265-params", f"log-level=error:hdr10=1:master-display={mastering}:max-cll=1000,400",
            "-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", "smpte2084",
            "-color_range", "tv", "-tag:v", "hvc1")
        self.check(source)

    def test_cover_art(self):
        cover = self.folder / "cover.png"
        ffmpeg("-f", "lavfi", "-i", "testsrc2=size=100x100", "-frames:v", "1", cover)
        source = self.folder / "in.mp4"
        ffmpeg(*picture(), *tone(1.6), "-i", cover, "-map", "0", "-map", "1", "-map", "2",
               *X264, "-c:a", "aac", "-c:v:1", "png", "-disposition:v:1", "attached_pic", source)
        self.check(source, containers=["mp4"])

    def test_two_videos_two_sounds(self):
        source = self.folder / "in.mkv"
        ffmpeg(*picture("64x48"), *picture("32x32"), *tone(1.6), *tone(1.6, 880), "-map", "0",
               "-map", "1", "-map", "2", "-map", "3", *X264, "-c:a", "aac", source)
        self.check(source)

    def test_sound_that_starts_late_and_ends_early(self):
        source = self.folder / "in.mp4"
        ffmpeg(*picture(frames=50), "-itsoffset", "0.35", *tone(0.9), *X264, "-c:a", "aac", source)
        self.check(source)

    def test_sound_without_a_packet_in_the_range(self):
        source = make_video(self.folder / "in.mkv", frames=60, sound=False)
        both = self.folder / "both.mkv"
        support.ffmpeg("-i", source, *support.tone(0.5), "-c:v", "copy", "-c:a", "aac", both)
        for name, sounds in (("out.mp4", 0), ("out.mov", 0), ("out.mkv", 1)):
            output = self.folder / name
            done = self.score(both, output, "--from", "1.5", "--json")
            kept = [s for s in support.streams(output) if s["codec_type"] == "audio"]
            self.assertEqual(len(kept), sounds, name)
            said = "left out" in " ".join(json.loads(done.stdout)["notes"])
            self.assertEqual(said, not sounds, f"{name}: {done.stdout}")

    def test_no_sound(self):
        self.check(make_video(self.folder / "in.mp4", sound=False))

    def test_odd_size(self):
        self.check(make_video(self.folder / "in.mkv", "-c:v", "ffv1", filters=",scale=63:47"))

    def test_one_frame(self):
        self.check(make_video(self.folder / "in.mp4", frames=1, sound=False))

    def test_full_chroma_and_gray(self):
        for pixel_format in ("yuv444p", "yuv422p10le", "gray"):
            self.check(make_video(self.folder / f"{pixel_format}.mkv", "-c:v", "ffv1",
                                  "-pix_fmt", pixel_format))

    def test_one_key_frame_only(self):
        self.check(make_video(self.folder / "in.mp4", "-g", "999", "-bf", "2", frames=60))

    def test_intra_refresh(self):
        self.check(make_video(self.folder / "in.mp4", "-x264-params",
                              "intra-refresh=1:keyint=12:bframes=0", frames=60))

    def test_open_gop(self):
        self.check(make_video(self.folder / "in.mp4", "-x264-params",
                              "open-gop=1:keyint=10:min-keyint=10:bframes=3", frames=60))


# Data streams of a codec that nobody knows (Apple's timed metadata).
CANNOT_BE_KEPT = {"sample_edit_list.mp4": {2, 3}}


def left_out_streams(notes):
    """The streams that the program says it leaves out."""
    found = [re.search(r"\bstream (\d+)\b.* left out", note) for note in notes]
    return {int(match.group(1)) for match in found if match}


class RealVideos(support.Case):
    """Every file of ../shared/media but the one that is broken by design."""

    def test_real_videos(self):
        folder = support.need_shared_media()
        for number, source in enumerate(sorted(folder.iterdir())):
            if source.name == "invalid-bitstream.webm":
                continue
            for container in support.one_of(("mp4", "mkv"), number):
                with self.subTest(file=source.name, container=container):
                    output = pathlib.Path(self.folder, f"{source.stem}.{container}")
                    done = self.score(source, output, "--chunk-seconds", "0.5", "--preset",
                                      "ultrafast", "--json")
                    left_out = left_out_streams(json.loads(done.stdout)["notes"])
                    self.assertEqual(left_out, CANNOT_BE_KEPT.get(source.name, set()),
                                     "other streams are named as left out than cannot be held")
                    self.assert_kept(source, output, dropped=sorted(left_out))
                    output.unlink()


if __name__ == "__main__":
    support.main()
