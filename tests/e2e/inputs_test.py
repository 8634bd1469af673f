#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What goes in: codecs, containers, formats and odd timings, each made here by ffmpeg.

Every input goes through a whole job (an identity model, FFV1 in Matroska, several chunks), then
through tests/independent_check.py, and its pixels are compared with the input's by ffmpeg. The
tables are what the README's list of inputs says. `make test-slow` adds the rows marked SLOW.
"""

import re
import subprocess

import support
from support import ffmpeg, frame_times, picture, tone, tool

SLOW = object()
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-pix_fmt", "yuv420p"]
AAC = ["-c:a", "aac"]
MP2 = ["-c:a", "mp2"]

# name: (file, options). 30 frames of 64x48 at 25 a second with a tone, unless SIZES says otherwise.
CODECS = {
    "h264": ("h264.mp4", [*X264, "-bf", "2", *AAC]),
    "hevc": ("hevc.mp4", ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
                          "log-level=error:keyint=10", "-tag:v", "hvc1", *AAC]),
    "av1": ("av1.mp4", ["-c:v", "libsvtav1", "-preset", "12", "-g", "10", *AAC]),
    "av1 by libaom": ("aom.mkv", ["-c:v", "libaom-av1", "-cpu-used", "8", "-g", "10",
                                  "-frames:v", "15", *AAC], SLOW),
    "vp8": ("vp8.webm", ["-c:v", "libvpx", "-deadline", "realtime", "-g", "10", "-c:a", "libopus"]),
    "vp9": ("vp9.webm", ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g",
                         "10", "-c:a", "libopus"]),
    "mpeg4": ("mpeg4.mp4", ["-c:v", "mpeg4", "-bf", "2", "-g", "10", *AAC]),
    "mpeg4 in avi": ("mpeg4.avi", ["-c:v", "mpeg4", "-g", "10", "-c:a", "libmp3lame"]),
    "mpeg4 with b-frames in avi": ("mpeg4b.avi", ["-c:v", "mpeg4", "-bf", "2", "-g", "10",
                                                  "-c:a", "libmp3lame"]),
    "msmpeg4": ("msmpeg4.avi", ["-c:v", "msmpeg4", "-g", "10", "-c:a", "libmp3lame"], SLOW),
    "mpeg2 in ts": ("mpeg2.ts", ["-c:v", "mpeg2video", "-bf", "2", "-g", "10", *MP2]),
    "mpeg2 in ps": ("mpeg2.vob", ["-c:v", "mpeg2video", "-bf", "2", "-g", "10", "-f", "vob", *MP2]),
    "mpeg1 in ps": ("mpeg1.mpg", ["-c:v", "mpeg1video", "-g", "10", *MP2]),
    "prores": ("prores.mov", ["-c:v", "prores_ks", "-c:a", "pcm_s16le"]),
    "dnxhd": ("dnxhd.mov", ["-c:v", "dnxhd", "-profile:v", "dnxhr_lb", "-pix_fmt", "yuv422p",
                            "-c:a", "pcm_s16le"]),
    "dnxhd in mxf": ("dnxhd.mxf", ["-c:v", "dnxhd", "-profile:v", "dnxhr_lb", "-pix_fmt",
                                   "yuv422p", "-ar", "48000", "-c:a", "pcm_s16le"]),
    "mpeg2 in mxf": ("mpeg2.mxf", ["-c:v", "mpeg2video", "-g", "10", "-ar", "48000", "-c:a",
                                   "pcm_s16le"]),
    "mjpeg": ("mjpeg.avi", ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-c:a", "pcm_s16le"]),
    "mjpeg in mov": ("mjpeg.mov", ["-c:v", "mjpeg", "-pix_fmt", "yuvj422p", "-c:a", "pcm_s16le"]),
    "h263": ("h263.3gp", ["-c:v", "h263", "-g", "10", *AAC]),
    "h264 in 3gp": ("h264.3gp", [*X264, *AAC]),
    "cinepak": ("cinepak.mov", ["-c:v", "cinepak", "-frames:v", "12", "-c:a", "pcm_s16le"]),
    "cinepak in avi": ("cinepak.avi", ["-c:v", "cinepak", "-frames:v", "12", "-c:a", "pcm_s16le"],
                       SLOW),
    "gif": ("in.gif", ["-c:v", "gif", "-an"]),
    "apng": ("in.apng", ["-c:v", "apng", "-f", "apng", "-an"]),
    "flv1": ("flv1.flv", ["-c:v", "flv1", "-g", "10", "-c:a", "libmp3lame", "-ar", "44100"]),
    "h264 in flv": ("h264.flv", [*X264, "-bf", "2", *AAC]),
    "theora": ("theora.ogv", ["-c:v", "libtheora", "-g", "10", "-c:a", "libvorbis"]),
    "vp8 in ogg": ("vp8.ogv", ["-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libvorbis"],
                   SLOW),
    "huffyuv": ("huffyuv.avi", ["-c:v", "huffyuv", "-pix_fmt", "yuv422p", "-ar", "48000", "-c:a", "pcm_s16le"]),
    "utvideo": ("utvideo.mkv", ["-c:v", "utvideo", "-c:a", "pcm_s16le"], SLOW),
    "rawvideo in avi": ("raw.avi", ["-c:v", "rawvideo", "-pix_fmt", "yuv420p", "-c:a",
                                    "pcm_s16le"]),
    "rawvideo uyvy": ("raw.mov", ["-c:v", "rawvideo", "-pix_fmt", "uyvy422", "-c:a", "pcm_s16le"]),
    "rawvideo rgb24": ("rgb.mov", ["-c:v", "rawvideo", "-pix_fmt", "rgb24", "-c:a", "pcm_s16le"]),
    "v210": ("v210.mov", ["-c:v", "v210", "-pix_fmt", "yuv422p10le", "-c:a", "pcm_s16le"]),
    "ffv1": ("ffv1.mkv", ["-c:v", "ffv1", "-c:a", "flac"]),
    "png in mov": ("png.mov", ["-c:v", "png", "-c:a", "pcm_s16le"], SLOW),
    "jpeg2000": ("j2k.mov", ["-c:v", "jpeg2000", "-pix_fmt", "yuv420p", "-c:a", "pcm_s16le"], SLOW),
    "qtrle": ("qtrle.mov", ["-c:v", "qtrle", "-c:a", "pcm_s16le"]),
    "svq1": ("svq1.mov", ["-c:v", "svq1", "-c:a", "pcm_s16le"], SLOW),
    "wmv2": ("wmv2.asf", ["-c:v", "wmv2", "-g", "10", "-c:a", "wmav2"]),
    "rv10": ("rv10.rm", ["-c:v", "rv10", "-g", "10", "-c:a", "ac3"], SLOW),
    "h264 in ts": ("h264.ts", [*X264, "-bf", "2", *AAC]),
    "hevc in ts": ("hevc.ts", ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
                               "log-level=error:keyint=10", *AAC], SLOW),
    "h264 in nut": ("h264.nut", [*X264, *AAC], SLOW),
    "h264 alone": ("alone.h264", [*X264, "-an"]),
    "hevc alone": ("alone.hevc", ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
                                  "log-level=error", "-an"], SLOW),
    "mpeg4 alone": ("alone.m4v", ["-c:v", "mpeg4", "-an"], SLOW),
    "ivf": ("vp9.ivf", ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-an"]),
    "y4m": ("in.y4m", ["-pix_fmt", "yuv420p", "-an"]),
}
# The last frame, or every frame, has no time of its own for ffprobe; here frames are 40 ms apart.
TIMELESS = {"mpeg4 with b-frames in avi", "mpeg2 in ps", "mpeg1 in ps", "h264 alone", "hevc alone"}
SIZES = {"av1": "64x64", "av1 10 bit": "64x64", "dnxhd": "256x120", "dnxhd in mxf": "256x120", "h263": "128x96"}

X265 = ["-c:v", "libx265", "-preset", "ultrafast", "-an"]
VP9 = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-an"]


def x265(pixel_format, *tags):
    return [*X265, "-x265-params", "log-level=error", "-pix_fmt", pixel_format, *tags]


def tags(matrix, primaries, transfer, span="tv"):
    return ["-colorspace", matrix, "-color_primaries", primaries, "-color_trc", transfer,
            "-color_range", span]


FORMATS = {
    "h264 4:2:2": ("in.mp4", [*X264, "-pix_fmt", "yuv422p", "-an"]),
    "h264 4:4:4": ("in.mp4", [*X264, "-pix_fmt", "yuv444p", "-an"]),
    "h264 10 bit 4:2:2": ("in.mp4", [*X264, "-pix_fmt", "yuv422p10le", "-an"]),
    "h264 rgb": ("in.mp4", ["-c:v", "libx264rgb", "-pix_fmt", "bgr0", "-an"], SLOW),
    "hevc 10 bit": ("in.mp4", x265("yuv420p10le")),
    "hevc 12 bit": ("in.mp4", x265("yuv420p12le")),
    "hevc 12 bit 4:4:4": ("in.mp4", x265("yuv444p12le")),
    "hevc gray": ("in.mp4", x265("gray"), SLOW),
    "vp9 4:4:4": ("in.webm", [*VP9, "-pix_fmt", "yuv444p"]),
    "vp9 10 bit": ("in.webm", [*VP9, "-pix_fmt", "yuv420p10le"]),
    "vp9 12 bit 4:2:2": ("in.webm", [*VP9, "-pix_fmt", "yuv422p12le"], SLOW),
    "av1 10 bit": ("in.mkv", ["-c:v", "libsvtav1", "-preset", "12", "-pix_fmt", "yuv420p10le",
                              "-an"]),
    "prores 4444 12 bit": ("in.mov", ["-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt",
                                      "yuv444p10le", "-an"]),
    "ffv1 4:1:1": ("in.mkv", ["-c:v", "ffv1", "-pix_fmt", "yuv411p", "-an"], SLOW),
    "ffv1 4:4:0": ("in.mkv", ["-c:v", "ffv1", "-pix_fmt", "yuv440p", "-an"], SLOW),
    "ffv1 16 bit": ("in.mkv", ["-c:v", "ffv1", "-pix_fmt", "yuv420p16le", "-an"]),
    "ffv1 rgb 10 bit": ("in.mkv", ["-c:v", "ffv1", "-pix_fmt", "gbrp10le", "-an"]),
    "palette": ("in.avi", ["-c:v", "rawvideo", "-pix_fmt", "pal8", "-an"], SLOW),
    "rgb555": ("in.mov", ["-c:v", "rawvideo", "-pix_fmt", "rgb555be", "-an"], SLOW),
    "full range": ("in.mp4", [*X264, *tags("bt709", "bt709", "bt709", "pc"), "-an"]),
    "bt601 625": ("in.mp4", [*X264, *tags("bt470bg", "bt470bg", "gamma28"), "-an"], SLOW),
    "bt709": ("in.mp4", [*X264, *tags("bt709", "bt709", "bt709"), "-an"]),
    "bt2020": ("in.mp4", x265("yuv420p10le", *tags("bt2020nc", "bt2020", "bt2020-10"))),
    "pq": ("in.mkv", x265("yuv420p10le", *tags("bt2020nc", "bt2020", "smpte2084"))),
    "hlg": ("in.mp4", x265("yuv420p10le", *tags("bt2020nc", "bt2020", "arib-std-b67"))),
    "1x1": ("in.mkv", ["-c:v", "ffv1", "-pix_fmt", "yuv420p", "-vf", "scale=1:1", "-an"]),
    "1x1 gif": ("in.gif", ["-vf", "scale=1:1", "-an"]),
    "3x1": ("in.mkv", ["-c:v", "png", "-vf", "scale=3:1", "-an"]),
    "1x7": ("in.webm", [*VP9, "-vf", "scale=1:7"]),
    "63x47": ("in.mp4", [*X264, "-pix_fmt", "yuv444p", "-vf", "scale=63:47,setsar=1", "-an"]),
    "sample aspect": ("in.mkv", [*X264, "-vf", "setsar=64/45", "-an"]),
    "sample aspect in ts": ("in.ts", ["-c:v", "mpeg2video", "-vf", "setdar=16/9", "-an"]),
}
# Rounding to 8 bits from RGB and back costs about this much; another frame costs far more.
LEAST_PSNR = 37.0


class InputCase(support.Case):
    def make(self, name, options, size="64x48", frames=30):
        path = self.folder / name
        ffmpeg(*picture(size=size, frames=frames), *tone(frames / 25), *options, path)
        return path

    def check(self, source, *options, kept=True, psnr=LEAST_PSNR, output="out.mkv",
              codec=("--codec", "ffv1"), chunk="0.4"):
        output = self.folder / output
        done = self.score(source, output, "--chunk-seconds", chunk, "--force", *codec, *options)
        if kept:
            self.assert_kept(source, output)
        if psnr:
            self.assert_same_pictures(source, output, psnr)
        return done

    def assert_same_pictures(self, source, output, least):
        """Frame by frame, whatever the times; alpha and gray become what they look like."""
        done = subprocess.run(
            ["ffmpeg", "-v", "info", "-noautorotate", "-i", source, "-noautorotate", "-i", output,
             "-lavfi", "[0:v:0]settb=1/25,setpts=N,format=gbrp[a];"
             "[1:v:0]settb=1/25,setpts=N,format=gbrp[b];[a][b]psnr", "-f", "null", "-"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=support.TIMEOUT)
        found = re.search(rb"PSNR .*min:(\S+)", done.stderr)
        self.assertTrue(found, done.stderr.decode(errors="replace")[-2000:])
        worst = float(found[1])
        self.assertGreaterEqual(worst, least, f"{source}: pictures differ")

    def assert_even(self, output, frames):
        times = frame_times(output)
        self.assertEqual(len(times), frames)
        for number, time in enumerate(times):
            self.assertAlmostEqual(time - times[0], number / 25, delta=0.0011)

    def check_table(self, table):
        for name, (file, options, *slow) in table.items():
            if slow and not support.SLOW_RUN:
                continue
            with self.subTest(name):
                source = self.make(file, options, SIZES.get(name, "64x48"))
                self.check(source, kept=name not in TIMELESS)
                if name in TIMELESS:
                    self.assert_even(self.folder / "out.mkv", 30)


class Codecs(InputCase):
    def test_codecs_and_containers(self):
        self.check_table(CODECS)

    def test_formats(self):
        self.check_table(FORMATS)


def decoded(path, *filters):
    """A hash of each frame."""
    listed = tool("ffmpeg", "-v", "error", "-i", path, "-map", "0:v:0", *filters, "-fps_mode",
                  "passthrough", "-f", "framemd5", "-").decode().splitlines()
    return [line.split()[-1] for line in listed if not line.startswith("#")]


FIELDS = ["-flags", "+ildct+ilme", "-vf", "interlace=scan=tff", "-an"]
# name: (file, options, whether the decoder says of each frame that it is interlaced)
INTERLACED = {
    "h264": ("in.mp4", [*X264, *FIELDS, "-bf", "2", "-x264-params", "interlaced=1:tff=1"], True),
    "mpeg2 in ts": ("in.ts", ["-c:v", "mpeg2video", "-g", "10", "-bf", "2", *FIELDS], True),
    "bottom field first": ("in.vob", ["-c:v", "mpeg2video", "-g", "10", *FIELDS, "-vf",
                                      "interlace=scan=bff"], True),
    "prores": ("in.mov", ["-c:v", "prores_ks", *FIELDS], True),
    "packed samples": ("in.mov", ["-c:v", "rawvideo", *FIELDS, "-pix_fmt", "uyvy422", "-field_order",
                                  "tt"], True),
    "by the container alone": ("in.mkv", ["-c:v", "huffyuv", "-pix_fmt", "yuv422p", *FIELDS,
                                          "-field_order", "tt"], False),
}


class Interlaced(InputCase):
    def refuse(self, source, saying):
        self.assert_refused(3, self.command(source, self.folder / "no.mkv", "--quiet"),
                            self.folder / "no.mkv", saying)

    def test_deinterlaced_when_asked(self):
        for name, (file, options, flagged) in INTERLACED.items():
            with self.subTest(name):
                source = self.make(file, options, frames=60)
                self.refuse(source, "--deinterlace")
                self.check(source, "--deinterlace", chunk="0.24", psnr=None, kept=file != "in.vob")
                chunked = decoded(self.folder / "out.mkv")
                self.check(source, "--deinterlace", chunk="60", psnr=None, kept=False)
                self.assertEqual(chunked, decoded(self.folder / "out.mkv"), "chunk borders show")
                fields = "setfield=tff," if not flagged else ""
                peer = decoded(source, "-vf", f"{fields}bwdif=mode=send_frame:deint=interlaced")
                # The first frame has no past, which each side fills in its own way.
                self.assertEqual(chunked[1:], peer[1:])
                source.unlink()

    def test_progressive_stays_as_it_is(self):
        source = self.make("in.mp4", [*X264, *AAC])
        self.check(source, "--deinterlace")

    def test_flags_of_frames_are_said(self):
        """MPEG-4 in MP4: nothing says so but the frames themselves."""
        source = self.make("in.mp4", ["-c:v", "mpeg4", *FIELDS])
        done = self.check(source)
        self.assertIn("--deinterlace", done.stderr + done.stdout)
        self.check(source, "--deinterlace", psnr=None)
        self.assertEqual(decoded(self.folder / "out.mkv")[1:],
                         decoded(source, "-vf", "bwdif=mode=send_frame:deint=interlaced")[1:])

    def test_hevc_of_fields_is_refused(self):
        source = self.make("in.mp4", ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
                                      "interlace=tff:log-level=error", *FIELDS])
        self.refuse(source, "field")


if __name__ == "__main__":
    support.main()
