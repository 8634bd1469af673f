#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real Azurite (the emulator of Azure Blob Storage) on loopback, for the tests.

tests/net/azurite.py [--http] -- CMD...   runs CMD with ATELIER_TEST_AZURE (the endpoint), _ACCOUNT, _KEY, _SAS and,
                                          unless it speaks plain HTTP, _CA and _BEARER set, and stops the server

Exit code: CMD's; 77 when Azurite cannot be installed here.
"""

import base64
import ctypes
import datetime
import fcntl
import hashlib
import hmac
import os
import pathlib
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "tools" / "azurite"
PROGRAM = FOLDER / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
ACCOUNT = "atelierlab"
VERSION = "2021-12-02"
SKIPPED = 77


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def installed():
    """Whether Azurite is there, after an attempt to install it."""
    if PROGRAM.exists():
        return True
    if shutil.which("npm") is None:
        return False
    with open(FOLDER / "package-lock.json") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests go on side by side: one installs
        return PROGRAM.exists() or subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=FOLDER,
            check=False).returncode == 0


def free_ports(count):
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports


def make_certificates(folder):
    """An authority (ca.pem) and what it signed for this machine (server.pem, server.key)."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "server"):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
    openssl("req", "-x509", "-new", "-key", "ca.key", "-days", "2", "-subj", "/CN=Atelier's tests", "-out", "ca.pem",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign")
    openssl("req", "-new", "-key", "server.key", "-subj", "/CN=localhost", "-out", "server.csr")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-out", "server.pem", "-extfile", "names")


class Azurite:
    """Started when made; `stop` (or leaving the with block) stops it and removes its files."""

    def __init__(self, tls=True):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="atelier-azurite-"))
        self.account = ACCOUNT
        self.key = base64.b64encode(secrets.token_bytes(64)).decode()
        self.tls = tls
        self.ca = None
        blob, queue, table = free_ports(3)
        options = ["--blobHost", "127.0.0.1", "--blobPort", str(blob), "--queueHost", "127.0.0.1", "--queuePort",
                   str(queue), "--tableHost", "127.0.0.1", "--tablePort", str(table), "--disableTelemetry",
                   "--skipApiVersionCheck", "--disableProductStyleUrl", "--location", str(self.folder / "data"),
                   "--silent"]
        if tls:
            make_certificates(self.folder)
            self.ca = str(self.folder / "ca.pem")
            options += ["--cert", str(self.folder / "server.pem"), "--key", str(self.folder / "server.key"),
                        "--oauth", "basic"]
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{blob}/{ACCOUNT}"
        log = open(self.folder / "log", "wb")  # the server keeps it
        self.process = subprocess.Popen(
            ["node", str(PROGRAM), *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env=os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}"}, preexec_fn=die_with_parent)
        log.close()
        self.wait_until_up(blob)

    def wait_until_up(self, port):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError("Azurite ended: " + (self.folder / "log").read_text(errors="replace")[-2000:])
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("Azurite did not come up within a minute")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What an administrator does, signed with the account's key.

    def request(self, method, path, query="", body=b"", headers=None):
        """Status and body of a request, by an account SAS that may do everything."""
        sas = self.account_sas()
        url = f"{self.endpoint}/{path}?{query + '&' if query else ''}{sas}"
        request = urllib.request.Request(url, data=body if method in ("PUT", "POST") else None, method=method,
                                         headers={"x-ms-version": VERSION} | (headers or {}))
        context = ssl.create_default_context(cafile=self.ca) if self.tls else None
        try:
            with urllib.request.urlopen(request, context=context) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def make_container(self, name):
        status, body = self.request("PUT", name, "restype=container")
        if status != 201:
            raise RuntimeError(f"no container {name}: {status} {body[:200]}")

    def put(self, path, content):
        status, body = self.request("PUT", urllib.parse.quote(path), "", content, {"x-ms-blob-type": "BlockBlob"})
        if status != 201:
            raise RuntimeError(f"no blob {path}: {status} {body[:200]}")

    def get(self, path):
        status, body = self.request("GET", urllib.parse.quote(path))
        if status != 200:
            raise RuntimeError(f"cannot read {path}: {status} {body[:200]}")
        return body

    def sign(self, text):
        digest = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256).digest()
        return urllib.parse.quote(base64.b64encode(digest).decode(), safe="")

    @staticmethod
    def after(seconds):
        moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def account_sas(self, permissions="rwdlacu", seconds=3600):
        end = self.after(seconds)
        text = f"{ACCOUNT}\n{permissions}\nb\nsco\n\n{end}\n\nhttps,http\n{VERSION}\n\n"
        return (f"sv={VERSION}&ss=b&srt=sco&sp={permissions}&se={urllib.parse.quote(end)}&spr=https,http&"
                f"sig={self.sign(text)}")

    def container_sas(self, container, permissions="rwdl", seconds=3600, begins=None):
        """A service SAS of one container: the way that is recommended to users; good from `begins` seconds from now."""
        end = self.after(seconds)
        begin = "" if begins is None else self.after(begins)
        protocol = "https" if self.tls else "https,http"
        text = f"{permissions}\n{begin}\n{end}\n/blob/{ACCOUNT}/{container}\n\n\n{protocol}\n{VERSION}\nc\n\n\n\n\n\n\n"
        start = f"&st={urllib.parse.quote(begin)}" if begin else ""
        return (f"sv={VERSION}&sr=c&sp={permissions}{start}&se={urllib.parse.quote(end)}&spr={protocol}&"
                f"sig={self.sign(text)}")

    @staticmethod
    def bearer_token(seconds=3600):
        """What Entra would give out; Azurite looks at all of it but the signature."""

        def part(value):
            return base64.urlsafe_b64encode(value.encode()).rstrip(b"=").decode()

        now = int(time.time())
        return ".".join([
            part('{"alg":"RS256","typ":"JWT"}'),
            part('{"aud":"https://storage.azure.com","iss":"https://sts.windows.net/ab1f708d-50f6-404c-a006-'
                 f'd71b2ac7a606/","tid":"ab1f708d-50f6-404c-a006-d71b2ac7a606",'
                 f'"oid":"23657296-5cd5-45b0-a809-d972a7f4dfe1","nbf":{now - 60},"iat":{now - 60},'
                 f'"exp":{now + seconds}}}'),
            part("signature")])


