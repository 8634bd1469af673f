#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whole jobs against a real S3 server (Swift with s3api), over TLS."""

import glob
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import remote_job  # noqa: E402
import support  # noqa: E402
import swift  # noqa: E402
from planted_secrets import SecretsOfS3  # noqa: E402, F401 (its tests run here)
from support import run  # noqa: E402
from whole_jobs import WholeJobsOnS3  # noqa: E402, F401


class S3(remote_job.S3Job):
    def test_a_wrong_secret(self):
        self.write_credentials(secret="wrong")
        self.assert_fails(2, self.job("--quiet"))

    def test_a_clock_that_is_ahead(self):
        """Swift refuses such a request, and the program corrects its clock by the answer."""
        fake = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        if not fake:
            print("SKIPPED: no clock can be faked: run tools/setup net", file=sys.stderr)
            self.skipTest("libfaketime is missing")
        status, body = self.swift.request("GET", f"{self.places['input']}/a clip.mp4", ahead=7200)
        self.assertEqual(status, 403)
        self.assertIn(b"RequestTimeTooSkewed", body)
        there = self.folder / "there.mp4"
        done = run("cp", self.input, there,
                   env={"LD_PRELOAD": fake[0], "FAKETIME": "+2h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(there.read_bytes(), self.source.read_bytes())

    def test_a_model_in_a_bucket(self):
        path = support.onnx_model.write_negative(self.folder / "negative")
        for each in path.parent.iterdir():
            self.put("runs", f"styles/{each.name}", each.read_bytes())
        picture, local = self.folder / "there.png", self.folder / "local.png"
        done = run("preview", self.input, picture, "--model",
                   self.url("runs", f"styles/{path.name}"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(run("preview", self.source, local, "--model", path).returncode, 0)
        self.assertEqual(picture.read_bytes(), local.read_bytes())

    def test_the_usual_variables(self):
        os.environ.pop("ATELIER_CREDENTIALS")
        given = {"AWS_ACCESS_KEY_ID": self.swift.key, "AWS_SECRET_ACCESS_KEY": self.swift.secret,
                 "AWS_ENDPOINT_URL_S3": self.swift.endpoint, "AWS_CA_BUNDLE": self.swift.ca}
        done = run("probe", self.input, "--json", env=given)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("streams", json.loads(done.stdout))
        done = run("probe", self.url("input", "other.mp4"), env=given)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertNotIn(self.swift.secret, done.stderr)


if __name__ == "__main__":
    if swift.why_not():
        print(f"SKIPPED: {swift.why_not()}", file=sys.stderr)
        sys.exit(swift.SKIPPED)
    try:
        support.main()
    finally:
        remote_job.stop_swift()
