# SPDX-License-Identifier: Apache-2.0
"""Whole jobs of several processes over TLS, on a real Azurite with SAS tokens only and on a real S3 server (Swift with
s3api): killed and gone on with, and by processes of which each has just the rights that it needs. azure_test.py and s3_test.py
run them."""

import json
import os
import signal

import remote_job
import support
from support import run

support.SHORT |= {"test_a_real_video_by_two_workers_killed_twice_has_the_bits_of_a_local_run"}


class WholeJobs:
    """The cases; classes below have a service of a kind."""

    def kill_after(self, commits, *job):
        """How many chunks are committed when it is dead."""
        process = self.start_group(*job)
        self.wait_until_committed(process, commits)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return len(self.commits_there())

    def test_a_real_video_by_two_workers_killed_twice_has_the_bits_of_a_local_run(self):
        clip = support.need_shared_media() / "carphone_pristine.mp4"
        self.put("input", "real.mp4", clip.read_bytes())
        self.input, self.source = self.url("input", "real.mp4"), clip
        # Large enough that the job is met half-way; under the sanitizers it is slow as it is.
        self.CUT = ("--chunk-seconds", "0.5", "--size", "176x0" if support.SHORT_RUN else "352x0")
        committed = 0
        for _ in range(2):
            committed = self.kill_after(committed + 1, *self.job("--workers", "2", "--quiet", model="starry-night"))
            self.assertEqual(self.objects("output"), [])
        done = run(*self.job("--workers", "2", "--json", model="starry-night"))
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual((report["output"], report["frames"]), (self.output, 120))
        self.assertGreater(report["frames_scored_now"], 0)
        self.assertLess(report["frames_scored_now"], 120)
        self.assertEqual(self.painted(), self.undisturbed(model="starry-night"))
        self.assertEqual(self.objects("output"), ["out/painted.mp4"])
        self.assert_said(report["notes"])

    def assert_said(self, notes):
        pass

    def test_each_process_has_just_the_rights_that_it_needs(self):
        self.kill_after(1, *self.job("--workers", "1", "--quiet", model=self.slow_model()))
        run_url = self.run_url()
        self.take_rights_of("worker")
        self.assert_fails(2, ["worker", self.run_of_others(), "--quiet"], self.MAY_NOT_READ)
        done = run("worker", run_url)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(self.commits_there()), 6)
        # Who may score may not publish.
        self.assert_fails(2, ["finish", run_url, "--quiet"], "denied")
        self.assertEqual(self.objects("output"), [])
        self.take_rights_of("finish")
        done = run("finish", run_url)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.painted(), self.undisturbed(model=self.slow_model()))


class WholeJobsOnAzure(WholeJobs, remote_job.AzureJob):
    MAY_NOT_READ = "denied"

    def setUp(self):
        super().setUp()
        self.places["others"] = f"others{self.counter}"
        self.make_place(self.places["others"])

    def run_of_others(self):
        """No token of Azure's is for a part of a container: runs that others must not open have another container."""
        return f"{self.url('others')}/all/{self.run_url().rpartition('/')[2]}"

    def take_rights_of(self, who):
        rights = {"worker": {"input": "r", "runs": "rcwdl"}, "finish": {"input": "r", "runs": "rcwl", "output": "rcw"}}
        self.sas = {what: self.azurite.container_sas(self.places[what], each) for what, each in rights[who].items()}
        if who == "worker":
            # Its token is for its own runs, whatever the place that it is shown for.
            self.sas |= {"others": self.sas["runs"], "output": self.sas["runs"]}
        self.write_credentials()


class WholeJobsOnS3(WholeJobs, remote_job.S3Job):
    """By two keys: one is for media, which outside users may reach, and one for runs, which they may not."""

    MAY_NOT_READ = "may not read it"

    def setUp(self):
        super().setUp()
        self.places["others"] = f"others{self.counter}"
        self.make_place(self.places["others"])

    def assert_said(self, notes):
        self.assertIn("claims are advisory", " ".join(notes))  # Swift has no conditional writes
        # What is there is kept, however often it is asked for.
        self.assert_fails(2, self.job("--quiet", model="starry-night"), "exists and was kept")

    def run_of_others(self):
        return f"{self.url('others')}/all/{self.run_url().rpartition('/')[2]}"

    def give_rights(self):
        self.swift.grant(self.places["input"], readers=["lab:media", "lab:ops"])
        self.swift.grant(self.places["output"], readers=["lab:media"], writers=["lab:media"])
        self.swift.grant(self.places["runs"], readers=["lab:ops"], writers=["lab:ops"])

    def sections(self, endpoint, patience, who="finish"):
        media, ops = (("lab:media", self.swift.secrets["media"]), ("lab:ops", self.swift.secrets["ops"]))
        keys = {"input": media, "output": media, "runs": ops, "others": ops}
        if who == "worker":
            keys = dict.fromkeys(keys, ops)
        return super().sections(endpoint, patience, keys=keys)

    def secrets(self):
        return list(self.swift.secrets.values())

    def take_rights_of(self, who):
        self.write_credentials(who=who)

    def test_the_key_of_media_opens_no_run(self):
        self.assertEqual(run(*self.job("--quiet")).returncode, 0)
        run_url = self.run_url()
        self.write_secret(self.credentials, [line.replace("lab:ops", "lab:media").replace(
            self.swift.secrets["ops"], self.swift.secrets["media"]) for line in self.credentials.read_text().splitlines()])
        self.assert_fails(2, ["show", run_url], self.MAY_NOT_READ)
        self.take_rights_of("worker")
        self.assert_fails(2, ["probe", self.output], self.MAY_NOT_READ)
        self.assertEqual(run("show", run_url).returncode, 0)
