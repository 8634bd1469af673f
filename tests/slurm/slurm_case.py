# SPDX-License-Identifier: Apache-2.0
"""What the tests of `atelier run --engine slurm` share: a real Slurm (tests/lab/slurmlab.py), one video, and the bits
that a local run makes of it. They print how much time things cost, and assert none of it."""

import functools
import json
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "e2e"), str(HERE.parent / "lab")]
# Hosts have a /tmp of their own.
tempfile.tempdir = "/var/tmp"

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

    def print_time_lost(self, what, since):
        """Beside its bound: the last chunk that was taken over was committed so long after `since`, in seconds since 1970."""
        taken = {path.name.split(".")[0] for path in self.runs.glob("*/chunks/*.claim.*") if not path.name.endswith(".claim.1")}
        commits = {path.stem: path for path in self.runs.glob("*/chunks/*.json")}
        again = [commits[chunk].stat().st_mtime for chunk in taken if chunk in commits]
        longest = max(sum(value for value in json.loads(path.read_text())["seconds"].values()) for path in commits.values())
        print(f"   {what}: {len(again)} chunks taken over, the last one committed {max(again, default=since) - since:.1f} s later; the "
              f"bound is {CLAIM_TIMEOUT} s of detection and a chunk of {longest:.1f} s, which begins when somebody is free")

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
