# SPDX-License-Identifier: Apache-2.0
"""Jobs whose input, output and runs lie in a store on loopback, each in a container of its own: what the tests of
Azure (a real Azurite) and of S3 (a real Swift) share. No test is in here."""

import os
import re
import subprocess
import sys
import time
import unittest
import urllib.parse

import azurite
import support
import swift
from support import make_video, run, sha256

UNDISTURBED = {}  # results of jobs in folders, by input, model and cut
PLACES = ("input", "output", "runs")


class RemoteJob(support.Case):
    """Classes below have a service: `start_service`, `make_place`, `sections`, `secrets`, `address`, `put`, `get`
    and `objects`."""

    TLS = True
    spreads = False
    CUT = ("--chunk-seconds", "0.4")
    counter = 0  # of tests: each has containers of its own

    def setUp(self):
        super().setUp()
        self.start_service()
        RemoteJob.counter += 1
        self.places = {}
        for what in PLACES:
            self.places[what] = f"{what}{RemoteJob.counter}"
            self.make_place(self.places[what])
        self.give_rights()
        self.write_credentials()
        self.source = make_video(self.folder / "in.mp4", "-bf", "2", frames=60)
        self.put("input", "a clip.mp4", self.source.read_bytes())
        self.input = self.url("input", "a%20clip.mp4")
        self.output = self.url("output", "out/painted.mp4")
        self.remote_runs = self.url("runs", "all")

    def give_rights(self):
        pass

    def slow_model(self):
        """Slow enough that a job is met half-way through requests over TLS."""
        return support.onnx_model.write_slow(self.folder / "slow", support.slow_layers(milliseconds=60))

    # Credentials --------------------------------------------------------------------------------
    def write_credentials(self, endpoint=None, patience=(), name="credentials", **keywords):
        """A file of credentials; $ATELIER_CREDENTIALS names it for what is started from here on."""
        self.credentials = self.folder / name
        self.write_secret(self.credentials, self.sections(endpoint, patience, **keywords))
        os.environ["ATELIER_CREDENTIALS"] = str(self.credentials)
        self.addCleanup(os.environ.pop, "ATELIER_CREDENTIALS", None)
        return self.credentials

    @staticmethod
    def write_secret(path, lines):
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o600)

    # Jobs ---------------------------------------------------------------------------------------
    def job(self, *options, model=None):
        return ["run", "--runs", self.remote_runs, "--model", model or self.identity, *self.CUT, *options, "--",
                self.input, self.output]

    def painted(self):
        return self.get("output", "out/painted.mp4")

    def undisturbed(self, model=None):
        """What a job in a folder gives; each is done once for all tests."""
        name = model or self.identity
        what = (sha256(self.source), sha256(name) if os.path.exists(name) else name, self.CUT)
        if what not in UNDISTURBED:
            local = self.folder / f"local{len(UNDISTURBED)}.mp4"
            self.score(self.source, local, *self.CUT, model=model)
            UNDISTURBED[what] = local.read_bytes()
        return UNDISTURBED[what]

    def commits_there(self):
        return [name for name in self.objects("runs") if re.search(r"/chunks/\d+\.json$", name)]

    def run_url(self):
        run_id = next(name.split("/")[1] for name in self.objects("runs") if name.endswith("/manifest.json"))
        return f"{self.remote_runs}/{run_id}"

    def start_group(self, *arguments, env=None):
        process = subprocess.Popen([support.PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                                   env={**os.environ, **(env or {})})
        self.addCleanup(self.end, process)
        return process

    def wait_until(self, process, condition, what):
        deadline = time.monotonic() + support.TIMEOUT
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"{what} did not happen in time")
            if process.poll() is not None:
                self.fail(f"it ended early: {process.returncode} {process.stderr.read().decode(errors='replace')}")
            time.sleep(0.005)  # another process: nothing to wait on

    def wait_until_committed(self, process, wanted):
        self.wait_until(process, lambda: len(self.commits_there()) >= wanted, f"the commit of {wanted} chunks")

    def assert_fails(self, code, arguments, *words, env=None):
        done = run(*arguments, env=env)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assert_one_sentence(done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        for secret in self.secrets():
            self.assertNotIn(secret, done.stderr + done.stdout)
        return done


class AzureJob(RemoteJob):
    """With a SAS token for each container, of just the rights that are needed."""

    RIGHTS = {"input": "r", "output": "rcw", "runs": "rcwdl"}

    def start_service(self):
        self.azurite = azurite.server(self.TLS)

    def make_place(self, name):
        self.azurite.make_container(name)

    def give_rights(self):
        self.sas = {what: self.azurite.container_sas(self.places[what], rights) for what, rights in self.RIGHTS.items()}

    def sections(self, endpoint, patience, ca=True, leave_out=()):
        lines = [f"[az://{self.azurite.account}]", f"endpoint = {endpoint or self.azurite.endpoint}", *patience]
        if ca and self.azurite.ca:
            lines.append(f"ca_file = {self.azurite.ca}")
        for what, sas in self.sas.items():
            if what not in leave_out:
                lines += [f"[{self.url(what)}]", f"sas = {sas}"]
        return lines

    @staticmethod
    def signature(sas):
        return urllib.parse.parse_qs(sas)["sig"][0]

    def secrets(self):
        return [self.signature(sas) for sas in self.sas.values()]

    @property
    def address(self):
        return self.azurite.endpoint

    def url(self, what, path=""):
        return f"az://{self.azurite.account}/{self.places[what]}/{path}".rstrip("/")

    def put(self, what, name, content):
        self.azurite.put(f"{self.places[what]}/{name}", content)

    def get(self, what, name):
        return self.azurite.get(f"{self.places[what]}/{name}")

    def objects(self, what):
        status, body = self.azurite.request("GET", self.places[what], "restype=container&comp=list")
        self.assertEqual(status, 200)
        return re.findall(r"<Name>([^<]*)</Name>", body.decode())


SWIFT = {}  # started once for a file of tests: by whether it speaks TLS


def swift_server(tls=True):
    """Skips the test, loudly, where there can be none."""
    if swift.why_not():
        print(f"SKIPPED: {swift.why_not()}", file=sys.stderr)
        raise unittest.SkipTest(swift.why_not())
    if tls not in SWIFT:
        SWIFT[tls] = swift.Swift(tls)
    return SWIFT[tls]


class S3Job(RemoteJob):
    """With the keys of who owns the buckets."""

    def start_service(self):
        self.swift = swift_server(self.TLS)

    def make_place(self, name):
        self.swift.make_bucket(name)

    def sections(self, endpoint, patience, keys=None, secret=None):
        """`keys`: for each place its key and secret, where they are not the owner's."""
        lines = []
        for what in self.places:
            key, own = (keys or {}).get(what, (self.swift.key, secret or self.swift.secret))
            lines += [f"[{self.url(what)}]", f"endpoint = {endpoint or self.swift.endpoint}", *patience,
                      f"access_key_id = {key}", f"secret_access_key = {own}"]
            if self.swift.ca:
                lines.append(f"ca_file = {self.swift.ca}")
        return lines

    def secrets(self):
        return [self.swift.secret]

    @property
    def address(self):
        return self.swift.endpoint

    def url(self, what, path=""):
        return f"s3://{self.places[what]}/{path}".rstrip("/")

    def put(self, what, name, content):
        self.swift.put(f"{self.places[what]}/{name}", content)

    def get(self, what, name):
        return self.swift.get(f"{self.places[what]}/{name}")

    def objects(self, what):
        status, body = self.swift.request("GET", self.places[what], "list-type=2")
        self.assertEqual(status, 200)
        return re.findall(r"<Key>([^<]*)</Key>", body.decode())


def stop_swift():
    for each in SWIFT.values():
        each.stop()


def run_tests():
    """Runs the file's tests and stops the servers that they have started."""
    try:
        azurite.run_tests(support.main)
    finally:
        stop_swift()
