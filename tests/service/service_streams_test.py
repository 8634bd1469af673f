#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Event streams that are cut: who comes again with the last event's number hears each of the others, once and in order."""

import contextlib
import http.client
import json
import pathlib
import signal
import sys
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from service_case import ServiceCase, support  # noqa: E402


class CutStreams(ServiceCase):
    @contextlib.contextmanager
    def stream(self, last=None, path="/v1/events"):
        """An iterator over (number, kind, data) of whole events; the connection is cut at the end of the `with`."""
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.events_address).netloc, timeout=60)
        try:
            headers = {"Authorization": f"Bearer {self.token}"}
            if last is not None:
                headers["Last-Event-ID"] = str(last)
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            self.assertEqual(answer.status, 200)
            yield self.events_of(answer)
        finally:
            connection.close()

    def events_of(self, answer):
        fields, comments = {}, 0
        while line := answer.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if name:
                fields[name] = value
                continue
            if "id" in fields:
                comments = 0
                yield int(fields["id"]), fields["event"], json.loads(fields["data"])
            else:
                comments += 1  # one every few seconds keeps it alive
                self.assertLess(comments, support.TIMEOUT / 5, "nothing more is told")
            fields = {}

    def take(self, heard, until, path="/v1/events"):
        """Hears more, after what it `heard` last, until there is enough; then it is cut."""
        with self.stream(heard[-1][0] if heard else 0, path) as events:
            while not until(heard):
                heard.append(next(events))

    def begin(self, count):
        """Runs whose input is absent: each is queued, begins and is set aside."""
        return [self.submit("absent.mp4", f"{self._testMethodName}-{number}.mp4").json()["id"] for number in range(count)]

    def happened(self, runs):
        """Asked for in another way: (number, kind, run), in order."""
        rows = [(event["seq"], event["kind"], run) for run in runs
                for event in self.ask("GET", f"/v1/runs/{run}/events").json()["events"]]
        return sorted(rows)

    def test_a_client_that_was_cut_goes_on_where_it_was(self):
        self.assertTrue(self.start())
        runs, heard = self.begin(3), []
        self.take(heard, lambda heard: len(heard) == 2)
        runs += self.begin(3)  # while nobody listens
        self.take(heard, lambda heard: len(heard) == 6)
        # The number is stronger than what the address says, which stays the same when a browser comes again.
        self.take(heard, lambda heard: len(heard) == 8, "/v1/events?after=0")
        self.stop(signal.SIGKILL)
        self.assertTrue(self.start())
        runs += self.begin(2)
        self.take(heard, lambda heard: {data["run"] for _, kind, data in heard if kind == "set_aside"} == set(runs))
        told = [(number, kind, data["run"]) for number, kind, data in heard]
        self.assertEqual(told, self.happened(runs))
        self.assertEqual(len(told), len(set(told)))
        self.assertGreaterEqual(len(told), 3 * len(runs))

    def test_of_one_run_too_and_without_a_number_from_now_on(self):
        self.assertTrue(self.start())
        (first,) = self.begin(1)
        self.wait_until_over(first)
        path = f"/v1/runs/{first}/events/stream"
        heard = []
        self.take(heard, lambda heard: len(heard) == 1, path)
        (second,) = self.begin(1)  # of which this stream tells nothing
        self.wait_until_over(second)
        self.take(heard, lambda heard: heard[-1][1] == "set_aside", path)
        self.assertEqual([(number, kind, data["run"]) for number, kind, data in heard], self.happened([first]))
        self.assertGreater(len(heard), 2)
        with self.stream() as events:
            (third,) = self.begin(1)
            self.assertEqual([next(events)[2]["run"] for _ in range(3)], [third] * 3)
        for number in ("x", "-1", "1.5"):
            reply = self.ask("GET", path, headers={"Last-Event-ID": number}, address=self.events_address)
            self.assertEqual(reply.status, 400, reply.body)


if __name__ == "__main__":
    support.main()
