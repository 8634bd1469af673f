#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`doctor`: what would stop a run is found before it, one sentence each, and nothing is left behind."""

import json
import os
import pathlib
import unittest

import support
from support import make_video, run

support.SHORT |= {"test_everything_is_well"}


class Doctor(support.Case):
    def doctor(self, *arguments, code=0, env=None):
        done = run("doctor", "--json", "--runs", self.folder / "runs", *arguments, env=env)
        self.assertEqual(done.returncode, code, done.stderr)
        found = json.loads(done.stdout)  # one object, whatever was found
        self.assertEqual(found["state"], "failed" if code else "ok")
        return {finding["check"]: finding for finding in found["findings"]}

    def test_everything_is_well(self):
        video = make_video(self.folder / "in.mp4")
        model = support.onnx_model.write_slow(self.folder, 1)
        found = self.doctor(video, self.folder / "out.mp4", "--model", model)
        self.assertEqual({name: finding["state"] for name, finding in found.items()},
                         dict.fromkeys(("machine", "sandbox", "scratch", "runs", "input", "output", "model"), "ok"))
        self.assertFalse((self.folder / "out.mp4").exists())
        self.assertEqual(list((self.folder / "runs").rglob("*")), [])
        lines = run("doctor", "--runs", self.folder / "runs").stdout.splitlines()
        self.assertTrue(lines and all(line.startswith("ok ") for line in lines), lines)

    def test_what_would_stop_a_run_is_named(self):
        (self.folder / "bad.onnx").write_bytes(b"no model")
        found = self.doctor(self.folder / "absent.mp4", self.folder / "nowhere/out.mp4", "--model",
                            self.folder / "bad.onnx", code=3)
        self.assertEqual([name for name, finding in found.items() if finding["state"] == "failed"],
                         ["input", "output", "model"])
        self.assertIn("absent.mp4", found["input"]["text"])
        self.assertIn("nowhere", found["output"]["text"])
        # Without --json: all findings as lines, then one sentence.
        done = run("doctor", self.folder / "absent.mp4", "--runs", self.folder / "runs")
        self.assertEqual(done.returncode, 3)
        self.assertRegex(done.stdout, r"(?m)^failed +input +There is no file")
        self.assert_one_sentence(done.stderr)

    def test_an_output_that_exists_is_a_warning(self):
        (self.folder / "out.mp4").write_bytes(b"mine")
        found = self.doctor(make_video(self.folder / "in.mp4"), self.folder / "out.mp4")
        self.assertEqual(found["output"]["state"], "warning")
        self.assertEqual((self.folder / "out.mp4").read_bytes(), b"mine")

    def test_credentials_that_others_can_read(self):
        path = self.folder / "credentials"
        path.write_text("[az://account]\nendpoint = http://127.0.0.1:1/account\nsas = a=b\n")
        path.chmod(0o644)
        found = self.doctor(code=2, env={"ATELIER_CREDENTIALS": str(path)})
        self.assertIn("chmod", found["runs"]["text"])

    def test_a_store_that_nobody_serves(self):
        path = self.folder / "credentials"
        path.write_text("[az://account]\nendpoint = http://127.0.0.1:1/account\nsas = sv=1&sig=x\n"
                        "[az://account/c]\nsas = sv=1&sig=x\n")
        path.chmod(0o600)
        done = run("doctor", "--json", "--runs", "az://account/c/runs", env={"ATELIER_CREDENTIALS": str(path)})
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertEqual([f["check"] for f in json.loads(done.stdout)["findings"] if f["state"] == "failed"], ["runs"])

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_runs_that_cannot_be_written(self):
        runs = self.folder / "runs"
        runs.mkdir()
        runs.chmod(0o500)
        self.assertIn("runs", self.doctor(code=2)["runs"]["text"])

    def test_scratch_that_cannot_be_made(self):
        (self.folder / "file").write_text("")
        found = self.doctor(code=2, env={"TMPDIR": str(pathlib.Path(self.folder) / "file/below")})
        self.assertIn("TMPDIR", found["scratch"]["text"])


if __name__ == "__main__":
    support.main()