SERVERS = {}  # started once for a file of tests: by whether it speaks TLS


def server(tls=True):
    if tls not in SERVERS:
        SERVERS[tls] = Azurite(tls)
    return SERVERS[tls]


def run_tests(run, others=()):
    """Calls `run` and stops the servers that its tests have started, and those in `others`."""
    if not installed():
        print("SKIPPED: Azurite is not installed here and npm cannot install it", file=sys.stderr)
        sys.exit(SKIPPED)
    try:
        run()
    finally:
        for each in [*SERVERS.values(), *others]:
            each.stop()


def main():
    tls = sys.argv[1:2] != ["--http"]
    command = sys.argv[2 if tls else 3:]
    if not command or sys.argv[1 if tls else 2] != "--":
        print(__doc__)
        return 2
    if not installed():
        print("SKIPPED: Azurite is not installed here and npm cannot install it")
        return SKIPPED
    with Azurite(tls) as azurite:
        azurite.make_container("contract")
        given = {"ATELIER_TEST_AZURE": azurite.endpoint, "ATELIER_TEST_AZURE_ACCOUNT": ACCOUNT,
                 "ATELIER_TEST_AZURE_KEY": azurite.key, "ATELIER_TEST_AZURE_SAS": azurite.container_sas("contract")}
        if tls:
            # It takes bearer tokens over TLS only.
            given |= {"ATELIER_TEST_AZURE_CA": azurite.ca, "ATELIER_TEST_AZURE_BEARER": azurite.bearer_token()}
        return subprocess.run(command, env=os.environ | given, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
