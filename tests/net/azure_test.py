#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whole jobs against a real Azurite: input, output and runs in containers of their own, each with a token of its own."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import azurite  # noqa: E402
import support  # noqa: E402
from planted_secrets import SecretsOfAzure  # noqa: E402, F401 (its tests run here)
from remote_job import AzureJob  # noqa: E402
from support import run  # noqa: E402
from whole_jobs import WholeJobsOnAzure  # noqa: E402, F401

support.SHORT |= {"test_a_token_that_ends_in_the_middle"}

SHORT_PATIENCE = ("give_up_after = 3",)


class Azure(AzureJob):
    # Whole jobs ---------------------------------------------------------------------------------
    def test_a_drill(self):
        seeds = "1-20" if support.SLOW_RUN else "1-2"
        done = run("drill", self.source, "--model", self.identity, "--runs", self.url("runs", "drills"), "--seed", seeds,
                   "--chunk-seconds", "0.4", "--json", timeout=4 * support.TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertGreater(sum(seed["accidents"] for seed in report["seeds"]), 3)
        self.assertEqual(self.objects("runs"), [], "the drill left its runs there")

    def test_show_and_gc(self):
        self.assertEqual(run(*self.job()).returncode, 0)
        run_id = self.objects("runs")[0].split("/")[1]
        done = run("show", f"{self.remote_runs}/{run_id}", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(json.loads(done.stdout)["chunks"]), 6)
        done = run("gc", "--runs", self.remote_runs, "--older-than", "0m", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.objects("runs"), [])

    # Credentials --------------------------------------------------------------------------------
    def test_a_token_that_ends_in_the_middle(self):
        token = self.folder / "runs.sas"

        def put(seconds):
            """In one step, as whoever renews tokens should."""
            fresh = self.folder / "fresh.sas"
            fresh.write_text(self.azurite.container_sas(self.places["runs"], "rcwdl", seconds=seconds))
            fresh.chmod(0o600)
            fresh.rename(token)

        put(3600)
        self.credentials.write_text(self.credentials.read_text().replace(f"sas = {self.sas['runs']}",
                                                                         f"sas_file = {token}"))
        process = self.start_group(*self.job("--quiet", "--workers", "1", model=self.slow_model()))
        self.wait_until_committed(process, 1)
        put(-60)  # the file is read again when it changes
        _, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 2, err)
        self.assert_one_sentence(err.decode())
        self.assertIn("has expired at", err.decode())
        self.assertIn(self.places["runs"], err.decode())
        self.assertEqual(self.objects("output"), [])
        put(3600)
        done = run(*self.job("--json", model=self.slow_model()))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLess(json.loads(done.stdout)["frames_scored_now"], 60)
        self.assertEqual(self.painted(), self.undisturbed(model=self.slow_model()))

    def test_doctor_with_the_rights_of_a_run(self):
        done = run("doctor", "--json", "--runs", self.url("runs"), f"{self.url('input')}/a clip.mp4",
                   f"{self.url('output')}/new.mp4")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        found = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
        self.assertEqual((found["runs"]["state"], found["input"]["state"]), ("ok", "ok"))
        # What may not be removed stays, and is named.
        self.assertEqual(found["output"]["state"], "warning")
        self.assertIn("atelier-doctor-", found["output"]["text"])

    def test_a_token_without_the_right(self):
        self.sas["runs"] = self.azurite.container_sas(self.places["runs"], "rl")
        self.write_credentials()
        self.assert_fails(2, self.job("--quiet"), "denied", "SAS", self.places["runs"])

    def test_no_credential_at_all(self):
        self.write_credentials(leave_out=["input"])
        self.assert_fails(2, self.job("--quiet"), "ATELIER_CREDENTIALS")

    def test_a_file_of_credentials_that_others_can_read(self):
        self.credentials.chmod(0o644)
        self.assert_fails(2, self.job("--quiet"), "chmod 600", str(self.credentials))

    def test_the_key_of_the_account_is_warned_about(self):
        self.write_credentials(leave_out=["input", "output", "runs"])
        os.environ["AZURE_STORAGE_KEY"] = self.azurite.key
        self.addCleanup(os.environ.pop, "AZURE_STORAGE_KEY")
        self.assert_fails(2, self.job("--quiet"), "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT")
        os.environ["AZURE_STORAGE_ACCOUNT"] = self.azurite.account
        self.addCleanup(os.environ.pop, "AZURE_STORAGE_ACCOUNT")
        done = run(*self.job("--json"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("SAS", " ".join(json.loads(done.stdout)["notes"]))
        self.assertNotIn(self.azurite.key, done.stdout + done.stderr)

    def test_a_bearer_token(self):
        token = self.folder / "token"
        token.write_text(self.azurite.bearer_token())
        token.chmod(0o600)
        self.write_credentials(leave_out=["input", "output", "runs"])
        self.credentials.write_text(self.credentials.read_text() + f"token_file = {token}\n")
        done = run(*self.job())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.painted(), self.undisturbed())

    def test_a_sas_on_the_command_line_is_refused(self):
        self.input += "?" + self.sas["input"]
        self.assert_fails(2, self.job("--quiet"), "token")

    def test_an_authority_that_nobody_knows(self):
        self.write_credentials(ca=False)
        self.assert_fails(2, self.job("--quiet"), "certificate", "ATELIER_CA_FILE")

    # What goes wrong ----------------------------------------------------------------------------
    def test_what_is_absent_and_what_is_there(self):
        there, self.input = self.input, self.url("input", "other.mp4")
        self.assert_fails(3, self.job("--quiet"), "other.mp4")
        self.input = there
        self.put("output", "out/painted.mp4", b"mine")
        self.assert_fails(2, self.job("--quiet"), "exists and was kept")
        self.assertEqual(self.painted(), b"mine")
        self.assertEqual(run(*self.job("--force")).returncode, 0)
        self.assertEqual(self.painted(), self.undisturbed())

    def test_nobody_listens(self):
        with_nobody, = azurite.free_ports(1)
        self.write_credentials(endpoint=f"http://127.0.0.1:{with_nobody}/{self.azurite.account}", patience=SHORT_PATIENCE)
        self.assert_fails(4, self.job("--quiet"), "127.0.0.1", "connect")

    def test_a_host_that_is_nowhere(self):
        """In a network of its own, so that nobody else is asked for the name."""
        if os.geteuid() != 0 or shutil.which("unshare") is None:
            self.skipTest("a network namespace takes root and unshare")
        self.write_credentials(endpoint=f"http://storage.invalid/{self.azurite.account}", patience=SHORT_PATIENCE)
        done = subprocess.run(["unshare", "--net", support.PROGRAM, *map(str, self.job("--quiet"))],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assert_one_sentence(done.stderr)
        self.assertIn("storage.invalid", done.stderr)

    def test_a_token_that_is_not_valid_yet(self):
        """The clock of whoever made it is ahead of the service's."""
        self.sas["input"] = self.azurite.container_sas(self.places["input"], "r", seconds=7200, begins=3600)
        self.write_credentials()
        self.assert_fails(2, self.job("--quiet"), "not valid before", "clock", self.places["input"])


if __name__ == "__main__":
    azurite.run_tests(support.main)
