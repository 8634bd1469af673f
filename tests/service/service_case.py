# SPDX-License-Identifier: Apache-2.0
"""A real `atelier serve` for a test: its folders, its configuration, its process, and asking it.

The service is found by its pid, waits on ports that the kernel chose, and ends with its test.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import support  # noqa: E402

PIPELINE = """
name = "paint"
description = "Paints a video."
max_attempts = 2
[parameters.input]
type = "input"
[parameters.output]
type = "output"
[parameters.style]
type = "model"
default = "starry-night"
[parameters.size]
type = "size"
optional = true
[parameters.crf]
type = "integer"
min = 0
max = 51
default = 20
[[steps]]
kind = "prepare"
input = "{input}"
[[steps]]
kind = "score"
model = "{style}"
size = "{size}"
precision = "f32"
[[steps]]
kind = "finish"
output = "{output}"
crf = "{crf}"
"""

TRIGGER = """
[[trigger]]
name = "incoming"
kind = "watch"
location = "{media}/in"
suffix = [".mp4"]
settle = "300ms"
every = "1s"
pipeline = "paint"
owner = "studio"
[trigger.parameters]
input = "{{url}}"
output = "{media}/out/{{stem}}.mp4"
"""

GENEROUS = """
[limits]
requests_per_second = 100000
requests_per_second_per_address = 100000
"""


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class ServiceCase(unittest.TestCase):
    """`self.start()` starts a service over `self.folder`; what it needs is written before."""

    limits = GENEROUS
    context = None  # of TLS, where the service has it

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="atelier-service-")
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.media = self.folder / "media"
        (self.media / "in").mkdir(parents=True)
        (self.media / "out").mkdir()
        (self.folder / "ops").mkdir()
        (self.folder / "paint.toml").write_text(PIPELINE)
        self.process = None
        self.address = self.events_address = None
        self.configure()

    def configure(self, more="", pools=""):
        config = f"""
listen = "127.0.0.1:0"
events_listen = "127.0.0.1:0"
data = "{self.folder}/data"
pipelines = ["paint.toml"]
[stores]
media = ["{self.media}"]
ops = "{self.folder}/ops"
{self.limits}
{pools or '''
[[pool]]
name = "local"
max = 1
workers = 1
price_per_node_hour = 3.6
start_time = "1h"
'''}
{more}
"""
        (self.folder / "atelier.toml").write_text(config)

    def environment(self):
        own = {"XDG_STATE_HOME": f"{self.folder}/state", "XDG_CACHE_HOME": f"{self.folder}/cache",
               "TMPDIR": "/tmp"}
        return {**os.environ, **own}

    def start(self, *options, wait=True):
        """Starts it; returns when it answers, or has ended."""
        with open(self.folder / "serve.log", "ab") as log:
            begin = log.tell()
            self.process = subprocess.Popen(
                [support.PROGRAM, "serve", "--config", str(self.folder / "atelier.toml"), *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment())
        self.addCleanup(self.stop)
        while wait:
            has_ended = self.process.poll() is not None
            for line in self.said()[begin:].decode(errors="replace").splitlines(keepends=True):
                if line.startswith("Serving at ") and line.endswith("\n"):
                    words = line.split()
                    self.address, self.events_address = words[2].rstrip(","), words[-1].rstrip(".")
                    self.token = (self.folder / "data/admin.token").read_text().strip()
                    return True
            if has_ended:
                return False
            time.sleep(0.01)  # another process: nothing to wait on
        return True

    def said(self):
        """What it printed, in all of its lives."""
        return (self.folder / "serve.log").read_bytes()

    def stop(self, how=signal.SIGTERM):
        process, self.process = self.process, None
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        return process.returncode

    def ask(self, method, path, body=None, token=True, headers=None, address=None, timeout=30):
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {self.token if token is True else token}"
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        request = urllib.request.Request((address or self.address) + path, method=method, headers=sent,
                                         data=body.encode() if isinstance(body, str) else body)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.context))
        try:
            with opener.open(request, timeout=timeout) as answer:
                return Reply(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.headers, error.read())

    def make_token(self, name, role, **more):
        reply = self.ask("POST", "/v1/tokens", {"name": name, "role": role, **more})
        self.assertEqual(reply.status, 201, reply.body)
        return reply.json()["token"]

    def client(self, *words, token=None, **keywords):
        """A command of the program that asks the service."""
        env = {**self.environment(), "ATELIER_SERVICE": self.address, "ATELIER_TOKEN": token or self.token}
        return support.run(*words, env=env, **keywords)

    def submit(self, name="a.mp4", output=None, **more):
        body = {"pipeline": "paint", "parameters": {"input": f"{self.media}/{name}",
                                                    "output": f"{self.media}/out/{output or name}"}, **more}
        return self.ask("POST", "/v1/runs", body)

    def wait_for(self, condition, what, seconds=support.TIMEOUT):
        """Polls until `condition` gives something true, and gives that."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            time.sleep(0.05)
        log = self.said().decode(errors="replace")
        runs = [(run["input"], run["state"], run["reason"]) for run in self.runs()] if self.process else []
        return self.fail(f"{what} did not happen within {seconds} s; runs: {runs}; the service said: {log[-2000:]}")

    def run_of(self, identity):
        return self.ask("GET", f"/v1/runs/{identity}").json()

    def wait_until_over(self, identity):
        return self.wait_for(
            lambda: (lambda run: run if run["state"] not in ("queued", "running") else None)(self.run_of(identity)),
            f"the end of {identity}")

    def runs(self, query=""):
        return self.ask("GET", "/v1/runs?limit=1000" + query).json()["runs"]
