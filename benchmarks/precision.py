#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The estimates of bf16's and int8's quality from sampled frames beside the PSNR of every frame, against f32, lossless.

usage: precision.py [--quick]      environment: ATELIER (program), SHARED (folder with models/ and media/)
"""
import json
import pathlib
import re
import sys
import tempfile

import common

CLIPS = ["chaplin.mp4", "nasa_13013.mp4", "bikes.mp4"]
SECONDS = 3


def painted(video):
    """Index of the stream that we wrote: other video streams of the input are copied."""
    streams = json.loads(common.call(["ffprobe", "-v", "error", "-show_streams", "-of", "json", video]))["streams"]
    return next(stream["index"] for stream in streams if stream.get("codec_name") == "ffv1")


def every_frame(one, other, folder):
    """dB of each frame; equal frames count as 100."""
    graph = f"[0:{painted(one)}][1:{painted(other)}]psnr=stats_file=frames.log"
    common.call(["ffmpeg", "-v", "error", "-i", one, "-i", other, "-lavfi", graph, "-f", "null", "-"], cwd=folder)
    values = re.findall(r"psnr_avg:(\S+)", (folder / "frames.log").read_text())
    return [min(float(value), 100.0) for value in values]


def compare(model, clip, precision, seconds):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        reports = {}
        for which in ("f32", precision):
            runs = folder / f"runs-{which}"
            common.atelier("run", clip, folder / f"{which}.mkv", "--codec", "ffv1", "--model", model, "--to", seconds,
                           "--precision", which, "--min-psnr", 0, "--runs", runs)
            reports[which] = json.loads(next(runs.glob("*/report.json")).read_text())
        frames = every_frame(folder / "f32.mkv", folder / f"{precision}.mkv", folder)
        sampled = reports[precision]["precision"].get("sampled_psnr_db")
        return [f"{model.stem} {clip.name} {precision}", len(frames), "none" if sampled is None else f"{sampled:.1f}", f"{min(frames):.1f}",
                f"{common.median(frames):.1f}"]


def main():
    seconds, models = (1, [common.LEAN]) if "--quick" in sys.argv[1:] else (SECONDS, [common.LEAN, common.WAVE])
    print(f"\nPRECISION  bf16 and int8 against f32, dB PSNR, first {seconds} s, ffv1; {common.machine()}")
    rows = []
    for precision in ("bf16", "int8"):
        rows += common.rows_of(models, CLIPS, lambda model, clip, named=precision: compare(model, clip, named, seconds))
    print(common.table(["", "frames", "sampled", "every frame: min", "median"], rows), flush=True)


if __name__ == "__main__":
    main()
