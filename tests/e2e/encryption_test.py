#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs and results that are encrypted at rest: nobody reads them without the key, and the bits are the same."""

import glob
import os
import pathlib
import re
import secrets
import shutil
import signal

import support
from support import make_video, run


class Encryption(support.Case):
    CUT = ("--chunk-seconds", "0.4")

    def setUp(self):
        super().setUp()
        self.vault = self.folder / "vault"
        (self.vault / "out").mkdir(parents=True)
        self.key = self.write_key("master.key")
        self.write_credentials(self.key)
        self.source = make_video(self.folder / "in.mp4", "-bf", "2", frames=60)
        self.runs = self.vault / "runs"
        self.output = self.vault / "out" / "painted.mp4"

    def write_key(self, name, mode=0o600):
        path = self.folder / name
        path.write_bytes(secrets.token_bytes(32))
        path.chmod(mode)
        return path

    def write_credentials(self, key):
        path = self.folder / "credentials"
        path.write_text(f"[file://{self.vault}]\nmaster_key_file = {key}\n")
        path.chmod(0o600)
        os.environ["ATELIER_CREDENTIALS"] = str(path)
        self.addCleanup(os.environ.pop, "ATELIER_CREDENTIALS", None)

    def undisturbed(self, model=None):
        output = self.folder / "plain.mp4"
        if output.exists():
            return output.read_bytes()
        self.score(self.source, output, *self.CUT, model=model, runs=self.folder / "plain-runs")
        return output.read_bytes()

    def decrypted(self, path):
        plain = self.folder / "decrypted"
        done = run("cp", path, plain, "--force")
        self.assertEqual(done.returncode, 0, done.stderr)
        return plain.read_bytes()

    def files(self):
        return [pathlib.Path(path) for path in glob.glob(f"{self.vault}/**", recursive=True, include_hidden=True)
                if os.path.isfile(path)]

    def assert_nothing_can_be_read(self):
        seen = self.files()
        self.assertGreater(len(seen), 5)
        for path in seen:
            content = path.read_bytes()
            for word in (b"nut/multimedia", b"ftyp", b"x264", b"manifest", b"sha256", b"\"worker\"", b"in.mp4"):
                self.assertNotIn(word, content, path)

    def test_a_job_in_an_encrypted_place_gives_the_same_bits(self):
        self.score(self.source, self.output, *self.CUT)
        self.assert_nothing_can_be_read()
        self.assertEqual(self.decrypted(self.output), self.undisturbed())

    def test_an_encrypted_input(self):
        inside = self.vault / "in.mp4"
        self.assertEqual(run("cp", self.source, inside).returncode, 0)
        self.assertNotIn(b"ftyp", inside.read_bytes())
        output = self.folder / "out.mp4"
        self.score(inside, output, *self.CUT)
        self.assertEqual(output.read_bytes(), self.undisturbed())

    def test_a_killed_job_goes_on_and_keeps_its_scratch_files_in_memory(self):
        model = self.slow_model()
        process = self.start(*self.command(self.source, self.output, *self.CUT, "--workers", "2", model=model))
        self.wait_for_commits(process, 2)
        scratch = set()
        for pid in [process.pid, *support.children_of(process.pid)]:
            for link in glob.glob(f"/proc/{pid}/fd/*"):
                try:
                    scratch.add(os.readlink(link))
                except OSError:
                    continue
        self.assertTrue(any(target.startswith("/dev/shm/") for target in scratch), scratch)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for target in scratch:
            if "(deleted)" in target and not target.startswith(("/memfd:", "/dev/zero")):
                self.assertTrue(target.startswith("/dev/shm/"), target)
        self.assert_nothing_can_be_read()
        self.score(self.source, self.output, *self.CUT, model=model)
        self.assertEqual(self.decrypted(self.output), self.undisturbed(model))

    def test_a_drill_leaves_nothing_in_plain_on_a_disk(self):
        inside = self.vault / "in.mp4"
        self.assertEqual(run("cp", self.source, inside).returncode, 0)
        command = ["drill", inside, "--model", self.identity, *self.CUT, "--seed", "1", "--workers", "1",
                   "--kill", "0", "--freeze", "0"]
        done = run(*command, "--keep")
        self.assertEqual(done.returncode, 0, done.stderr)
        kept = pathlib.Path(re.search(r"kept in '([^']+)'", done.stdout + done.stderr)[1])
        self.addCleanup(shutil.rmtree, kept)
        self.assertTrue((kept / "undisturbed.mkv").exists())
        self.assertTrue(str(kept).startswith("/dev/shm/"), kept)

    def test_another_key_is_refused(self):
        self.score(self.source, self.output, *self.CUT)
        self.write_credentials(self.write_key("other.key"))
        self.assert_refused(2, self.command(self.source, self.vault / "out" / "b.mp4", *self.CUT), saying="key")

    def test_another_key_by_rekey(self):
        self.score(self.source, self.output, *self.CUT)
        before = {path: path.read_bytes() for path in self.files()}
        other = self.write_key("other.key")
        for said in ("true", "false"):  # it may be repeated
            done = run("rekey", self.runs, "--new-key-file", other, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(said, done.stdout)
        changed = [path for path in self.files() if path.read_bytes() != before.get(path)]
        self.assertEqual([path.name for path in changed], ["ring"])
        self.write_credentials(other)
        self.assertEqual(self.decrypted(self.output), self.undisturbed())
        done = run("rekey", self.folder, "--new-key-file", other)
        self.assertEqual(done.returncode, 2)
        self.assertIn("not encrypted", done.stderr)

    def test_another_store_key(self):
        self.score(self.source, self.output, *self.CUT)
        ring = self.vault / ".atelier-keys" / "ring"
        before = ring.stat().st_size
        done = run("rekey", self.vault, "--new-store-key")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(ring.stat().st_size, before)
        # What was written with the old one is read, and what is written with the new one.
        self.assertEqual(self.decrypted(self.output), self.undisturbed())
        second = self.vault / "out" / "second.mp4"
        self.score(self.source, second, *self.CUT, "--no-reuse")
        self.assertEqual(self.decrypted(second), self.undisturbed())
        done = run("rekey", self.vault, "--new-store-key", "--new-key-file", self.key)
        self.assertEqual(done.returncode, 2)
        self.assert_one_sentence(done.stderr)

    def test_a_key_that_others_can_read_is_refused(self):
        self.write_credentials(self.write_key("open.key", 0o644))
        done = run(*self.command(self.source, self.output, *self.CUT))
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assert_one_sentence(done.stderr)
        self.assertIn("600", done.stderr)

    def test_a_chunk_that_was_touched_is_told(self):
        self.score(self.source, self.output, *self.CUT)
        chunk = sorted(glob.glob(f"{self.runs}/*/chunks/*.nut"))[0]
        content = bytearray(pathlib.Path(chunk).read_bytes())
        content[len(content) // 2] ^= 1
        pathlib.Path(chunk).write_bytes(content)
        second = self.vault / "out" / "b.mp4"
        done = run(*self.command(self.source, second, *self.CUT))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assert_one_sentence(done.stderr)
        self.assertFalse(second.exists())


if __name__ == "__main__":
    support.main()
