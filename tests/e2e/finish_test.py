#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`atelier finish`: a run whose chunks are scored is joined and published by another command, to the same bits, again and
again; one whose chunks are not is refused, and nothing is published."""

import json
import os
import pathlib

import support
from support import make_video, run, sha256


class Finish(support.Case):
    def setUp(self):
        super().setUp()
        self.source = make_video(self.folder / "in.mp4", "-bf", "3", "-x264-params", "open-gop=1:scenecut=0", frames=60)
        self.output = self.folder / "out.mp4"
        self.score(self.source, self.output, "--chunk-seconds", "0.5")
        self.wanted = sha256(self.output)
        self.run_folder, = self.run_folders()
        self.url = self.run_folder.as_uri()
        self.output.unlink()
        (self.run_folder / "report.json").unlink()

    def finish(self, *options):
        done = run("finish", self.url, "--json", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def change_manifest(self, **values):
        path = self.run_folder / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    def refused(self, code, saying, *options):
        self.assert_refused(code, ["finish", self.url, *options], saying=saying)

    def test_where_the_run_was_to_go(self):
        report = self.finish()
        self.assertEqual(sha256(self.output), self.wanted)
        self.assertEqual(report, json.loads((self.run_folder / "report.json").read_text()))
        self.assertEqual((report["state"], report["frames"], report["frames_scored_now"]), ("done", 60, 0))
        self.assertEqual(report["output"], self.output.as_uri())
        show = run("show", self.url, "--json")
        self.assertEqual(json.loads(show.stdout)["state"], "done")
        # What is there already is these very bits.
        before = os.stat(self.output)
        self.finish()
        after = os.stat(self.output)
        self.assertEqual((after.st_ino, after.st_mtime_ns), (before.st_ino, before.st_mtime_ns))

    def test_elsewhere_and_the_input_was_moved(self):
        moved = self.source.rename(self.folder / "moved.mp4")
        self.refused(3, "There is no file")
        other = self.folder / "other.mp4"
        report = self.finish("--input", moved, "--output", other)
        self.assertEqual(sha256(other), self.wanted)
        self.assertEqual(report["output"], other.as_uri())
        self.assertFalse(self.output.exists())

    def test_what_is_there_is_kept_unless_forced(self):
        self.output.write_bytes(b"another video")
        self.refused(2, "is there with other bytes and was kept")
        self.assertEqual(self.output.read_bytes(), b"another video")
        self.finish("--force")
        self.assertEqual(sha256(self.output), self.wanted)

    def test_chunks_that_are_not_scored(self):
        (self.run_folder / "chunks/000002.json").unlink()
        self.refused(1, f"1 of 6 chunks of run {self.run_folder.name} are not scored yet; `atelier worker {self.url}`")
        self.assertFalse(self.output.exists())
        self.assertFalse((self.run_folder / "report.json").exists())
        for claim in self.run_folder.glob("chunks/000002.claim.*"):
            claim.unlink()
        done = run("worker", self.url)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.finish()
        self.assertEqual(sha256(self.output), self.wanted)

    def test_a_chunk_that_was_given_up(self):
        (self.run_folder / "chunks/000002.json").unlink()
        failed = self.run_folder / "failed/000002.json"
        failed.parent.mkdir()
        failed.write_text(json.dumps({"attempts": 3, "losses": 0, "worker": "w", "error": "It crashed."}))
        self.refused(1, "Chunk 2 of run")
        self.refused(1, "was given up (It crashed.); `atelier run` tries it again")
        self.assertFalse(self.output.exists())

    def test_what_it_does_not_take(self):
        self.refused(2, "is_not_there", "--output", self.folder / "is_not_there/out.mp4")
        self.refused(2, "WebM cannot hold libx264", "--output", self.folder / "out.webm")
        self.refused(2, "The output is the input", "--output", self.source)
        self.change_manifest(output="")
        self.refused(2, "name it with --output")
        with open(self.source, "ab") as file:
            file.write(b"\0")
        self.refused(3, "changed since the run was prepared", "--output", self.output)
        self.assert_refused(2, ["finish", (self.runs / "0123456789abcdef").as_uri()], saying="There is no prepared run")
        self.assertFalse(self.output.exists())

    def test_only_who_finishes_needs_the_output(self):
        """A worker of a run whose output is out of its reach scores it all the same."""
        self.change_manifest(output=pathlib.Path("/proc/nowhere/out.mp4").as_uri())
        for path in self.run_folder.glob("chunks/*"):
            path.unlink()
        done = run("worker", self.url)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.refused(2, "/proc/nowhere")
        self.finish("--output", self.output)
        self.assertEqual(sha256(self.output), self.wanted)


if __name__ == "__main__":
    support.main()
