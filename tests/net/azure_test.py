#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whole jobs against a real Azurite: input, output and runs in containers of their own, each with a token of its own."""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import azurite  # noqa: E402
import faulty_proxy  # noqa: E402
import support  # noqa: E402
from support import make_video, run, sha256  # noqa: E402

support.SHORT |= {"test_two_workers_killed_twice_give_the_bits_of_a_local_run", "test_a_token_that_ends_in_the_middle"}


SHORT_PATIENCE = ("give_up_after = 3",)
UNDISTURBED = {}  # results of jobs in folders, by input, model and cut


class Job(support.Case):
    TLS = True
    spreads = False
    CUT = ("--chunk-seconds", "0.4")
    counter = 0  # of tests: each has containers of its own

    def setUp(self):
        super().setUp()
        self.azurite = azurite.server(self.TLS)
        Job.counter += 1
        self.places = {}
        for what in ("input", "output", "runs"):
            self.places[what] = f"{what}{Job.counter}"
            self.azurite.make_container(self.places[what])
        self.sas = {"input": self.azurite.container_sas(self.places["input"], "r"),
                    "output": self.azurite.container_sas(self.places["output"], "rcw"),
                    "runs": self.azurite.container_sas(self.places["runs"], "rcwdl")}
        self.write_credentials()
        self.source = make_video(self.folder / "in.mp4", "-bf", "2", frames=60)
        self.azurite.put(f"{self.places['input']}/a clip.mp4", self.source.read_bytes())
        self.input = self.url("input", "a%20clip.mp4")
        self.output = self.url("output", "out/painted.mp4")
        self.remote_runs = self.url("runs", "all")

    def slow_model(self):
        """Slow enough that a job is met half-way through requests over TLS."""
        return support.onnx_model.write_slow(self.folder / "slow", support.slow_layers(milliseconds=60))

    def url(self, what, path=""):
        return f"az://{self.azurite.account}/{self.places[what]}/{path}".rstrip("/")

    def write_credentials(self, endpoint=None, ca=True, leave_out=(), patience=()):
        """A file of credentials; $ATELIER_CREDENTIALS names it for what is started from here on."""
        lines = [f"[az://{self.azurite.account}]", f"endpoint = {endpoint or self.azurite.endpoint}", *patience]
        if ca and self.azurite.ca:
            lines.append(f"ca_file = {self.azurite.ca}")
        for what, sas in self.sas.items():
            if what not in leave_out:
                lines += [f"[{self.url(what)}]", f"sas = {sas}"]
        self.credentials = self.folder / "credentials"
        self.write_secret(self.credentials, lines)
        os.environ["ATELIER_CREDENTIALS"] = str(self.credentials)
        self.addCleanup(os.environ.pop, "ATELIER_CREDENTIALS", None)

    @staticmethod
    def write_secret(path, lines):
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o600)

    def job(self, *options, model=None):
        return ["run", "--runs", self.remote_runs, "--model", model or self.identity, *self.CUT, *options, "--",
                self.input, self.output]

    def painted(self):
        return self.azurite.get(f"{self.places['output']}/out/painted.mp4")

    def undisturbed(self, model=None):
        """What a job in a folder gives; each is done once for all tests."""
        what = (sha256(self.source), sha256(model or self.identity), self.CUT)
        if what not in UNDISTURBED:
            local = self.folder / f"local{len(UNDISTURBED)}.mp4"
            self.score(self.source, local, *self.CUT, model=model)
            UNDISTURBED[what] = local.read_bytes()
        return UNDISTURBED[what]

    def objects(self, what):
        status, body = self.azurite.request("GET", self.places[what], "restype=container&comp=list")
        self.assertEqual(status, 200)
        return re.findall(r"<Name>([^<]*)</Name>", body.decode())

    def commits_there(self):
        return [name for name in self.objects("runs") if re.search(r"/chunks/\d+\.json$", name)]

    def start_group(self, *arguments):
        process = subprocess.Popen([support.PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        self.addCleanup(self.end, process)
        return process

    def wait_until_committed(self, process, wanted):
        deadline = time.monotonic() + support.TIMEOUT
        while len(self.commits_there()) < wanted:
            self.assertLess(time.monotonic(), deadline, "no chunk was committed in time")
            if process.poll() is not None:
                self.fail(f"it ended early: {process.returncode} {process.stderr.read().decode(errors='replace')}")

    def assert_fails(self, code, arguments, *words):
        done = run(*arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assert_one_sentence(done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        for sas in self.sas.values():
            self.assertNotIn(self.signature(sas), done.stderr + done.stdout)
        return done

    @staticmethod
    def signature(sas):
        return urllib.parse.parse_qs(sas)["sig"][0]


class Azure(Job):
    # Whole jobs ---------------------------------------------------------------------------------
    def test_two_workers_killed_twice_give_the_bits_of_a_local_run(self):
        job = self.job("--workers", "2", "--quiet", model=self.slow_model())
        for wanted in (1, 3):
            process = self.start_group(*job)
            self.wait_until_committed(process, wanted)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            self.assertEqual(self.objects("output"), [])
        done = run(*self.job("--workers", "2", "--json", model=self.slow_model()))
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["output"], self.output)
        self.assertLess(report["frames_scored_now"], 60)
        self.assertEqual(self.painted(), self.undisturbed(model=self.slow_model()))
        self.assertEqual(self.objects("output"), ["out/painted.mp4"])

    def test_a_real_video(self):
        clip = support.need_shared_media() / "carphone_pristine.mp4"
        self.azurite.put(f"{self.places['input']}/real.mp4", clip.read_bytes())
        self.input, self.source = self.url("input", "real.mp4"), clip
        self.CUT = ("--chunk-seconds", "1", "--size", "160x0")
        done = run(*self.job("--workers", "2"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.painted(), self.undisturbed())

    def test_a_worker_needs_no_right_on_the_output(self):
        process = self.start_group(*self.job("--workers", "1", "--quiet", model=self.slow_model()))
        self.wait_until_committed(process, 1)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        run_id = self.objects("runs")[0].split("/")[1]
        self.write_credentials(leave_out=["output"])
        done = run("worker", f"{self.remote_runs}/{run_id}", timeout=support.TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(self.commits_there()), 6)
        self.assertEqual(self.objects("output"), [])
        # Without the output's token nothing can be published.
        self.assert_fails(2, self.job("--quiet", model=self.slow_model()), "denied")
        self.write_credentials()
        done = run(*self.job("--json", model=self.slow_model()))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["frames_scored_now"], 0)
        self.assertEqual(self.painted(), self.undisturbed(model=self.slow_model()))

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

    def test_secrets_are_nowhere(self):
        process = self.start_group(*self.job("--workers", "2", "--trace", self.folder / "trace.json",
                                             model=self.slow_model()))
        self.wait_until_committed(process, 1)
        os.killpg(process.pid, signal.SIGSTOP)  # so that nobody ends while it is looked at
        seen, scorers = 0, 0
        secrets = [self.signature(sas) for sas in self.sas.values()]
        secrets += [urllib.parse.quote(secret, safe="") for secret in secrets]
        for pid in self.family(process.pid):
            try:
                command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
                environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
                limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
                memory = self.memory_of(pid) if self.is_scorer(command) else b""
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
            seen += 1
            if self.is_scorer(command):
                scorers += 1
                self.assertIn(b"OMP_WAIT_POLICY", memory, "its memory was not read")
                self.assertNotIn(b"ATELIER_CREDENTIALS", environment)
                self.assert_no_secret(memory, secrets, "the scorer's memory")
            else:
                self.assertRegex(limits, r"Max core file size +0 +0 ")
            self.assert_no_secret(command + environment, secrets, "the command line")
        os.killpg(process.pid, signal.SIGCONT)
        self.assertGreaterEqual(scorers, 1)
        self.assertGreaterEqual(seen, 3)  # who was called, a worker, its scorer
        out, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 0, err)
        self.assert_no_secret(out + err, secrets, "what was printed")
        self.assert_no_secret((self.folder / "trace.json").read_bytes(), secrets, "the trace")
        for name in self.objects("runs"):
            self.assert_no_secret(self.azurite.get(f"{self.places['runs']}/{name}"), secrets, name)

    @staticmethod
    def is_scorer(command):
        return command.split(b"\0")[1:2] == [b"scorer-process"]

    def assert_no_secret(self, content, secrets, where):
        for secret in secrets:
            self.assertNotIn(secret.encode(), content, where)

    @staticmethod
    def family(pid):
        found = [pid]
        for child in support.children_of(pid):
            found += Azure.family(child)
        return found

    @staticmethod
    def memory_of(pid):
        """All that it may write to; needs root."""
        content = []
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                span, rights = line.split()[:2]
                begin, end = (int(part, 16) for part in span.split("-"))
                if "rw" not in rights or end - begin > 1 << 28:
                    continue
                try:
                    memory.seek(begin)
                    content.append(memory.read(end - begin))
                except OSError:
                    continue
        return b"".join(content)

    # What goes wrong ----------------------------------------------------------------------------
    def test_what_is_absent_and_what_is_there(self):
        there, self.input = self.input, self.url("input", "other.mp4")
        self.assert_fails(3, self.job("--quiet"), "other.mp4")
        self.input = there
        self.azurite.put(f"{self.places['output']}/out/painted.mp4", b"mine")
        self.assert_fails(2, self.job("--quiet"), "exists and was kept")
        self.assertEqual(self.painted(), b"mine")
        self.assertEqual(run(*self.job("--force")).returncode, 0)
        self.assertEqual(self.painted(), self.undisturbed())

    def test_an_input_that_is_replaced_under_the_run(self):
        # More than is kept of it at a time: what was read once is not asked for again.
        large = make_video(self.folder / "large.mkv", "-c:v", "rawvideo", frames=60, size="640x480")
        self.azurite.put(f"{self.places['input']}/a clip.mp4", large.read_bytes())
        process = self.start_group(*self.job("--quiet", "--size", "64x48", model=self.slow_model()))
        self.wait_until_committed(process, 1)
        self.azurite.put(f"{self.places['input']}/a clip.mp4", self.source.read_bytes())
        _, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 3, err)
        self.assert_one_sentence(err.decode())
        self.assertEqual(self.objects("output"), [])

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


class Faults(Job):
    """The same job over a network that breaks."""

    TLS = False

    def through(self, fault, patience=()):
        self.proxy = faulty_proxy.FaultyProxy(self.azurite.endpoint, fault)
        self.addCleanup(self.proxy.stop)
        self.write_credentials(endpoint=self.proxy.endpoint, patience=patience)

    def meet(self, kind, patience=()):
        """A job that meets a kind of fault once at every kind of request; all its own, so that several can be met at once."""
        met = set()
        proxy = faulty_proxy.FaultyProxy(self.azurite.endpoint, self.once_at_every_kind_of_request(kind, met))
        try:
            credentials = self.folder / f"credentials-{kind}"
            text = self.credentials.read_text().replace(f"endpoint = {self.azurite.endpoint}",
                                                        "\n".join([f"endpoint = {proxy.endpoint}", *patience]))
            self.write_secret(credentials, [text])
            done = run("run", "--runs", self.url("runs", kind), "--model", self.identity, *self.CUT, "--", self.input,
                       self.url("output", f"out/{kind}.mp4"), env={"ATELIER_CREDENTIALS": str(credentials)})
            self.assertEqual(done.returncode, 0, f"{kind}: {done.stderr}")
            self.assertEqual(self.azurite.get(f"{self.places['output']}/out/{kind}.mp4"), self.undisturbed(), kind)
            self.assertGreater(proxy.faults, 3, kind)
            self.assertTrue(any(method == "GET" and chunks for method, _, chunks, _, _ in met), f"no chunk met {kind}")
        finally:
            proxy.stop()

    def meet_all(self, kinds, patience=()):
        self.undisturbed()  # once, before the others need it
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            for met in [threads.submit(self.meet, kind, patience) for kind in kinds]:
                met.result()

    @staticmethod
    def once_at_every_kind_of_request(fault, met):
        """`fault`, the first time that a kind of request is seen."""

        def plan(method, target, _nth):
            what = (method, "comp=" in target, "/chunks/" in target, "manifest" in target, "out/" in target)
            if what in met or fault == "damaged" and method != "GET":
                return None
            met.add(what)
            return fault

        return plan

    def test_random_faults_lose_nothing(self):
        for seed in range(1, 9 if support.SLOW_RUN else 3):
            self.through(faulty_proxy.seeded(seed, 0.08))
            done = run(*self.job("--workers", "2", "--no-reuse", "--force"))
            self.assertEqual(done.returncode, 0, f"seed {seed}: {done.stderr}")
            self.assertEqual(self.painted(), self.undisturbed(), f"seed {seed}")
            self.assertGreater(self.proxy.faults, 0)

    def test_every_kind_of_fault_at_every_kind_of_request(self):
        self.meet_all(faulty_proxy.FAULTS)

    def test_who_trickles_and_who_says_nothing(self):
        self.meet_all(("trickle", "stall"), patience=["stall_timeout = 1"])

    def test_who_never_says_anything(self):
        self.through(lambda *_: "stall", patience=["stall_timeout = 1", "give_up_after = 3"])
        self.assert_fails(4, self.job("--quiet"), "did not answer in time")

    def test_a_service_that_is_away_for_some_seconds(self):
        away = {}

        def fault(_method, target, _nth):
            if "/chunks/" in target:
                away.setdefault("since", time.monotonic())
            return "503" if away and time.monotonic() - away["since"] < 4 else None

        self.through(fault)
        done = run(*self.job("--workers", "2"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.painted(), self.undisturbed())

    def test_few_requests_and_the_input_about_once(self):
        bitrate = ("-b:v", "8M", "-minrate", "8M", "-maxrate", "8M", "-bufsize", "1M")
        self.source = make_video(self.folder / "large.mp4", *bitrate, frames=500, size="320x240")
        self.azurite.put(f"{self.places['input']}/large.mp4", self.source.read_bytes())
        self.input = self.url("input", "large.mp4")
        self.CUT = ("--chunk-seconds", "1")
        self.through(lambda *_: None)
        done = run(*self.job("--workers", "2", "--precision", "f32"))
        self.assertEqual(done.returncode, 0, done.stderr)
        size = self.source.stat().st_size
        of_input = [bytes_ for method, target, bytes_ in self.proxy.seen if "large.mp4" in target and method == "GET"]
        chunks = [target for _, target, _ in self.proxy.seen if "/chunks/" in target or "%2Fchunks" in target]
        beats = [target for _, target, _ in self.proxy.seen if ".beat" in target]
        others = len(self.proxy.seen) - len(of_input) - len(beats)
        made = len(self.commits_there())
        print(f"input of {size} bytes: {sum(of_input) / size:.2f} times in {len(of_input)} requests; {others} others, "
              f"{len(chunks)} of them of chunks, for {made} chunks", file=sys.stderr)
        # Once by prepare, once by the workers together, once by the join; and a little by who probes.
        self.assertLess(sum(of_input), 3.5 * size)
        # What a run asks for once, and no more than eight for each chunk.
        self.assertLess(others, made * 8 + 60)


if __name__ == "__main__":
    azurite.run_tests(support.main)
