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

# What can happen to a request. "lost" took effect; "reset" did not.
FAULTS = ("reset", "lost", "cut", "short", "damaged", "503", "500", "429")


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
            body = body[:-1] + bytes([body[-1] ^ 1])
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


def seeded(seed, rate, faults=FAULTS):
    """A fault for about `rate` of the requests, the same ones for a seed."""

    def fault(method, _target, nth):
        chance = random.Random(seed * 1000003 + nth)
        if chance.random() >= rate:
            return None
        name = chance.choice(faults)
        # What nobody can notice without a checksum is sent only where there is one.
        return "cut" if name == "damaged" and method != "GET" else name

    return fault


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.02)
