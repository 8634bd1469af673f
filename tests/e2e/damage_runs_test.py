#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two thousand damaged videos: no crash, no leak, no hang, and never a short published video.

Run N damages one of the sources (every file of ../shared/media and some made here) with seed N.
Whatever the damage, the program must end in time with a documented exit code. If it published, the
video decodes without an error, has the frames that the report counts and at least those that
ffprobe decodes from the damaged file, and the copied streams have the input's packets at the
input's times. If not, it says one sentence and nothing is left behind, in the scratch folder
either. `damage_runs_test.py --runs N-M` does these runs only; a failure names its N.

How the frames are counted: ffprobe decodes the damaged file on one thread from its beginning, in
one stretch. A chunk is decoded from its own key packet, and next to damage libav's decoders give or
hold back a concealed frame depending on where they began, or give it in another order than its
time. So where the report owns to trouble (decode errors, or fewer frames than packets), a twentieth
of the frames and two more may be missing; where it does not, none.
"""

import json
import os
import pathlib
import shlex
import subprocess
import sys

import support
from support import ROOT, make_video, ffmpeg, picture, tone

sys.path.insert(0, str(ROOT / "tests"))
import damage  # noqa: E402  (beside this folder)

# Runs that found something once: libvpx after damage (alpha beside the picture), absurd times,
# numbers that no enum has, a stream without packets.
FOUND = [55, 183, 102, 802, 837]
# A share that passes every second source once; a few under the sanitizers; all for `make test-damage`.
RUNS = (range(2000) if support.SLOW_RUN else
        [*range(0, 32, 4), 802] if support.SHORT_RUN else [*range(0, 32, 2), *FOUND])
SECONDS = 300  # under the sanitizers, beside other work
FINDING = 99  # what a sanitizer exits with here
SANITIZER = {
    "ASAN_OPTIONS": f"detect_leaks=1:exitcode={FINDING}:abort_on_error=0:allocator_may_return_null=1",
    "UBSAN_OPTIONS": f"print_stacktrace=1:halt_on_error=1:exitcode={FINDING}",
    "LSAN_OPTIONS": f"exitcode={FINDING}:print_suppressions=0:"
                    f"suppressions={support.ROOT}/tests/leaks.supp",
}


class Finding(Exception):
    """What is wrong with a run, in words."""


def make_sources(folder):
    """Small files of the containers that ../shared/media lacks or has once."""
    sound = [*tone(1.6), "-c:a", "aac"]
    ffmpeg(*picture(), *tone(1.6), "-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2", folder / "a.ts")
    ffmpeg(*picture(), *tone(1.6), "-c:v", "mpeg4", "-bf", "2", "-c:a", "libmp3lame", folder / "b.avi")
    ffmpeg(*picture(frames=12), *sound, "-c:v", "prores_ks", folder / "c.mov")
    ffmpeg(*picture(), *sound, "-c:v", "flv1", folder / "d.flv")
    ffmpeg(*picture(frames=20), "-c:v", "ffv1", "-level", "3", folder / "e.mkv")
    make_video(folder / "f.mp4", "-bf", "3", "-movflags", "+frag_keyframe+empty_moov")
    make_video(folder / "g.ts", "-bf", "2")
    make_video(folder / "h.mkv", "-c:v", "libx265", "-x265-params", "log-level=error:pools=1", "-preset",
               "ultrafast")
    make_video(folder / "i.mov", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-c:a", "pcm_s16le")
    make_video(folder / "j.gif", codec=["-c:v", "gif"], sound=False, frames=12)
    return sorted(folder.iterdir())


def ffprobe_json(path, *arguments):
    """What ffprobe makes of it, or None."""
    done = subprocess.run(["ffprobe", "-v", "quiet", "-of", "json", *arguments, "-i", f"file:{path}"],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
    try:
        return json.loads(done.stdout.decode(errors="replace"))
    except json.JSONDecodeError:
        return None


def packet_list(path, stream):
    found = ffprobe_json(path, "-select_streams", str(stream), "-show_packets", "-show_data_hash",
                         "md5", "-show_entries", "packet=pts_time,dts_time,data_hash")
    return (found or {}).get("packets", [])


def payload(path, stream):
    """All bytes of a stream's packets."""
    return subprocess.run(["ffmpeg", "-v", "quiet", "-i", path, "-map", f"0:{stream}", "-c", "copy",
                           "-f", "data", "-"], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=SECONDS).stdout


