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
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from service_case import GENEROUS, PIPELINE, ServiceCase, support  # noqa: E402

import onnx_model  # noqa: E402

CONNECTIONS = 8
EACH = 100


class Client(threading.Thread):
    """Submits over one connection that it keeps, until it has done its share or the service is gone."""

    def __init__(self, case, number, tell, each):
        super().__init__()
        self.case, self.number, self.tell, self.each = case, number, tell, each
        self.accepted, self.refused, self.others = [], 0, []

    def run(self):
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.case.address).netloc, timeout=30)
        try:
            for count in range(self.each):
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

    def clients(self, tell=lambda: None, each=EACH):
        made = [Client(self, number, tell, each) for number in range(CONNECTIONS)]
        for client in made:
            client.start()
        return made

    def join(self, clients):
        for client in clients:
            client.join(support.TIMEOUT)
            self.assertFalse(client.is_alive())
        return [run for client in clients for run in client.accepted]

    def pages(self, limit, query=""):
        """Every run there is, page by page, and how long each took in milliseconds."""
        before = ""
        while before is not None:
            begin = time.monotonic()
            page = self.ask("GET", f"/v1/runs?limit={limit}{query}{before}").json()
            yield page["runs"], 1000 * (time.monotonic() - begin)
            before = None if page["next"] is None else f"&before={page['next']}"

    def listed(self):
        found = [run["id"] for page, _ in self.pages(300) for run in page]
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

    def test_a_long_queue_is_listed_page_by_page_each_run_once_and_the_newest_first(self):
        self.room(100_000)
        model = onnx_model.write_slow(self.folder / "models", support.slow_layers())
        (self.folder / "paint.toml").write_text(PIPELINE.replace('"starry-night"', f'"{model}"'))
        text = (self.folder / "atelier.toml").read_text()
        (self.folder / "atelier.toml").write_text(text.replace("[stores]", f'[stores]\nmodels = ["{model.parent}"]'))
        self.assertTrue(self.start())
        support.make_video(self.media / "long.mp4", "-preset", "ultrafast", frames=20000)
        busy = self.submit("long.mp4").json()["id"]  # nothing else is begun meanwhile
        self.wait_for(lambda: self.run_of(busy)["state"] == "running", "a run that takes the pool")
        clients = self.clients(each=375)
        accepted = self.join(clients)
        self.assertEqual(([client.others for client in clients], len(accepted)), ([[]] * CONNECTIONS, 8 * 375))
        late = []
        for limit in (1000, 50):
            for query, there in (("&state=queued", accepted + late), ("", accepted + late + [busy])):
                self.check_pages(limit, query, there, clients)
            # What comes while somebody turns the pages is not among those that are older.
            pages = self.pages(limit, "&state=queued")
            first, _ = next(pages)
            late.append(self.submit("absent.mp4", f"late{limit}.mp4").json()["id"])
            rest = [run["id"] for page, _ in pages for run in page]
            self.assertEqual(sorted([run["id"] for run in first] + rest), sorted(accepted + late[:-1]))
        self.assertEqual(self.run_of(busy)["state"], "running")
        self.assertEqual(self.ask("POST", f"/v1/runs/{busy}/cancel").status, 200)

    def check_pages(self, limit, query, there, clients):
        pages = list(self.pages(limit, query))
        found = [run for page, _ in pages for run in page]
        names = [run["id"] for run in found]
        self.assertEqual(len(names), len(there))
        self.assertEqual(set(names), set(there))
        self.assertEqual([len(page) for page, _ in pages[:-1]], [limit] * (len(pages) - 1))
        times = [run["created_at"] for run in found]
        self.assertEqual(times, sorted(times, reverse=True))
        place = {name: number for number, name in enumerate(names)}
        for client in clients:  # who asked for one after the other
            places = [place[name] for name in client.accepted]
            self.assertEqual(places, sorted(places, reverse=True))
        took = sorted(milliseconds for _, milliseconds in pages)
        print(f"{len(found)} runs{query}, {limit} a page: {took[len(took) // 2]:.1f} ms a page, the slowest {took[-1]:.1f} ms")


if __name__ == "__main__":
    support.main()
