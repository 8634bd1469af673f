#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`atelier run --engine slurm` on a real Slurm: independent workers, preempted, interrupted, refused. Whatever happens, the
output has the bits of a local run, and the report tells what it was."""

import json
import os
import pathlib
import shutil
import signal
import time

import slurm_case
import slurmlab
import support
from netlab import wait_until
from slurm_case import PATIENCE
from support import sha256


NOBODY = 65534  # Slurm's nodes must know a user by name


class Elastic(slurm_case.SlurmCase):
    def test_one_node_after_another(self):
        """Two of three nodes are taken: work starts with the free one, and the others join."""
        blocker = self.lab.slurm("sbatch", "--parsable", "-p", "ondemand", "--nodes=2", "--exclusive",
                                 "--output=/dev/null", "--wrap", "sleep 600").strip()
        wait_until(lambda: self.lab.jobs().get(blocker) == "RUNNING", 30, "the other job's start")
        process = self.begin("--partition", "spot", "--nodes", "1..3", "--gres", "paint:1", "--account", "film")
        self.wait_for_commits(process, 2)
        self.assertEqual(len(self.scorers()), 1)
        asked = self.lab.slurm("squeue", "-h", "-r", "-p", "spot", "-O", "account:20,tres-per-node:30").split()
        self.assertEqual(set(asked), {"film", "gres:paint:1"})
        self.look_at_it()
        self.lab.slurm("scancel", blocker)
        report = self.finish(process)
        self.assertEqual(report["engine"]["restarts"], 0)
        self.assertEqual(report["engine"]["workers"], 3)
        self.assertEqual(report["frames_scored_now"], 200)
        wait_until(lambda: not self.lab.jobs(), 30, "the end of its tasks")

    def look_at_it(self):
        url = self.run_folders()[0].as_uri()
        show = [support.PROGRAM, "show", url]
        done = self.lab.run("n0", [*show, "--json"], env=self.lab.environment, capture_output=True, text=True)
        engine = json.loads(done.stdout)["engine"]
        self.assertEqual((engine["name"], engine["partition"]), ("slurm", "spot"))
        states = {task["task"]: task for task in engine["tasks"]}
        self.assertEqual(set(states), {"1", "2", "3"})
        self.assertEqual(states["1"]["state"], "RUNNING")
        self.assertEqual(len(states["1"]["nodes"]), 1)
        self.assertEqual(states["3"]["state"], "PENDING")
        done = self.lab.run("n0", show, env=self.lab.environment, capture_output=True, text=True)
        self.assertRegex(done.stdout, r"Slurm job \d+ in 'spot': .*1 RUNNING on n\d")
        self.assertIn(" PENDING (", done.stdout)
        # Elsewhere nothing is known, and the chunks are shown all the same.
        done = support.run("show", url, env={"PATH": "/nowhere"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("nothing is known of it. There is no command 'squeue'", done.stdout)

    def test_preempted(self):
        """And more workers are asked for than an array of this Slurm may have."""
        process = self.begin("--partition", "spot", "--nodes", "1..1024")
        wait_until(lambda: len(self.nodes()) == 3, 30, "the workers' start")
        self.wait_for_commits(process, 2)
        self.preempt()
        preempted = time.time()
        report = self.finish(process)
        self.print_time_lost("a preemption", preempted, "a second or two until it has left")
        # The state lasts for seconds: on a busy machine Slurm may be asked after it.
        self.assertRegex(self.texts(report), r"Task \d (was preempted on n\d and|was taken from n\d and|was) (was )?requeued")
        self.assertGreaterEqual(report["engine"]["restarts"], 1)
        self.assertEqual(report["engine"]["workers"], 8, "MaxArraySize=9")
        # Who was sent away gave back what it had: nobody had to find out.
        beats = [json.loads(path.read_text()) for path in self.runs.glob("*/workers/*.beat")]
        self.assertEqual([beat for beat in beats if not beat["left"] or beat.get("lost")], [])

    def test_as_a_user(self):
        """Without root's rights, on the head and on the nodes."""
        self.folder.chmod(0o755)
        mine = self.folder / "mine"
        mine.mkdir()
        shutil.copy(self.video, mine / "in.mp4")
        shutil.copytree(self.model.parent, mine / "models")
        for path in (mine, *mine.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        self.video, self.model = mine / "in.mp4", mine / "models" / self.model.name
        self.output, self.runs = mine / "out.mp4", mine / "runs"
        self.prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
        homes = {name: str(mine) for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME")}
        self.finish(self.begin("--partition", "spot", "--nodes", "2", environment={**self.lab.environment, **homes}))
        self.assertEqual({path.stat().st_uid for path in self.runs.glob("*/chunks/*.json")}, {NOBODY})

    def test_interrupted_and_begun_again(self):
        process = self.begin("--partition", "spot", "--nodes", "3")
        self.wait_for_commits(process, 2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 130, err)
        self.assert_one_sentence(err.decode())
        wait_until(lambda: not self.lab.jobs(), 30, "the end of the job")
        kept = self.commits()
        self.assertLess(len(kept), 20, "nothing was left to do")
        report = self.finish(self.begin("--partition", "spot", "--nodes", "3"))
        self.assertEqual({path: self.commits()[path] for path in kept}, kept, "a chunk was scored again")
        self.assertLess(report["frames_scored_now"], 200)

    def test_the_command_dies_and_its_job_goes_on(self):
        process = self.begin("--partition", "spot", "--nodes", "2")
        self.wait_for_commits(process, 1)
        process.kill()
        process.communicate()
        wait_until(lambda: not self.lab.jobs(), PATIENCE, "the end of the job")
        self.assertEqual(len(self.commits()), 20, "the job did not finish its chunks")
        done = self.lab.run("n0", self.arguments("--partition", "spot"), env=self.lab.environment, capture_output=True,
                            text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sha256(self.output), self.wanted)
        self.assertEqual(json.loads(done.stdout)["frames_scored_now"], 0)

    def test_workers_go_on_while_slurm_is_silent(self):
        process = self.begin("--partition", "spot", "--nodes", "3")
        wait_until(lambda: len(self.nodes()) == 3, 30, "the workers' start")
        self.wait_for_commits(process, 2)
        controller = self.lab.daemons[-1]
        controller.send_signal(signal.SIGSTOP)
        try:
            report = self.finish(process)
        finally:
            controller.send_signal(signal.SIGCONT)
        self.assertIn("Slurm does not answer", self.texts(report))

    def test_a_job_whose_number_does_not_come(self):
        """sbatch submits it and says that nobody answered: the job is found by its name."""
        folder = self.folder / "bin"
        folder.mkdir()
        sbatch = folder / "sbatch"
        sbatch.write_text(f"#!/bin/sh\n{shutil.which('sbatch', path=slurmlab.PATH)} \"$@\" >/dev/null || exit\n"
                          "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation'"
                          " >&2\nexit 1\n")
        sbatch.chmod(0o755)
        environment = {**self.lab.environment, "PATH": f"{folder}:{self.lab.environment['PATH']}"}
        report = self.finish(self.begin("--partition", "spot", "--nodes", "2", environment=environment))
        self.assertIn("sbatch did not say so, but Slurm has job ", self.texts(report))
        self.assertEqual((report["engine"]["workers"], report["engine"]["restarts"]), (2, 0))
        wait_until(lambda: not self.lab.jobs(), 30, "the end of its tasks")

    def test_cancelled_by_somebody_else(self):
        process = self.begin("--partition", "spot", "--nodes", "2")
        self.wait_for_commits(process, 1)
        job = next(iter(self.lab.jobs())).split("_")[0]
        self.lab.slurm("scancel", job)
        _, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 130, err)
        self.assertIn(f"Somebody cancelled Slurm job {job}", err.decode())

    def test_a_run_that_is_cancelled_takes_its_job_along(self):
        process = self.begin("--partition", "spot", "--nodes", "2")
        self.wait_for_commits(process, 1)
        (self.run_folders()[0] / "cancel.json").write_text('{"reason": "the film is off"}\n')
        _, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 130, err)
        self.assertRegex(err.decode(), r"Run [0-9a-f]{16} was cancelled; what is done is kept\.\n$")
        wait_until(lambda: not self.lab.jobs(), 30, "the end of the job")
        self.assertLess(len(self.commits()), 20, "nothing was left to do")
        self.finish(self.begin("--partition", "spot", "--nodes", "2"))


