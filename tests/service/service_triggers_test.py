#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Triggers of the service: videos land in a folder and come back painted; what is killed at any moment is made up
for."""

import json
import os
import pathlib
import shutil
import signal
import sys
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from service_case import GENEROUS, TRIGGER, ServiceCase, support  # noqa: E402


class DroppedVideos(ServiceCase):
    def setUp(self):
        super().setUp()
        self.configure(more=TRIGGER.format(media=self.media))

    def videos(self):
        first, *others = support.three_videos(self.folder)
        return [first] + [support.cut_short(path, self.folder, "1", "160:-2") for path in others]

    def drop(self, path, name):
        """As who knows how does it: whole under another name, then renamed."""
        shutil.copy(path, self.media / "in" / f".{name}.part")
        os.rename(self.media / "in" / f".{name}.part", self.media / "in" / name)

    def test_three_videos_are_painted_and_poison_is_set_aside(self):
        self.assertTrue(self.start())
        videos = self.videos()
        for number, path in enumerate(videos):
            self.drop(path, f"video{number}.mp4")
        (self.media / "in" / "poison.mp4").write_bytes(b"this is no video at all" * 100)
        runs = self.wait_for(
            lambda: (lambda runs: runs if len(runs) == 4 and all(r["state"] in ("finished", "set_aside") for r in runs)
                     else None)(self.runs()), "the end of four runs")
        by_name = {run["input"].rsplit("/", 1)[1]: run for run in runs}
        self.assertEqual(by_name["poison.mp4"]["state"], "set_aside")
        self.assertIn("poison.mp4", by_name["poison.mp4"]["reason"])
        self.assertFalse((self.media / "out" / "poison.mp4").exists())
        for number, path in enumerate(videos):
            run = by_name[f"video{number}.mp4"]
            self.assertEqual(run["state"], "finished", run["reason"])
            self.assertEqual((run["owner"], run["trigger"]), ("studio", "incoming"))
            output = self.media / "out" / f"video{number}.mp4"
            self.assertEqual(support.frame_count(output), support.frame_count(path))
            self.assertEqual(run["frames"], support.frame_count(path))
            self.assertGreater(run["cost"], 0)
        # Nothing of it triggers again, the outputs neither.
        trigger = self.ask("GET", "/v1/triggers").json()["triggers"][0]
        self.assertEqual(trigger["name"], "incoming")
        self.assertEqual(len(self.ask("GET", "/v1/triggers/incoming/receipts").json()["receipts"]), 4)
        # Released, it is tried again, and set aside again.
        poison = by_name["poison.mp4"]["id"]
        self.assertEqual(self.ask("POST", f"/v1/runs/{poison}/retry").status, 200)
        self.assertEqual(self.wait_until_over(poison)["state"], "set_aside")

    def receipts_of(self, trigger, state):
        receipts = self.ask("GET", f"/v1/triggers/{trigger}/receipts?state={state}").json()["receipts"]
        return {urllib.parse.unquote(receipt["url"].rsplit("/", 1)[1]): receipt for receipt in receipts}

    def test_new_content_is_painted_again_and_nobody_elses_file_replaced(self):
        self.assertTrue(self.start())
        support.make_video(self.folder / "a.mp4", frames=5)
        support.make_video(self.folder / "b.mp4", frames=7)
        self.drop(self.folder / "a.mp4", "a.mp4")
        self.wait_for(lambda: [run for run in self.runs() if run["state"] == "finished"], "a painted video")
        self.drop(self.folder / "b.mp4", "a.mp4")
        runs = self.wait_for(lambda: (lambda runs: runs if len(runs) == 2 and all(r["ended_at"] for r in runs)
                                      else None)(self.runs()), "the second run")
        self.assertEqual([run["state"] for run in runs], ["finished", "finished"], runs)
        self.assertEqual(support.frame_count(self.media / "out" / "a.mp4"), 7)
        (self.media / "out" / "c.mp4").write_bytes(b"somebody's")
        self.drop(self.folder / "a.mp4", "c.mp4")
        run = self.wait_for(lambda: (lambda runs: runs[0] if len(runs) == 3 and runs[0]["ended_at"] else None)(
            self.runs()), "the third run")
        self.assertEqual(run["state"], "failed")
        self.assertIn("exists", run["reason"])
        self.assertEqual((self.media / "out" / "c.mp4").read_bytes(), b"somebody's")

    def test_a_name_that_is_too_long_stops_nothing(self):
        self.configure(TRIGGER.format(media=self.media).replace("{stem}.mp4", "{stem}-painted.mp4"))
        self.assertTrue(self.start())
        support.make_video(self.folder / "a.mp4", frames=5)
        name = "a" * 245 + ".mp4"
        shutil.copy(self.folder / "a.mp4", self.media / "in" / name)
        ignored = self.wait_for(lambda: self.receipts_of("incoming", "ignored"), "a receipt that is ignored")
        self.assertIn("too long", ignored[name]["reason"])
        self.drop(self.folder / "a.mp4", "b.mp4")
        self.wait_for(lambda: [run for run in self.runs() if run["state"] == "finished"], "the other video")

    def test_a_pool_that_is_gone_keeps_the_blob_until_it_is_back(self):
        pools = '[[pool]]\nname = "local"\nmax = 1\n[[pool]]\nname = "spare"\nmax = 1\n'
        self.configure(pools=pools)
        self.assertTrue(self.start())
        trigger = (f'name = "first"\nkind = "watch"\nlocation = "{self.media}/in"\nsettle = "100ms"\nevery = "1s"\n'
                   f'pipeline = "paint"\npool = "spare"\n[parameters]\ninput = "{{url}}"\n'
                   f'output = "{self.media}/out/{{stem}}.mp4"\n')
        self.assertEqual(self.ask("PUT", "/v1/triggers/first", trigger).status, 200)
        self.stop()
        self.configure()
        self.assertTrue(self.start())
        support.make_video(self.folder / "a.mp4", frames=5)
        self.drop(self.folder / "a.mp4", "a.mp4")
        self.wait_for(lambda: self.receipts_of("first", "seen"), "a receipt that waits")
        scanned = self.ask("GET", "/v1/triggers").json()["triggers"][0]["last_scan"]
        self.wait_for(lambda: self.ask("GET", "/v1/triggers").json()["triggers"][0]["last_scan"] > scanned + 2000, "two scans")
        self.assertEqual((self.receipts_of("first", "ignored"), self.runs()), ({}, []))
        self.stop()
        self.configure(pools=pools)
        self.assertTrue(self.start())
        (run,) = self.wait_for(self.runs, "its run")
        self.assertEqual((run["pool"], self.wait_until_over(run["id"])["state"]), ("spare", "finished"))

    def test_outputs_behind_a_link_start_nothing(self):
        """The watched folder is a link to the one that outputs go to; also for a trigger that comes later."""
        (self.media / "link").symlink_to(self.media / "out")
        self.assertTrue(self.start())
        trigger = (f'kind = "watch"\nlocation = "{self.media}/link"\nsuffix = ".mp4"\nsettle = "100ms"\n'
                   f'every = "1s"\npipeline = "paint"\n[parameters]\ninput = "{{url}}"\n'
                   f'output = "{self.media}/out/{{stem}}-painted.mp4"\n')
        self.assertEqual(self.ask("PUT", "/v1/triggers/first", 'name = "first"\n' + trigger).status, 200)
        support.make_video(self.folder / "a.mp4", frames=5)
        os.rename(self.folder / "a.mp4", self.media / "out" / "a.mp4")
        ignored = self.wait_for(lambda: self.receipts_of("first", "ignored"), "an output that is ignored")
        self.assertEqual(list(ignored), ["a-painted.mp4"])
        (run,) = self.runs()
        self.assertEqual(self.wait_until_over(run["id"])["state"], "finished")
        self.assertEqual(self.ask("DELETE", f"/v1/runs/{run['id']}").status, 204)
        self.assertEqual(self.ask("DELETE", "/v1/triggers/first").status, 204)
        self.assertEqual(self.ask("PUT", "/v1/triggers/second", 'name = "second"\n' + trigger).status, 200)
        self.assertEqual(list(self.wait_for(lambda: self.receipts_of("second", "ignored"), "the same again")),
                         ["a-painted.mp4"])

    def test_what_is_there_when_the_run_starts_is_looked_at_again(self):
        """A link that leads out, and more bytes than its owner may give."""
        (self.folder / "secret").mkdir()
        support.make_video(self.folder / "secret" / "a.mp4", frames=5)
        self.limits = GENEROUS + 'max_input_bytes = "8MiB"\n'
        self.configure()
        self.assertTrue(self.start())
        support.make_video(self.media / "long.mp4", frames=400, size="320x240")
        first = self.submit("long.mp4").json()["id"]
        self.wait_for(lambda: self.run_of(first)["state"] == "running", "a run that takes the pool")
        late = self.submit("late.mp4").json()["id"]
        large = self.submit("large.mp4").json()["id"]
        (self.media / "late.mp4").symlink_to(self.folder / "secret" / "a.mp4")
        with open(self.media / "large.mp4", "wb") as file:
            file.truncate(9 << 20)
        self.assertEqual(self.ask("POST", f"/v1/runs/{first}/cancel").status, 200)
        run = self.wait_until_over(late)
        self.assertEqual(run["state"], "failed")
        self.assertIn("outside of the [stores]", run["reason"])
        self.assertFalse((self.media / "out" / "late.mp4").exists())
        run = self.wait_until_over(large)
        self.assertEqual(run["state"], "failed")
        self.assertIn(f"has {9 << 20} bytes", run["reason"])

    def test_a_trigger_in_the_configuration_is_changed_without_a_stop(self):
        self.assertTrue(self.start())
        (self.media / "other").mkdir()
        text = (self.folder / "atelier.toml").read_text().replace("/in\"", "/other\"")
        (self.folder / "atelier.toml").write_text(text)
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: "other" in json.dumps(self.ask("GET", "/v1/triggers").json()), "the new location")
        support.make_video(self.folder / "a.mp4", frames=5)
        os.rename(self.folder / "a.mp4", self.media / "other" / "a.mp4")
        self.wait_for(lambda: [run for run in self.runs() if run["state"] == "finished"], "a painted video")
        entries = self.ask("GET", "/v1/audit").json()["entries"]
        (reload,) = [entry for entry in entries if entry["action"] == "reload"]
        self.assertEqual((reload["who"], reload["detail"]), ("configuration", {"incoming": "changed"}))
        (started,) = [entry for entry in entries if entry["action"] == "triggerRun"]
        self.assertEqual((started["who"], started["detail"]), ("studio", {"trigger": "incoming"}))

    def test_killed_before_every_commit_it_loses_and_doubles_nothing(self):
        support.make_video(self.folder / "a.mp4", frames=5)
        commit, finished = 0, []
        shutil.copy(self.folder / "a.mp4", self.media / "in" / "a.mp4")
        deaths = 0
        while not finished:
            commit += 1
            # Each life dies one commit later than the one before could.
            lived = self.start("--die-before-commit", str(commit))
            if lived:
                self.wait_for(lambda: self.process.poll() is not None or
                              [run for run in self.runs_or_none() if run["state"] == "finished"], "an end or a death")
                finished = [run for run in self.runs_or_none() if run["state"] == "finished"]
            deaths += self.process.poll() is not None
            self.stop()
            self.assertLess(commit, 60)
        self.assertGreaterEqual(deaths, 5)
        self.assertTrue(self.start())
        runs = self.runs()
        self.assertEqual([run["state"] for run in runs], ["finished"])
        self.assertEqual(support.frame_count(self.media / "out" / "a.mp4"), 5)
        print(f"{deaths} deaths before a commit, one run")

    def runs_or_none(self):
        try:
            return self.runs()
        except OSError:
            return []


if __name__ == "__main__":
    support.main()
