#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pixels through an identity model and a lossless codec come back within 1 code value, chroma 2.

Tags that are right over pixels that are wrong must not pass: both sides are decoded by ffmpeg into
the file's own pixel format and compared sample by sample.
"""

import array
import json
import re

import onnx_model
import support
from support import ffmpeg, make_video, streams, tool

# What our reader calls by one name, ffmpeg by two: full range lives in the format or in the tag.
PLAIN = {"yuvj420p": "yuv420p", "yuvj422p": "yuv422p", "yuvj444p": "yuv444p"}


def planes(pixel_format, width, height):
    """(samples of luma, samples of all chroma, bytes for each sample) of a planar format."""
    deep = bool(re.search(r"(9|10|12|14|16)(le)?$", pixel_format)) and "gray" != pixel_format
    if pixel_format.startswith("gray"):
        return width * height, 0, 2 if deep else 1
    shape = re.match(r"yuvj?a?(4\d\d)p", pixel_format)
    if not shape:
        raise ValueError(f"no planes known for {pixel_format}")
    wide = (width + 1) // 2 if shape[1] in ("420", "422") else width
    high = (height + 1) // 2 if shape[1] == "420" else height
    return width * height, 2 * wide * high, 2 if deep else 1


def raw_frames(path, stream, pixel_format, frames):
    """Decoded samples as they stand in the file: nothing scaled, turned, dropped or doubled."""
    return tool("ffmpeg", "-v", "error", "-noautorotate", "-i", path, "-map", f"0:{stream}",
                "-frames:v", str(frames), "-fps_mode", "passthrough", "-pix_fmt", pixel_format,
                "-f", "rawvideo", "-")


def largest_difference(left, right):
    if left == right:
        return 0
    return max(abs(a - b) for a, b in {*zip(left, right)})


class PixelCase(support.Case):
    def compare(self, source, source_stream, output, output_stream, frames, luma=1, chroma=2):
        facts = streams(source)[source_stream]
        ours = streams(output)[output_stream]
        pixel_format = PLAIN.get(facts["pix_fmt"], facts["pix_fmt"])
        # The alpha of VP8 and VP9 is a second picture beside the first, which ffprobe does not count.
        beside = facts.get("tags", {}).get("alpha_mode") == "1"
        self.assertEqual(PLAIN.get(ours["pix_fmt"], ours["pix_fmt"]),
                         pixel_format.replace("yuv", "yuva") if beside else pixel_format)
        self.assertEqual((ours["width"], ours["height"]), (facts["width"], facts["height"]))
        before = raw_frames(source, source_stream, facts["pix_fmt"], frames)
        after = raw_frames(output, output_stream, pixel_format if beside else ours["pix_fmt"], frames)
        self.assertEqual(len(before), len(after))
        luma_count, chroma_count, width = planes(pixel_format, facts["width"], facts["height"])
        frame = (luma_count + chroma_count) * width
        self.assertGreaterEqual(len(before), frame)
        kind = "H" if width == 2 else "B"
        for number in range(len(before) // frame):
            a = array.array(kind, before[number * frame:(number + 1) * frame])
            b = array.array(kind, after[number * frame:(number + 1) * frame])
            self.assertLessEqual(largest_difference(a[:luma_count], b[:luma_count]), luma,
                                 f"luma of frame {number} of {source}")
            if chroma_count:
                self.assertLessEqual(largest_difference(a[luma_count:], b[luma_count:]), chroma,
                                     f"chroma of frame {number} of {source}")

    def check(self, source, stream=0, frames=10, options=()):
        output = self.folder / "out.mkv"
        self.score(source, output, "--codec", "ffv1", "--force", *options)
        lossless = [s["index"] for s in streams(output) if s.get("codec_name") == "ffv1"]
        self.assertEqual(len(lossless), 1)
        # --to may have left fewer.
        frames = min(frames, support.frame_count(output, f"{lossless[0]}"))
        self.assertGreaterEqual(frames, 1)
        self.compare(source, stream, output, lossless[0], frames)
        output.unlink()


class MadePixels(PixelCase):
    def colours(self, matrix, span, pixel_format, siting="left"):
        """Colours that move smoothly, and noise-free edges: what a camera could have seen."""
        source = self.folder / "in.mkv"
        picture = ("gradients=size=64x48:rate=25:n=8:seed=7:speed=0.1,trim=end_frame=12,"
                   f"format=gbrp,scale=out_color_matrix={matrix}:out_range={span}:"
                   f"sws_flags=accurate_rnd+full_chroma_int,format={pixel_format}")
        tags = {"bt709": "bt709", "bt601": "smpte170m", "bt2020": "bt2020nc"}[matrix]
        ffmpeg("-f", "lavfi", "-i", picture, "-c:v", "ffv1", "-colorspace", tags, "-color_range",
               span, "-chroma_sample_location", siting, source)
        self.assertEqual(streams(source)[0]["pix_fmt"], pixel_format)
        self.check(source)
        found = streams(source)[0]
        self.assertEqual(found.get("color_space"), tags)

    def test_every_matrix_range_depth_and_shape(self):
        formats = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")
        for row, matrix in enumerate(("bt601", "bt709", "bt2020")):
            for column, span in enumerate(("tv", "pc")):
                # Two formats of each: others in the next row and column.
                first = (row + column) % 3
                for pixel_format in support.share(formats[first:] + formats[:first], 3):
                    with self.subTest(matrix=matrix, range=span, format=pixel_format):
                        self.colours(matrix, span, pixel_format)

    def test_bt709_limited_8bit_420_left(self):
        self.colours("bt709", "tv", "yuv420p")

    def test_bt2020_limited_10bit_420_topleft(self):
        self.colours("bt2020", "tv", "yuv420p10le", "topleft")

    def test_sitings(self):
        for siting in ("left", "center", "topleft"):
            with self.subTest(siting):
                self.colours("bt709", "tv", "yuv420p", siting)

    def test_gray(self):
        self.check(make_video(self.folder / "in.mkv", "-c:v", "ffv1", "-pix_fmt", "gray"))

    def test_odd_sizes(self):
        for size in ("63x47", "1x1", "2x2", "17x5"):
            with self.subTest(size):
                source = self.folder / f"{size}.mkv"
                ffmpeg("-f", "lavfi", "-i",
                       f"gradients=size=64x48:n=4:seed=3,trim=end_frame=5,scale={size.replace('x', ':')}",
                       "-c:v", "ffv1", "-pix_fmt", "yuv420p", source)
                self.check(source)

    def test_the_model_sees_the_right_colours(self):
        """A model that keeps red only: matrix, range and channel order as a player shows them."""
        source = self.folder / "in.mkv"
        colours = {"red": (200, 30, 40), "green": (20, 180, 60), "blue": (30, 60, 220)}
        for matrix in ("bt601", "bt709"):
            for name, (red, green, blue) in colours.items():
                ffmpeg("-f", "lavfi", "-i",
                       f"color=0x{red:02x}{green:02x}{blue:02x}:size=32x32,format=gbrp,"
                       f"trim=end_frame=3,scale=out_color_matrix={matrix}:out_range=tv,"
                       "format=yuv444p", "-c:v", "ffv1", "-color_range", "tv", "-colorspace",
                       {"bt601": "smpte170m", "bt709": "bt709"}[matrix], source)
                for order, expected in (("rgb", (red, 0, 0)), ("bgr", (0, 0, blue))):
                    with self.subTest(matrix=matrix, colour=name, order=order):
                        output = self.folder / "out.mkv"
                        self.score(source, output, "--codec", "ffv1", "--force",
                                   model=onnx_model.write_red_only(self.folder / "m", order))
                        rgb = tool("ffmpeg", "-v", "error", "-i", output, "-vf",
                                   f"scale=in_color_matrix={matrix}:in_range=tv,format=gbrp,"
                                   "format=rgb24", "-frames:v", "1", "-f", "rawvideo", "-")
                        for got, wanted in zip(rgb[:3], expected):
                            self.assertLessEqual(abs(got - wanted), 3, f"{tuple(rgb[:3])}")


class RealPixels(PixelCase):
    """The first frames of every file of ../shared/media but the one broken by design."""

    def test_real_videos(self):
        for source in support.share(sorted(support.need_shared_media().iterdir())):
            if source.name == "invalid-bitstream.webm":
                continue
            with self.subTest(source.name):
                seen = json.loads(support.run("probe", "--json", source).stdout)
                large = streams(source)[seen["video_stream"]]["width"] > 1000
                frames = 3 if large else 10
                self.check(source, seen["video_stream"], frames,
                              ["--to", "0.5", "--chunk-seconds", "0.2"])


if __name__ == "__main__":
    support.main()
