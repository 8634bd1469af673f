#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whole jobs against a real S3 server (Swift with s3api), over TLS."""

import glob
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import support  # noqa: E402
import swift  # noqa: E402
from support import make_video, run  # noqa: E402

SERVERS = []


def server():
    if not SERVERS:
        SERVERS.append(swift.Swift())
    return SERVERS[0]


class S3(support.Case):
    spreads = False
    CUT = ("--chunk-seconds", "0.4")
    counter = 0  # of tests: each has buckets of its own

    def setUp(self):
        super().setUp()
        self.server = server()
        S3.counter += 1
        self.media, self.ops = f"media{S3.counter}", f"ops{S3.counter}"
        for bucket in (self.media, self.ops):
            self.server.make_bucket(bucket)
        self.write_credentials(self.server.secret)
        self.source = make_video(self.folder / "in.mp4", "-bf", "2", frames=60)
        self.server.put(f"{self.media}/a clip.mp4", self.source.read_bytes())

    def write_credentials(self, secret):
        path = self.folder / "credentials"
        path.write_text("".join(
            f"[s3://{bucket}]\nendpoint = {self.server.endpoint}\nca_file = {self.server.ca}\n"
            f"access_key_id = {self.server.key}\nsecret_access_key = {secret}\n" for bucket in (self.media, self.ops)))
        path.chmod(0o600)
        os.environ["ATELIER_CREDENTIALS"] = str(path)
        self.addCleanup(os.environ.pop, "ATELIER_CREDENTIALS", None)

    def slow_model(self):
        """Slow enough that a job is met half-way through requests over TLS."""
        return support.onnx_model.write_slow(self.folder / "slow", support.slow_layers(milliseconds=60))

    def job(self, *options):
        return ["run", "--runs", f"s3://{self.ops}/all", "--model", self.slow_model(), *self.CUT, *options, "--",
                f"s3://{self.media}/a%20clip.mp4", f"s3://{self.media}/out/painted.mp4"]

    def names(self, bucket):
        status, body = self.server.request("GET", bucket, "list-type=2")
        self.assertEqual(status, 200)
        return re.findall(r"<Key>([^<]*)</Key>", body.decode())

    def wait_until_committed(self, process, wanted):
        deadline = time.monotonic() + support.TIMEOUT
        while sum(name.endswith(".json") and "/chunks/" in name for name in self.names(self.ops)) < wanted:
            self.assertLess(time.monotonic(), deadline, "no chunk was committed in time")
            if process.poll() is not None:
                self.fail(f"it ended early: {process.returncode} {process.stderr.read().decode(errors='replace')}")

    def test_two_workers_killed_twice_give_the_bits_of_a_local_run(self):
        job = self.job("--workers", "2", "--json")
        for wanted in (1, 3):
            process = subprocess.Popen([support.PROGRAM, *map(str, job)], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
            self.addCleanup(self.end, process)
            self.wait_until_committed(process, wanted)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            self.assertEqual(self.names(self.media), ["a clip.mp4"])
        done = run(*job)
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertLess(report["frames_scored_now"], 60)
        # Swift has no conditional writes.
        self.assertIn("claims are advisory", " ".join(report["notes"]))
        local = self.folder / "local.mp4"
        self.score(self.source, local, *self.CUT, model=self.slow_model())
        self.assertEqual(self.server.get(f"{self.media}/out/painted.mp4"), local.read_bytes())
        # What is there is kept, however often it is asked for.
        done = run(*job)
        self.assertEqual(done.returncode, 2)
        self.assertIn("exists and was kept", done.stderr)

    def test_a_wrong_secret(self):
        self.write_credentials("wrong")
        done = run(*self.job("--quiet"))
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assert_one_sentence(done.stderr)
        self.assertNotIn(self.server.secret, done.stderr)

    def test_a_clock_that_is_ahead(self):
        """Swift refuses such a request, and the program corrects its clock by the answer."""
        fake = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        if not fake:
            print("SKIPPED: no clock can be faked: run tools/setup net", file=sys.stderr)
            self.skipTest("libfaketime is missing")
        status, body = self.server.request("GET", f"{self.media}/a clip.mp4", ahead=7200)
        self.assertEqual(status, 403)
        self.assertIn(b"RequestTimeTooSkewed", body)
        there = self.folder / "there.mp4"
        done = run("cp", f"s3://{self.media}/a%20clip.mp4", there,
                   env={"LD_PRELOAD": fake[0], "FAKETIME": "+2h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(there.read_bytes(), self.source.read_bytes())

    def test_a_model_in_a_bucket(self):
        path = support.onnx_model.write_negative(self.folder / "negative")
        for each in path.parent.iterdir():
            self.server.put(f"{self.ops}/styles/{each.name}", each.read_bytes())
        picture, local = self.folder / "there.png", self.folder / "local.png"
        done = run("preview", f"s3://{self.media}/a%20clip.mp4", picture, "--model",
                   f"s3://{self.ops}/styles/{path.name}")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(run("preview", self.source, local, "--model", path).returncode, 0)
        self.assertEqual(picture.read_bytes(), local.read_bytes())

    def test_the_usual_variables(self):
        os.environ.pop("ATELIER_CREDENTIALS")
        given = {"AWS_ACCESS_KEY_ID": self.server.key, "AWS_SECRET_ACCESS_KEY": self.server.secret,
                 "AWS_ENDPOINT_URL_S3": self.server.endpoint, "AWS_CA_BUNDLE": self.server.ca}
        done = run("probe", f"s3://{self.media}/a%20clip.mp4", "--json", env=given)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("streams", json.loads(done.stdout))
        done = run("probe", f"s3://{self.media}/other.mp4", env=given)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertNotIn(self.server.secret, done.stderr)


if __name__ == "__main__":
    if swift.why_not():
        print(f"SKIPPED: {swift.why_not()}", file=sys.stderr)
        sys.exit(swift.SKIPPED)
    try:
        support.main()
    finally:
        for each in SERVERS:
            each.stop()
