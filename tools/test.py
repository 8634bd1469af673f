#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the layers of tests and adds them up.

tools/test.py             everything: what `make test` and CI run
tools/test.py STAGE...    of: format unit e2e outside asan tidy; of the parts of `outside`, which are service net mpi slurm deploy;
                          and of slow, damage and tidy-all, which are what `make test-slow`, `make test-damage` and
                          `make tidy` run

Each test program leaves its counts in build/reports/STAGE (GoogleTest as XML, the end-to-end files
as JSON); a program that dies before it could is one failure. The last line is
`N passed, N failed[, N skipped]`; the exit code is 1 when anything failed.
"""

import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parent.parent
REPORTS = ROOT / "build" / "reports"
JOBS = os.cpu_count() or 2


class Totals:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []

    def one(self, name, ok):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            self.failures.append(name)


def machine():
    """The processor and the vector instructions that decide which kernels the tests ran."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"^model name\s*: (.*)$", info, re.MULTILINE)
    flags = set(re.search(r"^flags\s*: (.*)$", info, re.MULTILINE).group(1).split())
    vectors = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if flag in flags]
    return f"{name.group(1) if name else 'unknown'}, {JOBS} processors, {' '.join(vectors)}"


def say(text):
    print(f"\n== {text}", flush=True)


# Stages that leave processors idle: meanwhile the long work of later ones goes on.
LEAVES_ROOM = {"e2e", "outside"}


def give_way(session):
    """Where each session is a group with a share of its own (sched(7), autogroup), policies count only inside of it."""
    try:
        pathlib.Path(f"/proc/{session}/autogroup").write_text("19")
    except OSError:
        pass  # there are no such groups, or it has ended


class Ahead:
    """Commands, one after the other, that get what processor time nothing else wants (SCHED_IDLE)."""

    def __init__(self):
        self.under_way = {}  # name -> its process, and where what it says goes
        self.waiting = []
        self.lock = threading.RLock()
        self.ended = False

    def start(self, commands):
        self.waiting = list(commands)
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        while process := self.begin(0):
            process.wait()

    def begin(self, at):
        with self.lock:
            if self.ended or at >= len(self.waiting):
                return None
            name, command = self.waiting.pop(at)
            log = tempfile.TemporaryFile()
            process = subprocess.Popen(["chrt", "--idle", "0", *command], cwd=ROOT, stdout=log,
                                       stderr=subprocess.STDOUT, start_new_session=True)
            give_way(process.pid)
            self.under_way[name] = process, log
            return process

    def take(self, name):
        """Exit code and output of a command that was started, or is begun now; nothing if it is none of them."""
        with self.lock:
            names = [waiting for waiting, _ in self.waiting]
            if name in names:
                self.begin(names.index(name))
            if name not in self.under_way:
                return None
            process, log = self.under_way[name]
        code = process.wait()  # still under way, for end()
        del self.under_way[name]
        log.seek(0)
        return code, log.read().decode(errors="replace")

    def end(self):
        """Nothing goes on when this program ends, however it does."""
        with self.lock:
            self.ended = True
        for process, _ in self.under_way.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()


AHEAD = Ahead()


def work_ahead(stages):
    commands = [("asan", [ROOT / "tools/build", "asan"])] if "asan" in stages else []
    if "tidy" in stages and new_sources():
        commands.append(("tidy", tidy_command(QUICK_CHECKS, new_sources())))
    AHEAD.start(commands)


def build(preset, totals):
    taken = AHEAD.take(preset)
    if taken:
        sys.stdout.write(taken[1])
    code = taken[0] if taken else subprocess.run([ROOT / "tools/build", preset], cwd=ROOT).returncode
    if code:
        totals.one(f"build {preset}", False)
    return code == 0


def add_gtest(report, totals, seen):
    suite = xml.parse(report).getroot()
    before = totals.failed
    for case in suite.iter("testcase"):
        name = f"{report.stem}: {case.get('classname')}.{case.get('name')}"
        if case.find("failure") is not None:
            totals.one(name, False)
        elif case.get("status") == "notrun" or case.get("result") == "skipped" \
                or case.find("skipped") is not None:
            totals.skipped += 1
        else:
            totals.one(name, True)
    seen[report.stem] = totals.failed - before


def add_e2e(report, totals, seen):
    counts = json.loads(report.read_text())
    seen[report.stem] = len(counts["failed"])
    totals.passed += counts["passed"]
    totals.skipped += counts["skipped"]
    for name in counts["failed"]:
        totals.one(f"{report.stem}: {name}", False)


