#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the whole job against scoring alone, and the peak memory of short, long and very long videos.

Nothing here asserts a time: machines are noisy.

usage: bench.py [--quick]      environment: ATELIER (program), SHARED (folder with models/ and media/)
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
ATELIER = os.environ.get("ATELIER", str(ROOT / "build/release/atelier"))
SHARED = pathlib.Path(os.environ.get("SHARED", ROOT.parent / "shared"))
ROUNDS = 3
# A video of a few frames needs less memory than one that keeps every stage busy.
PIPELINE_FRAMES = 60


def atelier_json(*args):
    out = subprocess.run([ATELIER, *map(str, args), "--json"], check=True, stdout=subprocess.PIPE).stdout
    return json.loads(out)


def whole_job():
    model, clip = SHARED / "models/dyn/wave.onnx", SHARED / "media/chaplin.mp4"
    if not (model.exists() and clip.exists()):
        print("\nSKIPPED: the whole job needs wave.onnx and chaplin.mp4")
        return
    print("\nWhole job (decode, score, encode, join, sound) over scoring alone, wave.onnx, 640x360, 75 frames")
    ratios = []
    for _ in range(ROUNDS):
        alone = atelier_json("bench", "--model", model, "--size", "640x360", "--repeats", 7)
        with tempfile.TemporaryDirectory() as folder:
            job = atelier_json("run", clip, f"{folder}/out.mp4", "--model", model, "--to", 3, "--runs", f"{folder}/runs")
        fps_alone, fps_job = 1 / alone["score_seconds_per_frame"], job["frames"] / job["wall_seconds"]
        ratios.append(fps_job / fps_alone)
        print(f"  scoring {fps_alone:6.2f} fps   job {fps_job:6.2f} fps   ratio {ratios[-1]:.3f}", flush=True)
    print(f"  median ratio {statistics.median(ratios):.3f}")


def peak_mib(*args):
    """Peak resident memory of one run of the program, as the kernel counted it."""
    process = subprocess.Popen([ATELIER, *map(str, args)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"the program ended with {process.returncode}")
    return usage.ru_maxrss / 1024


def peak_memory(quick):
    frames = 2000 if quick else 20000
    print("\nPeak memory: a short video, a long one, and one so long that what grows must show")
    with tempfile.TemporaryDirectory() as folder:
        generated = f"{folder}/long.mp4"
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=s=480x270:r=30:d={frames / 30}",
                        "-c:v", "libx264", "-preset", "ultrafast", "-g", "60", generated], check=True)
        clips = {"generated": generated}
        if (SHARED / "media").exists():
            clips = {"shortest": SHARED / "media/video_0.mov", "4 s": SHARED / "media/carphone_pristine.mp4",
                     "longest": SHARED / "media/nasa_13013.mp4", **clips}
        memory_table("starry-night, --size 320x180", clips, "starry-night", "--size", "320x180")
        wave = SHARED / "models/dyn/wave.onnx"
        if wave.exists():
            clips = {name: clip for name, clip in clips.items() if name in ("shortest", "longest")}
            memory_table("wave, the video's own size", clips, wave)


def memory_table(title, clips, *options):
    print(f"  {title}")
    peaks, filled = [], []
    for name, clip in clips.items():
        with tempfile.TemporaryDirectory() as folder:
            peak = peak_mib("run", clip, f"{folder}/out.mkv", "--runs", f"{folder}/runs", "--model", *options)
            done = json.loads(next(pathlib.Path(folder).glob("runs/*/report.json")).read_text())["frames"]
        peaks.append(peak)
        if done >= PIPELINE_FRAMES:
            filled.append(peak)
        print(f"    {name:10} {done:6} frames  {peak:8.1f} MiB", flush=True)
    print(f"    largest over smallest: {max(peaks) / min(peaks):.3f}; "
          f"of those with {PIPELINE_FRAMES} frames and more: {max(filled) / min(filled):.3f}")


def main():
    quick = "--quick" in sys.argv[1:]
    whole_job()
    peak_memory(quick)


if __name__ == "__main__":
    main()
