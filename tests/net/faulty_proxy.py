# SPDX-License-Identifier: Apache-2.0
"""A network that breaks to a plan: stands between the program and a store, counts what passes, and does what networks
and services do: resets, lost answers, 503 with Retry-After, short, damaged and endless bodies.
"""

import http.client
import http.server
import random
import socket
import struct
import threading
import time
import urllib.parse

# What can happen to a request. "lost" took effect; "reset" did not. "damaged" is the answer, "spoilt" what is sent.
FAULTS = ("reset", "lost", "cut", "short", "damaged", "spoilt", "503", "500", "429")


def can_be_noticed(fault, method, target):
    """What nobody can notice without a checksum is done only where there is one."""
    if fault == "damaged":
        return method == "GET"
    if fault == "spoilt":
        return method == "PUT" and "comp=blocklist" not in target  # Azurite takes that without looking at its MD5
    return True


class FaultyProxy:
    """Plain HTTP on loopback before the plain HTTP endpoint `upstream`. `fault(method, target, nth)` names what is to
    happen to the nth request (from 0) or answers None; called from several threads."""

    def __init__(self, upstream, fault=lambda method, target, nth: None):
        parts = urllib.parse.urlsplit(upstream)
        self.upstream = (parts.hostname, parts.port)
        self.fault = fault
        self.lock = threading.Lock()
        self.seen = []  # (method, target, bytes of the answer)
        self.passed = []  # targets whose answer from upstream has come
        self.faults = 0
        self.stalled = threading.Event()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_any(self):
                proxy.handle(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass  # who hung up is not news here

        self.server = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}{parts.path}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stalled.set()
        self.server.shutdown()
        self.server.server_close()

    def handle(self, client):
        length = int(client.headers.get("Content-Length") or 0)
        body = client.rfile.read(length) if length else b""
        with self.lock:
            nth = len(self.seen)
            self.seen.append((client.command, client.path, 0))
        fault = self.fault(client.command, client.path, nth)
        if fault:
            with self.lock:
                self.faults += 1
        if fault == "reset":
            return self.reset(client)
        if fault in ("503", "500", "429"):
            return self.refuse(client, int(fault))
        if fault == "stall":
            self.stalled.wait(600)
            return self.reset(client)
        if fault == "spoilt" and body:
            body = flipped(body, len(body) // 2)
        status, headers, answer = self.forward(client, body)
        with self.lock:
            self.seen[nth] = (client.command, client.path, len(answer))
            self.passed.append(client.path)
        if fault == "lost":
            return self.reset(client)
        return self.answer(client, status, headers, answer, fault)

    def forward(self, client, body):
        connection = http.client.HTTPConnection(*self.upstream, timeout=120)
        try:
            connection.putrequest(client.command, client.path, skip_host=True, skip_accept_encoding=True)
            for name, value in client.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    @staticmethod
    def reset(client):
        client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close_connection = True
        client.connection.close()

    @staticmethod
    def refuse(client, status):
        client.send_response(status)
        if status != 500:
            client.send_header("Retry-After", "1")
        client.send_header("Content-Length", "0")
        client.end_headers()

    def answer(self, client, status, headers, body, fault):
        size = len(body)
        head = client.command == "HEAD"
        client.send_response_only(status)
        for name, value in headers:
            if name.lower() in ("transfer-encoding", "connection") or not head and name.lower() == "content-length":
                continue
            client.send_header(name, value)
        if not head:
            client.send_header("Content-Length", str(size + 100 if fault == "short" else size))
        client.end_headers()
        if head:
            return None
        if fault == "damaged" and body:
            body = flipped(body, len(body) - 1)
        if fault == "trickle":
            for at in range(0, size, 1):
                client.wfile.write(body[at:at + 1])
                client.wfile.flush()
                if self.stalled.wait(0.5):
                    return None
        if fault in ("cut", "short"):
            client.wfile.write(body[:size // 2] if fault == "cut" else body)
            client.wfile.flush()
            return self.reset(client)
        client.wfile.write(body)
        return None


def flipped(body, at):
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]


def seeded(seed, rate, faults=FAULTS):
    """A fault for about `rate` of the requests, the same ones for a seed."""

    def fault(method, target, nth):
        chance = random.Random(seed * 1000003 + nth)
        if chance.random() >= rate:
            return None
        name = chance.choice(faults)
        return name if can_be_noticed(name, method, target) else "cut"

    return fault


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.02)
