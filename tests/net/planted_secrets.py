# SPDX-License-Identifier: Apache-2.0
"""Secrets of every kind are planted, jobs and failing commands run with them, and whatever others could look at is
searched for them: command lines, environments, the scorer's memory, output, traces, logs, runs, core dumps. azure_test.py and
s3_test.py run them."""

import base64
import os
import pathlib
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
import urllib.parse

import faulty_proxy
import remote_job
import support
from support import make_video, run


NO_CORE = r"Max core file size +1 +1 "  # of one byte: it holds for cores that are piped, too


def family(pid):
    found = [pid]
    for child in support.children_of(pid):
        found += family(child)
    return found


def is_scorer(command):
    return command.split(b"\0")[1:2] == [b"scorer-process"]


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


def spellings(text):
    """As it is, and as it would be in a URL."""
    return [text.encode(), urllib.parse.quote(text, safe="").encode()]


def spellings_of_key(content):
    return [content, content.hex().encode(), base64.b64encode(content)]


class Secrets:
    """What the classes below share, which have a service of a kind."""

    def setUp(self):
        super().setUp()
        holder = tempfile.TemporaryDirectory(prefix="atelier-e2e-secrets-")
        self.addCleanup(holder.cleanup)
        self.outside = pathlib.Path(holder.name)  # secrets are in files here, and nowhere else
        self.source = make_video(self.folder / "in.mp4", frames=20)
        self.put("input", "a clip.mp4", self.source.read_bytes())

    def secret_file(self, name, content):
        path = self.outside / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    def give(self, *lines):
        """A file of credentials with just these lines."""
        os.environ["ATELIER_CREDENTIALS"] = str(self.secret_file("credentials", "\n".join([*lines, ""]).encode()))

    def give_variables(self, **variables):
        os.environ.pop("ATELIER_CREDENTIALS", None)
        for name, value in variables.items():
            os.environ[name] = value
            self.addCleanup(os.environ.pop, name, None)

    def assert_no(self, planted, content, where):
        for secret in planted:
            self.assertNotIn(secret, content, f"a secret is in {where}")

    # What is done with them ---------------------------------------------------------------------
    def search(self, planted, in_environment=False, legible=True):
        """A job of two workers is stopped half-way and searched, and all that it leaves: which others can read, so that
        what is in it would be found, unless it is encrypted (`legible`)."""
        process = self.start_group(*self.job("--workers", "2", "--trace", self.folder / "trace.json",
                                             model=self.slow_model()))
        self.wait_until(process, lambda: sum(".claim." in name for name in self.objects("runs")) == 2, "two claims")
        os.killpg(process.pid, signal.SIGSTOP)  # so that nobody ends while it is looked at
        scorers = [self.search_process(pid, planted, in_environment) for pid in family(process.pid)]
        os.killpg(process.pid, signal.SIGCONT)
        self.assertGreaterEqual(scorers.count(True), 1)
        self.assertGreaterEqual(scorers.count(False), 2)  # who was called, and a worker
        out, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 0, err)
        self.assert_no(planted, out + err, "what was printed")
        done = run("show", self.run_url(), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_no(planted, (done.stdout + done.stderr).encode(), "what `show` prints")
        left = {name: self.get(what, name) for what in ("runs", "output") for name in self.objects(what)}
        for name, content in left.items():
            self.assert_no(planted, content, name)
        no_secret = self.places["input"].encode()
        self.assertEqual(legible, any(no_secret in content for name, content in left.items()
                                      if name.endswith("/manifest.json")), "whether what runs say can be found")
        for path in [*self.folder.rglob("*"), *pathlib.Path(os.environ["XDG_CACHE_HOME"]).rglob("*")]:
            if path.is_file() and path != self.credentials:
                self.assert_no(planted, path.read_bytes(), path)

    def search_process(self, pid, planted, in_environment):
        """Whether it is a scorer; None if it has ended."""
        try:
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
            limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
            memory = memory_of(pid) if is_scorer(command) else b""
        except (FileNotFoundError, ProcessLookupError):
            return None
        self.assert_no(planted, command, "a command line")
        if is_scorer(command):
            self.assertIn(b"OMP_WAIT_POLICY", memory, "its memory was not read")
            self.assertNotIn(b"ATELIER_CREDENTIALS", environment)
            self.assert_no(planted, memory + environment, "the scorer's memory")
        else:
            self.assertRegex(limits, NO_CORE)
        if not in_environment:
            self.assert_no(planted, environment, "an environment")
        return is_scorer(command)

    def search_failures(self, planted):
        """Commands that cannot be done: their sentences name no secret."""
        absent = self.url("input", "absent.mp4")
        for arguments in (["probe", absent], ["run", absent, self.output, "--model", self.identity, "--runs", self.remote_runs],
                          ["show", f"{self.remote_runs}/0123456789abcdef"], ["cp", absent, self.folder / "x"],
                          ["finish", f"{self.remote_runs}/0123456789abcdef"],
                          ["doctor", "--json", "--runs", self.remote_runs, absent],
                          ["share", absent, "--write", "--for", "100h"]):
            done = run(*arguments)
            if arguments[0] != "share":
                self.assertNotEqual(done.returncode, 0, f"{arguments[0]}: {done.stdout}")
                self.assert_no(planted, done.stdout.encode(), f"what `{arguments[0]}` prints")  # but a link is a secret
            self.assert_no(planted, done.stderr.encode(), f"what `{arguments[0]}` says")

    def assert_refused_without(self, planted, *words):
        """A secret that cannot be is refused, and not said."""
        done = self.assert_fails(2, ["probe", self.input], *words)
        self.assert_no(planted, (done.stdout + done.stderr).encode(), "what was printed")


class SecretsOfAzure(Secrets, remote_job.AzureJob):
    def head(self):
        return [f"[az://{self.azurite.account}]", f"endpoint = {self.azurite.endpoint}", f"ca_file = {self.azurite.ca}"]

    def test_sas_tokens_and_a_master_key(self):
        key = secrets.token_bytes(32)
        # Who makes the ring of keys of an encrypted place looks first whether anything is there.
        self.sas["output"] = self.azurite.container_sas(self.places["output"], "rcwl")
        lines = self.sections(None, ())
        for what in ("runs", "output"):
            at = lines.index(f"[{self.url(what)}]")
            lines.insert(at + 1, f"master_key_file = {self.secret_file('master', key)}")
        self.give(*lines)
        planted = [each for sas in self.sas.values() for each in spellings(self.signature(sas))] + spellings_of_key(key)
        self.search(planted, legible=False)
        self.search_failures(planted)

    def test_sas_tokens(self):
        planted = [each for sas in self.sas.values() for each in spellings(self.signature(sas))]
        self.give(*self.sections(None, ()))
        self.search(planted)
        self.search_failures(planted)

    def test_the_key_of_the_account(self):
        planted = [*spellings(self.azurite.key), base64.b64decode(self.azurite.key)]
        self.give(*self.head(), f"key_file = {self.secret_file('key', self.azurite.key.encode())}")
        self.search(planted)
        self.search_failures(planted)

    def test_the_key_of_the_account_by_a_variable(self):
        planted = [*spellings(self.azurite.key), base64.b64decode(self.azurite.key)]
        self.give_variables(AZURE_STORAGE_KEY=self.azurite.key, AZURE_STORAGE_ACCOUNT=self.azurite.account,
                            AZURE_STORAGE_SERVICE_ENDPOINT=self.azurite.endpoint, ATELIER_CA_FILE=self.azurite.ca)
        self.search(planted, in_environment=True)
        self.search_failures(planted)

    def test_a_bearer_token(self):
        token = self.azurite.bearer_token()
        self.give(*self.head(), f"token_file = {self.secret_file('token', token.encode())}")
        planted = [token.encode(), token.split(".")[1].encode()]
        self.search(planted)
        self.search_failures(planted)

    def test_secrets_that_cannot_be_are_not_repeated(self):
        canary = "canary" + secrets.token_hex(16)
        planted = spellings(canary)
        self.secret_file("bad", canary.encode())
        for lines in ([f"key = {canary}"], [f"sas = {canary}"], [f"sas = sv=2021-12-02&sr=c&sp=r&sig={canary}"],
                      [f"sas = ?sig={canary}&se=2001-01-01T00:00:00Z"], [f"tokn = {canary}"], [f"{canary}"],
                      [f"key_file = {self.outside / 'bad'}"], [f"token_file = {self.outside / 'bad'}"],
                      [f"master_key_file = {self.outside / 'bad'}", f"sas = {self.sas['input']}"],
                      [f"master_key_command = cat {self.outside / 'bad'}", f"sas = {self.sas['input']}"]):
            with self.subTest(lines):
                self.give(*self.head(), *lines)
                self.assert_refused_without(planted)

    def test_a_crash_leaves_no_core(self):
        """Whoever crashes could: what has no secrets does, by the same limits and the same core_pattern."""
        def unlimited():
            resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

        def crash(process):
            process.send_signal(signal.SIGABRT)
            _, status = os.waitpid(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            self.assertEqual(process.returncode, -signal.SIGABRT)
            return os.WCOREDUMP(status)

        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        with subprocess.Popen(["sleep", "600"], cwd=self.folder, preexec_fn=unlimited) as other:
            if not crash(other):
                print("SKIPPED: nothing here leaves a core dump", file=sys.stderr)
                self.skipTest("nothing here leaves a core dump")
        before = set(self.folder.iterdir())
        process = subprocess.Popen([support.PROGRAM, *map(str, self.job("--quiet", model=self.slow_model()))],
                                   cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, preexec_fn=unlimited)
        self.addCleanup(self.end, process)
        self.wait_until_committed(process, 1)
        scorers = support.children_of(process.pid)
        self.assertFalse(crash(process), "it left a core dump")
        for scorer in scorers:
            faulty_proxy.wait_until(lambda pid=scorer: support.parent_of(pid) is None, support.TIMEOUT, "the scorer's end")
        self.assertEqual({path.name for path in set(self.folder.iterdir()) - before}, {"slow"})


class SecretsOfS3(Secrets, remote_job.S3Job):
    def test_keys_a_session_token_and_a_command_for_the_master_key(self):
        key, token = secrets.token_bytes(32), "canary/" + secrets.token_hex(16)  # Swift looks at no session token
        path = self.secret_file("master", key)
        lines = []
        for line in self.sections(None, ()):
            lines.append(line)
            if line.startswith("secret_access_key"):
                lines.append(f"session_token = {token}")
        for what in ("runs", "output"):
            lines.insert(lines.index(f"[{self.url(what)}]") + 1, f"master_key_command = cat {path}")
        self.give(*lines)
        planted = spellings(self.swift.secret) + spellings(token) + spellings_of_key(key)
        self.search(planted, legible=False)
        self.search_failures(planted)

    def test_the_usual_variables(self):
        token = "canary" + secrets.token_hex(16)
        self.give_variables(AWS_ACCESS_KEY_ID=self.swift.key, AWS_SECRET_ACCESS_KEY=self.swift.secret,
                            AWS_SESSION_TOKEN=token, AWS_ENDPOINT_URL_S3=self.swift.endpoint, AWS_CA_BUNDLE=self.swift.ca)
        planted = spellings(self.swift.secret) + spellings(token)
        self.search(planted, in_environment=True)
        self.search_failures(planted)
