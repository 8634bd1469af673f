# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: the program under test, inputs made by ffmpeg, assertions.

$ATELIER is the program (default build/release/atelier). With $ATELIER_E2E_SHORT set only the cases
in SHORT run: the ones worth their time under the sanitizers. With $ATELIER_SLOW the matrices of
which they take a share otherwise run whole. With $ATELIER_E2E_SPREAD every job that does not say
otherwise is done by two workers in chunks of half a second.
"""

import functools
import glob
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import onnx_model

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.path.abspath(os.environ.get("ATELIER") or ROOT / "build/release/atelier")
SHARED = ROOT.parent / "shared"
SHORT_RUN = bool(os.environ.get("ATELIER_E2E_SHORT"))
SLOW_RUN = bool(os.environ.get("ATELIER_SLOW"))
SPREAD = bool(os.environ.get("ATELIER_E2E_SPREAD"))
TIMEOUT = 600 if SHORT_RUN or SLOW_RUN else 150

SHORT = {
    "test_plain_mp4", "test_b_frames_and_edit_list", "test_matroska_with_everything",
    "test_ten_bit_hdr", "test_odd_size", "test_one_frame",
    "test_bt709_limited_8bit_420_left", "test_bt2020_limited_10bit_420_topleft",
    "test_not_a_video", "test_empty", "test_header_only", "test_damage_in_the_middle",
    "test_existing_output_is_kept", "test_text_as_model", "test_truncated_model",
    "test_unsupported_operator_is_named", "test_output_that_is_no_image", "test_odd_names",
    "test_invalid_utf8_name", "test_interrupt_keeps_what_is_done",
    "test_damaged_videos", "test_kept_videos", "test_huge_pictures", "test_thousands_of_streams",
    "test_json_is_one_object", "test_from_to", "test_preview", "test_models", "test_probe",
    "test_a_scorer_that_is_killed_is_replaced", "test_each_run_has_the_bits_of_a_process_of_its_own",
    "test_a_process_keeps_its_model_for_the_next_run",
    "test_three_videos_are_painted_and_poison_is_set_aside", "test_every_operation_answers_as_described",
    "test_a_service_that_is_killed_goes_on", "test_what_is_wrong_is_told_in_a_sentence",
}


def run(*arguments, timeout=TIMEOUT, env=None, **keywords):
    """Runs the program; text is decoded leniently, so that odd names can be looked at."""
    environment = {**os.environ, **(env or {})}
    done = subprocess.run([os.fsencode(PROGRAM), *map(os.fsencode, arguments)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=timeout, env=environment, **keywords)
    done.stdout = done.stdout.decode(errors="replace")
    done.stderr = done.stderr.decode(errors="replace")
    return done


def tool(*arguments):
    """Runs ffmpeg or ffprobe; returns its standard output as bytes."""
    done = subprocess.run([os.fsencode(a) for a in arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT)
    if done.returncode:
        raise RuntimeError(f"{arguments}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def ffmpeg(*arguments):
    return tool("ffmpeg", "-v", "error", "-y", "-bitexact", *arguments)


def ffprobe(path, *arguments):
    return json.loads(tool("ffprobe", "-v", "error", "-of", "json", *arguments, path))


def streams(path):
    return ffprobe(path, "-show_streams")["streams"]


def packets(path, selector):
    found = ffprobe(path, "-select_streams", selector, "-show_packets")["packets"]
    return found


def frame_count(path, selector="v:0"):
    found = ffprobe(path, "-select_streams", selector, "-count_frames", "-show_entries",
                    "stream=nb_read_frames")["streams"]
    return int(found[0]["nb_read_frames"])


def frame_times(path, selector="v:0"):
    found = ffprobe(path, "-select_streams", selector, "-show_entries",
                    "frame=best_effort_timestamp_time")["frames"]
    return [float(frame["best_effort_timestamp_time"]) for frame in found]


def stream_hash(path, selector="a"):
    """Hashes of the packets of the selected streams, copied, not decoded."""
    # Only a transport stream repeats AAC's configuration in front of every packet.
    bare = ["-bsf:a", "aac_adtstoasc"] if str(path).endswith(".ts") else []
    return tool("ffmpeg", "-v", "error", "-i", path, "-map", f"0:{selector}", "-c", "copy", *bare,
                "-f", "streamhash", "-").decode()


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def picture(size="64x48", rate=25, frames=40, extra=""):
    return ["-f", "lavfi", "-i",
            f"testsrc2=size={size}:rate={rate},trim=end_frame={frames}{extra}"]


def tone(seconds, frequency=440):
    return ["-f", "lavfi", "-i", f"sine=frequency={frequency}:duration={seconds}"]


def make_video(path, *options, frames=40, rate=25, size="64x48", filters="", sound=True,
               codec=("-c:v", "libx264", "-g", "10", "-pix_fmt", "yuv420p")):
    """A small video; `options` go last and so win."""
    arguments = picture(size, rate, frames, filters)
    if sound:
        arguments += tone(frames / rate)
    ffmpeg(*arguments, *codec, *(["-c:a", "aac", "-b:a", "32k"] if sound else []), *options, path)
    return path


def three_videos(folder):
    """Three different ones: real ones, where they are, else made ones, and it says so."""
    real = [SHARED / "media" / name for name in ("video_0.mov", "bikes.mp4", "carphone_pristine.mp4")]
    missing = [str(path) for path in real if not path.exists()]
    if not missing:
        return real
    print(f"SKIPPED: {', '.join(missing)} is absent, so no real videos are used but three generated ones", file=sys.stderr,
          flush=True)
    return [make_video(folder / f"generated{number}.mp4", frames=frames, filters=filters)
            for number, (frames, filters) in enumerate(((50, ""), (40, ",hflip"), (60, ",negate")))]


def cut_short(path, folder, seconds, scale):
    """The beginning of a video that is long or large for a test."""
    short = folder / f"short-{path.stem}.mp4"
    ffmpeg("-i", path, "-t", seconds, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-vf", f"scale={scale}", "-c:a", "aac", short)
    return short


def share(items, one_in=2):
    """Every second one (or third...); all with $ATELIER_SLOW."""
    return list(items)[::1 if SLOW_RUN else one_in]


def one_of(items, number):
    """One of them, another one for the next number; all with $ATELIER_SLOW."""
    return list(items) if SLOW_RUN else [items[number % len(items)]]


@functools.cache
def slow_layers(least=16, milliseconds=15):
    """So many layers that a frame of 64x48 takes that long here: a test meets a job half-way on any machine."""
    with tempfile.TemporaryDirectory(prefix="atelier-e2e-") as folder:
        path = onnx_model.write_slow(pathlib.Path(folder), least)
        done = run("bench", "--model", path, "--size", "64x48", "--repeats", "3", "--json")
    if done.returncode:
        raise RuntimeError(f"the slow model cannot be measured: {done.stderr}")
    found = 1000 * json.loads(done.stdout)["score_seconds_per_frame"]
    return min(512, max(least, round(least * milliseconds / found)))


class Case(unittest.TestCase):
    """A folder of its own for each test, with runs of its own in it."""

    longMessage = True
    maxDiff = 4000
    spreads = SPREAD  # False where a test looks at the very processes of its job

    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="atelier-e2e-")
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        self.runs = self.folder / "runs"
        self.identity = onnx_model.write_identity(self.folder / "models")
        self.slow_model_path = None
        # What was measured on this machine must not decide what is tested.
        cache = tempfile.TemporaryDirectory(prefix="atelier-e2e-cache-")
        self.addCleanup(cache.cleanup)
        os.environ["XDG_CACHE_HOME"] = cache.name

    # Models -------------------------------------------------------------------------------------
    def slow_model(self):
        if self.slow_model_path is None:
            self.slow_model_path = onnx_model.write_slow(self.folder / "models", slow_layers())
        return self.slow_model_path

    # Running ------------------------------------------------------------------------------------
    def command(self, source, output, *options, model=None, runs=None):
        if self.spreads and "--workers" not in options:
            options = ("--workers", "2", *options)
        if self.spreads and "--chunk-seconds" not in options:
            options = ("--chunk-seconds", "0.5", *options)
        return ["run", "--runs", runs or self.runs, "--model", model or self.identity, *options,
                "--", source, output]

    def score(self, source, output, *options, **keywords):
        """Runs a job that must succeed; returns what it was."""
        done = run(*self.command(source, output, *options, **keywords))
        self.assertEqual(done.returncode, 0, f"{source}: {done.stderr}")
        self.assertTrue(os.path.exists(output), f"{output} is missing after exit code 0")
        self.assert_nothing_temporary(output)
        return done

    def start(self, *arguments):
        process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def commits(self, runs=None):
        """{path of a chunk's commit: its inode and mtime}, over all runs."""
        found = {}
        for path in glob.glob(f"{runs or self.runs}/*/chunks/*.json"):
            try:
                facts = os.stat(path)
            except FileNotFoundError:
                continue
            found[path] = (facts.st_ino, facts.st_mtime_ns)
        return found

    def run_folders(self, runs=None):
        return sorted(pathlib.Path(path).parent
                      for path in glob.glob(f"{runs or self.runs}/*/manifest.json"))

    def wait_for_commits(self, process, wanted, runs=None):
        """Returns once `wanted` chunks are committed and the program still works."""
        deadline = time.monotonic() + TIMEOUT
        while len(self.commits(runs)) < wanted:
            self.assertLess(time.monotonic(), deadline, "no chunk was committed in time")
            if process.poll() is not None:
                self.fail(f"the program ended early: {process.returncode} "
                          f"{process.stderr.read().decode(errors='replace')}")
            time.sleep(0.005)  # the program under test is another process: nothing to wait on

    # Assertions ---------------------------------------------------------------------------------
    def assert_one_sentence(self, text):
        lines = [line for line in text.splitlines() if line.strip()]
        self.assertEqual(len(lines), 1, f"not one sentence: {text!r}")
        for trace in ("terminate called", "runtime error", "AddressSanitizer", "std::"):
            self.assertNotIn(trace, lines[0])
        self.assertGreater(len(lines[0].split()), 3, f"says too little: {text!r}")

    def assert_nothing_temporary(self, output):
        output = pathlib.Path(os.fsdecode(output))
        own = [entry for entry in os.listdir(output.parent)
               if entry != output.name and output.stem in entry and entry.startswith(".")
               or entry.endswith((".tmp", ".part", ".partial"))]
        self.assertEqual(own, [], "a temporary file was left beside the output")

    def assert_refused(self, code, arguments, output=None, saying=()):
        """The documented exit code, one sentence, nothing published, nothing left behind."""
        before = set(os.listdir(output.parent)) if output and output.parent.exists() else set()
        done = run(*arguments)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stderr!r} {done.stdout!r}")
        self.assert_one_sentence(done.stderr)
        self.assertEqual(done.stdout, "")
        for word in [saying] if isinstance(saying, str) else saying:
            self.assertIn(word, done.stderr)
        if output and output.parent.exists():
            new = set(os.listdir(output.parent)) - before - {self.runs.name}
            self.assertEqual(new, set(), "something was left beside the output")
        return done

    def assert_kept(self, source, output, dropped=()):
        """tests/independent_check.py, which uses nothing of ours, finds everything kept."""
        done = subprocess.run([sys.executable, ROOT / "tests/independent_check.py", source, output,
                               "--dropped", ",".join(map(str, dropped))],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT)
        self.assertEqual(done.returncode, 0,
                         f"{source} -> {output}\n{done.stdout.decode(errors='replace')}")