def ctest(preset, label, stage, totals, env=(), jobs=JOBS, most_seconds=1200, without="none"):
    """Runs the tests with a label and not with the other; counts cases, and programs that failed without counting any."""
    folder = REPORTS / stage
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    junit = folder / "ctest.junit"
    environment = {**os.environ, "GTEST_OUTPUT": f"xml:{folder}/",
                   "ATELIER_TEST_REPORTS": str(folder), **dict(env)}
    environment.pop("MAKEFLAGS", None)
    subprocess.run(["ctest", "--test-dir", f"build/{preset}", "-L", f"^({label})$", "-LE", f"^({without})$",
                    "-j", str(jobs),
                    "--output-on-failure", "--no-tests=error", "--timeout", str(most_seconds),
                    "--output-junit", str(junit)],
                   cwd=ROOT, env=environment)
    seen = {}  # program -> failures that it counted itself
    for report in sorted(folder.glob("*.xml")):
        add_gtest(report, totals, seen)
    for report in sorted(folder.glob("*.json")):
        add_e2e(report, totals, seen)
    if not junit.exists():
        totals.one(f"{stage}: ctest ran nothing", False)
        return
    for case in xml.parse(junit).getroot().iter("testcase"):
        name = case.get("name")
        if case.find("skipped") is not None:  # it answered 77
            if name not in seen:
                totals.skipped += 1
                print(f"   {name}: {(case.findtext('system-out') or 'skipped').strip()}", flush=True)
            continue
        failed = case.get("status") == "fail" or case.find("failure") is not None
        if name not in seen or failed and not seen[name]:
            totals.one(f"{stage}: {name}", not failed)


def stage_unit(totals):
    if build("release", totals):
        ctest("release", "unit|slow", "unit", totals)


def stage_e2e(totals):
    if build("release", totals):
        ctest("release", "e2e", "e2e", totals)
        # By two workers in short chunks: the same cases as under the sanitizers.
        ctest("release", "e2e", "e2e-spread", totals,
              {"ATELIER_E2E_SPREAD": "1", "ATELIER_E2E_SHORT": "1"})


def outside(stage, labels, jobs):
    def run(totals):
        if build("release", totals):
            ctest("release", labels, stage, totals, jobs=jobs)
    return run


# With servers, clusters and containers of their own, for which they mostly wait: two tests at a time, but for those of
# Open MPI (RUN_SERIAL), which count on the processors. None of mpi, slurm and deploy under the sanitizers: the libraries and
# programs of others are not built with them.
OUTSIDE = {name: outside(name, name, 2) for name in ("service", "net", "mpi", "slurm", "deploy")}
stage_outside = outside("outside", "|".join(OUTSIDE), 2)


SANITIZED = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:strict_string_checks=1",
             "UBSAN_OPTIONS": "print_stacktrace=1", "ATELIER_E2E_SHORT": "1",
             "LSAN_OPTIONS": f"suppressions={ROOT}/tests/leaks.supp:print_suppressions=0"}


def stage_asan(totals):
    if build("asan", totals):
        ctest("asan", "unit", "asan-unit", totals, SANITIZED)
        ctest("asan", "e2e|service|net", "asan-e2e", totals, SANITIZED, without="long_when_sanitized")


def stage_slow(totals):
    """Every case of the tests that otherwise take a share: with $ATELIER_SLOW they take all."""
    if build("release", totals):
        ctest("release", "unit|slow|e2e", "slow", totals, {"ATELIER_SLOW": "1"},
              most_seconds=86400)
        ctest("release", "e2e", "slow-spread", totals, {"ATELIER_E2E_SPREAD": "1"},
              most_seconds=86400)
        ctest("release", "net", "slow-net", totals, {"ATELIER_SLOW": "1"}, jobs=1, most_seconds=86400)
        ctest("release", "slurm", "slow-slurm", totals, {"ATELIER_SLOW": "1"}, jobs=2, most_seconds=86400)
        ctest("release", "deploy", "slow-deploy", totals, {"ATELIER_SLOW": "1"}, jobs=1, most_seconds=86400)
    if build("asan", totals):
        ctest("asan", "long_when_sanitized", "slow-asan", totals, SANITIZED, most_seconds=86400)
    totals.one("fuzz", subprocess.run([ROOT / "tools/fuzz"], cwd=ROOT).returncode == 0)


def stage_damage(totals):
    """Two thousand damaged videos under ASan and UBSan, one after the other: about an hour."""
    done = subprocess.run([ROOT / "tools/build", "asan", "atelier"], cwd=ROOT)
    if done.returncode:
        totals.one("build asan", False)
        return
    folder = REPORTS / "damage"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = {**os.environ, "ATELIER": str(ROOT / "build/asan/atelier"), "ATELIER_SLOW": "1",
                   "ATELIER_TEST_REPORTS": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, ROOT / "tests/e2e/damage_runs_test.py"], cwd=ROOT, env=environment)
    report = folder / "damage_runs_test.json"
    if report.exists():
        add_e2e(report, totals, {})
    else:
        totals.one("damage: no report", False)


