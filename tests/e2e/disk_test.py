#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Full disks, at the start and half-way: a small tmpfs (root only) and a limit on file sizes."""

import os
import resource
import signal
import subprocess
import sys

import support
from support import make_video, run, sha256


class FullDisk(support.Case):
    CUT = ["--chunk-seconds", "0.4"]

    def setUp(self):
        super().setUp()
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        self.output = self.disk / "out.mkv"
        self.source = make_video(self.folder / "in.mkv", frames=60)

    def mount(self, size):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.disk],
                              stderr=subprocess.PIPE)
        if done.returncode:
            print("SKIPPED: a small disk can only be mounted by root", file=sys.stderr)
            self.skipTest("cannot mount a tmpfs")
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk], check=True)

    def resize(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", self.disk], check=True)

    def fill(self, leave):
        """Takes all space but `leave` bytes."""
        with open(self.disk / "filler", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
            file.truncate(max(0, file.tell() - leave))

    def test_output_disk_is_full(self):
        self.mount("16k")
        self.fill(0)
        self.assert_refused(1, self.command(self.source, self.output, "--quiet", *self.CUT),
                            self.output, "space")
        self.assertEqual(os.listdir(self.disk), ["filler"])

    def test_output_disk_fills_half_way(self):
        self.mount("4m")
        process = self.start(*self.command(self.source, self.output, "--quiet", *self.CUT,
                                           "--codec", "ffv1", model=self.slow_model()))
        self.wait_for_commits(process, 1)
        self.fill(8192)
        _, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 1, err)
        self.assert_one_sentence(err.decode())
        self.assertEqual(os.listdir(self.disk), ["filler"])
        kept = self.commits()
        (self.disk / "filler").unlink()
        self.score(self.source, self.output, *self.CUT, "--codec", "ffv1", model=self.slow_model())
        self.assertEqual({path: self.commits()[path] for path in kept}, kept)

    def test_too_little_room_is_said_before_the_join(self):
        """The scratch disk has no room for what the output may need at most."""
        self.mount("900k")
        output = self.folder / "out.mkv"
        command = self.command(self.source, output, "--quiet", *self.CUT)
        done = run(*command, env={"TMPDIR": str(self.disk)})
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assert_one_sentence(done.stderr)
        self.assertIn("has room for 0 MB", done.stderr)
        self.assertIn(str(self.disk), done.stderr)
        self.assertFalse(output.exists())
        self.assertEqual(os.listdir(self.disk), [])
        self.resize("64m")
        self.assertEqual(run(*command, env={"TMPDIR": str(self.disk)}).returncode, 0)

    def test_runs_disk_is_full(self):
        self.mount("16k")
        self.fill(0)
        output = self.folder / "out.mkv"
        done = run(*self.command(self.source, output, "--quiet", *self.CUT, runs=self.disk / "r"))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assert_one_sentence(done.stderr)
        self.assertFalse(output.exists())

    def test_runs_disk_fills_half_way(self):
        output = self.folder / "out.mkv"
        options = [*self.CUT, "--codec", "ffv1"]
        self.score(self.source, self.folder / "plain.mkv", *options)
        need = sum(os.path.getsize(os.path.join(at, name))
                   for at, _, names in os.walk(self.runs) for name in names)
        self.mount(str(need // 2))
        done = run(*self.command(self.source, output, "--quiet", *options, runs=self.disk / "r"))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assert_one_sentence(done.stderr)
        self.assertFalse(output.exists())
        self.assertEqual(list(self.folder.glob(".*out*")), [])
        kept = self.commits(self.disk / "r")
        self.assertGreater(len(kept), 0, "nothing had been committed")
        self.resize("64m")
        self.score(self.source, output, *options, runs=self.disk / "r")
        self.assertEqual({path: self.commits(self.disk / "r")[path] for path in kept}, kept)
        self.assertEqual(sha256(output), sha256(self.folder / "plain.mkv"))

    def test_file_size_limit(self):
        """The last write fails although the disk has room."""
        self.score(self.source, self.folder / "plain.mkv", *self.CUT)
        limit = os.path.getsize(self.folder / "plain.mkv") * 2 // 3

        def limited():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        done = run(*self.command(self.source, self.output, "--quiet", *self.CUT),
                   preexec_fn=limited)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assert_one_sentence(done.stderr)
        self.assertEqual(os.listdir(self.disk), [])
        self.score(self.source, self.output, *self.CUT)
        self.assertEqual(sha256(self.output), sha256(self.folder / "plain.mkv"))

    def test_output_folder_is_read_only(self):
        if os.geteuid() == 0:
            self.mount("1m")
            subprocess.run(["mount", "-o", "remount,ro", self.disk], check=True)
        else:
            self.disk.chmod(0o555)
        done = run(*self.command(self.source, self.output, "--quiet", *self.CUT))
        self.assertIn(done.returncode, (1, 2, 4), done.stderr)
        self.assert_one_sentence(done.stderr)


if __name__ == "__main__":
    support.main()