def need_shared_media():
    folder = SHARED / "media"
    if not folder.is_dir():
        print(f"SKIPPED: {folder} is absent, so no real videos are checked", file=sys.stderr)
        raise unittest.SkipTest(f"{folder} is absent")
    return folder


def parent_of(pid):
    """The process that started it, or None if it has ended."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return None if state in "ZX" else int(parent)


def children_of(pid):
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and parent_of(name) == pid]


def take_range(option, otherwise, case):
    """`option N` or `option N-M` of the command line as a range; only `case` runs then. Call it
    before main() sees the arguments."""
    if option not in sys.argv:
        return otherwise
    at = sys.argv.index(option)
    first, _, last = sys.argv[at + 1].partition("-")
    sys.argv[at:at + 2] = [case]
    return range(int(first), int(last or first) + 1)


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


def main():
    """Runs the cases of the calling file; leaves the counts for tools/test.py."""
    if not os.access(PROGRAM, os.X_OK):
        sys.exit(f"{PROGRAM} is not there: run `make build` first")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cases = list(flatten(unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])))
    words = sys.argv[1:]
    cases = [case for case in cases
             if (not SHORT_RUN or case._testMethodName in SHORT)
             and (not words or any(word in case.id() for word in words))]
    result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(cases))
    bad = {case.id().split("[")[0].split(" ")[0] for case, _ in result.failures + result.errors}
    skipped = {case.id() for case, _ in result.skipped}
    folder = os.environ.get("ATELIER_TEST_REPORTS")
    if folder:
        counts = {"passed": max(0, len(cases) - len(bad) - len(skipped)), "failed": sorted(bad),
                  "skipped": len(skipped)}
        name = pathlib.Path(sys.argv[0]).stem
        pathlib.Path(folder, f"{name}.json").write_text(json.dumps(counts))
    sys.exit(0 if result.wasSuccessful() else 1)
