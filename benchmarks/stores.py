#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Object stores beside a folder, in one run: single calls, whole jobs, copies of one large and of many small objects,
requests for a chunk.

benchmarks/stores.py [--quick]   medians; against a real Azurite and a real S3 server (Swift) on loopback, over TLS, and
                                 through a proxy that counts

What is measured includes the server, which runs on the same processors.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "net"))

import azurite  # noqa: E402
import faulty_proxy  # noqa: E402
import swift  # noqa: E402

PROGRAM = ROOT / "build" / "release" / "atelier"
RATES = ROOT / "build" / "release" / "bench_store_rates"
SECONDS = 20


def timed(*arguments):
    start = time.monotonic()
    done = subprocess.run([PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{arguments}: {done.stderr}")
    return time.monotonic() - start


class Bench:
    def __init__(self, folder, server, rounds):
        self.folder, self.server, self.rounds = folder, server, rounds
        self.remote = f"az://{server.account}/bench"
        server.make_container("bench")
        self.use(server.endpoint)
        self.clip = folder / "clip.mp4"
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i",
                        f"testsrc2=size=640x360:rate=25,trim=duration={SECONDS}", "-c:v", "libx264", "-g", "50",
                        self.clip], check=True)
        server.put("bench/clip.mp4", self.clip.read_bytes())

    def use(self, endpoint):
        """What is started from here on finds its store there."""
        path = self.folder / "credentials"
        ca = f"ca_file = {self.server.ca}\n" if self.server.ca else ""
        path.write_text(f"[az://{self.server.account}]\nendpoint = {endpoint}\n{ca}"
                        f"sas = {self.server.container_sas('bench', 'rcwdl', seconds=86400)}\n")
        path.chmod(0o600)
        os.environ["ATELIER_CREDENTIALS"] = str(path)

    def job(self, far):
        place = self.remote if far else self.folder
        return timed("run", f"{place}/clip.mp4", f"{place}/painted.mp4", "--runs", f"{place}/runs", "--model",
                     "starry-night", "--precision", "f32", "--workers", "2", "--no-reuse", "--force")

    def jobs(self):
        near, far = [], []
        for _ in range(self.rounds):
            near.append(self.job(False))
            far.append(self.job(True))
        a, b = statistics.median(near), statistics.median(far)
        print(f"whole job, {SECONDS} s of 640x360 by two workers: folder {a:.2f} s, Azurite {b:.2f} s; "
              f"{a / b:.2f} of the folder's rate (goal 0.9)")

    def copies(self):
        large = self.folder / "large"
        large.write_bytes(os.urandom(64 << 20))
        small = self.folder / "small"
        small.mkdir()
        for i in range(200):
            (small / f"{i:03}").write_bytes(os.urandom(1024))
        print(f"{'atelier cp':28} {'to Azurite':>12} {'from Azurite':>12} {'to a folder':>12}")
        rows = (("one object of 64 MiB, MiB/s", large, "large", 64, []),
                ("200 objects of 1 KiB, /s", small, "small", 200, ["--recursive"]))
        for name, source, key, amount, options in rows:
            times = [[], [], []]
            for nth in range(self.rounds):
                there, back, local = f"{self.remote}/{nth}/{key}", f"{self.folder}/b{nth}{key}", f"{self.folder}/l{nth}{key}"
                times[0].append(timed("cp", source, there, *options))
                times[1].append(timed("cp", there, back, *options))
                times[2].append(timed("cp", source, local, *options))
            print(f"{name:28} " + " ".join(f"{amount / statistics.median(each):12.0f}" for each in times))


def single_calls(folder, azure, rounds):
    """One call after the other, of one thread, through the store that the program opens."""
    places = {"a folder": f"{folder}/calls", "Azurite": f"az://{azure.account}/bench/calls"}
    credentials = folder / "credentials"
    if swift.why_not():
        print(f"SKIPPED: {swift.why_not()}")
        return print_calls(places, rounds)
    with swift.Swift() as s3:
        s3.make_bucket("bench")
        text = credentials.read_text()
        credentials.write_text(text + f"[s3://bench]\nendpoint = {s3.endpoint}\nca_file = {s3.ca}\n"
                               f"access_key_id = {s3.key}\nsecret_access_key = {s3.secret}\n")
        print_calls(places | {"Swift (S3)": "s3://bench/calls"}, rounds)
        credentials.write_text(text)


def print_calls(places, rounds):
    print(f"{'single calls':14} {'1 KiB put, ms':>14} {'get, ms':>9} {'64 MiB put, MiB/s':>18} {'get, MiB/s':>11}")
    for name, place in places.items():
        done = subprocess.run([RATES, place, str(20 * rounds), str(rounds)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"{place}: {done.stderr}")
        found = json.loads(done.stdout)
        small, large = ([statistics.median(found[size][verb]) for verb in ("put", "get")] for size in ("small", "large"))
        print(f"{name:14} {1e3 * small[0]:14.2f} {1e3 * small[1]:9.2f} {64 / large[0]:18.0f} {64 / large[1]:11.0f}",
              flush=True)


def count_requests(folder, server):
    bench = Bench(folder, server, 1)
    with faulty_proxy.FaultyProxy(server.endpoint) as proxy:
        bench.use(proxy.endpoint)
        timed("run", f"{bench.remote}/clip.mp4", f"{bench.remote}/painted.mp4", "--runs", f"{bench.remote}/runs",
              "--model", "starry-night", "--size", "160x0", "--workers", "2", "--chunk-seconds", "1")
        size = bench.clip.stat().st_size
        of_input = [count for method, target, count in proxy.seen if method == "GET" and "/clip.mp4" in target]
        beats = sum(".beat" in target for _, target, _ in proxy.seen)
        # Every chunk is committed by one PUT of its record.
        chunks = sum(method == "PUT" and "/chunks/" in target and target.split("?")[0].endswith(".json")
                     for method, target, _ in proxy.seen)
        others = len(proxy.seen) - len(of_input) - beats
        print(f"requests of a job of {chunks} chunks: {others}, {others / chunks:.1f} for a chunk (goal 8), besides "
              f"{beats} heartbeats; the input was read {sum(of_input) / size:.2f} times in {len(of_input)} requests")


def main():
    if not azurite.installed():
        print("SKIPPED: Azurite is not installed here and npm cannot install it")
        return 0
    rounds = 3 if "--quick" in sys.argv else 7
    print(f"\nSTORES  {os.cpu_count()} processors, medians of {rounds}")
    for tls in (True, False):
        with tempfile.TemporaryDirectory() as folder, azurite.Azurite(tls) as server:
            os.environ["XDG_CACHE_HOME"] = folder
            if tls:
                bench = Bench(pathlib.Path(folder), server, rounds)
                single_calls(pathlib.Path(folder), server, rounds)
                bench.jobs()
                bench.copies()
            else:
                count_requests(pathlib.Path(folder), server)
    return 0


if __name__ == "__main__":
    sys.exit(main())
