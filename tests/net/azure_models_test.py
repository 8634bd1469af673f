#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Models that lie in a container of a real Azurite, with a token of their own that only reads."""

import json
import os
import pathlib
import signal
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import azurite  # noqa: E402
import support  # noqa: E402
from remote_job import AzureJob  # noqa: E402
from support import run  # noqa: E402

support.SHORT |= {"test_workers_find_the_model_again"}


class Models(AzureJob):
    def setUp(self):
        super().setUp()
        self.places["models"] = f"models{self.counter}"
        self.make_place(self.places["models"])
        self.sas["models"] = self.azurite.container_sas(self.places["models"], "r")
        self.write_credentials()

    def upload(self, path, name=None):
        """A model and what lies beside it; its location."""
        name = name or path.stem
        for each in path.parent.iterdir():
            there = each.name.replace(path.stem, name)
            self.put("models", f"styles/{there}", each.read_bytes())
        return self.url("models", f"styles/{name}.onnx")

    def negative(self):
        return support.onnx_model.write_negative(self.folder / "negative")

    def test_workers_find_the_model_again(self):
        there = self.upload(self.slow_model())
        process = self.start_group(*self.job("--workers", "1", "--quiet", model=there))
        self.wait_until_committed(process, 1)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        run_id = self.objects("runs")[0].split("/")[1]
        done = run("worker", f"{self.remote_runs}/{run_id}")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = run(*self.job("--json", "--workers", "2", model=there))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["frames_scored_now"], 0)
        self.assertEqual(self.painted(), self.undisturbed(model=self.slow_model()))

    def test_toml_and_weights_beside_it(self):
        """The toml says how values are to be read; the weights are a file of their own."""
        path = support.onnx_model.write_external(self.folder / "external")
        (path.parent / "weights.bin").write_bytes(struct.pack("<3f", 0, 0, 0.5))
        done = run(*self.job("--workers", "2", model=self.upload(path)))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("no toml", done.stderr)
        self.assertEqual(self.painted(), self.undisturbed(model=path))

    def test_the_same_model_here_and_there_is_the_same_run(self):
        path = self.negative()
        self.assertEqual(run(*self.job(model=path)).returncode, 0)
        done = run(*self.job("--force", "--json", model=self.upload(path)))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["frames_scored_now"], 0)

    def test_a_model_that_is_replaced_under_the_run(self):
        there = self.upload(self.slow_model(), "style")
        process = self.start_group(*self.job("--workers", "1", "--quiet", model=there))
        self.wait_until_committed(process, 1)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        self.upload(self.negative(), "style")
        run_id = self.objects("runs")[0].split("/")[1]
        self.assert_fails(3, ["worker", f"{self.remote_runs}/{run_id}", "--quiet"], "changed since the run was prepared",
                          there)
        # The command prepares another run, with the model that is there now.
        done = run(*self.job("--json", model=there))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["frames_scored_now"], 60)
        self.assertEqual(self.painted(), self.undisturbed(model=self.negative()))

    def test_preview_and_models(self):
        path = self.negative()
        there, picture = self.upload(path), self.folder / "preview.png"
        done = run("preview", self.input, picture, "--model", there)
        self.assertEqual(done.returncode, 0, done.stderr)
        local = self.folder / "local.png"
        self.assertEqual(run("preview", self.source, local, "--model", path).returncode, 0)
        self.assertEqual(picture.read_bytes(), local.read_bytes())
        done = run("models", there, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_what_is_no_model_or_may_not_be_read(self):
        self.assert_fails(2, self.job("--quiet", model=self.url("models", "none.onnx")), "no model", "none.onnx")
        self.put("models", "text.onnx", b"no network")
        self.assert_fails(2, self.job("--quiet", model=self.url("models", "text.onnx")), "text")
        weights = struct.pack("<3f", 0, 0, 0.5)
        self.put("models", "outside.bin", weights)
        for nth, location in enumerate(("../outside.bin", "/outside.bin", "absent.bin", "")):
            path = support.onnx_model.write_external(self.folder / f"external{nth}", location)
            self.assert_fails(2, self.job("--quiet", model=self.upload(path, f"external{nth}")), "outside.bin"
                              if "outside" in location else "")
        there = self.upload(self.negative())
        self.write_credentials(leave_out=["models"])
        self.assert_fails(2, self.job("--quiet", model=there), "ATELIER_CREDENTIALS", self.places["models"])


if __name__ == "__main__":
    azurite.run_tests(support.main)
