#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--engine mpi with Debian's Open MPI on four hosts of one machine (tests/lab/netlab.py): whatever is killed or falls
silent in the middle, the bits are those of a run on this machine, and the report tells what happened."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/lab")]

import evictions  # noqa: E402
import netlab  # noqa: E402
import onnx_model  # noqa: E402
import support  # noqa: E402
from netlab import wait_until  # noqa: E402

tempfile.tempdir = "/var/tmp"  # each host has a /tmp of its own

HOSTS = ["n0", "n1", "n2", "n3"]
CUT = ["--chunk-seconds", "0.24"]
FRAMES = 160


def allowed_root(environment):
    return {**environment, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


class Mpi(support.Case):
    spreads = False

    @classmethod
    def setUpClass(cls):
        cls.lab = netlab.Lab(len(HOSTS))
        cls.addClassCleanup(cls.lab.down)
        holder = tempfile.TemporaryDirectory(prefix="atelier-mpi-")
        cls.addClassCleanup(holder.cleanup)
        cls.shared = pathlib.Path(holder.name)
        # Open GOPs and B-frames across every border.
        cls.source = support.make_video(cls.shared / "in.mp4", "-bf", "3", "-x264-params",
                                        "open-gop=1:scenecut=0", frames=FRAMES)
        cls.slow = onnx_model.write_slow(cls.shared / "models", support.slow_layers())
        alone = cls.shared / "alone.mp4"
        done = support.run("run", "--runs", cls.shared / "runs", "--model", cls.slow, *CUT, cls.source, alone)
        assert done.returncode == 0, done.stderr
        cls.wanted = support.sha256(alone)

    def setUp(self):
        super().setUp()
        for host in HOSTS:
            self.lab.boot(host)
        self.hosts = self.folder / "hosts"
        self.hosts.write_text("".join(f"{host}\n" for host in HOSTS))
        self.output = self.folder / "out.mp4"
        self.environment = allowed_root({**os.environ, "OMPI_MCA_plm": "rsh",
                                         "OMPI_MCA_plm_rsh_agent": str(self.lab.remote_shell())})

    # Jobs on n0 ---------------------------------------------------------------------------------
    interface = "eth0"

    def options(self, *options, hosts=True):
        where = ["--hosts", self.hosts] if hosts else []
        return ["--engine", "mpi", "--interface", self.interface, *where, *options]

    def start_job(self, *options, model=None, source=None, hosts=True):
        arguments = self.command(source or self.source, self.output, *CUT, *self.options(*options, hosts=hosts),
                                 model=model or self.slow)
        process = self.lab.start("n0", [support.PROGRAM, *arguments], env=self.environment,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.wait_for_ranks)
        self.addCleanup(self.end, process)
        return process

    def wait_for_ranks(self):
        for host in HOSTS:
            if host in self.lab.init:
                wait_until(lambda: not self.lab.pids(host, "atelier-rank") and not self.lab.pids(host, "orted"), 20,
                           f"the end of what ran on {host}")

    def finish(self, process, code=0):
        out, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, code, (out + err).decode())
        self.wait_for_ranks()
        return (out + err).decode()

    def refused(self, code, *options, saying, model=None, hosts=True):
        text = self.finish(self.start_job("--quiet", *options, model=model, hosts=hosts), code)
        self.assert_one_sentence(text)
        self.assertIn(saying, text)
        self.assertFalse(self.output.exists())

    def engine(self):
        return json.loads((self.run_folders()[0] / "report.json").read_text())["engine"]

    def workers(self):
        """Who committed: (gang, rank) -> when, of the first."""
        found = {}
        for path in self.runs.glob("*/chunks/*.json"):
            gang, rank = json.loads(path.read_text())["worker"].split(".")[-2:]
            key = int(gang), int(rank)
            found[key] = min(found.get(key, float("inf")), path.stat().st_mtime)
        return found

    # Cases --------------------------------------------------------------------------------------
    def test_four_hosts(self):
        process = self.start_job()
        self.wait_for_commits(process, 2)
        self.look_at_scorers("n1")
        out = self.finish(process)
        self.assertIn("A gang of 4 ranks works on 4 hosts: n0, n1, n2, n3.", out)
        self.assertEqual(support.sha256(self.output), self.wanted)
        engine = self.engine()
        self.assertEqual((engine["name"], engine["nodes"], engine["workers"], engine["restarts"]),
                         ("mpi", HOSTS, 4, 0))
        self.assertEqual([event["text"] for event in engine["events"]],
                         ["A gang of 4 ranks works on 4 hosts: n0, n1, n2, n3."])
        statistics = engine["statistics"]
        chunks = len(self.commits())
        self.assertEqual((statistics["frames"], statistics["chunks"]), (FRAMES, chunks))
        self.assertGreater(statistics["score_seconds"], 0)
        self.assertLess(statistics["most_frames_of_a_rank"], FRAMES)
        self.assertGreater(len(self.workers()), 1, "one rank did everything")

    def doctor(self, code, *options, **variables):
        done = self.lab.run("n0", [support.PROGRAM, "doctor", "--json", "--runs", self.runs, *self.options(*options)],
                            env={**self.environment, **variables}, capture_output=True, text=True, timeout=support.TIMEOUT)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return [finding for finding in json.loads(done.stdout)["findings"] if finding["check"] in ("host", "engine")]

    def test_doctor_looks_at_every_host(self):
        found = self.doctor(0)
        self.assertEqual([finding["text"].split()[0] for finding in found], HOSTS)
        self.assertEqual(list(self.runs.glob("*")), [], "something was left behind")
        cache = self.folder / "cache"
        cache.mkdir()
        self.lab.run("n3", ["mount", "-t", "tmpfs", "-o", "size=64m", "none", cache], check=True)
        found = self.doctor(4, XDG_CACHE_HOME=str(cache), TMPDIR="")
        self.assertEqual([finding["state"] for finding in found], ["ok", "ok", "ok", "failed"])
        self.assertRegex(found[3]["text"], r"Host n3 has 6\d MiB free for scratch files")
        self.lab.run("n3", ["umount", cache], check=True)
        self.lab.crash("n2")
        found = self.doctor(4)
        self.assertEqual([finding["state"] for finding in found], ["ok", "ok", "failed", "ok"])
        self.assertIn("Host n2 does not answer", found[2]["text"])
        self.lab.boot("n2")
        self.runs = pathlib.Path("/tmp/runs")  # of each host its own
        found = self.doctor(4)
        self.assertEqual([finding["state"] for finding in found], ["ok", "failed", "failed", "failed"])

    def look_at_scorers(self, host):
        """Nothing of MPI reaches the process that parses."""
        scorers = wait_until(lambda: [child for rank in self.lab.pids(host, "atelier-rank")
                                      for child in support.children_of(rank)], 20, f"a scorer on {host}")
        variables = pathlib.Path(f"/proc/{scorers[0]}/environ").read_bytes().decode().split("\0")
        names = {variable.partition("=")[0] for variable in variables if variable}
        self.assertEqual({name for name in names if name.startswith(("OMPI_", "PMIX_", "ORTE_"))}, set())
        files = {int(path.name): os.readlink(path) for path in pathlib.Path(f"/proc/{scorers[0]}/fd").iterdir()}
        sockets = {number for number, target in files.items() if target.startswith("socket:")}
        self.assertEqual(sockets, {3, 4}, f"its broker's and no other: {files}")

    def test_the_model_is_read_by_rank_0_alone(self):
        """It lies where no other host sees it; its weights lie beside it. One host has two ranks."""
        self.hosts.write_text("n0\nn1 slots=2\n")
        here = self.lab.folder / "n0.tmp/models"
        model = onnx_model.write_external(here)
        (here / "weights.bin").write_bytes(bytes(8) + b"\x00\x00\x80\x3f")
        seen_by_n0 = pathlib.Path("/tmp/models") / model.name
        source = support.make_video(self.folder / "short.mp4", frames=40)
        self.finish(self.start_job(model=seen_by_n0, source=source))
        self.assertEqual(support.frame_count(self.output), 40)
        self.assertEqual(self.engine()["workers"], 3)
        there = self.lab.run("n1", ["ls", seen_by_n0], capture_output=True)
        self.assertNotEqual(there.returncode, 0, "n1 sees the model, so this shows nothing")

    def disturb(self, what, fault, *options, commits=3):
        """A job with a fault in the middle; returns the report's engine."""
        process = self.start_job(*options)
        self.wait_for_commits(process, commits)
        fault()
        begin = time.time()
        kept = self.commits()
        out = self.finish(process)
        self.assertEqual(support.sha256(self.output), self.wanted, out)
        engine = self.engine()
        self.assertEqual(engine["restarts"], 1, engine)
        self.assertLess(engine["statistics"]["frames"], FRAMES, "what was done was done again")
        after = [when for (gang, _), when in self.workers().items() if gang == 2]
        # Ranks of a lost daemon or a silent host may work on until they see it.
        lost = f"{min(after) - begin:.1f} s until the next gang's first chunk" if after else "the rest was done meanwhile"
        print(f"{what}: {lost}", flush=True)
        evictions.print_time_lost(self.runs, what, begin, "what the engine takes to notice and to start a gang")
        commits = self.commits()
        self.assertEqual({path: commits.get(path) for path in kept}, kept, "what was committed was scored again")
        evictions.assert_bounded(self, self.runs)
        return engine

    def texts(self, engine):
        return " ".join(event["text"] for event in engine["events"])

    def kill(self, host, name):
        found = self.lab.pids(host, name)
        self.assertEqual(len(found), 1, f"{name} on {host}")
        os.kill(found[0], signal.SIGKILL)

    def test_a_rank_is_killed(self):
        engine = self.disturb("a rank killed", lambda: self.kill("n2", "atelier-rank"))
        self.assertIn("Rank 2 on n2 was killed by signal 9.", self.texts(engine))
        self.assertEqual(engine["nodes"], HOSTS, engine["events"])

    def test_a_daemon_is_killed(self):
        engine = self.disturb("a daemon killed", lambda: self.kill("n1", "orted"))
        self.assertIn("n1 was lost", self.texts(engine))
        self.assertEqual(engine["nodes"], HOSTS, engine["events"])

    def test_a_host_is_killed(self):
        engine = self.disturb("a host killed", lambda: self.lab.crash("n3"))
        self.assertRegex(self.texts(engine), "Host n3 was lost|A host's daemon was lost")
        self.assertIn("Host n3 is left out", self.texts(engine))
        self.assertEqual(engine["nodes"], ["n0", "n1", "n2"])

    def test_a_host_falls_silent(self):
        self.addCleanup(self.lab.crash, "n3")
        engine = self.disturb("a host silenced", lambda: self.lab.silence("n3"))
        self.assertIn("Host n3 was lost.", self.texts(engine))
        self.assertEqual(engine["nodes"], ["n0", "n1", "n2"])

    def test_a_rank_that_is_frozen(self):
        """mpirun sees a process that lives; its beats stop."""
        def freeze():
            os.kill(self.lab.pids("n1", "atelier-rank")[0], signal.SIGSTOP)
        engine = self.disturb("a rank frozen", freeze, "--beat-timeout", "6")
        self.assertIn("Rank 1 on n1 gave no sign of life for 6 s.", self.texts(engine))
        self.assertEqual(engine["nodes"], HOSTS, engine["events"])

    def test_restarts_end_and_the_same_command_goes_on(self):
        process = self.start_job("--restarts", "0", "--quiet")
        self.wait_for_commits(process, 2)
        self.kill("n3", "atelier-rank")
        text = self.finish(process, 4)
        self.assert_one_sentence(text)
        self.assertIn("Rank 3 on n3 was killed by signal 9.", text)
        self.assertFalse(self.output.exists())
        kept = self.commits()
        self.finish(self.start_job())
        self.assertEqual(support.sha256(self.output), self.wanted)
        self.assertLessEqual(kept.items(), self.commits().items(), "what was done was done again")

    def test_interrupt_keeps_what_is_done(self):
        process = self.start_job("--quiet")
        self.wait_for_commits(process, 2)
        process.send_signal(signal.SIGINT)
        self.assert_one_sentence(self.finish(process, 130))
        beats = [json.loads(path.read_text()) for path in self.runs.glob("*/workers/*.beat")]
        self.assertGreater(len(beats), 2, "ranks, and who started them")
        self.assertEqual([beat["worker"] for beat in beats if not beat["left"]], [])
        self.score(self.source, self.output, *CUT, model=self.slow)
        self.assertEqual(support.sha256(self.output), self.wanted)

    def test_nothing_outlives_the_program(self):
        process = self.start_job("--quiet")
        self.wait_for_commits(process, 2)
        process.kill()
        process.communicate()
        self.wait_for_ranks()
        self.assertFalse(self.output.exists())

    def test_nodes_of_an_allocation(self):
        """What a resource manager would tell mpirun, it reads from a file here."""
        self.environment["OMPI_MCA_orte_default_hostfile"] = str(self.hosts)
        source = support.make_video(self.folder / "short.mp4", frames=40)
        self.finish(self.start_job("--nodes", "3", model=self.identity, source=source, hosts=False))
        self.assertEqual(len(self.engine()["nodes"]), 3)
        self.output.unlink()
        self.refused(4, "--nodes", "7", "--no-reuse", model=self.identity, hosts=False, saying="of 7 nodes answered")

    def test_what_is_wrong_is_one_sentence(self):
        def refused(*options, saying, code=4):
            self.refused(code, *options, saying=saying, model=self.identity)
        self.hosts.write_text("n0\nn1\nn9\n")
        refused(saying="Host n9 does not answer by interface eth0")
        self.hosts.write_text("n0\nn1\nn0\n")
        refused(saying="names host n0 a second time", code=2)
        self.hosts.write_text("n0\nn1\nn2\n")
        refused("--workers", "2", saying="--workers is for --engine local", code=2)
        self.interface = "nowhere7"
        refused(saying="does not answer by interface nowhere7")
        self.interface = "eth0"
        runs, self.runs = self.runs, pathlib.Path("/tmp/runs")
        refused(saying="does not see this run in its store; --runs must be a place that all hosts share")
        self.runs = runs
        self.environment.pop("OMPI_ALLOW_RUN_AS_ROOT")
        refused(saying="OMPI_ALLOW_RUN_AS_ROOT=1", code=2)

    def test_hosts_with_another_version(self):
        own = pathlib.Path(support.PROGRAM).with_name("atelier-rank")
        other = self.folder / "another"
        other.write_text("#!/bin/sh\necho '@atelier host n2 0.0.1 sees'\n")
        other.chmod(0o755)
        self.lab.run("n2", ["mount", "--bind", other, own], check=True)
        self.addCleanup(self.lab.crash, "n2")
        self.refused(4, saying="Host n2 has version 0.0.1 of Atelier", model=self.identity)

    def test_a_rank_that_does_not_come_is_named(self):
        """Its host answers when it is asked, and its rank then says nothing."""
        own = pathlib.Path(support.PROGRAM).with_name("atelier-rank")
        good = self.folder / "good-rank"
        shutil.copy(own, good)
        hangs = self.folder / "hangs"
        hangs.write_text(f"#!/bin/sh\n[ \"$1\" != host ] || exec {good} \"$@\"\nexec sleep 600\n")
        hangs.chmod(0o755)
        self.lab.run("n3", ["mount", "--bind", hangs, own], check=True)
        self.addCleanup(self.lab.crash, "n3")
        self.refused(4, "--gang-timeout", "3", saying="Nobody came from n3 within 3 s (--gang-timeout)", model=self.identity)

    def test_without_mpi_there_are_sentences(self):
        shutil.copy(support.PROGRAM, self.folder / "atelier")
        process = self.lab.start("n0", [self.folder / "atelier", *self.command(
            self.source, self.output, *self.options(), "--quiet")], env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.end, process)
        self.assertIn("-DATELIER_MPI=ON", self.finish(process, 2))
        for options in ([], ["--hosts", self.hosts], ["--nodes", "2", "--hosts", self.hosts, "--interface", "eth0"]):
            self.assert_refused(2, self.command(self.source, self.output, "--engine", "mpi", *options),
                                self.output, saying="--")
        self.assert_refused(2, self.command(self.source, self.output, "--hosts", self.hosts), self.output,
                            saying="--hosts goes with --engine mpi")


if __name__ == "__main__":
    if not pathlib.Path(support.PROGRAM).with_name("atelier-rank").exists():
        print("SKIPPED: the program was built without Open MPI; run tools/setup cluster, then tools/build",
              file=sys.stderr)
        sys.exit(77)
    netlab.main(support.main)