def sources():
    listed = subprocess.run(["git", "ls-files", "-z", "*.cc", "*.h"], cwd=ROOT, check=True,
                            capture_output=True).stdout.decode()
    return [path for path in listed.split("\0") if path and (ROOT / path).exists()]


def stage_format(totals):
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *sources()], cwd=ROOT,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print("\n".join(done.stderr.splitlines()[:40]))
        print("`make format` puts it right.")
    totals.one("format", done.returncode == 0)


# Without the static analyzer, which takes as long as all else: `make tidy` has it. Without it clang-tidy also counts the
# compiler's warnings that -Werror makes errors, some of them in macros of the system's headers.
QUICK_CHECKS = ["-checks=-clang-analyzer-*", "-extra-arg=-Wno-error"]


# How far back a commit is new: `make tidy` looks at the rest, too.
NEW_COMMITS = 25
MOST_NEW_SOURCES = 30


def stage_tidy(totals):
    tidy(totals, QUICK_CHECKS, new_sources())


def stage_tidy_all(totals):
    tidy(totals, [], tidied_sources())


def tidied_sources():
    return [path for path in sources()
            if path.startswith("src/") and path.endswith(".cc") and not path.endswith("_test.cc")]


def new_sources():
    """What lately changed, newest first."""
    listed = subprocess.run(["git", "log", f"-{NEW_COMMITS}", "--format=", "--name-only", "--", "src"], cwd=ROOT,
                            check=True, stdout=subprocess.PIPE, text=True).stdout
    known = set(tidied_sources())
    return [path for path in dict.fromkeys(listed.splitlines()) if path in known][:MOST_NEW_SOURCES]


def tidy_command(options, wanted):
    """Over a configured tree in which each source is compiled for itself (the others are unity builds)."""
    pattern = "(" + "|".join(re.escape(str(ROOT / path)) for path in wanted) + ")$"
    return ["bash", "-c", 'tools/build dev help >/dev/null && exec "$@"', "tidy", "run-clang-tidy-14", "-quiet", "-p",
            "build/dev", "-j", str(JOBS), *options, pattern]


def tidy(totals, options, wanted):
    if not wanted:
        print(f"   no source under src/ is new in {NEW_COMMITS} commits: clang-tidy looks at none", flush=True)
        totals.skipped += 1
        return
    taken = AHEAD.take("tidy")
    if not taken:
        done = subprocess.run(tidy_command(options, wanted), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True)
        taken = done.returncode, done.stdout
    code, output = taken
    if code:
        noise = re.compile(r"^clang-tidy|warnings generated|^Suppressed|^Use -header-filter")
        print("\n".join(line for line in output.splitlines() if not noise.search(line)))
    # The end of what is printed is what is read first.
    found = [line for line in output.splitlines() if re.search(r": (error|warning): ", line)]
    totals.one("\n      ".join(["clang-tidy", *found[:5]]), code == 0)


STAGES = {"format": stage_format, "unit": stage_unit, "e2e": stage_e2e, "outside": stage_outside, "asan": stage_asan,
          "tidy": stage_tidy}
ON_DEMAND = {**OUTSIDE, "slow": stage_slow, "damage": stage_damage, "tidy-all": stage_tidy_all}


def processor_seconds():
    """Of what was waited for: daemons that others started are not in it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(arguments):
    stages = {**STAGES, **ON_DEMAND}
    unknown = [name for name in arguments if name not in stages]
    if unknown:
        print(f"tools/test.py: \"{unknown[0]}\" is not one of {', '.join(stages)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` is reached
    totals = Totals()
    names = arguments or list(STAGES)
    is_ahead = False
    try:
        for i, name in enumerate(names):
            say(name)
            if name in LEAVES_ROOM and not is_ahead:
                is_ahead = True
                work_ahead(names[i + 1:])
            start, used = time.monotonic(), processor_seconds()
            stages[name](totals)
            print(f"-- {name}: {time.monotonic() - start:.0f} s, {processor_seconds() - used:.0f} s of processors", flush=True)
    finally:
        AHEAD.end()
    if totals.failures:
        say("failed")
        for name in totals.failures:
            print(f"   {name}")
    print(f"\non {machine()}")
    skipped = f", {totals.skipped} skipped" if totals.skipped else ""
    print(f"{totals.passed} passed, {totals.failed} failed{skipped}", flush=True)
    return 1 if totals.failed or not totals.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
