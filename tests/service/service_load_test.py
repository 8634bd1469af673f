#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many submissions at once: none that was answered is lost, also when the service is killed; what does not fit is refused
with the time to come back. How fast it is, benchmarks/service_load.py tells."""

import http.client
import json
import pathlib
import signal
import sys
import threading
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from service_case import GENEROUS, ServiceCase, support  # noqa: E402

CONNECTIONS = 8
EACH = 100


class Client(threading.Thread):
    """Submits over one connection that it keeps, until it has done its share or the service is gone."""

    def __init__(self, case, number, tell):
        super().__init__()
        self.case, self.number, self.tell = case, number, tell
        self.accepted, self.refused, self.others = [], 0, []

    def run(self):
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.case.address).netloc, timeout=30)
        try:
            for count in range(EACH):
                self.submit(connection, f"{self.number}-{count}.mp4")
        except (OSError, http.client.HTTPException) as error:
            self.others.append(repr(error))
        finally:
            connection.close()

    def submit(self, connection, name):
        media = self.case.media
        body = {"pipeline": "paint", "parameters": {"input": f"{media}/absent.mp4", "output": f"{media}/out/{name}"}}
        connection.request("POST", "/v1/runs", json.dumps(body), {"Authorization": f"Bearer {self.case.token}",
                                                                  "Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        if answer.status == 201:
            self.accepted.append(json.loads(said)["id"])
            self.tell()
        elif answer.status in (429, 503) and int(answer.headers.get("Retry-After", 0)) >= 1:
            self.refused += 1
        else:
            self.others.append((answer.status, said))


class Load(ServiceCase):
    def room(self, count):
        self.limits = f"{GENEROUS}max_queued = {count}\nmax_queued_per_owner = {count}\n"
        self.configure()

    def clients(self, tell=lambda: None):
        made = [Client(self, number, tell) for number in range(CONNECTIONS)]
        for client in made:
            client.start()
        return made

    def join(self, clients):
        for client in clients:
            client.join(support.TIMEOUT)
            self.assertFalse(client.is_alive())
        return [run for client in clients for run in client.accepted]

    def listed(self):
        """Every run there is, page by page."""
        found, query = [], ""
        while query is not None:
            page = self.ask("GET", "/v1/runs?limit=300" + query).json()
            found += [run["id"] for run in page["runs"]]
            query = None if page["next"] is None else f"&before={page['next']}"
        self.assertEqual(len(found), len(set(found)))
        return found

    def test_all_that_was_accepted_is_there(self):
        self.room(100_000)
        self.assertTrue(self.start())
        clients = self.clients()
        accepted = self.join(clients)
        self.assertEqual([client.others for client in clients], [[]] * CONNECTIONS)
        self.assertEqual(len(accepted), CONNECTIONS * EACH)
        self.assertEqual(set(self.listed()), set(accepted))

    def test_a_full_queue_refuses_and_takes_no_more(self):
        self.room(50)
        self.assertTrue(self.start())
        clients = self.clients()
        accepted = self.join(clients)
        self.assertEqual([client.others for client in clients], [[]] * CONNECTIONS)
        refused = sum(client.refused for client in clients)
        self.assertEqual(len(accepted) + refused, CONNECTIONS * EACH)
        self.assertGreater(refused, 0)
        self.assertGreaterEqual(len(accepted), 50)
        self.assertEqual(set(self.listed()), set(accepted))

    def test_killed_meanwhile_it_has_all_that_it_had_accepted(self):
        self.room(100_000)
        self.assertTrue(self.start())
        many = threading.Semaphore(0)
        clients = self.clients(many.release)
        for _ in range(CONNECTIONS * EACH // 4):
            self.assertTrue(many.acquire(timeout=support.TIMEOUT))
        self.stop(signal.SIGKILL)
        accepted = self.join(clients)
        self.assertTrue(self.start())
        listed = self.listed()
        self.assertEqual(set(accepted) - set(listed), set())
        # What was on disk and could not be said any more: at most the request that each client had under way.
        self.assertLessEqual(len(listed) - len(accepted), CONNECTIONS)
        self.assertLess(len(accepted), CONNECTIONS * EACH)


if __name__ == "__main__":
    support.main()
