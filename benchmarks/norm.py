#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""--norm shot beside --norm frame: PSNR of every frame between the two, flicker and seconds per frame of each, in f32.

Flicker is the mean absolute difference of luma between consecutive frames, of 255.

usage: norm.py [--quick]      environment: ATELIER (program), SHARED (folder with models/ and media/)
"""
import json
import pathlib
import re
import sys
import tempfile

import common
from precision import every_frame, painted

CLIPS = ["chaplin.mp4", "nasa_13013.mp4", "bikes.mp4"]
SECONDS = 3
MODELS = [common.LEAN, common.WAVE, common.SHARED / "models/dyn/candy.onnx"]


def flicker(video, folder):
    graph = f"[0:{painted(video)}]format=gray,tblend=all_mode=difference,signalstats,metadata=print:file=flicker.log"
    common.call(["ffmpeg", "-v", "error", "-i", video, "-filter_complex", graph, "-f", "null", "-"], cwd=folder)
    values = re.findall(r"YAVG=(\S+)", (folder / "flicker.log").read_text())
    return sum(map(float, values)) / max(1, len(values))


def compare(model, clip, seconds):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        reports = {}
        for norm in ("frame", "shot"):
            runs = folder / f"runs-{norm}"
            common.atelier("run", clip, folder / f"{norm}.mkv", "--codec", "ffv1", "--model", model, "--to", seconds, "--size",
                           "640x0", "--precision", "f32", "--norm", norm, "--workers", 1, "--runs", runs)
            reports[norm] = json.loads(next(runs.glob("*/report.json")).read_text())
        frames = every_frame(folder / "frame.mkv", folder / "shot.mkv", folder)
        each = {norm: report["stage_seconds"]["score"] / report["frames"] for norm, report in reports.items()}
        return [f"{model.stem} {clip.name}", len(frames), reports["shot"]["shots"], f"{min(frames):.1f}",
                f"{common.median(frames):.1f}", f"{flicker(folder / 'frame.mkv', folder):.3f}",
                f"{flicker(folder / 'shot.mkv', folder):.3f}", f"{each['frame']:.4f}", f"{each['shot']:.4f}"]


def main():
    seconds, models = (1, MODELS[:1]) if "--quick" in sys.argv[1:] else (SECONDS, MODELS)
    print(f"\nNORM  shot against frame, first {seconds} s, 640 wide, f32, ffv1; {common.machine()}")
    rows = common.rows_of(models, CLIPS, lambda model, clip: compare(model, clip, seconds))
    print(common.table(["", "frames", "shots", "PSNR: min", "median", "flicker: frame", "shot", "s/frame: frame", "shot"], rows),
          flush=True)


if __name__ == "__main__":
    main()
