#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What goes in: codecs, containers, formats and odd timings, each made here by ffmpeg.

Every input goes through a whole job (an identity model, FFV1 in Matroska, several chunks), then
through tests/independent_check.py, and its pixels are compared with the input's by ffmpeg. The
tables are what the README's list of inputs says. `make test` takes every second row that is
not marked SLOW, `make test-slow` takes all.
"""

import json
import re
import struct
import subprocess

import support
from support import ffmpeg, frame_times, picture, streams, tone, tool

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
    "h264 in 3gp": ("h264.3gp", [*X264, *AAC], SLOW),
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
    "rawvideo rgb24": ("rgb.mov", ["-c:v", "rawvideo", "-pix_fmt", "rgb24", "-c:a", "pcm_s16le"], SLOW),
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
    "h264 10 bit 4:2:2": ("in.mp4", [*X264, "-pix_fmt", "yuv422p10le", "-an"], SLOW),
    "h264 rgb": ("in.mp4", ["-c:v", "libx264rgb", "-pix_fmt", "bgr0", "-an"], SLOW),
    "hevc 10 bit": ("in.mp4", x265("yuv420p10le")),
    "hevc 12 bit": ("in.mp4", x265("yuv420p12le")),
    "hevc 12 bit 4:4:4": ("in.mp4", x265("yuv444p12le")),
    "hevc gray": ("in.mp4", x265("gray"), SLOW),
    "vp9 4:4:4": ("in.webm", [*VP9, "-pix_fmt", "yuv444p"]),
    "vp9 10 bit": ("in.webm", [*VP9, "-pix_fmt", "yuv420p10le"], SLOW),
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
    "bt709": ("in.mp4", [*X264, *tags("bt709", "bt709", "bt709"), "-an"], SLOW),
    "bt2020": ("in.mp4", x265("yuv420p10le", *tags("bt2020nc", "bt2020", "bt2020-10"))),
    "pq": ("in.mkv", x265("yuv420p10le", *tags("bt2020nc", "bt2020", "smpte2084"))),
    "hlg": ("in.mp4", x265("yuv420p10le", *tags("bt2020nc", "bt2020", "arib-std-b67"))),
    "1x1": ("in.mkv", ["-c:v", "ffv1", "-pix_fmt", "yuv420p", "-vf", "scale=1:1", "-an"]),
    "1x1 gif": ("in.gif", ["-vf", "scale=1:1", "-an"], SLOW),
    "3x1": ("in.mkv", ["-c:v", "png", "-vf", "scale=3:1", "-an"], SLOW),
    "1x7": ("in.webm", [*VP9, "-vf", "scale=1:7"]),
    "63x47": ("in.mp4", [*X264, "-pix_fmt", "yuv444p", "-vf", "scale=63:47,setsar=1", "-an"]),
    "sample aspect": ("in.mkv", [*X264, "-vf", "setsar=64/45", "-an"]),
    "sample aspect in ts": ("in.ts", ["-c:v", "mpeg2video", "-vf", "setdar=16/9", "-an"], SLOW),
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
        if psnr:  # libx264 costs more than rounding
            self.assert_same_pictures(source, output, psnr if codec else 30.0)
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
        for name, (file, options, *_) in rows_of(table):
            with self.subTest(name):
                source = self.make(file, options, SIZES.get(name, "64x48"))
                self.check(source, kept=name not in TIMELESS)
                if name in TIMELESS:
                    self.assert_even(self.folder / "out.mkv", 30)


def rows_of(table):
    """All; without $ATELIER_SLOW every second one of those that are not marked."""
    return list(table.items()) if support.SLOW_RUN else support.share(row for row in table.items() if SLOW not in row[1])


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


def boxes(data, path, begin=0, end=None):
    """(position, size) of every MP4 box on `path`; inside stsd and sample entries too."""
    end = len(data) if end is None else end
    at = begin
    while at + 8 <= end:
        size = int.from_bytes(data[at:at + 4], "big")
        if size < 8:
            return
        if data[at + 4:at + 8] == path[0]:
            if len(path) == 1:
                yield at, size
            else:
                skip = {b"stsd": 16, b"hvc1": 86}.get(path[0], 8)
                yield from boxes(data, path[1:], at + skip, at + size)
        at += size


def nal_units(data):
    """The units of an Annex B stream, without their start codes."""
    return [unit for unit in re.split(rb"\x00\x00\x00?\x01", data) if unit]


def with_captions(data):
    """A caption message (ATSC A/53, ITU-T T.35) before the slices of each H.264 picture."""
    out = bytearray()
    number = 0
    for unit in nal_units(data):
        if unit[0] & 31 in (1, 5):
            pair = bytes([0xFC, 0x80 | 0x41 + number % 26, 0x80 | 0x30 + number % 10])
            payload = b"\xb5\x00\x31GA94\x03" + bytes([0xC1, 0xFF]) + pair + b"\xff"
            out += b"\x00\x00\x00\x01\x06\x04" + bytes([len(payload)]) + payload + b"\x80"
            number += 1
        out += b"\x00\x00\x00\x01" + unit
    return bytes(out)


def captions(path):
    """The captions of each frame, as ffmpeg takes them out of the decoded video."""
    listed = subprocess.run(
        ["ffprobe", "-v", "error", "-f", "lavfi", "-i", f"movie={path.name}[out+subcc]",
         "-select_streams", "s", "-show_packets", "-show_data_hash", "md5", "-of", "json"],
        capture_output=True, cwd=path.parent, timeout=support.TIMEOUT, check=True)
    return [packet["data_hash"] for packet in json.loads(listed.stdout)["packets"]]


def shown_matrix(path):
    for side in streams(path)[0].get("side_data_list", []):
        if side["side_data_type"] == "Display Matrix":
            return side["displaymatrix"].split()
    return None


class Structures(InputCase):
    def test_transport_stream_without_a_first_key_frame(self):
        whole = self.make("whole.ts", [*X264, "-g", "12", "-bf", "2", "-muxdelay", "0", *AAC], frames=50)
        keys = [int(p["pos"]) for p in support.packets(whole, "v:0") if "K" in p["flags"]]
        data = whole.read_bytes()
        at = (keys[0] + (keys[1] - keys[0]) // 2) // 188 * 188
        source = self.folder / "in.ts"
        source.write_bytes(data[at:])
        self.check(source, psnr=None, kept=False)
        ours = frame_times(self.folder / "out.mkv")
        # ffmpeg shows broken pictures before the first key frame, or not, by its mood.
        self.assertGreaterEqual(len(ours), 50 - 24)
        self.assertEqual(support.stream_hash(source), support.stream_hash(self.folder / "out.mkv"))

    def test_fragmented(self):
        for flags in ("+frag_keyframe+empty_moov", "+frag_every_frame+empty_moov",
                      "+dash+global_sidx"):
            with self.subTest(flags):
                self.check(self.make("in.mp4", [*X264, "-bf", "2", *AAC, "-movflags", flags]))

    def test_edit_lists(self):
        whole = self.make("whole.mp4", [*X264, "-bf", "2", *AAC], frames=50)
        for start in ("0.3", "0.52"):
            cut = self.folder / "cut.mov"
            ffmpeg("-ss", start, "-i", whole, "-c", "copy", cut)
            self.check(cut)
        late = self.folder / "late.mp4"
        ffmpeg("-itsoffset", "1.5", "-i", whole, "-i", whole, "-map", "0:v", "-map", "1:a", "-c",
               "copy", late)
        self.check(late)

    def test_absurd_durations(self):
        source = self.make("in.mp4", [*X264, *AAC])
        data = bytearray(source.read_bytes())
        for path, offset in (([b"moov", b"mvhd"], 24), ([b"moov", b"trak", b"mdia", b"mdhd"], 24),
                             ([b"moov", b"trak", b"tkhd"], 28)):
            for at, _ in boxes(data, path):
                data[at + offset:at + offset + 4] = b"\x7f\xff\xff\xf0"
        source.write_bytes(data)
        self.check(source)
        source = self.make("in.mkv", [*X264, *AAC])
        data = bytearray(source.read_bytes())
        at = data.index(b"\x44\x89\x88") + 3
        data[at:at + 8] = bytes.fromhex("4341c37937e08000")  # 1e16
        source.write_bytes(data)
        self.check(source)

    def test_no_duration(self):
        for name, kind in (("live.webm", "webm"), ("live.flv", "flv")):
            with self.subTest(name):
                codec = [*VP9[:-1], "-g", "10", "-c:a", "libopus"] if kind == "webm" else [*X264, *AAC]
                source = self.folder / name
                source.write_bytes(tool("ffmpeg", "-v", "error", *picture(frames=30), *tone(1.2),
                                        *codec, "-f", kind, "-live", "1", "-") if kind == "webm" else
                                   tool("ffmpeg", "-v", "error", *picture(frames=30), *tone(1.2),
                                        *codec, "-flvflags", "no_duration_filesize", "-f", kind, "-"))
                self.check(source)

    def test_streams_of_other_lengths(self):
        for sound, offset in (("0.4", "0"), ("3", "0"), ("0.6", "0.5")):
            with self.subTest(sound=sound, offset=offset):
                source = self.folder / "in.mkv"
                ffmpeg(*picture(frames=30), "-itsoffset", offset, *tone(sound), *X264, *AAC, source)
                self.check(source)
        source = self.folder / "late.mkv"
        ffmpeg("-itsoffset", "0.7", *picture(frames=30), *tone(2), *X264, *AAC, source)
        self.check(source)

    def test_empty_track(self):
        texts = self.folder / "none.srt"
        texts.write_text("1\n00:00:50,000 --> 00:00:51,000\nToo late\n")
        for name in ("in.mkv", "in.mp4"):
            source = self.folder / name
            ffmpeg(*picture(frames=30), "-i", texts, "-map", "0:v", "-map", "1:s", "-t", "1.2",
                   *X264, "-c:s", "srt" if name == "in.mkv" else "mov_text", source)
            self.check(source, kept=name == "in.mkv")

    def test_several_videos_and_a_cover(self):
        cover = self.folder / "cover.png"
        ffmpeg("-f", "lavfi", "-i", "testsrc2=size=100x100", "-frames:v", "1", cover)
        source = self.folder / "in.mp4"
        ffmpeg(*picture("64x48", frames=30), *picture("32x32", frames=20), "-i", cover, "-map", "0",
               "-map", "1", "-map", "2", *X264, "-c:v:2", "png", "-disposition:v:2",
               "attached_pic", source)
        self.check(source, output="out.mp4", codec=())

    def test_captions_in_the_video_stay_in_the_video(self):
        raw = self.folder / "raw.h264"
        for b_frames in ("0", "2"):
            ffmpeg(*picture(frames=30), *X264, "-preset", "veryfast", "-bf", b_frames,
                   "-x264-params", "slices=1", raw)
            plain = self.folder / "plain.h264"
            plain.write_bytes(with_captions(raw.read_bytes()))
            source = self.folder / "in.mkv"
            if b_frames == "0":
                ffmpeg("-fflags", "+genpts", "-r", "25", "-i", plain, "-c", "copy", source)
            else:
                ffmpeg("-r", "25", "-i", plain, "-c:v", "libx264", "-a53cc", "1", "-bf", "2", "-g",
                       "10", source)
            wanted = captions(source)
            self.assertEqual(len(set(wanted)), 30)
            for output in ("out.mp4", "out.mkv"):
                self.check(source, output=output, codec=())
                self.assertEqual(captions(self.folder / output), wanted)

    def test_mirrored_and_turned(self):
        plain = self.make("plain.mp4", [*X264, *AAC]).read_bytes()
        one = 1 << 16
        matrices = {"mirrored": (-one, 0, 0, one), "upside down": (one, 0, 0, -one),
                    "turned": (0, one, -one, 0), "turned and mirrored": (0, one, one, 0)}
        for name, (a, b, c, d) in matrices.items():
            with self.subTest(name):
                data = bytearray(plain)
                at, _ = next(boxes(data, [b"moov", b"trak", b"tkhd"]))
                data[at + 48:at + 84] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
                source = self.folder / "in.mp4"
                source.write_bytes(data)
                self.assertIsNotNone(shown_matrix(source))
                self.check(source, output="out.mp4", codec=())
                self.assertEqual(shown_matrix(self.folder / "out.mp4"), shown_matrix(source))
                done = self.score(source, self.folder / "out.mkv", "--force")
                if name != "turned":  # Matroska can turn, not mirror
                    self.assertIn("mirror", (done.stderr + done.stdout).lower())

    def test_time_code_track(self):
        source = self.make("in.mov", [*X264, "-timecode", "01:02:03:04", "-c:a", "pcm_s16le"])
        self.check(source, output="out.mov", codec=())
        code = [s["tags"]["timecode"] for s in streams(self.folder / "out.mov")
                if s["codec_type"] == "data"]
        self.assertEqual(code, ["01:02:03:04"])

    def test_dolby_vision_record_of_a_copied_stream(self):
        """The scored stream is painted over and loses its record, the copied one keeps it."""
        hevc = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error",
                "-tag:v", "hvc1"]
        plain = self.folder / "plain.mp4"
        ffmpeg(*picture("64x48", frames=30), *picture("32x32", frames=20), "-map", "0", "-map", "1",
               *hevc, plain)
        data = bytearray(plain.read_bytes())
        record = b"\x00\x00\x00\x20dvvC\x01\x00\x10\x2d\x10" + bytes(19)
        entry = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"hvc1"]
        for at, size in sorted(boxes(data, entry), reverse=True):
            for depth in range(1, len(entry) + 1):
                for parent, length in boxes(data, entry[:depth]):
                    if parent <= at < parent + length:
                        data[parent:parent + 4] = (length + len(record)).to_bytes(4, "big")
            data[at + size:at + size] = record
        source = self.folder / "in.mp4"
        source.write_bytes(data)

        def records(path):
            return ["DOVI configuration record" in
                    [side["side_data_type"] for side in s.get("side_data_list", [])]
                    for s in streams(path)]
        self.assertEqual(records(source), [True, True])
        self.check(source, output="out.mp4", codec=())
        self.assertEqual(records(self.folder / "out.mp4"), [False, True])

    def test_a_missing_end_is_said(self):
        for name, options in (("in.mkv", [*X264, *AAC]), ("in.ts", [*X264, *AAC]),
                              ("in.avi", ["-c:v", "mpeg4", "-g", "10", "-c:a", "libmp3lame"])):
            with self.subTest(name):
                source = self.make(name, options)
                data = source.read_bytes()
                source.write_bytes(data[:len(data) * 2 // 3 + 1])
                done = self.score(source, self.folder / "out.mkv", "--force")
                self.assertIn("cut off", done.stderr + done.stdout)

    def test_animated_webp_is_refused(self):
        source = self.folder / "in.webp"
        ffmpeg(*picture(frames=10), "-c:v", "libwebp_anim", "-f", "webp", source)
        self.assert_refused(3, self.command(source, self.folder / "no.mkv", "--quiet"),
                            self.folder / "no.mkv", "in.webp")


SEE_THROUGH = ("format=yuva420p,geq=lum='lum(X,Y)':cb='cb(X,Y)':cr='cr(X,Y)':"
               "a='mod(X*4+Y*3+N*5,256)'")
ALPHA = {
    "vp9": ("in.webm", [*VP9, "-pix_fmt", "yuva420p", "-auto-alt-ref", "0"]),
    "vp8": ("in.webm", ["-c:v", "libvpx", "-deadline", "realtime", "-pix_fmt", "yuva420p",
                        "-auto-alt-ref", "0", "-an"]),
    "prores 4444": ("in.mov", ["-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt",
                               "yuva444p10le", "-an"]),
    "png": ("in.mov", ["-c:v", "png", "-pix_fmt", "rgba", "-an"]),
    "ffv1": ("in.mkv", ["-c:v", "ffv1", "-pix_fmt", "yuva420p", "-an"]),
    "qtrle": ("in.mov", ["-c:v", "qtrle", "-pix_fmt", "argb", "-an"]),
}


class Repeats(support.Case):
    """Pictures that stand still for a while are scored once; nothing else changes."""

    LOSSLESS = ["--codec", "ffv1", "--json"]

    def setUp(self):
        super().setUp()
        # 12 pictures at 25 frames a second, five frames each but one of four: its hole stays.
        self.source = self.folder / "in.mkv"
        ffmpeg(*picture(rate=5, frames=12, extra=",fps=25,select='not(eq(n,7))'"), "-vsync", "passthrough", "-c:v", "ffv1",
               "-pix_fmt", "yuv420p", self.source)

    @staticmethod
    def pictures(path):
        lines = tool("ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-vsync", "passthrough", "-f", "framemd5", "-")
        return [line.rpartition(",")[2].strip() for line in lines.decode().splitlines() if not line.startswith("#")]

    def paint(self, name, *options, **keywords):
        output, runs = self.folder / f"{name}.mkv", self.folder / name
        done = self.score(self.source, output, *self.LOSSLESS, *options, runs=runs, **keywords)
        folder, = self.run_folders(runs)
        chunks = [json.loads(path.read_text())["frames"] for path in sorted(folder.glob("chunks/*.json"))]
        self.assertEqual(json.loads((folder / "report.json").read_text())["repeated_frames"],
                         json.loads(done.stdout)["repeated_frames"])
        return output, json.loads(done.stdout), chunks

    def test_frames_that_repeat_are_scored_once(self):
        frames = self.pictures(self.source)
        self.assertEqual((len(frames), len(set(frames))), (59, 12))
        output, report, chunks = self.paint("one", "--chunk-seconds", "60", "--workers", "1")
        self.assertEqual((report["frames"], report["repeated_frames"], chunks), (59, 47, [59]))
        self.assertEqual(self.pictures(output), frames, "the identity changed a frame")
        self.assertEqual(frame_times(output), frame_times(self.source))

    def test_any_workers_and_chunks_give_the_same_pictures(self):
        frames = self.pictures(self.source)
        wanted, _, _ = self.paint("one", "--chunk-seconds", "60", "--workers", "1", model="starry-night")
        painted = self.pictures(wanted)
        self.assertEqual((len(painted), len(set(painted))), (59, 12))
        for workers, seconds in (("2", "0.3"), ("1", "0.3"), ("2", "0.04")):
            output, report, chunks = self.paint(f"{workers}-{seconds}", "--chunk-seconds", seconds, "--workers", workers,
                                                model="starry-night")
            self.assertGreater(len(chunks), 5)
            self.assertEqual(self.pictures(output), painted, f"{workers} workers, chunks of {seconds} s")
            self.assertEqual(frame_times(output), frame_times(self.source))
            ends = [sum(chunks[:i]) for i in range(len(chunks))]
            self.assertEqual(report["repeated_frames"],
                             sum(frames[i] == frames[i - 1] for i in range(1, 59) if i not in ends))


class Alpha(InputCase):
    def alpha(self, path, width=64, height=48):
        # Of VP8 and VP9, ffmpeg shows alpha only by libvpx.
        codec = streams(path)[0]["codec_name"]
        by = {"vp8": ["-c:v", "libvpx"], "vp9": ["-c:v", "libvpx-vp9"]}.get(codec, [])
        return tool("ffmpeg", "-v", "error", *by, "-i", path, "-vf",
                    f"alphaextract,format=gray,scale={width}:{height}:flags=bicubic", "-fps_mode",
                    "passthrough", "-f", "rawvideo", "-")

    def test_alpha_is_kept_or_its_loss_is_said(self):
        for name, (file, options) in ALPHA.items():
            with self.subTest(name):
                source = self.folder / file
                ffmpeg(*picture(frames=20, extra="," + SEE_THROUGH), *options, source)
                wanted = self.alpha(source)
                self.assertGreater(len(set(wanted)), 50, "the input has no alpha to lose")
                self.score(source, self.folder / "out.mkv", "--codec", "ffv1", "--chunk-seconds",
                           "0.3", "--force")
                got = self.alpha(self.folder / "out.mkv")
                self.assertEqual(len(got), len(wanted))
                self.assertLessEqual(max(abs(a - b) for a, b in zip(wanted, got)), 1)
                done = self.score(source, self.folder / "out.mp4", "--force")
                self.assertIn("alpha", done.stderr + done.stdout)

    def test_alpha_follows_the_size(self):
        source = self.folder / "in.mkv"
        ffmpeg(*picture(frames=10, extra="," + SEE_THROUGH), *ALPHA["ffv1"][1], source)
        self.score(source, self.folder / "out.mkv", "--codec", "ffv1", "--size", "32x24")
        wanted, got = self.alpha(source, 32, 24), self.alpha(self.folder / "out.mkv", 32, 24)
        self.assertEqual(len(wanted), len(got))
        off = sum(abs(a - b) for a, b in zip(wanted, got)) / len(got)
        self.assertLess(off, 2)


if __name__ == "__main__":
    support.main()
