#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real S3 server on loopback, for the tests: OpenStack Swift with s3api, as Debian has it.

tests/net/swift.py -- CMD...   runs CMD with ATELIER_TEST_S3_ENDPOINT, _KEY, _SECRET, _CA and _BUCKET set (and
                               _READER_KEY, _READER_SECRET: good keys that the bucket is not open to), and stops
                               the server

It checks signatures and the hashes of bodies, uploads in parts, pages its lists, and has no conditional writes.
Everything is in a temporary folder; each server sees it as /etc/swift in a mount namespace of its own, which
takes root. Exit code: CMD's; 77 when Swift cannot be started here.
"""

import datetime
import hashlib
import hmac
import os
import pathlib
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from azurite import die_with_parent, free_ports, make_certificates

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SKIPPED = 77
BUCKET = "contract"
REGION = "us-east-1"
SERVERS = ("account", "container", "object", "proxy")
PIPELINE = ("catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk s3api tempauth slo dlo "
            "proxy-logging proxy-server")


def why_not():
    """Why Swift cannot be started here; empty if it can."""
    if os.geteuid() != 0:
        return "Swift needs root, for a mount namespace"
    missing = [name for name in ("swift-ring-builder", *(f"swift-{name}-server" for name in SERVERS), "memcached",
                                 "unshare", "openssl") if shutil.which(name) is None]
    if missing:
        return f"{missing[0]} is missing: run tools/setup net"
    if not pathlib.Path("/etc/swift").is_dir():
        return "/etc/swift is not there: run tools/setup net"
    return ""


def keeps_attributes(folder):
    """Whether files in `folder` can have extended attributes, where Swift keeps what it knows of an object."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            os.setxattr(file.name, "user.atelier", b"x")
        return True
    except OSError:
        return False


def working_folder():
    for parent in (tempfile.gettempdir(), "/var/tmp", ROOT):
        if keeps_attributes(parent):
            return pathlib.Path(tempfile.mkdtemp(prefix="atelier-swift-", dir=parent))
    raise RuntimeError("no folder for temporary files keeps extended attributes")


def end_by_signal(number, _):
    sys.exit(128 + number)


