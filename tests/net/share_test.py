#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Links of `share`, used by a client that is not ours: each permits what was asked for and nothing else."""

import datetime
import http.server
import json
import os
import pathlib
import ssl
import subprocess
import sys
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import azurite  # noqa: E402
import support  # noqa: E402
import swift  # noqa: E402
from support import run  # noqa: E402

support.SHORT |= {"test_a_link_to_read_reads_and_nothing_else"}

SWIFT = []  # started once, if it is needed
NAME = "a b/100%41 #1 \u00e9&+.mp4"
CONTENT = b"what is lent"


def ask(ca, url, method="GET", body=None, headers=None):
    """Status and body, by a client that knows nothing of Atelier."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    context = ssl.create_default_context(cafile=ca) if ca else None
    try:
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class NoCore(support.Case):
    """A process that has a secret leaves no core, also where cores are piped to a program."""

    def test_a_process_that_makes_a_link_leaves_no_core(self):
        limits, started = [], threading.Event()

        class Service(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self):
                started.wait(support.TIMEOUT)
                limits.append(pathlib.Path(f"/proc/{process.pid}/limits").read_text())
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service) as service:
            thread = threading.Thread(target=service.serve_forever)
            thread.start()
            credentials = self.folder / "credentials"
            credentials.write_text(f"[az://a]\nendpoint = http://127.0.0.1:{service.server_port}/a\nkey = a2V5\n")
            credentials.chmod(0o600)
            process = subprocess.Popen([support.PROGRAM, "share", "az://a/c/k", "--read", "--for", "1h"],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       env=os.environ | {"ATELIER_CREDENTIALS": str(credentials)})
            started.set()
            _, err = process.communicate(timeout=support.TIMEOUT)
            service.shutdown()
            thread.join()
        self.assertEqual(process.returncode, 0, err)
        self.assertRegex(limits[0], r"Max core file size +1 +1 ")


class Links(support.Case):
    """By a signature of the account's key."""

    TLS = True
    counter = 0

    def setUp(self):
        super().setUp()
        self.azurite = azurite.server(self.TLS)
        Links.counter += 1
        self.container = f"lent{Links.counter}"
        self.azurite.make_container(self.container)
        self.azurite.put(f"{self.container}/{NAME}", CONTENT)
        self.azurite.put(f"{self.container}/other", b"other")
        self.write_credentials(self.proof())

    def proof(self):
        return f"key = {self.azurite.key}"

    def secrets(self):
        return [self.azurite.key]

    def write_credentials(self, proof):
        path = self.folder / "credentials"
        lines = [f"[az://{self.azurite.account}]", f"endpoint = {self.azurite.endpoint}", proof]
        if self.azurite.ca:
            lines.append(f"ca_file = {self.azurite.ca}")
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o600)
        os.environ["ATELIER_CREDENTIALS"] = str(path)
        self.addCleanup(os.environ.pop, "ATELIER_CREDENTIALS", None)

    def place(self, name=NAME):
        return f"az://{self.azurite.account}/{self.container}/{urllib.parse.quote(name)}".rstrip("/")

    def share(self, *options, name=NAME):
        done = run("share", self.place(name), *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("\n"), 1, "stdout is the link and nothing else")
        for secret in self.secrets():
            self.assertNotIn(secret, done.stdout + done.stderr)
        self.assertNotIn("sig=", done.stderr)
        return done.stdout.strip()

    def ask(self, *request):
        return ask(self.azurite.ca, *request)

    def put(self, url, body=b"new"):
        return self.ask(url, "PUT", body, {"x-ms-blob-type": "BlockBlob", "Content-Type": "video/mp4"})[0]

    def elsewhere(self, link, path, query=""):
        """The same signature on another path of the account."""
        parts = urllib.parse.urlsplit(link)
        account = parts.path.split("/")[1]
        return parts._replace(path=f"/{account}/{path}",
                              query=f"{query}{'&' if query else ''}{parts.query}").geturl()

    def assert_neither_lists_nor_removes(self, link):
        """Nor reaches another object, nor can be made wider by its own fields."""
        self.assertEqual(self.ask(link, "DELETE")[0], 403)
        for path, query in ((self.container, "restype=container&comp=list"), ("", "comp=list"),
                            (self.container, "restype=container")):
            status, body = self.ask(self.elsewhere(link, path, query))
            self.assertGreaterEqual(status, 400, body)
            self.assertNotIn(b"other", body)
        for path in ("other", "a%20b", "x", "a%20b/100%2541"):
            for method in ("GET", "HEAD", "DELETE"):
                self.assertEqual(self.ask(self.elsewhere(link, f"{self.container}/{path}"), method)[0], 403, path)
            self.assertEqual(self.put(self.elsewhere(link, f"{self.container}/{path}")), 403, path)
        fields = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(link).query))
        later = self.azurite.after(86400)
        for changed in ({"sp": "racwd"}, {"se": later}, {"sr": "c"}, {"sr": "c", "sp": "rl"}):
            wider = urllib.parse.urlsplit(link)._replace(query=urllib.parse.urlencode(fields | changed)).geturl()
            self.assertEqual(self.ask(wider)[0], 403, changed)
            self.assertEqual(self.put(wider), 403, changed)

    def test_a_link_to_read_reads_and_nothing_else(self):
        link = self.share("--read", "--for", "1h")
        self.assertEqual(self.ask(link), (200, CONTENT))
        self.assertEqual(self.ask(link, "HEAD")[0], 200)
        self.assertEqual(self.put(link), 403)
        for query in ("comp=metadata", "comp=properties", "comp=snapshot", "comp=block&blockid=YQ==",
                      "comp=blocklist", "comp=tier", "comp=lease"):
            self.assertEqual(self.ask(f"{link}&{query}", "PUT", b"x", {"x-ms-lease-action": "acquire",
                                                                       "x-ms-lease-duration": "15",
                                                                       "x-ms-access-tier": "Cool"})[0], 403, query)
        self.assert_neither_lists_nor_removes(link)
        self.assertEqual(self.azurite.get(f"{self.container}/{NAME}"), CONTENT)
        self.assertEqual(self.azurite.get(f"{self.container}/other"), b"other")

    def test_a_link_to_write_writes_that_object_and_nothing_else(self):
        link = self.share("--write", "--for", "1h")
        self.assertEqual(self.put(link, b"replaced"), 201)
        self.assertEqual(self.azurite.get(f"{self.container}/{NAME}"), b"replaced")
        for method in ("GET", "HEAD"):
            self.assertEqual(self.ask(link, method)[0], 403)
        self.assert_neither_lists_nor_removes(link)
        fresh = self.share("--write", "--for", "1h", name="not yet/there")
        self.assertEqual(self.put(fresh, b"made"), 201)
        self.assertEqual(self.azurite.get(f"{self.container}/not yet/there"), b"made")

    def test_a_link_ends_in_time(self):
        reading = self.share("--read", "--for", "6s")
        writing = self.share("--write", "--for", "6s")
        made = time.time()
        self.assertEqual(self.ask(reading), (200, CONTENT))
        self.assertEqual(self.put(writing, CONTENT), 201)
        while time.time() < made + 7:
            time.sleep(0.1)  # the service has a clock of its own: nothing to wait on
        self.assertEqual(self.ask(reading)[0], 403)
        self.assertEqual(self.ask(reading, "HEAD")[0], 403)
        self.assertEqual(self.put(writing), 403)
        self.assertEqual(self.azurite.get(f"{self.container}/{NAME}"), CONTENT)

    def test_json_and_notes(self):
        done = run("share", self.place(), "--read", "--for", "30m", "--json")
        found = json.loads(done.stdout)
        self.assertEqual(set(found), {"url", "expires"})
        expires = datetime.datetime.fromisoformat(found["expires"].replace("Z", "+00:00")).timestamp()
        self.assertLessEqual(expires, time.time() + 1800)
        self.assertGreater(expires, time.time() + 1800 - 60)
        self.assertEqual(self.ask(found["url"]), (200, CONTENT))
        self.assertEqual("https://" in found["url"], self.TLS)
        fields = urllib.parse.parse_qs(urllib.parse.urlsplit(found["url"]).query)
        self.assertEqual((fields["sp"], fields["sr"]), (["r"], ["b"]))
        self.assertEqual(fields["spr"], ["https" if self.TLS else "https,http"])
        self.assertIn("keep it like a password", run("share", self.place(), "--read", "--for", "1m").stderr)
        quiet = run("share", self.place(), "--read", "--for", "1m", "--quiet")
        self.assertEqual(quiet.stderr, "")
        self.assertEqual(self.ask(quiet.stdout.strip()), (200, CONTENT))

    def test_what_it_refuses(self):
        place = self.place()
        for code, saying, arguments in (
                (2, "just one of", [place, "--for", "1h"]),
                (2, "just one of", [place, "--read", "--write", "--for", "1h"]),
                (2, "--for", [place, "--read"]),
                (2, "like 7d", [place, "--read", "--for", "1"]),
                (2, "like 7d", [place, "--read", "--for", "0s"]),
                (2, "like 7d", [place, "--read", "--for", "-1h"]),
                (2, "days; ask for less", [place, "--read", "--for", "366d"]),
                (2, "is a container", [self.place(""), "--read", "--for", "1h"]),
                (3, "not for a folder", [self.place("a b"), "--read", "--for", "1h"]),
                (3, "no object", [self.place("absent"), "--read", "--for", "1h"]),
                (2, "is a file", ["/etc/passwd", "--read", "--for", "1h"]),
                (2, "file of credentials", [place + "?sig=x", "--read", "--for", "1h"])):
            with self.subTest(arguments):
                self.assert_refused(code, ["share", *arguments], saying=saying)

    def test_a_refused_credential_makes_no_link_to_write(self):
        wrong = "d3JvbmcgYW5kIGhlbmNlIGRlYWQ="
        self.write_credentials(f"key = {wrong}")
        done = self.assert_refused(2, ["share", self.place("new"), "--write", "--for", "1h"])  # Azurite says it in two ways
        self.assertNotIn(wrong, done.stdout + done.stderr)

    def test_a_sas_cannot_make_another(self):
        sas = self.azurite.container_sas(self.container)
        self.write_credentials(f"sas = {sas}")
        done = self.assert_refused(2, ["share", self.place(), "--read", "--for", "1h"], saying="cannot make another")
        self.assertNotIn(urllib.parse.parse_qs(sas)["sig"][0], done.stderr)


    def test_what_is_encrypted_here_is_not_lent(self):
        self.write_credentials(self.proof())
        key = self.folder / "master"
        key.write_bytes(bytes(range(32)))
        key.chmod(0o600)
        with open(self.folder / "credentials", "a") as file:
            file.write(f"[{self.place('')}]\nmaster_key_file = {key}\n")
        for access in ("--read", "--write"):
            self.assert_refused(2, ["share", self.place(), access, "--for", "1h"], saying="encrypted by Atelier")