class DamagedRun:
    def __init__(self, case, number, source):
        self.case, self.number, self.source = case, number, source
        self.folder = case.folder / f"run{number}"
        (self.folder / "to").mkdir(parents=True)
        self.hurt = self.folder / f"hurt{source.suffix}"
        self.output = self.folder / "to" / ("out.mkv" if number % 3 else "out.mp4")
        self.kind = ""
        self.command = []

    def explain(self):
        return (f"run {self.number}: tests/damage.py {self.source} {self.hurt.name} --kind any "
                f"--seed {self.number} ({self.kind})\natelier {shlex.join(map(str, self.command))}")

    def go(self):
        """The exit code; raises Finding."""
        data, self.kind = damage.damaged_anyhow(self.source.read_bytes(), self.number)
        self.hurt.write_bytes(data)
        chunk = ["4", "0.5", "0.1"][self.number % 7 % 3]
        self.command = self.case.command(self.hurt, self.output, "--json", "--codec", "libx264",
                                         "--preset", "ultrafast", "--size", "32x24",
                                         "--chunk-seconds", chunk,
                                         # In a process that is locked in nobody can look for leaks.
                                         "--sandbox", "off", runs=self.folder / "runs")
        try:
            done = support.run(*self.command, timeout=SECONDS,
                               env={**SANITIZER, "XDG_CACHE_HOME": str(self.folder / "cache")})
        except subprocess.TimeoutExpired:
            raise Finding(f"did not end in {SECONDS} s") from None
        self.check_ending(done)
        if done.returncode == 0:
            self.check_published(json.loads(done.stdout))
        return done.returncode

    def check_ending(self, done):
        for word in ("Sanitizer", "runtime error:", "terminate called"):
            if word in done.stderr:
                raise Finding(done.stderr[:3000])
        # A damaged header may ask for a size that no encoder takes: --size is the way out.
        no_encoder = done.returncode == 2 and any(
            word in done.stderr for word in ("refuses its settings", "use a smaller frame"))
        if done.returncode not in (0, 1, 3) and not no_encoder:
            raise Finding(f"exit code {done.returncode}: {done.stderr[:2000]}")
        left = [p for p in (self.folder / "cache").rglob("*") if p.is_file()]
        if left:
            raise Finding(f"scratch files are left: {left}")
        entries = sorted(os.listdir(self.output.parent))
        if done.returncode:
            if entries:
                raise Finding(f"exit code {done.returncode}, but there is {entries}")
            if len(done.stderr.strip().splitlines()) != 1:
                raise Finding(f"not one sentence: {done.stderr!r}")
        elif entries != [self.output.name]:
            raise Finding(f"beside the output there is {entries}")

    def check_published(self, report):
        ours = (ffprobe_json(self.output, "-show_streams") or {}).get("streams", [])
        scored = [s["index"] for s in ours if s.get("codec_name") == "h264" and
                  (s.get("width"), s.get("height")) == (32, 24)]
        if not scored:
            raise Finding("the output has no video of the size asked for")
        decoded = subprocess.run(["ffmpeg", "-v", "error", "-xerror", "-i", self.output, "-map",
                                  f"0:{scored[0]}", "-fps_mode", "passthrough", "-enc_time_base", "-1",
                                  "-f", "rawvideo", "-"], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, timeout=SECONDS)
        said = decoded.stderr.decode(errors="replace")  # on opening, of damaged sound as well
        # ffmpeg also looks into the other streams, which are copied with the damage they have.
        alone = sum(s.get("codec_type") == "video" for s in ours) == 1
        if decoded.returncode or alone and "[h264" in said:
            raise Finding(f"the output does not decode: {said}")
        count = support.frame_count(self.output, str(scored[0]))
        if count != report["frames"]:
            raise Finding(f"{count} frames are published, the report says {report['frames']}")
        self.check_frames(report)
        self.check_copies(report, ours, scored[0])

    def check_frames(self, report):
        stream = self.scored_in_input()
        theirs = ffprobe_json(self.hurt, "-threads", "1", "-select_streams", str(stream),
                              "-count_frames", "-show_entries", "stream=nb_read_frames")
        listed = (theirs or {}).get("streams") or [{}]
        count = listed[0].get("nb_read_frames", "N/A")
        if count == "N/A":
            return
        self.case.differences.append((report["frames"] - int(count), self.number))
        trouble = report["decode_errors"] > 0 or report["frames"] < report["frames_expected"]
        if report["frames"] < int(count) - (2 + int(count) // 20 if trouble else 0):
            raise Finding(f"short: {report['frames']} frames are published (expected "
                          f"{report['frames_expected']}, errors {report['decode_errors']}), ffprobe "
                          f"decodes {count}")

    def scored_in_input(self):
        done = support.run("probe", "--json", self.hurt, timeout=SECONDS, env=SANITIZER)
        return json.loads(done.stdout)["video_stream"]

    def check_copies(self, report, ours, scored):
        """Every sound's packets are the input's, at the input's times."""
        notes = " ".join(report["notes"])
        seen = (ffprobe_json(self.hurt, "-show_streams") or {}).get("streams", [])
        sounds = [s["index"] for s in seen if s.get("codec_type") == "audio"]
        copies = [s["index"] for s in ours if s.get("codec_type") == "audio"]
        if len(sounds) != len(copies):
            # A transport stream may begin a stream on the way, which only a reading to its end sees.
            grown = self.hurt.suffix == ".ts" and len(copies) < len(sounds)
            if "left out" not in notes and not grown:
                raise Finding(f"{len(sounds)} sounds became {len(copies)}, and no note says why")
            return
        if "left out" in notes:
            return
        for old, new in zip(sounds, copies):
            before, after = packet_list(self.hurt, old), packet_list(self.output, new)
            if self.hurt.suffix == ".ts":  # each packet loses its ADTS header
                before, after = ([{k: v for k, v in p.items() if k != "data_hash"} for p in each]
                                 for each in (before, after))
            hashes, kept = ([p.get("data_hash") for p in each] for each in (before, after))
            # An edit list counts milliseconds: its end may hide the last packet, which is there.
            if kept != hashes and not (self.output.suffix == ".mp4" and kept == hashes[:-1]):
                # A packet that damage made too long is cut into its frames when Matroska is read.
                if payload(self.hurt, old) == payload(self.output, new):
                    continue
                raise Finding(f"stream {old}: {len(before)} packets became {len(after)} others")
            self.check_times(old, before, after, report["shifted_seconds"])

    @staticmethod
    def check_times(stream, before, after, shift):
        latest = float("-inf")
        for a, b in zip(before, after):
            wanted, got = (p.get("pts_time", p.get("dts_time")) for p in (a, b))
            if wanted is None or got is None:
                continue
            # Damage makes times go back; in a file they stand still until they go on.
            latest = max(latest, float(wanted) + shift)
            if abs(latest - float(got)) > 0.0021:
                raise Finding(f"stream {stream}: the packet of {wanted} s is at {got} s")

    def clean(self):
        subprocess.run(["rm", "-rf", self.folder], check=True)


class DamagedVideos(support.Case):
    def test_damaged_videos(self):
        made = self.folder / "made"
        made.mkdir()
        sources = make_sources(made)
        if (support.SHARED / "media").is_dir():
            sources += sorted((support.SHARED / "media").iterdir())
        else:
            print("SKIPPED: ../shared/media is absent: only videos made here", file=sys.stderr)
        self.differences = []
        counts, findings = {0: 0, 1: 0, 2: 0, 3: 0}, []
        for number in RUNS:
            run = DamagedRun(self, number, sources[number % len(sources)])
            try:
                counts[run.go()] += 1
            except (Finding, RuntimeError, subprocess.TimeoutExpired) as finding:
                findings.append(number)
                why = f"{run.explain()}\n{finding}"
                print(why, file=sys.stderr, flush=True)
                with self.subTest(run=number):
                    raise self.failureException(why) from None
            finally:
                run.clean()
        print(f"{len(RUNS)} runs: {counts[0]} published, {counts[2] + counts[3]} refused, {counts[1]} failed with "
              f"a sentence, {len(findings)} findings {findings}; {os.path.basename(support.PROGRAM)} "
              f"of {pathlib.Path(support.PROGRAM).parent.name}; frames beyond ffprobe's: "
              f"{sorted(d for d in self.differences if d[0])}", file=sys.stderr)
        self.assertGreater(counts[0], 0, "nothing was published: nothing was tested")


if __name__ == "__main__":
    RUNS = support.take_range("--runs", RUNS, "test_damaged_videos")
    support.main()
