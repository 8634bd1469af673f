#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""deploy/slurm: the programs that make and delete virtual machines, with an `az` that only writes down how it was
called. No cloud is asked."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "deploy/slurm"


class Programs(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="atelier-deploy-")
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        self.program("az", 'printf "%s\\n" "$*" >>"$CALLS"; case $* in *"$BROKEN"*) echo "$SAYS" >&2; exit 1 ;; esac')
        self.program("logger", 'shift 3; echo "$*" >>"$CALLS.log"')
        self.program("scontrol", '[ "$1 $2 $3" = "show hostnames cloud[1-2]" ] && printf "cloud1\\ncloud2\\n"')
        text = (FOLDER / "atelier-cloud.env").read_text()
        self.env = self.folder / "cloud.env"
        self.env.write_text(re.sub(r"(?m)^SUBNET=", "SUBNET=/subnets/nodes", text))

    def program(self, name, text):
        path = self.folder / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def run_program(self, name, broken="nothing is", says=""):
        calls = self.folder / "calls"
        done = subprocess.run([FOLDER / name, "cloud[1-2]"], capture_output=True, text=True, env={
            "PATH": f"{self.folder}:{os.environ['PATH']}", "CALLS": str(calls), "BROKEN": broken, "SAYS": says,
            "ATELIER_CLOUD_ENV": str(self.env)})
        self.assertEqual(done.stderr, "")
        return done.returncode, calls.read_text().splitlines(), pathlib.Path(f"{calls}.log").read_text().splitlines()

    def test_a_machine_is_made_for_each_node(self):
        code, calls, log = self.run_program("atelier-resume.sh")
        self.assertEqual(code, 0)
        self.assertEqual(len(calls), 2)
        for host, call in zip(("cloud1", "cloud2"), calls):
            self.assertTrue(call.startswith(f"vm create --resource-group atelier --name {host} "), call)
            for words in ("--image atelier-node", "--subnet /subnets/nodes", "--priority Spot --eviction-policy Delete",
                          "--os-disk-delete-option Delete", "--nic-delete-option Delete", "--no-wait"):
                self.assertIn(words, call)
            self.assertNotIn("--assign-identity", call)
        self.assertEqual(log, ["cloud1 is on its way", "cloud2 is on its way"])

    def test_machines_that_are_not_preemptible(self):
        self.env.write_text(self.env.read_text().replace("PRIORITY=Spot", "PRIORITY=Regular")
                            .replace("IDENTITY=", "IDENTITY=/identities/nodes"))
        _, calls, _ = self.run_program("atelier-resume.sh")
        self.assertIn("--priority Regular --assign-identity /identities/nodes", calls[0])
        self.assertNotIn("--eviction-policy", calls[0])

    def test_one_that_cannot_be_had_does_not_stop_the_others(self):
        code, calls, log = self.run_program("atelier-resume.sh", "--name cloud1 ", "SkuNotAvailable: none left")
        self.assertEqual((code, len(calls)), (1, 2))
        self.assertEqual(log, ["cloud1 cannot be had: SkuNotAvailable: none left", "cloud2 is on its way"])

    def test_machines_are_deleted(self):
        code, calls, _ = self.run_program("atelier-suspend.sh")
        self.assertEqual(code, 0)
        self.assertEqual([call.split(" --yes")[0] for call in calls],
                         [f"vm delete --resource-group atelier --name {host}" for host in ("cloud1", "cloud2")])

    def test_an_evicted_machine_is_gone_already(self):
        code, _, log = self.run_program("atelier-suspend.sh", "--name cloud2 ", "(ResourceNotFound) not under group")
        self.assertEqual((code, log[1]), (0, "cloud2 is gone already"))
        code, _, log = self.run_program("atelier-suspend.sh", "--name cloud2 ", "(AuthorizationFailed)")
        self.assertEqual((code, log[-1]), (1, "cloud2 cannot be deleted: (AuthorizationFailed)"))

    def test_what_the_settings_name_is_here(self):
        text = (FOLDER / "atelier-cloud.env").read_text()
        name, = re.findall(r"(?m)^CUSTOM_DATA=/etc/slurm/(\S+)", text)
        first, *rest = (FOLDER / name).read_text().splitlines()
        self.assertEqual(first, "#cloud-config", "cloud-init would not know it")
        program = "\n".join(line[6:] for line in rest if line.startswith("      "))
        self.assertIn("slurmd --conf-server", program)
        done = subprocess.run(["bash", "-n"], input=program, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_what_the_fragment_names_is_here(self):
        text = (FOLDER / "atelier.conf").read_text()
        for name in re.findall(r"Program=/etc/slurm/(\S+)", text):
            self.assertTrue(os.access(FOLDER / name, os.X_OK), name)


if __name__ == "__main__":
    unittest.main()