class LinksByIdentity(Links):
    """By a user delegation key, which the service gives for a token."""

    def proof(self):
        self.token = self.azurite.bearer_token()
        path = self.folder / "token"
        path.write_text(self.token)
        path.chmod(0o600)
        return f"token_file = {path}"

    def secrets(self):
        return [self.token]

    def test_a_link_names_its_key_and_lasts_a_week_at_most(self):
        fields = urllib.parse.parse_qs(urllib.parse.urlsplit(self.share("--read", "--for", "7d")).query)
        self.assertEqual(fields["sks"], ["b"])
        self.assertEqual(fields["ske"], fields["se"], "the key must not outlive the link")
        self.assert_refused(2, ["share", self.place(), "--read", "--for", "169h"], saying="7 days")


class LinksOverHttp(Links):
    """An emulator without TLS."""

    TLS = False


class LinksOfS3(support.Case):
    """Presigned URLs, on a server that checks them."""

    def setUp(self):
        super().setUp()
        if swift.why_not():
            print(f"SKIPPED: {swift.why_not()}", file=sys.stderr)
            raise unittest.SkipTest(swift.why_not())
        if not SWIFT:
            SWIFT.append(swift.Swift())
            SWIFT[0].make_bucket("lent")
        self.swift = SWIFT[0]
        self.swift.put(f"lent/{NAME}", CONTENT)
        self.swift.put("lent/other", b"other")
        variables = {"AWS_ACCESS_KEY_ID": self.swift.key, "AWS_SECRET_ACCESS_KEY": self.swift.secret,
                     "AWS_ENDPOINT_URL": self.swift.endpoint, "AWS_CA_BUNDLE": self.swift.ca,
                     "AWS_REGION": swift.REGION}
        for name, value in variables.items():
            os.environ[name] = value
            self.addCleanup(os.environ.pop, name, None)

    def share(self, *options, name=NAME):
        done = run("share", f"s3://lent/{urllib.parse.quote(name)}", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(self.swift.secret, done.stdout + done.stderr)
        self.assertNotIn("Signature", done.stderr)
        return done.stdout.strip()

    def ask(self, *request):
        return ask(self.swift.ca, *request)

    def assert_reaches_nothing_else(self, link, allowed):
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            if method != allowed:
                self.assertEqual(self.ask(link, method, b"x" if method == "PUT" else None)[0], 403, method)
        parts = urllib.parse.urlsplit(link)
        fields = dict(urllib.parse.parse_qsl(parts.query))
        wider = [parts._replace(path=path).geturl() for path in ("/lent/other", "/lent", "/", "/lent/new")]
        wider += [parts._replace(query=urllib.parse.urlencode(fields | changed)).geturl()
                  for changed in ({"X-Amz-Expires": "604800"}, {"acl": ""})]
        for url in wider:
            for method in ("GET", "PUT", "DELETE"):
                status, body = self.ask(url, method, b"" if method == "PUT" else None)
                self.assertIn(status, (403, 405, 501), (method, url, body))  # 405, 501: there is no such request
        self.assertEqual(self.swift.get("lent/other"), b"other")

    def test_a_link_to_read_reads_and_nothing_else(self):
        link = self.share("--read", "--for", "1h")
        self.assertEqual(self.ask(link), (200, CONTENT))
        self.assert_reaches_nothing_else(link, "GET")
        self.assertEqual(self.swift.get(f"lent/{NAME}"), CONTENT)

    def test_a_link_to_write_writes_that_object_and_nothing_else(self):
        link = self.share("--write", "--for", "1h", name="fresh/one")
        self.assert_reaches_nothing_else(link, "PUT")
        self.assertEqual(self.ask(link, "PUT", b"made")[0], 200)
        self.assertEqual(self.ask(link, "PUT", b"again")[0], 200)
        self.assertEqual(self.swift.get("lent/fresh/one"), b"again")

    def test_a_link_ends_in_time(self):
        reading = self.share("--read", "--for", "6s")
        writing = self.share("--write", "--for", "6s", name="fresh/two")
        made = time.time()
        self.assertEqual(self.ask(reading), (200, CONTENT))
        self.assertEqual(self.ask(writing, "PUT", b"made")[0], 200)
        while time.time() < made + 8:
            time.sleep(0.1)  # the service has a clock of its own: nothing to wait on
        self.assertEqual(self.ask(reading)[0], 403)
        self.assertEqual(self.ask(writing, "PUT", b"late")[0], 403)
        self.assertEqual(self.swift.get("lent/fresh/two"), b"made")

    def test_what_it_refuses(self):
        for code, saying, arguments in ((2, "7 days", ["s3://lent/other", "--read", "--for", "8d"]),
                                        (3, "no object", ["s3://lent/absent", "--read", "--for", "1h"]),
                                        (2, "is a container", ["s3://lent", "--read", "--for", "1h"])):
            with self.subTest(arguments):
                self.assert_refused(code, ["share", *arguments], saying=saying)

    def test_a_refused_credential_makes_no_link_to_write(self):
        os.environ["AWS_SECRET_ACCESS_KEY"] = "wrong"
        self.assert_refused(2, ["share", "s3://lent/new", "--write", "--for", "1h"], saying="refuses the keys")


if __name__ == "__main__":
    azurite.run_tests(support.main, SWIFT)
