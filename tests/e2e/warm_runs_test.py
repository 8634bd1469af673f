#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`atelier warm-runs`, a process that does one run after another: each as if it were the first."""

import os
import pathlib
import signal
import socket
import subprocess

import onnx_model
import support
from support import children_of, make_video, sha256

class WarmRuns(support.Case):
    def setUp(self):
        super().setUp()
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.said = self.folder / "said"
        self.environment = {**os.environ, "XDG_CONFIG_HOME": str(self.folder / "config")}
        self.environment.pop("ATELIER_CREDENTIALS", None)
        with open(self.said, "wb") as said:
            self.process = subprocess.Popen([support.PROGRAM, "warm-runs"], stdin=theirs, stdout=said, stderr=said,
                                            env=self.environment)
        theirs.close()
        self.addCleanup(self.end)
        self.video = make_video(self.folder / "in.mp4", frames=12)

    def end(self):
        self.socket.close()
        if self.process.poll() is None:
            try:
                self.process.wait(timeout=support.TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def words(self, video, output, *options):
        return ["atelier", "run", "--runs", self.runs, "--model", "starry-night", "--workers", "1", *options, "--", video,
                output]

    def ask(self, words):
        self.socket.send(b"".join(os.fsencode(word) + b"\0" for word in words))

    def answer(self):
        self.socket.settimeout(support.TIMEOUT)
        return self.socket.recv(64).decode()

    def run_one(self, *arguments):
        """What it printed; the run must succeed."""
        before = self.said.stat().st_size
        self.ask(self.words(*arguments))
        self.assertEqual(self.answer(), "0", self.said.read_text())
        return self.said.read_bytes()[before:].decode()

    def alone(self, video, *options):
        """The bits of a process of its own, and what it printed."""
        output = self.folder / "alone.mp4"
        words = self.words(video, output, "--no-reuse", "--force", *options)
        done = support.run(*words[1:], env=self.environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        return sha256(output)

    def test_each_run_has_the_bits_of_a_process_of_its_own(self):
        small = make_video(self.folder / "small.mp4", frames=7, size="50x38")
        cases = [(self.video, ()), (self.video, ("--crf", "30")), (small, ()), (self.video, ("--size", "96x72")),
                 (self.video, ("--threads", "1", "--precision", "f32")), (small, ("--norm", "shot")),
                 (self.video, ("--precision", "int8", "--min-psnr", "0")), (self.video, ())]
        scorers = set()
        for number, (video, options) in enumerate(cases):
            output = self.folder / f"{number}.mp4"
            said = self.run_one(video, output, "--no-reuse", *options)
            self.assertIn(f"{output}", said)
            scorers.update(children_of(self.process.pid))
            self.assertEqual(sha256(output), self.alone(video, *options), options)
        self.assertEqual(len(scorers), 1, "one scorer for all")

    def test_a_run_that_keeps_pictures_or_a_trace_has_a_scorer_of_its_own(self):
        self.run_one(self.video, self.folder / "0.mp4")
        kept = children_of(self.process.pid)
        self.run_one(self.video, self.folder / "1.mp4", "--no-reuse", "--trace", self.folder / "trace.json")
        self.assertTrue((self.folder / "trace.json").exists())
        self.assertEqual(children_of(self.process.pid), kept)
        self.run_one(self.video, self.folder / "2.mp4", "--no-reuse", "--keep-frames", "png")
        self.assertEqual(children_of(self.process.pid), kept)

    def test_another_model_is_another_picture(self):
        other = onnx_model.write_slow(self.folder / "models", support.slow_layers(milliseconds=1))
        self.run_one(self.video, self.folder / "0.mp4")
        words = self.words(self.video, self.folder / "1.mp4")
        words[words.index("starry-night")] = other
        self.ask(words)
        self.assertEqual(self.answer(), "0", self.said.read_text())
        self.assertNotEqual(sha256(self.folder / "0.mp4"), sha256(self.folder / "1.mp4"))
        self.run_one(self.video, self.folder / "2.mp4", "--no-reuse")
        self.assertEqual(sha256(self.folder / "0.mp4"), sha256(self.folder / "2.mp4"))

    def test_a_scorer_that_died_in_between_is_replaced(self):
        self.run_one(self.video, self.folder / "0.mp4")
        os.kill(children_of(self.process.pid)[0], signal.SIGKILL)
        self.run_one(self.video, self.folder / "1.mp4", "--no-reuse")
        self.assertEqual(sha256(self.folder / "0.mp4"), sha256(self.folder / "1.mp4"))

    def test_what_fails_ends_it(self):
        (self.folder / "none.mp4").write_bytes(b"no video" * 100)
        self.ask(self.words(self.folder / "none.mp4", self.folder / "0.mp4"))
        self.assertEqual(self.answer(), "3")
        self.assertEqual(self.process.wait(support.TIMEOUT), 3)
        self.assert_one_sentence(self.said.read_text())

    def test_it_leaves_when_asked(self):
        self.run_one(self.video, self.folder / "0.mp4")
        self.process.terminate()
        self.assertEqual(self.process.wait(support.TIMEOUT), 130)

    def test_it_ends_with_its_socket(self):
        self.run_one(self.video, self.folder / "0.mp4")
        self.socket.close()
        self.assertEqual(self.process.wait(support.TIMEOUT), 0)

    def test_credentials_are_read_for_each_run(self):
        """Whoever renews a token does not wait for an idle time-out."""
        self.run_one(self.video, self.folder / "0.mp4")
        path = pathlib.Path(self.folder / "config/atelier/credentials")
        path.parent.mkdir(parents=True)
        path.write_text("")
        path.chmod(0o644)
        self.ask(self.words(self.video, self.folder / "1.mp4"))
        self.assertEqual(self.answer(), "2")
        self.assertIn("atelier/credentials", self.said.read_text())

    def test_without_a_socket_it_is_refused(self):
        done = support.run("warm-runs")
        self.assertEqual(done.returncode, 2)
        self.assert_one_sentence(done.stderr)
        self.assertIn("atelier serve", done.stderr)

    def test_nonsense_is_refused(self):
        self.socket.send(b"no end")
        self.assertEqual(self.process.wait(support.TIMEOUT), 2)
        self.assert_one_sentence(self.said.read_text())


if __name__ == "__main__":
    support.main()
