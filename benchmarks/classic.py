#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The original sample's way of working against `atelier run`, as whole jobs on the same video.

Classic: ffmpeg writes every frame as a JPEG, one process of a general runtime (onnxruntime-node) scores each alone and writes
a JPEG, ffmpeg joins them with the sound. Both encode with x264 veryfast, CRF 18; both begin with nothing but the video.

usage: classic.py [--quick]      environment: ATELIER (program), SHARED (folder with models/ and media/)
"""
import json
import math
import pathlib
import re
import sys
import tempfile
import time

import common

CLIP = common.SHARED / "media/chaplin.mp4"
ROUNDS = 3
SECONDS = 3
QUALITY = 95
GOALS = {"atelier wave": 4, "atelier wave int8": 4, "atelier starry-night": 50, "atelier starry-night int8": 50}
# Whatever its quality: the table says which it has.
INT8 = ["--precision", "int8", "--min-psnr", "0"]


def rate_of(video):
    return common.call(["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=r_frame_rate", "-of",
                        "csv=p=0", video]).strip().rstrip(",")


def classic(video, model, out):
    with tempfile.TemporaryDirectory() as folder:
        taken, made = (pathlib.Path(folder) / name for name in ("taken", "made"))
        taken.mkdir(), made.mkdir()
        common.call(["ffmpeg", "-v", "error", "-i", video, "-map", "0:v:0", "-fps_mode", "passthrough", "-q:v", "2",
                     taken / "%06d.jpg"])
        settings = {"model": str(model), "threads": common.THREADS, "from": str(taken), "to": str(made), "quality": QUALITY}
        common.call(["node", common.HERE / "classic_score.mjs", json.dumps(settings)], timeout=900)
        common.call(["ffmpeg", "-v", "error", "-y", "-framerate", rate_of(video), "-i", made / "%06d.jpg", "-i", video, "-map",
                     "0:v", "-map", "1:a?", "-c:a", "copy", "-vf", "scale=in_range=full:out_range=limited", "-pix_fmt",
                     "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-crf", "18", out])


def job(video, model, out, *options):
    """The report of a whole run from nothing."""
    with tempfile.TemporaryDirectory() as folder:
        common.atelier("run", video, out, "--model", model, "--runs", folder, "--force", *options)
        return json.loads(next(pathlib.Path(folder).glob("*/report.json")).read_text())


def psnr_of(one, other):
    """dB of all frames together."""
    done = common.call(["sh", "-c", 'ffmpeg -hide_banner -i "$0" -i "$1" -lavfi "[0:v:0][1:v:0]psnr" -f null - 2>&1', one,
                        other])
    found = re.search(r"average:(\S+)", done)
    return float(found[1]) if found else math.nan


def timed(function):
    def run():
        begin = time.perf_counter()
        answer = function()
        return time.perf_counter() - begin, answer
    return run


def main():
    rounds, seconds = (1, 1) if "--quick" in sys.argv[1:] else (ROUNDS, SECONDS)
    print(f"\nCLASSIC  {common.machine()}; {CLIP.name}, {seconds} s; medians of {rounds} alternating rounds of whole jobs")
    if common.missing(CLIP, common.WAVE):
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        video = folder / "clip.mp4"
        common.call(["ffmpeg", "-v", "error", "-i", CLIP, "-t", seconds, "-c", "copy", video])
        outs = {name: folder / f"{name.replace(' ', '-')}.mp4" for name in ("classic wave", *GOALS, "classic starry-night")}
        jobs = {"classic wave": lambda: classic(video, common.WAVE, outs["classic wave"]),
                "atelier wave": lambda: job(video, common.WAVE, outs["atelier wave"]),
                "atelier wave int8": lambda: job(video, common.WAVE, outs["atelier wave int8"], *INT8),
                "atelier starry-night": lambda: job(video, common.LEAN, outs["atelier starry-night"]),
                "atelier starry-night int8": lambda: job(video, common.LEAN, outs["atelier starry-night int8"], *INT8)}
        found = common.alternate({name: timed(function) for name, function in jobs.items()}, rounds)
        report(found, outs, video)


def report(found, outs, video):
    base = found["classic wave"][0]
    if isinstance(base, common.Failed):
        print(f"  cannot: {base}")
        return
    # The same picture by both ways, once more for the other network.
    classic(video, common.LEAN, outs["classic starry-night"])
    whole = {name: common.median([seconds for seconds, _ in answers]) for name, answers in found.items()
             if not isinstance(answers[0], common.Failed)}
    rows = []
    for name, answers in found.items():
        if name not in whole:
            rows.append([name, f"cannot: {answers[0]}"])
            continue
        told = answers[0][1] or {}
        quality = f"{psnr_of(outs[name], outs[name.replace('atelier', 'classic').removesuffix(' int8')]):.1f}" if name in GOALS else ""
        rows.append([name, told.get("frames", ""), f"{whole[name]:.2f}", f"{whole['classic wave'] / whole[name]:.1f}",
                     f"{GOALS[name]}" if name in GOALS else "", quality])
    print(common.table(["", "frames", "seconds", "times faster", "goal", "PSNR dB"], rows))
    for name in GOALS:
        if name in whole:
            print(f"  {name}: precision {json.dumps(found[name][0][1].get('precision'))}")
    print(f"  PSNR against the classic way with the same network; JPEG quality {QUALITY} between its steps", flush=True)


if __name__ == "__main__":
    main()
