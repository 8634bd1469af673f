#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A backup is restored as docs/service.md says: the state is that of the backup, and the queue goes on from there."""

import os
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from service_case import PIPELINE, ServiceCase, support  # noqa: E402

import onnx_model  # noqa: E402


class Retention(ServiceCase):
    def test_old_run_folders_and_backups_go(self):
        self.configure(more='[retention]\nrun_folders = "2d"\nbackups = "2d"\n')
        support.make_video(self.media / "a.mp4", frames=5)
        support.make_video(self.media / "b.mp4", frames=6)
        self.assertTrue(self.start())
        runs = [self.submit(name).json()["id"] for name in ("a.mp4", "b.mp4")]
        old, fresh = [pathlib.Path(self.wait_until_over(run)["runs"][0].removeprefix("file://")) for run in runs]
        self.stop()
        backups = self.folder / "data" / "backups"
        backups.mkdir(exist_ok=True)
        for name in ("1.db", "2.db"):
            (backups / name).touch()
        long_ago = os.stat(old).st_mtime - 3 * 24 * 3600
        for path in [*old.rglob("*"), old, backups / "1.db"]:
            os.utime(path, (long_ago, long_ago))
        self.assertTrue(self.start())
        self.wait_for(lambda: not old.exists(), "the end of the old run folder")
        self.wait_for(lambda: not (backups / "1.db").exists(), "the end of the old backup")
        self.assertTrue(fresh.exists())
        self.assertTrue((backups / "2.db").exists())
        self.assertEqual(self.run_of(runs[0])["state"], "finished")


class Backup(ServiceCase):
    def setUp(self):
        super().setUp()
        model = onnx_model.write_slow(self.folder / "models", support.slow_layers())
        (self.folder / "paint.toml").write_text(PIPELINE.replace('"starry-night"', f'"{model}"'))
        text = (self.folder / "atelier.toml").read_text()
        (self.folder / "atelier.toml").write_text(text.replace("[stores]", f'[stores]\nmodels = ["{model.parent}"]'))
        support.make_video(self.media / "long.mp4", frames=300)
        support.make_video(self.media / "a.mp4", frames=5)

    def restore(self, backup):
        """By the commands of docs/service.md."""
        section = (support.ROOT / "docs/service.md").read_text().split("## Backup\n")[1].split("## ")[0]
        commands = [line.replace("/var/lib/atelier", str(self.folder / "data")) for line in section.split("```")[1].splitlines()
                    if line.startswith(("rm ", "cp "))]
        self.assertEqual([command.split()[0] for command in commands], ["rm", "cp"])
        for command in commands:
            subprocess.run(command, shell=True, check=True, env={**os.environ, "BACKUP": backup})

    def test_a_backup_is_restored_and_the_queue_goes_on(self):
        self.assertTrue(self.start())
        first = self.submit("a.mp4").json()["id"]
        self.assertEqual(self.wait_until_over(first)["state"], "finished")
        running = self.submit("long.mp4").json()["id"]
        queued = self.submit("a.mp4", "b.mp4").json()["id"]
        self.wait_for(lambda: self.run_of(running)["runs"], "a run folder")
        kept = self.make_token("kept", "reader")
        backup = self.client("backup").stdout.strip()
        self.assertEqual([self.run_of(run)["state"] for run in (running, queued)], ["running", "queued"])
        # What is in no backup.
        lost = self.submit("a.mp4", "c.mp4").json()["id"]
        later = self.make_token("later", "reader")
        self.assertEqual(self.ask("POST", f"/v1/runs/{queued}/cancel").status, 200)
        self.assertEqual(self.stop(), 0)
        self.restore(backup)
        self.assertTrue(self.start())
        self.assertEqual({run["id"] for run in self.runs()}, {first, running, queued})
        self.assertEqual(self.ask("GET", f"/v1/runs/{lost}").status, 404)
        self.assertEqual(self.ask("GET", "/v1/runs", token=kept).status, 200)
        self.assertEqual(self.ask("GET", "/v1/runs", token=later).status, 401)
        self.assertEqual(self.run_of(first)["state"], "finished")
        self.assert_finished(running, "long.mp4", 300)
        self.assert_finished(queued, "b.mp4", 5)
        self.assertFalse((self.media / "out" / "c.mp4").exists())
        self.assert_finished(self.submit("a.mp4", "c.mp4").json()["id"], "c.mp4", 5)

    def assert_finished(self, run, name, frames):
        over = self.wait_until_over(run)
        self.assertEqual((over["state"], over["frames"]), ("finished", frames), over["reason"])
        self.assertEqual(support.frame_count(self.media / "out" / name), frames)

    def test_after_a_crash_too_and_what_ended_since_is_done_again(self):
        self.assertTrue(self.start())
        running = self.submit("long.mp4").json()["id"]
        queued = self.submit("a.mp4").json()["id"]
        self.wait_for(lambda: self.run_of(running)["runs"], "a run folder")
        backup = self.client("backup").stdout.strip()
        self.assert_finished(running, "long.mp4", 300)
        self.assert_finished(queued, "a.mp4", 5)
        digests = [support.sha256(self.media / "out" / name) for name in ("long.mp4", "a.mp4")]
        self.stop(signal.SIGKILL)
        self.assertTrue((self.folder / "data" / "atelier.db-wal").exists())
        self.restore(backup)
        self.assertTrue(self.start())
        self.assert_finished(running, "long.mp4", 300)  # it goes on, and its output is its own
        failed = self.wait_until_over(queued)
        self.assertEqual(failed["state"], "failed")
        self.assertIn("exists", failed["reason"])
        self.assert_finished(self.ask("POST", f"/v1/runs/{queued}/rerun").json()["id"], "a.mp4", 5)
        self.assertEqual([support.sha256(self.media / "out" / name) for name in ("long.mp4", "a.mp4")], digests)


if __name__ == "__main__":
    support.main()
