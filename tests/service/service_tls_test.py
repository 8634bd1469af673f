#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The service with TLS: the client that knows its authority, and a certificate that is replaced while it works."""

import http.client
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from service_case import PIPELINE, ServiceCase, support  # noqa: E402

import onnx_model  # noqa: E402


class Tls(ServiceCase):
    def setUp(self):
        super().setUp()
        for name in ("one", "two"):
            self.make_certificate(name)
        self.install("one")
        self.context = ssl.create_default_context(cafile=self.folder / "one.pem")
        self.context.load_verify_locations(self.folder / "two.pem")
        model = onnx_model.write_slow(self.folder / "models", support.slow_layers())
        (self.folder / "paint.toml").write_text(PIPELINE.replace('"starry-night"', f'"{model}"'))
        text = (self.folder / "atelier.toml").read_text()
        (self.folder / "atelier.toml").write_text(text.replace(
            "[stores]", f'[tls]\ncertificate = "server.pem"\nkey = "server.key"\n[stores]\nmodels = ["{model.parent}"]'))

    def make_certificate(self, name):
        """Signed by itself, so each is known by who has it as its authority alone."""
        key, pem = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        done = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                               "-keyout", key, "-out", pem, "-days", "2", "-subj", f"/CN={name}",
                               "-addext", "subjectAltName=IP:127.0.0.1"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def install(self, name):
        """As who knows how does it: whole files take the place of the others."""
        for kind in ("key", "pem"):
            fresh = self.folder / f"server.{kind}.new"
            fresh.write_bytes((self.folder / f"{name}.{kind}").read_bytes())
            fresh.chmod(0o600)
            os.rename(fresh, self.folder / f"server.{kind}")

    def connect(self, address, authority):
        """A connection that has shaken hands; ssl.SSLCertVerificationError if that is not its authority."""
        host, port = urllib.parse.urlsplit(address).netloc.rsplit(":", 1)
        context = ssl.create_default_context(cafile=self.folder / f"{authority}.pem")
        return context.wrap_socket(socket.create_connection((host, int(port)), timeout=30), server_hostname=host)

    def is_served(self, address, authority):
        try:
            self.connect(address, authority).close()
            return True
        except ssl.SSLCertVerificationError:
            return False

    def by_client(self, *words, authority):
        env = {**self.environment(), "ATELIER_SERVICE": self.address, "ATELIER_TOKEN": self.token,
               "ATELIER_CA_FILE": authority and f"{self.folder}/{authority}.pem"}
        return support.run(*words, env=env)

    def reload(self):
        before = self.said().count(b"certificates were read again")
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: self.said().count(b"certificates were read again") > before, "a certificate that was read again")

    def test_a_certificate_is_replaced_while_a_run_goes_on(self):
        self.assertTrue(self.start())
        self.assertTrue(self.address.startswith("https://127.0.0.1:"), self.address)
        self.assertTrue(self.events_address.startswith("https://127.0.0.1:"), self.events_address)
        support.make_video(self.media / "a.mp4", frames=300)
        # Who does not know the authority asks for nothing.
        for strange in ("", "two"):
            refused = self.by_client("list", authority=strange)
            self.assertEqual(refused.returncode, 2, refused.stderr)
            self.assertIn("not to be trusted", refused.stderr)
        sent = self.by_client("submit", "paint", "-s", f"input={self.media}/a.mp4", "-s", f"output={self.media}/out/a.mp4",
                              "--json", authority="one")
        self.assertEqual(sent.returncode, 0, sent.stderr)
        run = json.loads(sent.stdout)["id"]
        self.wait_for(lambda: self.run_of(run)["state"] == "running", "a run that goes on")
        processes = support.children_of(self.process.pid)
        self.install("two")
        self.assertFalse(self.is_served(self.address, "two"))  # not before it is told
        self.reload()
        for address in (self.address, self.events_address):
            self.assertTrue(self.is_served(address, "two"))
            self.assertFalse(self.is_served(address, "one"))
        self.assertEqual(self.run_of(run)["state"], "running")
        self.assertEqual(support.children_of(self.process.pid), processes)
        self.assertEqual(self.by_client("list", authority="one").returncode, 2)
        over = self.wait_until_over(run)
        self.assertEqual((over["state"], over["attempts"], over["frames"]), ("finished", 1, 300), over["reason"])
        self.assertEqual(self.stop(), 0)

    def test_a_certificate_that_is_none_leaves_the_one_before(self):
        self.assertTrue(self.start())
        (self.folder / "server.pem").write_text("no certificate")
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: b"cannot use the certificate" in self.said(), "a sentence")
        self.assertTrue(self.is_served(self.address, "one"))
        self.install("two")
        self.reload()
        self.assertTrue(self.is_served(self.address, "two"))

    def test_no_request_is_cut_by_a_reload(self):
        self.assertTrue(self.start())
        over, answers, cut = threading.Event(), [], []

        def ask():
            while not over.is_set():
                try:
                    answers.append(self.ask("GET", "/health", token=False).status)
                except (OSError, http.client.HTTPException) as error:
                    cut.append(repr(error))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(10):
            self.reload()
        over.set()
        for thread in threads:
            thread.join()
        self.assertEqual(set(answers), {200})
        self.assertEqual(cut, [], f"{len(cut)} of {len(answers) + len(cut)}")


if __name__ == "__main__":
    support.main()
