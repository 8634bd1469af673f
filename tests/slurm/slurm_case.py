# SPDX-License-Identifier: Apache-2.0
"""What the tests of `atelier run --engine slurm` share: a real Slurm (tests/lab/slurmlab.py), one video, and the bits
that a local run makes of it. They print how much time things cost, and assert none of it; what an eviction loses, counted in
chunks, they do assert."""

import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "e2e"), str(HERE.parent / "lab")]
# Hosts have a /tmp of their own.
tempfile.tempdir = "/var/tmp"

import evictions
import onnx_model
import slurmlab
import support
from netlab import wait_until
from support import make_video, sha256

LAB = None  # the cluster that all cases of a file share
CUT = ["--chunk-seconds", "0.4"]
PATIENCE = 120
CLAIM_TIMEOUT = 30  # of `atelier run`


@functools.cache
def material():
    """The video, a model that takes a while, and the bits of a local run."""
    holder = tempfile.TemporaryDirectory(prefix="atelier-slurm-")
    folder = pathlib.Path(holder.name)
    video = make_video(folder / "in.mp4", "-bf", "3", "-x264-params", "open-gop=1:scenecut=0", frames=200)
    model = onnx_model.write_slow(folder / "models", support.slow_layers(milliseconds=40))
    output = folder / "alone.mp4"
    done = support.run("run", "--runs", folder / "runs", "--model", model, *CUT, "--json", "--", video, output)
    if done.returncode:
        raise RuntimeError(f"the local run failed: {done.stderr}")
    print(f"   a local run: {json.loads(done.stdout)['node_seconds']:.1f} s of scoring")
    return holder, video, model, sha256(output)


class SlurmCase(support.Case):
    def setUp(self):
        super().setUp()
        self.lab = LAB
        _, self.video, self.model, self.wanted = material()
        self.output = self.folder / "out.mp4"
        self.prefix = []  # of commands on the head
        self.begun = time.monotonic()
        wait_until(lambda: not self.lab.jobs(), PATIENCE, "the end of earlier jobs")

    def arguments(self, *options):
        return [*self.prefix, support.PROGRAM, "run", "--engine", "slurm", "--runs", self.runs, "--model", self.model, *CUT, "--json",
                *options, "--", self.video, self.output]

    def begin(self, *options, environment=None):
        """On the head, as a user there would."""
        process = self.lab.start("n0", self.arguments(*options), env=environment or self.lab.environment, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            process.kill()
        process.communicate()
        for job in {name.split("_")[0] for name in self.lab.jobs()}:
            self.lab.slurm("scancel", job, check=False)

    def finish(self, process, seconds=PATIENCE):
        """The report of a run that must succeed with the bits of a local one."""
        kept = self.commits()
        out, err = process.communicate(timeout=seconds)
        self.assertEqual(process.returncode, 0, err.decode() + out.decode())
        self.assertEqual(sha256(self.output), self.wanted)
        report = json.loads(out)
        print(f"   {self._testMethodName}: {report['node_seconds']:.1f} s of scoring by "
              f"{', '.join(report['engine']['nodes'])}")
        for event in report["engine"]["events"]:
            print(f"   {event['seconds']:6.1f} s  {event['text']}")
        self.assertEqual(report["engine"]["name"], "slurm")
        self.assertEqual(report, json.loads((self.run_folders()[0] / "report.json").read_text()))
        self.assert_little_is_lost(kept)
        return report

    def refused(self, code, saying, *options, environment=None):
        done = self.lab.run("n0", self.arguments(*options), env=environment or self.lab.environment,
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, code, done.stderr + done.stdout)
        self.assert_one_sentence(done.stderr)
        self.assertIn(saying, done.stderr)
        self.assertFalse(self.output.exists())
        self.assertEqual(json.loads(done.stdout)["exit_code"], code)

    def scorers(self):
        """The workers that have committed something."""
        return {json.loads(pathlib.Path(path).read_text())["worker"] for path in self.commits()}

    def nodes(self):
        """{node: task} of what runs."""
        lines = self.lab.slurm("squeue", "-h", "-r", "-t", "RUNNING", "-o", "%N %K").splitlines()
        return dict(line.split() for line in lines)

    def print_time_lost(self, what, since, detection=f"{CLAIM_TIMEOUT} s of detection"):
        evictions.print_time_lost(self.runs, what, since, detection)

    def assert_little_is_lost(self, kept):
        """Whoever was evicted: what was committed stays as it is, and only what it had in work is begun anew."""
        commits = self.commits()
        self.assertEqual({path: commits.get(path) for path in kept}, kept, "what was committed was scored again")
        evictions.assert_bounded(self, self.runs)

    def pids_of_workers(self, node):
        """Not of their scorers. A worker that finds OMP_WAIT_POLICY set, as here, keeps its name; otherwise the program starts
        itself again as /proc/self/exe."""
        return self.lab.pids(node, "atelier")

    def signal_workers(self, node, number):
        """All of them there; answers how many there are."""
        pids = self.pids_of_workers(node)
        for pid in pids:
            os.kill(pid, number)
        return len(pids)

    def signal_all(self, nodes, number):
        for node in nodes:
            self.assertTrue(self.signal_workers(node, number), f"no worker on {node}")

    def stop_in_a_chunk(self, process, *nodes):
        """Lets all work and stops them again, until one of these nodes has a worker with a chunk in work: that node."""
        while True:
            self.signal_all(nodes, signal.SIGCONT)
            self.wait_for_commits(process, len(self.commits()) + 2)
            self.signal_all(nodes, signal.SIGSTOP)
            if found := set(self.nodes_with_open_claims()) & set(nodes):
                return min(found)

    def nodes_with_open_claims(self):
        """Where workers are that have begun a chunk and not ended it."""
        committed = {pathlib.Path(path).stem for path in self.commits()}
        workers = [last for chunk, (*_, last) in evictions.claims(self.runs).items() if last and chunk not in committed]
        lines = self.lab.slurm("squeue", "-h", "-r", "-t", "RUNNING", "-o", "%A %N").splitlines()
        nodes = dict(line.split() for line in lines)
        return [nodes[job] for worker in workers if (job := worker.split(".")[-2]) in nodes]

    def preempt(self):
        """Somebody else needs a node for a moment."""
        self.lab.slurm("sbatch", "-p", "ondemand", "--nodes=1", "--exclusive", "--output=/dev/null", "--wrap", "sleep 2")

    def texts(self, report):
        return "\n".join(event["text"] for event in report["engine"]["events"])


def main():
    """Runs the cases of the calling file on a cluster of their own."""
    slurmlab.main(_run)


def _run():
    global LAB
    with slurmlab.SlurmLab() as LAB:
        support.main()
