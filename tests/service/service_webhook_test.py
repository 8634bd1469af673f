#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What became of runs is told to a receiver on loopback: signed as Standard Webhooks say, again where it was not taken,
and listed. The receiver uses nothing of ours."""

import base64
import hashlib
import hmac
import http.server
import json
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from service_case import ServiceCase, support  # noqa: E402

# The old one and the new one, while receivers change from one to the other.
KEYS = [bytes(range(24)), bytes(range(100, 140))]


class Receiver(http.server.ThreadingHTTPServer):
    """Answers 500 to the first attempt of each message and 200 to the others; keeps what it heard."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.heard, self.lock = [], threading.Lock()

    def take(self, path, headers, body):
        with self.lock:
            is_new = all(headers["webhook-id"] != before["webhook-id"] for _, before, _ in self.heard)
            self.heard.append((path, headers, body))
            return 500 if is_new else 200


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.send_response(self.server.take(self.path, headers, body))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def signatures(headers, body):
    """What must be in webhook-signature, in the order of the keys."""
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return [f"v1,{base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode()}" for key in KEYS]


class Webhooks(ServiceCase):
    def setUp(self):
        super().setUp()
        self.receiver = Receiver()
        thread = threading.Thread(target=self.receiver.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.receiver.server_close)
        self.addCleanup(self.receiver.shutdown)
        secret = self.folder / "hook.secret"
        secret.write_text(" ".join(f"whsec_{base64.b64encode(key).decode()}" for key in KEYS) + "\n")
        secret.chmod(0o600)
        port = self.receiver.server_address[1]
        hooks = "".join(f'[[webhook]]\nname = "{name}"\nurl = "http://127.0.0.1:{port}/{name}?key=k"\n'
                        f'secret_file = "hook.secret"\n{events}'
                        for name, events in (("team", ""), ("failures", 'events = ["failed"]\n')))
        self.configure(more=f'[webhooks]\nallow = ["127.0.0.1:{port}"]\n{hooks}')

    def deliveries(self, query=""):
        return self.ask("GET", "/v1/deliveries" + query).json()["deliveries"]

    def end_of(self, name):
        return self.wait_until_over(self.submit(name).json()["id"])

    def heard_of(self, webhook):
        """{run: [(headers, what was told)]}; nothing if a signature is wrong."""
        with self.receiver.lock:
            heard = list(self.receiver.heard)
        found = {}
        for path, headers, body in heard:
            self.assertEqual(headers["webhook-signature"].split(" "), signatures(headers, body))
            self.assertEqual(headers["content-type"], "application/json")
            if path == f"/{webhook}?key=k":
                told = json.loads(body)
                found.setdefault(told["data"]["run"], []).append((headers, told))
        return found

    def test_ends_of_runs_are_told_signed_and_again_until_they_are_taken(self):
        self.assertTrue(self.start())
        support.make_video(self.media / "a.mp4", frames=5)
        (self.media / "poison.mp4").write_bytes(b"no video" * 1000)
        runs = [self.end_of("a.mp4"), self.end_of("poison.mp4"), self.end_of("a.mp4")]
        states = {run["id"]: run["state"] for run in runs}
        self.assertEqual(list(states.values()), ["finished", "set_aside", "failed"])
        # Not taken at first, and it says so.
        waiting = self.wait_for(lambda: [row for row in self.deliveries("?state=waiting") if row["attempts"] == 1],
                                "a first attempt")
        self.assertIn("answered 500", waiting[0]["last_error"])
        done = self.wait_for(lambda: (lambda rows: rows if len(rows) == 4 else None)(self.deliveries("?state=delivered")),
                             "what was taken")
        self.assertEqual(len(self.deliveries()), 4)
        wanted = [("failures", runs[2]["id"])] + [("team", run) for run in states]
        self.assertEqual(sorted((row["webhook"], row["run"]) for row in done), sorted(wanted))
        self.assertEqual({(row["attempts"], row["last_error"], row["next_at"]) for row in done}, {(2, "", None)})
        self.assertEqual(set(self.heard_of("failures")), {runs[2]["id"]})
        heard = self.heard_of("team")
        self.assertEqual({run: [told["type"] for _, told in attempts] for run, attempts in heard.items()},
                         {run: [f"run.{state}"] * 2 for run, state in states.items()})
        for first, second in heard.values():
            self.assertEqual(first[1], second[1])  # the same message, under the same name
            self.assertEqual(first[0]["webhook-id"], second[0]["webhook-id"])
        self.assertEqual(len({headers["webhook-id"] for headers, _ in sum(heard.values(), [])}), 3)
        self.tell_again(runs[0]["id"], heard)

    def tell_again(self, run, heard):
        """Under the same name, by which a receiver knows it."""
        (row,) = self.deliveries(f"?run={run}")
        self.assertEqual(self.ask("POST", f"/v1/deliveries/{row['seq']}/redeliver").status, 200)
        third = self.wait_for(lambda: self.heard_of("team")[run][2:], "the message again")[0]
        self.assertEqual(third[0]["webhook-id"], heard[run][0][0]["webhook-id"])
        self.assertEqual(third[1], heard[run][0][1])
        # What is in a webhook's URL is its own affair.
        self.assertNotIn("key=k", json.dumps(self.deliveries()) + self.said().decode())


if __name__ == "__main__":
    support.main()
