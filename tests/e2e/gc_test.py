#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`gc` removes runs by age and size, and never one that somebody works on."""

import http.server
import json
import os
import re
import signal
import threading
import time

import support
from support import make_video, run, sha256


class Uploads(support.Case):
    """What uploads leave in a bucket that never ended, by a server that knows nothing else."""

    LISTED = """<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>
        <Upload><Key>all/1/old</Key><UploadId>o</UploadId><Initiated>2026-01-01T00:00:00.000Z</Initiated></Upload>
        <Upload><Key>all/1/new</Key><UploadId>n</UploadId><Initiated>{now}</Initiated></Upload>
        </ListMultipartUploadsResult>"""

    def gc(self, status, *options):
        removed = []

        class Server(http.server.BaseHTTPRequestHandler):
            def answer(self, code, body):
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def do_GET(self):
                if "uploads=" in self.path:
                    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                    self.answer(status, Uploads.LISTED.format(now=now) if status == 200 else
                                "<Error><Code>AccessDenied</Code></Error>")
                else:
                    self.answer(200, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")

            def do_DELETE(self):
                removed.append(self.path)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            done = run("gc", "--runs", "s3://b/all", "--older-than", "7d", "--json", *options,
                       env={"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s",
                            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"})
            server.shutdown()
            thread.join()
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout), removed

    def test_what_was_begun_more_than_a_day_ago_is_removed(self):
        found, removed = self.gc(200, "--dry-run")
        self.assertEqual((found["uploads_removed"], removed), (1, []))
        found, removed = self.gc(200)
        self.assertEqual((found["uploads_removed"], removed), (1, ["/b/all/1/old?uploadId=o"]))

    def test_who_may_not_list_them_can_remove_runs_all_the_same(self):
        found, removed = self.gc(403)
        self.assertEqual((found["uploads_removed"], found["removed"], removed), (0, 0, []))


class Gc(support.Case):
    spreads = False
    CUT = ["--chunk-seconds", "0.4"]

    def setUp(self):
        super().setUp()
        self.source = make_video(self.folder / "in.mp4", frames=40)

    def finished(self, *options):
        """A run that has ended; returns its folder."""
        before = set(self.run_folders())
        self.score(self.source, self.folder / "out.mp4", "--force", "--quiet", *self.CUT, *options)
        return (set(self.run_folders()) - before).pop()

    @staticmethod
    def age(folder, days):
        then = time.time() - days * 86400
        for path in folder.rglob("*"):
            if path.is_file():
                os.utime(path, (then, then))

    def gc(self, *options):
        done = run("gc", "--runs", self.runs, "--json", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        return found, {row["run_id"]: row for row in found["runs"]}

    @staticmethod
    def size(folder):
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    def test_by_age(self):
        old, young = self.finished(), self.finished("--crf", "30")
        self.age(old, 8)
        self.age(young, 6)
        bytes_of_old = self.size(old)
        found, rows = self.gc("--older-than", "7d", "--dry-run")
        self.assertEqual(rows[old.name]["action"], "would be removed")
        self.assertEqual(rows[young.name]["action"], "kept")
        self.assertTrue(old.exists() and young.exists(), "a dry run removed something")
        found, rows = self.gc("--older-than", "7d")
        self.assertEqual((found["removed"], found["kept"]), (1, 1))
        self.assertEqual(found["removed_bytes"], bytes_of_old)
        self.assertEqual(rows[old.name]["action"], "removed")
        self.assertEqual((rows[old.name]["frames"], rows[old.name]["state"]), (40, "done"))
        self.assertFalse(old.exists(), "something of a removed run was left")
        self.assertEqual(self.run_folders(), [young])
        self.score(self.source, self.folder / "again.mp4", *self.CUT)
        self.assertEqual(len(self.run_folders()), 2)

    def test_by_size_the_oldest_go(self):
        folders = [self.finished("--preset", preset)
                   for preset in ("ultrafast", "superfast", "veryfast")]
        for days, folder in zip((2, 3, 1), folders):
            self.age(folder, days)
        self.assertEqual(self.gc("--larger-than", "1G")[0]["removed"], 0)
        sizes = [self.size(folder) for folder in folders]
        limit = (sizes[0] + sizes[2]) // 1024 + 1
        _, rows = self.gc("--larger-than", f"{limit}K")
        self.assertEqual([rows[folder.name]["action"] for folder in folders],
                         ["kept", "removed", "kept"])
        _, rows = self.gc("--larger-than", "0K", "--older-than", "36h")
        self.assertEqual([rows[folder.name]["why"] for folder in (folders[0], folders[2])],
                         ["older", "the oldest of too much"])
        self.assertEqual(list(self.runs.glob("*")), [])

    def test_a_stopped_worker_keeps_its_run(self):
        done = self.finished()
        output = self.folder / "slow.mp4"
        process = self.start(*self.command(self.source, output, *self.CUT, "--quiet",
                                           model=self.slow_model()))
        self.wait_for_commits(process, len(self.commits()) + 1)
        process.send_signal(signal.SIGSTOP)
        used = next(folder for folder in self.run_folders() if folder != done)
        self.age(used, 30)
        kept = self.commits()
        for options in (["--older-than", "0m"], ["--larger-than", "0K"]):
            _, rows = self.gc(*options)
            self.assertEqual(rows[used.name]["action"], "kept")
            self.assertEqual(rows[used.name]["state"], "in use")
            self.assertIn(str(process.pid), rows[used.name]["why"])
        self.assertEqual(self.run_folders(), [used], "the run that had ended was kept")
        self.assertEqual(self.commits(), {path: facts for path, facts in kept.items()
                                          if used.name in path})
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 0, err)
        self.score(self.source, self.folder / "same.mp4", *self.CUT, model=self.slow_model(),
                   runs=self.folder / "other-runs")
        self.assertEqual(sha256(output), sha256(self.folder / "same.mp4"))

    def test_a_killed_run_goes(self):
        process = self.start(*self.command(self.source, self.folder / "out.mp4", *self.CUT,
                                           model=self.slow_model()))
        self.wait_for_commits(process, 1)
        process.kill()
        process.communicate()
        folder = self.run_folders()[0]
        self.assertEqual(self.gc("--older-than", "0m")[1][folder.name]["state"], "in use",
                         "it was prepared a moment ago")
        self.age(folder, 1)
        row = self.gc("--older-than", "12h")[1][folder.name]
        self.assertEqual((row["state"], row["action"]), ("unfinished", "removed"))
        self.assertLess(row["frames"], row["frames_expected"])
        self.assertFalse((folder / "manifest.json").exists())

    def test_a_run_that_is_being_removed_is_not_begun(self):
        folder = self.finished()
        (folder / "removing.json").write_text("{}\n")
        output = self.folder / "new.mp4"
        self.assert_refused(1, self.command(self.source, output, "--quiet", *self.CUT), output,
                            saying="another gc")
        self.assertEqual(self.gc("--older-than", "0m")[1][folder.name]["action"], "kept")
        self.score(self.source, output, "--no-reuse", *self.CUT)

    def test_other_folders_are_left_alone(self):
        folder = self.finished()
        self.age(folder, 9)
        (self.runs / "notes").mkdir()
        (self.runs / "notes" / "a.txt").write_text("a")
        (self.runs / "b.txt").write_text("b")
        strange = self.runs / "0123456789abcdef"
        strange.mkdir()
        (strange / "c.txt").write_text("c")
        found, rows = self.gc("--older-than", "0m")
        self.assertEqual(set(rows), {folder.name, strange.name})
        self.assertEqual(rows[strange.name]["action"], "kept")
        self.assertEqual(sorted(path.name for path in self.runs.rglob("*.txt")),
                         ["a.txt", "b.txt", "c.txt"])
        self.assertEqual(found["removed"], 1)

    def test_the_table(self):
        folder = self.finished()
        self.age(folder, 3)
        done = run("gc", "--runs", self.runs, "--older-than", "5d")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, rf"{folder.name} +3 d +[\d.]+ KiB +40/40 +done +kept: younger")
        self.assertTrue(re.search(r"^Removed: 0 of 1 runs, 0 B; kept: 1, ", done.stdout, re.M))
        empty = run("gc", "--runs", self.folder / "nowhere", "--older-than", "5d")
        self.assertEqual((empty.returncode, empty.stdout),
                         (0, "Removed: 0 of 0 runs, 0 B; kept: 0, 0 B.\n"))

    def test_what_it_does_not_take(self):
        for options in ([], ["--dry-run"], ["--older-than", "7"], ["--older-than", "d"],
                        ["--older-than", "-1d"], ["--older-than", "1.5d"], ["--older-than", ""],
                        ["--older-than", "99999999999999999999d"], ["--older-than", "36501d"],
                        ["--larger-than", "10"], ["--larger-than", "10Q"],
                        ["--larger-than", "99999999T"]):
            with self.subTest(options):
                self.assert_refused(2, ["gc", "--runs", self.runs, *options])


if __name__ == "__main__":
    support.main()
