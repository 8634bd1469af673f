#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `atelier plan` predicts beside what happens, and how long a large plan takes.

benchmarks/plan.py [--quick]     environment: ATELIER (program)

Predictions: real jobs against a real Azurite through a proxy that holds back the answer to each claim for as long as a
chunk is to take: so more workers than processors can be looked at, and other work on this machine hardly counts. One job by
two workers is measured; from it come the predictions for more workers, for workers that are killed at random, and for the
requests, which the proxy counts. They are written down before the first of those jobs begins.
Processors: a job that is bound by them, measured with one worker of one thread, predicted for two.
"""

import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "net"))
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import azurite  # noqa: E402
import faulty_proxy  # noqa: E402
import onnx_model  # noqa: E402

ATELIER = os.environ.get("ATELIER", str(ROOT / "build/release/atelier"))


def call(*arguments, bound_to=()):
    done = subprocess.run([*bound_to, ATELIER, *map(str, arguments), "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{arguments}: {done.stderr}")
    return json.loads(done.stdout)


def clip(path, size, frames):
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=s={size}:r=25,trim=end_frame={frames}",
                    "-c:v", "libx264", "-preset", "ultrafast", "-g", "10", path], check=True)
    return path


def say(what, predicted, measured, unit="s"):
    print(f"  {what:58} {predicted:9.1f} {measured:9.1f} {unit:5} {100 * (predicted / measured - 1):+6.1f} %", flush=True)


def head():
    print(f"  {'':58} {'predicted':>9} {'measured':>9}")


class SlowProxy(faulty_proxy.FaultyProxy):
    """Keeps the answer to a claim that was granted back for about `seconds`; log-normal, the same for a chunk."""

    def __init__(self, upstream, seconds):
        super().__init__(upstream)
        self.seconds = seconds

    def answer(self, client, status, headers, body, fault):
        if client.command == "PUT" and ".claim." in client.path and status == 201:
            chunk = client.path.split("/chunks/")[1].split(".")[0]
            time.sleep(self.seconds * random.Random(chunk).lognormvariate(-0.02, 0.2))
        return super().answer(client, status, headers, body, fault)


def workers_of(pid):
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and int(pathlib.Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1]) == pid \
                    and b"\0worker\0" in pathlib.Path(f"/proc/{name}/cmdline").read_bytes():
                found.append(int(name))
        except (OSError, ValueError):
            continue  # it has ended
    return found


class Lab:
    def __init__(self, folder, server, proxy, frames, chunks):
        self.folder, self.server, self.proxy, self.chunks = folder, server, proxy, chunks
        self.model = onnx_model.write_identity(folder)
        self.remote = f"az://{server.account}/plan"
        server.make_container("plan")
        server.put("plan/clip.mp4", clip(folder / "clip.mp4", "64x48", frames).read_bytes())
        path = folder / "credentials"
        path.write_text(f"[az://{server.account}]\nendpoint = {proxy.endpoint}\n"
                        f"sas = {server.container_sas('plan', 'rcwdl', seconds=86400)}\n")
        path.chmod(0o600)
        os.environ["ATELIER_CREDENTIALS"] = str(path)

    def job(self, name, workers, deaths_per_hour=0, seed=1):
        """Seconds, requests besides those for the input's bytes, deaths, the run's URL."""
        before = len(self.proxy.seen)
        start = time.monotonic()
        process = subprocess.Popen(
            [ATELIER, "run", f"{self.remote}/clip.mp4", f"{self.remote}/{name}.mp4", "--runs", f"{self.remote}/{name}",
             "--model", self.model, "--chunk-seconds", "0.4", "--workers", str(workers), "--threads", "1", "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deaths = []
        if deaths_per_hour:
            threading.Thread(target=self.kill, args=(process, workers, deaths_per_hour, seed, deaths), daemon=True).start()
        out, err = process.communicate()
        if process.returncode:
            sys.exit(f"{name}: {err}")
        requests = sum("/clip.mp4" not in target for _, target, _ in self.proxy.seen[before:])
        return time.monotonic() - start, requests, len(deaths), json.loads(out)["run"]

    @staticmethod
    def kill(process, workers, per_hour, seed, deaths):
        """One of the workers at random, at random times, as long as the job lasts."""
        chance = random.Random(seed)
        while process.poll() is None:
            time.sleep(chance.expovariate(workers * per_hour / 3600))
            # A place whose worker is being replaced has nobody who could be killed.
            there, place = workers_of(process.pid), chance.randrange(workers)
            if place < len(there) and process.poll() is None:
                os.kill(there[place], signal.SIGKILL)
                deaths.append(time.monotonic())


def wanted(row):
    return row["store"]["reads"] + row["store"]["writes"] - row["chunks"] - row["chunks_repeated"]


class Predictions:
    """Of the jobs to come, from one that was measured; on the screen and in a file before the first of them begins."""

    def __init__(self, run, rate, path):
        options = ("--store-latency", 5, "--detection", 0)
        self.rows = {workers: call("plan", run, "--nodes", workers, *options)["nodes"][0] for workers in (2, 4, 8)}
        # The chunks of the very run, so their spread, too; random deaths by many seeds.
        # Nodes end with the job, as those workers do: who idles longer would be preempted then.
        killed = [call("plan", run, "--nodes", 4, *options, "--idle-timeout", 0, "--preemptions", rate, "--seed", seed)["nodes"][0]
                  for seed in range(1, 101)]
        self.killed = {name: statistics.mean(row[name] for row in killed) for name in ("finished_seconds", "preemptions")}
        path.write_text(json.dumps({"written": time.time(), "nodes": self.rows, "killed": self.killed}, indent=2))
        print("  predicted: " + "; ".join(f"{workers} workers {row['finished_seconds']:.1f} s, {wanted(row):.0f} requests"
                                          for workers, row in self.rows.items())
              + f"; 4 workers that are killed {self.killed['finished_seconds']:.1f} s, {self.killed['preemptions']:.1f} deaths",
              flush=True)


def lab(folder, server, quick):
    chunks, seconds = (24, 1.0) if quick else (60, 2.0)
    with SlowProxy(server.endpoint, seconds) as proxy:
        it = Lab(folder, server, proxy, 10 * chunks, chunks)
        print(f"\n{chunks} chunks of about {seconds} s held back by a proxy, against Azurite; measured with two workers, then "
              f"predicted; load {os.getloadavg()[0]:.1f}")
        two = it.job("w2", 2)
        rate = 3600 / (6 * seconds)
        predictions = Predictions(two[3], rate, folder / "predictions.json")
        head()
        for workers, row in predictions.rows.items():
            took, requests = (two if workers == 2 else it.job(f"w{workers}", workers))[:2]
            say(f"{workers} workers{' (where it was measured)' if workers == 2 else ''}: time", row["finished_seconds"], took)
            say("  requests besides the input's", wanted(row), requests, "")
        took = [it.job(f"k{seed}", 4, rate, seed)[::2] for seed in range(1, 3 if quick else 11)]
        say(f"4 workers, each killed every {6 * seconds:.0f} s: time, mean of {len(took)}",
            predictions.killed["finished_seconds"], statistics.mean(each[0] for each in took))
        say("  workers that were killed", predictions.killed["preemptions"], statistics.mean(each[1] for each in took), "")
        print(f"  load {os.getloadavg()[0]:.1f} at the end")


def processors(folder, quick):
    frames, rounds = (500, 1) if quick else (1500, 3)
    video = clip(folder / "busy.mp4", "320x180", frames)
    found = {1: [], 2: []}
    predicted = []
    ours = sorted(os.sched_getaffinity(0))
    for _ in range(rounds):
        for workers, times in found.items():
            with tempfile.TemporaryDirectory(dir=folder) as runs:
                # A node is a processor here: one worker must not encode on the other's.
                job = call("run", video, f"{runs}/out.mkv", "--model", "starry-night", "--precision", "f32", "--threads", 1,
                           "--workers", workers, "--chunk-seconds", 2, "--runs", f"{runs}/runs",
                           bound_to=("taskset", "--cpu-list", ",".join(map(str, ours[:workers]))))
                times.append(job["wall_seconds"])
                if workers == 1:
                    predicted.append(call("plan", job["run"], "--nodes", 2)["nodes"][0]["finished_seconds"])
    print(f"\n{frames} frames of 320x180, starry-night, f32, on {os.cpu_count()} processors; medians of {rounds}; load "
          f"{os.getloadavg()[0]:.1f}")
    head()
    say("2 workers of one thread, from one: time", statistics.median(predicted), statistics.median(found[2]))


def large():
    print("\nA million chunks of 20 s, 120 s to start a node, a preemption each 20 node-hours")
    for nodes in (1, 100, 10000):
        start = time.monotonic()
        row = call("plan", "--chunks", 1000000, "--chunk-seconds-of-work", 20, "--spread", 0.2, "--nodes", nodes,
                   "--start-delay", 120, "--preemptions", 0.05)["nodes"][0]
        print(f"  {nodes:6} nodes: simulated {row['finished_seconds'] / 3600:8.2f} h in {time.monotonic() - start:.2f} s")


def main():
    quick = "--quick" in sys.argv[1:]
    large()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        if azurite.installed():
            with azurite.Azurite(tls=False) as server:
                lab(pathlib.Path(folder), server, quick)
        else:
            print("SKIPPED: Azurite is not installed here and npm cannot install it")
        processors(pathlib.Path(folder), quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
