#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The service over a real Azurite: blobs land in a container, events tell of them in Event Grid's form, and the
painted videos come back into the container. Everything by tokens of containers, over TLS."""

import json
import pathlib
import sys
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "net"), str(HERE.parent / "e2e")]

import azurite  # noqa: E402
from service_case import ServiceCase, support  # noqa: E402


class BlobsAndEvents(ServiceCase):
    def setUp(self):
        super().setUp()
        self.azurite = azurite.server(True)
        for name in ("media", "ops"):
            self.azurite.make_container(name)
        self.place = f"az://{self.azurite.account}/media"
        lines = [f"[az://{self.azurite.account}]", f"endpoint = {self.azurite.endpoint}", f"ca_file = {self.azurite.ca}"]
        for name in ("media", "ops"):
            lines += [f"[az://{self.azurite.account}/{name}]", f"sas = {self.azurite.container_sas(name, 'rcwdl')}"]
        self.credentials = self.folder / "credentials"
        self.credentials.write_text("\n".join(lines) + "\n")
        self.credentials.chmod(0o600)
        (self.folder / "atelier.toml").write_text(f"""
listen = "127.0.0.1:0"
events_listen = "127.0.0.1:0"
data = "{self.folder}/data"
pipelines = ["paint.toml"]
[stores]
media = ["{self.place}"]
ops = "az://{self.azurite.account}/ops"
{self.limits}
[[pool]]
name = "local"
workers = 1
[[trigger]]
name = "uploads"
kind = "event"
location = "{self.place}/in"
suffix = ".mp4"
pipeline = "paint"
owner = "studio"
[trigger.parameters]
input = "{{url}}"
output = "{self.place}/out/{{stem}}.mp4"
""")

    def environment(self):
        return {**super().environment(), "ATELIER_CREDENTIALS": str(self.credentials)}

    def event(self, name, size):
        """As Event Grid sends it, the storage account's own host in the URL."""
        url = f"https://{self.azurite.account}.blob.core.windows.net/media/in/{urllib.parse.quote(name)}"
        return {"topic": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a",
                "subject": f"/blobServices/default/containers/media/blobs/in/{name}", "id": f"id-{name}",
                "eventType": "Microsoft.Storage.BlobCreated", "eventTime": "2026-01-02T03:04:05.678Z",
                "dataVersion": "", "metadataVersion": "1",
                "data": {"api": "PutBlob", "contentType": "video/mp4", "contentLength": size, "blobType": "BlockBlob",
                         "url": url, "eTag": "0x8D000000000000", "sequencer": "00"}}

    def post(self, events, token):
        return self.ask("POST", "/v1/triggers/uploads/events", events, token=token)

    def test_videos_are_painted_once_each_and_poison_is_set_aside(self):
        self.assertTrue(self.start())
        sender = self.make_token("event-grid", "submitter")
        handshake = [{"id": "1", "topic": "t", "subject": "", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
                      "eventTime": "2026-01-02T03:04:05Z", "metadataVersion": "1", "dataVersion": "1",
                      "data": {"validationCode": "the-code", "validationUrl": "https://elsewhere.example.com/x"}}]
        self.assertEqual(self.post(handshake, sender).json(), {"validationResponse": "the-code"})
        blobs = {}
        for number, frames in enumerate((12, 20, 30)):
            source = support.make_video(self.folder / f"v{number}.mp4", frames=frames)
            blobs[f"video {number}.mp4"] = source.read_bytes()
        blobs["poison.mp4"] = b"no video" * 1000
        for name, content in blobs.items():
            self.azurite.put(f"media/in/{name}", content)
        events = [self.event(name, len(content)) for name, content in blobs.items()]
        events.append(self.event("was never there.mp4", 5))
        # Doubled, in other orders, and one by one: event services promise no more.
        for batch in (events, list(reversed(events)), events[:1], events[2:]):
            self.assertEqual(self.post(batch, sender).status, 200)
        runs = self.wait_for(
            lambda: (lambda runs: runs if len(runs) == 4 and all(r["state"] in ("finished", "set_aside") for r in runs)
                     else None)(self.runs()), "the end of four runs", 60)
        by_name = {urllib.parse.unquote(run["input"]).rsplit("/", 1)[1]: run for run in runs}
        self.assertEqual(by_name["poison.mp4"]["state"], "set_aside")
        for number, frames in enumerate((12, 20, 30)):
            run = by_name[f"video {number}.mp4"]
            self.assertEqual((run["state"], run["frames"]), ("finished", frames), run["reason"])
            painted = self.folder / f"painted{number}.mp4"
            painted.write_bytes(self.azurite.get(f"media/out/video {number}.mp4"))
            self.assertEqual(support.frame_count(painted), frames)
        receipts = self.ask("GET", "/v1/triggers/uploads/receipts").json()["receipts"]
        self.assertEqual(len(receipts), 4)
        self.assertEqual(self.post({"x": 1}, sender).status, 400)
        self.assertEqual(self.post(events, False).status, 401)
        # New content under an old name is a new version.
        self.azurite.put("media/in/video 0.mp4", blobs["video 1.mp4"])
        self.assertEqual(self.post(events[:1], sender).status, 200)
        self.wait_for(lambda: len(self.runs()) == 5, "a fifth run")
        newest = self.wait_until_over(self.runs()[0]["id"])
        # What the run before made of that blob is replaced.
        self.assertEqual((newest["state"], newest["frames"]), ("finished", 20), newest["reason"])
        logs = self.said().decode() + json.dumps(self.runs())
        self.assertIn("Serving at", logs)
        self.assertNotIn("sig=", logs)


if __name__ == "__main__":
    azurite.run_tests(support.main)