class Refusals(slurm_case.SlurmCase):
    def test_bad_configurations(self):
        self.refused(4, "no partition 'nosuch'", "--partition", "nosuch")
        self.refused(4, "There is no command 'sinfo'", "--partition", "spot",
                     environment={**self.lab.environment, "PATH": str(self.without_slurm())})
        self.refused(4, "Slurm refuses the job (Batch job submission failed: Invalid feature specification)",
                     "--partition", "spot", "--constraint", "fast")
        self.refused(4, "Slurm refuses the job (Batch job submission failed: Requested node configuration is not available)",
                     "--partition", "spot", "--gres", "paint:2")
        self.refused(2, "--nodes takes N or A..B", "--nodes", "3..2")
        self.refused(2, "say --nodes", "--workers", "2")

    def test_a_partition_that_cannot_work(self):
        """Slurm would take the job and let it wait for ever."""
        for state, word in (("DOWN", "down"), ("INACTIVE", "inactive")):
            self.lab.slurm("scontrol", "update", "PartitionName=spot", f"State={state}")
            try:
                self.refused(4, f"'spot' takes no work now ({word})", "--partition", "spot")
            finally:
                self.lab.slurm("scontrol", "update", "PartitionName=spot", "State=UP")
        nodes = ",".join(slurmlab.STATIC)
        self.lab.slurm("scontrol", "update", f"NodeName={nodes}", "State=DRAIN", "Reason=test")
        try:
            self.refused(4, "'spot' has no node that can work and one is asked for (nodes: 3 drained)", "--partition", "spot")
        finally:
            self.lab.slurm("scontrol", "update", f"NodeName={nodes}", "State=RESUME")
        self.refused(4, "has 3 nodes that can work and 4 are asked for", "--partition", "spot", "--gang", "--nodes", "4..5",
                     "--interface", "eth0")

    def test_doctor_knows_the_partition_and_its_nodes(self):
        many = ["--nodes", f"{len(slurmlab.STATIC) + 1}..9"]
        for code, partition, options, saying in (
                (0, "spot", [], f"nodes of 'spot': {len(slurmlab.STATIC)} idle"),
                # Independent workers start with the first node, as `run` has it; a gang does not.
                (0, "spot", many, f"nodes of 'spot': {len(slurmlab.STATIC)} idle"),
                (4, "spot", [*many, "--gang", "--interface", "eth0"], "has 3 nodes that can work and 4 are asked for"),
                # Powered down: they come when there is work.
                (0, "cloud", [], f"nodes of 'cloud': {len(slurmlab.CLOUD)} idle~"),
                (4, "nosuch", [], "no partition 'nosuch'")):
            done = self.lab.run("n0", [support.PROGRAM, "doctor", "--json", "--runs", self.runs, "--engine", "slurm",
                                       "--partition", partition, *options], env=self.lab.environment, capture_output=True,
                                text=True, timeout=support.TIMEOUT)
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
            found = json.loads(done.stdout)["findings"]
            engine, = (f for f in found if f["check"] == "engine")
            self.assertIn(saying, engine["text"])
            if partition == "spot" and code == 0:
                job, = (f for f in found if f["check"] == "job")
                self.assertIn("Slurm would take it: Job ", job["text"])
                hosts = sorted(f["text"].split()[0] for f in found if f["check"] == "host")
                self.assertEqual(hosts, list(slurmlab.STATIC), found)

    def without_slurm(self):
        """A folder for PATH with what enters a host and nothing else."""
        folder = self.folder / "bin"
        folder.mkdir()
        (folder / "nsenter").symlink_to(shutil.which("nsenter"))
        return folder

    def test_a_run_that_is_not_shared(self):
        self.runs = pathlib.Path("/tmp/runs")  # of each host its own
        self.refused(4, "cannot be seen from here; give --runs a folder that every node shares", "--partition", "spot")

    def test_another_version_on_the_nodes(self):
        self.refused_for_its_version(support.PROGRAM, slurmlab.STATIC, "--partition", "spot")

    def test_another_version_on_one_node_of_a_gang(self):
        """Its verdict counts, not what the workers end with that Slurm then sends away."""
        self.refused_for_its_version(f"{support.PROGRAM}-rank", slurmlab.STATIC[-1:], "--partition", "spot", "--gang",
                                     "--interface", "eth0", "--nodes", str(len(slurmlab.STATIC)))

    def test_a_gang_says_by_which_interface_it_speaks(self):
        self.refused(2, "--gang needs --interface NAME", "--partition", "spot", "--gang")
        self.refused(4, "There is no network interface 'nosuch0' here", "--partition", "spot", "--gang", "--interface",
                     "nosuch0", "--nodes", "3")
        self.refused(2, "--interface goes with --engine mpi", "--partition", "spot", "--interface", "eth0")

    def refused_for_its_version(self, path, hosts, *options):
        done = support.run("--version")
        version = done.stdout.split()[-1].encode()
        other = b"9" * len(version)
        program = self.folder / "atelier"
        there = pathlib.Path(path).read_bytes()
        self.assertIn(version + b"\0", there)
        program.write_bytes(there.replace(version + b"\0", other + b"\0"))
        program.chmod(0o755)
        for host in hosts:
            self.lab.run(host, ["mount", "--bind", program, path], check=True)
            self.addCleanup(self.lab.run, host, ["umount", path], check=True)
        self.refused(4, f"This is Atelier {other.decode()}, but the run was prepared by {version.decode()}",
                     *options)


if __name__ == "__main__":
    slurm_case.main()
