#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Damaged copies of every kind of file: scored or refused in a sentence, never crashed, hung, short.

Short would be: fewer frames published than the report says, or than ffmpeg can decode by far.
`make test-slow` takes more seeds.
"""

import json
import subprocess
import sys

import support
from support import ffmpeg, picture, run, tone

sys.path.insert(0, str(support.ROOT / "tests"))
import damage  # noqa: E402

X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "8", "-bf", "2", "-pix_fmt", "yuv420p",
        "-c:a", "aac"]
FILES = {
    "h264.mp4": [*X264, "-movflags", "+faststart"],
    "h264.mkv": X264,
    "h264.ts": X264,
    "h264.flv": [*X264, "-bf", "0"],
    "fragmented.mp4": [*X264, "-movflags", "+frag_keyframe+empty_moov"],
    "hevc.mkv": ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
                 "log-level=error:keyint=8", "-c:a", "aac"],
    "vp9.webm": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "8", "-c:a",
                 "libopus"],
    "av1.mkv": ["-c:v", "libaom-av1", "-cpu-used", "8", "-g", "8", "-frames:v", "12"],
    "mpeg4.avi": ["-c:v", "mpeg4", "-g", "8", "-c:a", "libmp3lame"],
    "mpeg2.vob": ["-c:v", "mpeg2video", "-g", "8", "-c:a", "mp2", "-f", "vob"],
    "prores.mov": ["-c:v", "prores_ks", "-c:a", "pcm_s16le"],
    "in.gif": ["-an"],
    "mjpeg.avi": ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-c:a", "pcm_s16le"],
    "theora.ogv": ["-c:v", "libtheora", "-g", "8", "-c:a", "libvorbis"],
    "ffv1.mkv": ["-c:v", "ffv1", "-c:a", "flac"],
}
SEEDS = 12 if support.SLOW_RUN else 1


class Damage(support.Case):
    def decodable(self, path):
        """How many frames ffmpeg gets out of the best video stream, 0 if it cannot open it."""
        done = subprocess.run(
            ["ffmpeg", "-v", "error", "-i", path, "-map", "0:v?", "-fps_mode", "passthrough", "-f",
             "framemd5", "-"], stdin=subprocess.DEVNULL, capture_output=True,
            timeout=support.TIMEOUT)
        return sum(1 for line in done.stdout.splitlines() if line[:2] == b"0,")

    def check(self, source):
        output = self.folder / "out.mkv"
        done = run(*self.command(source, output, "--json", "--force", "--chunk-seconds", "0.4",
                                 "--codec", "ffv1"))
        self.assertIn(done.returncode, (0, 3), f"{source.name}: {done.stderr}")
        if done.returncode == 3:
            self.assert_one_sentence(done.stderr)
            self.assertFalse(output.exists())
            return False
        report = json.loads(done.stdout)
        self.assertEqual(support.frame_count(output), report["frames"], "published short")
        times = support.frame_times(output)
        self.assertEqual(times, sorted(set(times)))
        # ffmpeg conceals with threads, so it may show a few more or fewer.
        self.assertGreaterEqual(report["frames"] * 2 + 8, self.decodable(source))
        if report["frames"] != report["frames_expected"]:
            self.assertTrue(report["notes"], "frames are missing and nothing was said")
        output.unlink()
        return True

    def test_damaged_files(self):
        scored = tried = 0
        for number, (name, options) in enumerate(FILES.items()):
            original = self.folder / name
            ffmpeg(*picture(frames=24), *tone(1), *options, original)
            data = original.read_bytes()
            original.unlink()
            for seed in range(SEEDS):
                # A share takes one kind for each file, all of them over the files.
                kinds = damage.KINDS if support.SLOW_RUN else [damage.KINDS[number % 4]]
                for kind in kinds:
                    with self.subTest(file=name, kind=kind, seed=seed):
                        source = self.folder / f"{kind}{seed}-{name}"
                        source.write_bytes(damage.damaged(data, kind, seed))
                        tried += 1
                        scored += self.check(source)
                        source.unlink()
        self.assertGreater(scored, tried // 3, "hardly anything was saved")

    def test_the_same_seed_gives_the_same_damage(self):
        data = bytes(range(256)) * 40
        for kind in (*damage.KINDS, "mix"):
            once = damage.damaged(data, kind, 7)
            self.assertEqual(once, damage.damaged(data, kind, 7))
            self.assertNotEqual(once, data, kind)
            self.assertNotEqual(once, damage.damaged(data, kind, 8))
            self.assertEqual(once[:64], data[:64])


if __name__ == "__main__":
    support.main()
