#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files that promise too much: each ends in time, in bounded memory, with a sentence or a video.

Headers may announce a billion frames, days of video, pictures of 65535x65535 or thousands of
streams and chapters; boxes may stand in boxes a hundred thousand deep. What is judged is the same
for all: the exit code, the time, the largest resident size, and that nothing is left behind.
"""

import json
import os
import resource
import struct
import subprocess
import tempfile
import threading
import zlib

import support
from support import ffmpeg, make_video

SECONDS = 90 if support.SHORT_RUN else 30
MEGABYTES = 1500  # the program, its libraries and a few pictures of the largest size


def box(kind, *payload):
    data = b"".join(payload)
    return struct.pack(">I", len(data) + 8) + kind + data


def element(name, data):
    """An EBML element with a length of eight bytes."""
    return bytes.fromhex(name) + struct.pack(">Q", len(data) | 1 << 56) + data


def number(name, value):
    return element(name, struct.pack(">Q", value))


def matroska(*segment):
    head = number("4286", 1) + number("42F7", 1) + number("42F2", 4) + number("42F3", 8) + \
        element("4282", b"matroska") + number("4287", 4) + number("4285", 2)
    info = element("1549A966", number("2AD7B1", 1000000))
    return element("1A45DFA3", head) + element("18538067", info + b"".join(segment))


def track(index, codec, width=64, height=48, kind=1):
    picture = element("E0", number("B0", width) + number("BA", height)) if kind == 1 else b""
    return element("AE", number("D7", index) + number("73C5", index) + number("83", kind) +
                   element("86", codec) + picture)


def cluster(packets):
    """Simple blocks of track 1, one each 40 ms."""
    blocks = b"".join(element("A3", b"\x81" + struct.pack(">h", 40 * i) + b"\x80" + data)
                      for i, data in enumerate(packets))
    return element("1F43B675", number("E7", 0) + blocks)


def png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + \
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + \
        chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def jpeg(width, height):
    return b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width) + \
        b"\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00?\x00" + \
        b"\x00" * 64 + b"\xff\xd9"


def gif(width, height):
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff" + \
        b"!\xf9\x04\0\x0a\0\0\0," + struct.pack("<HHHH", 0, 0, width, height) + b"\0" + \
        b"\x02\x03\x44\x01\x00;"


class Hostile(support.Case):
    def setUp(self):
        super().setUp()
        (self.folder / "to").mkdir()
        self.output = self.folder / "to" / "out.mkv"

    def measure(self, source, *options):
        """(exit code, report or None); checks what holds for every file."""
        command = self.command(source, self.output, "--json", "--force", *options)
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache")}
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen([support.PROGRAM, *map(str, command)], env=environment,
                                       stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            guard = threading.Timer(SECONDS, process.kill)
            guard.start()
            _, status, usage = os.wait4(process.pid, 0)
            guard.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            said, errors = out.read().decode(errors="replace"), err.read().decode(errors="replace")
        # What no encoder or network takes: --size is the way out.
        if "refuses its settings" in errors or "use a smaller frame" in errors:
            self.assertEqual(process.returncode, 2)
        else:
            self.assertIn(process.returncode, (0, 1, 3), f"{source}: {errors[:2000]}")
        if not support.SHORT_RUN:  # a sanitizer has memory of its own
            self.assertLess(usage.ru_maxrss // 1024, MEGABYTES, f"{source}: {errors}")
        left = [path for path in (self.folder / "cache").rglob("*") if path.is_file()]
        self.assertEqual(left, [], "scratch files are left")
        if process.returncode:
            self.assert_one_sentence(errors)
            self.assertEqual(os.listdir(self.output.parent), [])
            return process.returncode, None
        report = json.loads(said)
        self.assertEqual(support.frame_count(self.output), report["frames"])
        self.output.unlink()
        return 0, report

    def change(self, source, kind, offset, value):
        """A copy of an MP4 with `value` at `offset` of the contents of its first box `kind`."""
        data = bytearray(source.read_bytes())
        at = data.index(kind) + 4 + offset
        data[at:at + len(value)] = value
        changed = self.folder / f"{kind.decode()}-{offset}.mp4"
        changed.write_bytes(data)
        return changed

    def test_absurd_durations(self):
        plain = make_video(self.folder / "plain.mp4")
        for kind, offset in ((b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16), (b"elst", 8)):
            for value in (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x01"):
                with self.subTest(box=kind, value=value):
                    code, report = self.measure(self.change(plain, kind, offset, value))
                    if code == 0 and kind != b"elst":  # an edit list may hide frames, and says so
                        self.assertEqual(report["frames"], 40)

    def test_durations_of_frames(self):
        """stts: frames that last for years; times overflow 32 bits."""
        plain = make_video(self.folder / "plain.mp4", "-bf", "0")
        for value in (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00"):
            with self.subTest(value):
                self.measure(self.change(plain, b"stts", 12, value))

    def test_a_billion_frames(self):
        plain = make_video(self.folder / "plain.mp4", "-bf", "2")
        billion = struct.pack(">I", 10**9)
        for kind, offset in ((b"stts", 8), (b"stsz", 8), (b"stsz", 4), (b"ctts", 8), (b"stsc", 12),
                             (b"stts", 4), (b"ctts", 4), (b"stsc", 4), (b"stco", 4), (b"stss", 4)):
            with self.subTest(box=kind, offset=offset):
                self.measure(self.change(plain, kind, offset, billion))

    def test_a_billion_frames_of_one_byte(self):
        """Every table agrees that there are 10^9 samples, and the file is tiny."""
        plain = make_video(self.folder / "plain.mp4", "-bf", "0", sound=False)
        data = bytearray(plain.read_bytes())
        for kind, offset, value in ((b"stts", 8, 10**9), (b"stsz", 4, 1), (b"stsz", 8, 10**9),
                                    (b"stsc", 12, 10**9)):
            at = data.index(kind) + 4 + offset
            data[at:at + 4] = struct.pack(">I", value)
        source = self.folder / "billion.mp4"
        source.write_bytes(data)
        self.measure(source)

    def test_huge_pictures(self):
        sizes = ((65535, 65535), (65535, 1), (1, 65535), (16383, 16383))
        for width, height in sizes:
            files = {
                "png.mkv": matroska(element("1654AE6B", track(1, b"V_MS/VFW/FOURCC", width, height)),
                                    cluster([png(width, height)] * 3)),
                "mjpeg.mkv": matroska(element("1654AE6B", track(1, b"V_MJPEG", width, height)),
                                      cluster([jpeg(width, height)] * 3)),
                "vp8.mkv": matroska(element("1654AE6B", track(1, b"V_VP8", width, height)),
                                    cluster([b"\x10\x02\x00\x9d\x01\x2a" + struct.pack(
                                        "<HH", width & 16383, height & 16383) + bytes(40)] * 3)),
                "raw.mkv": matroska(element("1654AE6B", track(1, b"V_UNCOMPRESSED", width, height)),
                                    cluster([bytes(100)] * 3)),
                "picture.gif": gif(width, height),
            }
            for name, data in files.items():
                with self.subTest(name, width=width, height=height):
                    source = self.folder / f"{width}x{height}{name}"
                    source.write_bytes(data)
                    code, _ = self.measure(source)
                    if (width, height) == (65535, 65535):
                        self.assertNotEqual(code, 0)

    def test_headers_that_lie_about_the_size(self):
        """Small frames in a track of 65535x65535: what is decoded counts, or a sentence."""
        plain = make_video(self.folder / "plain.mp4")
        self.measure(self.change(plain, b"avc1", 24, b"\xff\xff\xff\xff"))
        self.measure(self.change(plain, b"tkhd", 76, b"\xff\xff\xff\xff\xff\xff\xff\xff"))

    def test_thousands_of_streams(self):
        tracks = b"".join(track(i + 1, b"V_VP8") for i in range(3000))
        source = self.folder / "tracks.mkv"
        source.write_bytes(matroska(element("1654AE6B", tracks), cluster([bytes(20)] * 3)))
        self.measure(source)

    def test_thousands_of_chapters(self):
        text = self.folder / "c.txt"
        text.write_text(";FFMETADATA1\n" + "".join(
            f"[CHAPTER]\nTIMEBASE=1/1000000\nSTART={i}\nEND={i + 1}\ntitle=Chapter {i}\n"
            for i in range(5000)))
        plain = make_video(self.folder / "plain.mp4", frames=8)
        source = self.folder / "chapters.mkv"
        ffmpeg("-i", plain, "-i", text, "-map", "0", "-map_metadata", "1", "-c", "copy", source)
        code, report = self.measure(source)
        self.assertEqual((code, report["frames"]), (0, 8))

    def test_containers_in_containers(self):
        nested = box(b"free")
        for _ in range(20000):
            nested = box(b"moov", nested) if len(nested) < 60000 else box(b"trak", nested)
        files = {"boxes.mp4": box(b"ftyp", b"isom\0\0\2\0isom") + nested,
                 "tags.mkv": matroska(self.nested_tags(3000)),
                 "matroska-in-matroska.mkv": matroska(matroska(matroska()))}
        for name, data in files.items():
            with self.subTest(name):
                source = self.folder / name
                source.write_bytes(data)
                self.assertEqual(self.measure(source)[0], 3)

    @staticmethod
    def nested_tags(depth):
        tag = element("45A3", b"name")
        for _ in range(depth):
            tag = element("67C8", tag)
        return element("1254C367", element("7373", tag))

    def test_a_playlist_opens_nothing_else(self):
        make_video(self.folder / "other.ts")
        for name, text in {"list.mp4": "ffconcat version 1.0\nfile other.ts\n",
                           "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.6,\nother.ts\n"
                                        "#EXT-X-ENDLIST\n"}.items():
            with self.subTest(name):
                source = self.folder / name
                source.write_text(text)
                self.assertEqual(self.measure(source)[0], 3)

    def test_few_file_descriptors(self):
        """Sixty chunks with 40 descriptors: none stays open behind a chunk."""
        source = make_video(self.folder / "in.mp4", frames=60, size="16x16")
        done = subprocess.run(
            [support.PROGRAM, *map(str, self.command(source, self.output, "--json",
                                                     "--chunk-seconds", "0.001"))],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=support.TIMEOUT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["chunks"], 60)


if __name__ == "__main__":
    support.main()