class Swift:
    """Started when made; `stop` (or leaving the with block) stops it and removes its files."""

    def __init__(self, tls=True):
        self.processes = []
        self.folder = working_folder()
        self.key, self.secret = "lab:writer", secrets.token_hex(16)
        self.reader_key, self.reader_secret = "lab:reader", secrets.token_hex(16)
        self.secrets = {name: secrets.token_hex(16) for name in ("media", "ops")}  # of users who own nothing: see grant
        self.tls = tls
        self.ca = None
        try:
            self.configure()
            for name in ("memcached", *SERVERS):
                self.start(name)
            self.wait_until_up()
        except BaseException:
            self.stop()
            raise

    def configure(self):
        for name in ("etc", "disks/d1"):
            (self.folder / name).mkdir(parents=True)
        self.ports = dict(zip((*SERVERS, "memcached"), free_ports(5)))
        self.endpoint = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.ports['proxy']}"
        if self.tls:
            make_certificates(self.folder)
            self.ca = str(self.folder / "ca.pem")
        (self.folder / "etc" / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix = lab\nswift_hash_path_prefix = lab\n"
            "[storage-policy:0]\nname = p0\ndefault = yes\n")
        for name in SERVERS[:3]:
            self.configure_storage(name)
        self.configure_proxy()

    def common(self, name):
        return (f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {self.ports[name]}\nworkers = 0\nuser = root\n"
                f"swift_dir = /etc/swift\nlog_level = ERROR\nlog_address = {self.folder}/no-log\n")

    def configure_storage(self, name):
        etc = self.folder / "etc"
        (etc / f"{name}.conf").write_text(
            self.common(name) + f"devices = {self.folder}/disks\nmount_check = false\n[pipeline:main]\n"
            f"pipeline = {name}-server\n[app:{name}-server]\nuse = egg:swift#{name}\n")

        def ring(*arguments):
            subprocess.run(["swift-ring-builder", f"{name}.builder", *arguments], cwd=etc, check=True,
                           capture_output=True)

        ring("create", "4", "1", "1")
        ring("add", "--region", "1", "--zone", "1", "--ip", "127.0.0.1", "--port", str(self.ports[name]),
             "--device", "d1", "--weight", "1")
        ring("rebalance")

    def configure_proxy(self):
        text = self.common("proxy")
        if self.tls:
            text += f"cert_file = {self.folder}/server.pem\nkey_file = {self.folder}/server.key\n"
        text += f"[pipeline:main]\npipeline = {PIPELINE}\n"
        # It leaves a server alone for a minute that did not answer ten times, as one that is slow to come up.
        text += ("[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n"
                 "error_suppression_interval = 0.1\nerror_suppression_limit = 1000000\n")
        for name in ("catch_errors", "gatekeeper", "healthcheck", "listing_formats", "bulk", "slo", "dlo"):
            text += f"[filter:{name}]\nuse = egg:swift#{name}\n"
        text += "[filter:proxy-logging]\nuse = egg:swift#proxy_logging\n"
        text += f"[filter:cache]\nuse = egg:swift#memcache\nmemcache_servers = 127.0.0.1:{self.ports['memcached']}\n"
        text += (f"[filter:s3api]\nuse = egg:swift#s3api\nlocation = {REGION}\ns3_acl = false\n"
                 "dns_compliant_bucket_names = false\n")
        text += (f"[filter:tempauth]\nuse = egg:swift#tempauth\nuser_lab_writer = {self.secret} .admin\n"
                 f"user_lab_reader = {self.reader_secret}\n")
        text += "".join(f"user_lab_{name} = {secret}\n" for name, secret in self.secrets.items())
        (self.folder / "etc" / "proxy.conf").write_text(text)

    def start(self, name):
        if name == "memcached":
            command = ["memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(self.ports[name]), "-m", "32"]
        else:
            # unshare and sh give their process to what they run: one pid for each server.
            command = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                       'mount --bind "$1" /etc/swift && exec "$2" "$3"', "sh", str(self.folder / "etc"),
                       shutil.which(f"swift-{name}-server"), f"/etc/swift/{name}.conf"]
        with open(self.folder / f"{name}.log", "wb") as log:
            self.processes.append(subprocess.Popen(command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                   preexec_fn=die_with_parent))

    def wait_until_up(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if any(process.poll() is not None for process in self.processes):
                break
            try:
                # Writes need all of them. The bucket may be there already: made when there were no objects yet.
                if (self.request("PUT", "ready", timeout=10)[0] in (200, 409)
                        and self.request("PUT", "ready/x", timeout=10)[0] == 200):
                    self.request("DELETE", "ready/x")
                    self.request("DELETE", "ready")
                    return
            except OSError:
                pass
            time.sleep(0.05)
        logs = "".join(path.read_text(errors="replace")[-1000:] for path in sorted(self.folder.glob("*.log")))
        raise RuntimeError("Swift did not come up: " + logs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for process in self.processes:
            process.kill()  # nothing of it is needed any more
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What an administrator does. Signed by a few lines of its own, which know nothing of ours.

    def request(self, method, path, query="", body=b"", headers=None, ahead=0, timeout=60):
        """Status and body; `path` is not encoded, `query` is, and sorted; by a clock that is so many seconds ahead."""
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=ahead)
        now = now.strftime("%Y%m%dT%H%M%SZ")
        path = "/" + urllib.parse.quote(path)
        scope = f"{now[:8]}/{REGION}/s3/aws4_request"
        digest = hashlib.sha256(body).hexdigest()
        host = urllib.parse.urlsplit(self.endpoint).netloc
        names = "host;x-amz-content-sha256;x-amz-date"
        canonical = (f"{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{now}\n\n"
                     f"{names}\n{digest}")
        key = ("AWS4" + self.secret).encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        authorization = f"AWS4-HMAC-SHA256 Credential={self.key}/{scope}, SignedHeaders={names}, Signature={signature}"
        request = urllib.request.Request(
            f"{self.endpoint}{path}{'?' + query if query else ''}", method=method,
            data=body if method in ("PUT", "POST") else None,
            headers={"Authorization": authorization, "x-amz-date": now, "x-amz-content-sha256": digest,
                     "Content-Type": "application/octet-stream"} | (headers or {}))
        context = ssl.create_default_context(cafile=self.ca) if self.tls else None
        try:
            with urllib.request.urlopen(request, context=context, timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def make_bucket(self, name):
        status, body = self.request("PUT", name)
        if status != 200:
            raise RuntimeError(f"no bucket {name}: {status} {body[:200]}")

    def grant(self, bucket, readers=(), writers=()):
        """Users who may read and list what is in a bucket, and who may write there: Swift's own way, by its own API."""
        context = ssl.create_default_context(cafile=self.ca) if self.tls else None

        def ask(path, method, headers):
            request = urllib.request.Request(f"{self.endpoint}{path}", method=method, headers=headers)
            with urllib.request.urlopen(request, context=context, timeout=60) as answer:
                return answer.headers

        token = ask("/auth/v1.0", "GET", {"X-Auth-User": self.key, "X-Auth-Key": self.secret})["X-Auth-Token"]
        ask(f"/v1/AUTH_lab/{bucket}", "POST", {"X-Auth-Token": token, "X-Container-Read": ",".join(readers),
                                               "X-Container-Write": ",".join(writers)})

    def put(self, path, content):
        """`path` is "bucket/key"."""
        status, body = self.request("PUT", path, body=content)
        if status != 200:
            raise RuntimeError(f"no object {path}: {status} {body[:200]}")

    def get(self, path):
        status, body = self.request("GET", path)
        if status != 200:
            raise RuntimeError(f"cannot read {path}: {status} {body[:200]}")
        return body

    def environment(self):
        """What tests look for; `make_bucket(BUCKET)` first."""
        return {"ATELIER_TEST_S3_ENDPOINT": self.endpoint, "ATELIER_TEST_S3_KEY": self.key,
                "ATELIER_TEST_S3_SECRET": self.secret, "ATELIER_TEST_S3_CA": self.ca or "",
                "ATELIER_TEST_S3_BUCKET": BUCKET, "ATELIER_TEST_S3_READER_KEY": self.reader_key,
                "ATELIER_TEST_S3_READER_SECRET": self.reader_secret}


def main():
    if len(sys.argv) < 3 or sys.argv[1] != "--":
        print(__doc__)
        return 2
    reason = why_not()
    if reason:
        print(f"SKIPPED: {reason}")
        return SKIPPED
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_by_signal)
    with Swift() as swift:
        swift.make_bucket(BUCKET)
        return subprocess.run(sys.argv[2:], env=os.environ | swift.environment(), check=False,
                              preexec_fn=die_with_parent).returncode


if __name__ == "__main__":
    sys.exit(main())
