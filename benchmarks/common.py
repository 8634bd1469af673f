# SPDX-License-Identifier: Apache-2.0
"""What the benchmark scripts share: where things lie, medians and tables, frames, calls of the runtimes."""
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
HERE = ROOT / "benchmarks"
ATELIER = os.environ.get("ATELIER", str(ROOT / "build/release/atelier"))
SHARED = pathlib.Path(os.environ.get("SHARED", ROOT.parent / "shared"))
WAVE = SHARED / "models/dyn/wave.onnx"
LEAN = ROOT / "models/starry-night.onnx"
THREADS = len(os.sched_getaffinity(0))
# Debian's packages of numpy, onnx, torch and OpenCV belong to Debian's interpreter.
PYTHON = "/usr/bin/python3"


class Failed(Exception):
    """A peer that is not there, or that cannot do it: its own words."""


def median(values):
    return statistics.median(values)


def alternate(work, rounds, patience=math.inf):
    """Calls each of {name: function} once a round, so that a noisy minute hits all of them; {name: [results]}.

    What raises Failed has that as its only result and is not called again, nor is what takes over `patience` seconds.
    """
    found, done = {name: [] for name in work}, set()
    for _ in range(rounds):
        for name, function in work.items():
            if name in done:
                continue
            begin = time.monotonic()
            try:
                found[name].append(function())
            except Failed as failure:
                found[name] = [failure]
                done.add(name)
            if time.monotonic() - begin > patience:
                done.add(name)
    return found


def table(header, rows):
    """Text with aligned columns: the first to the left, the others to the right, as are cells of one word; a cell that
    stands alone behind the first is a remark and may be as long as it likes."""
    full = [row for row in rows if len(row) == len(header)]
    widths = [max(len(str(row[i])) for row in [header, *full]) for i in range(len(header))]
    widths[0] = max(len(str(row[0])) for row in [header, *rows])
    lines = []
    for row in [header, *rows]:
        if len(row) == len(header):
            cells = [str(cell).rjust(width) for cell, width in zip(row[1:], widths[1:])]
        else:
            cells = [str(cell) for cell in row[1:]]
        lines.append("  ".join(["  " + str(row[0]).ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def psnr(a, b):
    """Of two arrays of samples in 0..255."""
    difference = a.clip(0, 255).astype("float64") - b.clip(0, 255).astype("float64")
    error = float((difference ** 2).mean())
    return math.inf if error == 0 else 10 * math.log10(255 ** 2 / error)


def last_words(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if "rror" in line]
    return (told or lines or ["it ended without a word"])[-1][:240]


def call(command, timeout=300, **keywords):
    """Standard output of a program; Failed with its last words if it fails."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=timeout, **keywords)
    except FileNotFoundError:
        raise Failed(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"not done after {timeout} s") from None
    if done.returncode:
        raise Failed(last_words(done.stderr.decode(errors="replace")) + f" (exit code {done.returncode})")
    return done.stdout.decode(errors="replace")


def atelier(*arguments, timeout=900):
    return json.loads(call([ATELIER, *arguments, "--json"], timeout))


def peer(program, **settings):
    """Runs one of the peers' programs here with its settings as one JSON object, which is also what it answers."""
    interpreter = "node" if program.endswith(".mjs") else PYTHON
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS), "PYTHONDONTWRITEBYTECODE": "1"}
    text = call([interpreter, HERE / program, json.dumps({"threads": THREADS, **settings}, default=str)], env=environment)
    return json.loads(text.splitlines()[-1])


def timed(arguments, run):
    """For the peers' programs: warm-up, then the seconds of each of the runs."""
    for _ in range(arguments["warm_up"]):
        run()
    seconds = []
    for _ in range(arguments["repeats"]):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return {"seconds": seconds, "seconds_median": median(seconds)}


def picture(path, width, height):
    """A raw RGB file as float32 NCHW, 0..255: what all the networks here take."""
    import numpy
    pixels = numpy.fromfile(path, dtype=numpy.uint8).reshape(1, height, width, 3)
    return numpy.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=numpy.float32)


def make_frame(path, width, height):
    """One real frame as raw RGB; a generated one where the media are not there. Returns where it is from."""
    clip = SHARED / "media/small_bunny_1080p_60fps.mp4"
    source = ["-ss", "1", "-i", clip] if clip.exists() else ["-f", "lavfi", "-i", f"testsrc2=s={width}x{height}"]
    call(["ffmpeg", "-v", "error", "-y", *source, "-frames:v", "1", "-vf", f"scale={width}:{height}", "-pix_fmt", "rgb24",
          "-f", "rawvideo", path])
    return clip.name if clip.exists() else "testsrc2"


def machine():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    known = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if flag in flags]
    return f"{name}, {THREADS} threads, {' '.join(known) or 'no AVX2'}"


def rows_of(models, clips, compare):
    """A row of compare(model, clip) for each network and clip that is there, or what stood in its way."""
    rows = []
    for model in models:
        for clip in (SHARED / "media" / name for name in clips):
            if missing(model, clip):
                continue
            try:
                rows.append(compare(model, clip))
            except Failed as failure:
                rows.append([f"{model.stem} {clip.name}", f"cannot: {failure}"])
    return rows


def missing(*paths):
    """Says which of the files are not there: their table is left out."""
    absent = [path for path in paths if not pathlib.Path(path).exists()]
    for path in absent:
        print(f"SKIPPED: {path} is not there")
    return bool(absent)
