#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The service with a pool of a real Slurm: three videos land in a folder that head and nodes share, and come back painted by
the cluster's nodes, with the bits of local runs; what is no video is set aside."""

import json
import os
import signal
import subprocess

import slurm_case
import support
from netlab import wait_until
from support import sha256

CONFIG = """
listen = "127.0.0.1:0"
events_listen = "127.0.0.1:0"
data = "{folder}/data"
pipelines = ["paint.toml"]
[stores]
media = ["{folder}/media"]
ops = "{folder}/ops"
models = ["{models}"]
[[pool]]
name = "cluster"
engine = "slurm"
partition = "spot"
nodes = "1..2"
max = 4
price_per_node_hour = 1
[[trigger]]
name = "incoming"
kind = "watch"
location = "{folder}/media/in"
pipeline = "paint"
[trigger.parameters]
input = "{{url}}"
output = "{folder}/media/out/{{stem}}.mp4"
"""

PIPELINE = """
name = "paint"
[parameters.input]
type = "input"
[parameters.output]
type = "output"
[[steps]]
kind = "prepare"
input = "{{input}}"
chunk-seconds = 0.4
[[steps]]
kind = "score"
model = "{model}"
[[steps]]
kind = "finish"
output = "{{output}}"
"""


class ServiceOnSlurm(slurm_case.SlurmCase):
    def serve(self):
        """On the head. Gives its address."""
        process = self.lab.start("n0", [support.PROGRAM, "serve", "--config", self.folder / "atelier.toml"],
                                 env=self.lab.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT)
        self.addCleanup(self.end_service, process)
        for line in iter(process.stdout.readline, b""):
            if line.startswith(b"Serving at "):
                return line.decode().split()[2].rstrip(",")
        return self.fail("the service did not start")

    def end_service(self, process):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        for job in {name.split("_")[0] for name in self.lab.jobs()}:
            self.lab.slurm("scancel", job, check=False)

    def runs_of(self, address):
        done = self.lab.run("n0", [support.PROGRAM, "list", "--json", "--service", address], capture_output=True, text=True,
                            env={**self.lab.environment, "ATELIER_TOKEN_FILE": str(self.folder / "data/admin.token")})
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["runs"]

    def wanted_of(self, videos):
        """{name of a short video: the bits that a local run makes of it}."""
        found = {}
        for path in videos:
            short = support.cut_short(path, self.folder, "3", "64:48")
            alone = self.folder / f"alone-{short.name}"
            done = support.run("run", "--runs", self.folder / "alone", "--model", self.model, *slurm_case.CUT, "--", short, alone)
            self.assertEqual(done.returncode, 0, done.stderr)
            found[short.name] = sha256(alone)
        return found

    def test_dropped_videos_are_painted_by_the_cluster(self):
        for name in ("media/in", "media/out", "ops"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "paint.toml").write_text(PIPELINE.format(model=self.model))
        (self.folder / "atelier.toml").write_text(CONFIG.format(folder=self.folder, models=self.model.parent))
        wanted = self.wanted_of(support.three_videos(self.folder))
        self.assertEqual(len(set(wanted.values())), 3, "the videos are not three different ones")
        address = self.serve()
        for name in wanted:
            os.rename(self.folder / name, self.folder / "media/in" / name)
        (self.folder / "poison").write_text("no video")
        os.rename(self.folder / "poison", self.folder / "media/in/poison.mp4")

        def over():
            runs = self.runs_of(address)
            return runs if len(runs) == 4 and all(run["state"] in ("finished", "set_aside", "failed") for run in runs) else None
        wait_until(over, slurm_case.PATIENCE, "the end of four runs")
        by_name = {run["input"].rsplit("/", 1)[1]: run for run in over()}
        self.assertEqual(by_name["poison.mp4"]["state"], "set_aside", by_name["poison.mp4"])
        for name, digest in wanted.items():
            run = by_name[name]
            self.assertEqual(run["state"], "finished", run)
            self.assertEqual(sha256(self.folder / "media/out" / name), digest, name)
            self.assertGreater(run["cost"], 0)


if __name__ == "__main__":
    slurm_case.main()
