#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The run folder is the truth: stop at any moment, run again, get the same bits, lose nothing."""

import json
import os
import shutil
import signal
import threading

import onnx_model
import support
from support import make_video, run, sha256


class Resume(support.Case):
    CUT = ["--chunk-seconds", "0.4"]

    def setUp(self):
        super().setUp()
        self.source = make_video(self.folder / "in.mp4", "-bf", "2", frames=60)
        self.output = self.folder / "out.mp4"

    def undisturbed(self, *options):
        output = self.folder / "undisturbed.mp4"
        self.score(self.source, output, *self.CUT, *options, model=self.slow_model(),
                   runs=self.folder / "other-runs")
        return sha256(output)

    def stop_half_way(self, how, *options):
        process = self.start(*self.command(self.source, self.output, *self.CUT, *options,
                                           model=self.slow_model()))
        self.wait_for_commits(process, 2)
        process.send_signal(how)
        out, err = process.communicate(timeout=support.TIMEOUT)
        return process.returncode, out.decode(), err.decode(), self.commits()

    def resume(self, kept):
        self.score(self.source, self.output, *self.CUT, model=self.slow_model())
        now = self.commits()
        self.assertGreater(len(now), len(kept), "there was nothing left to do")
        for path, facts in kept.items():
            self.assertEqual(now.get(path), facts, f"{path} was scored again")
        self.assertEqual(len(self.run_folders()), 1, "another run was begun")
        return sha256(self.output)

    def test_interrupt_keeps_what_is_done(self):
        code, _, err, kept = self.stop_half_way(signal.SIGINT, "--quiet")
        self.assertEqual(code, 130, err)
        self.assert_one_sentence(err)
        self.assertFalse(self.output.exists())
        self.assert_nothing_temporary(self.output)
        self.assertEqual(self.resume(kept), self.undisturbed())

    def test_terminate_keeps_what_is_done(self):
        code, _, err, kept = self.stop_half_way(signal.SIGTERM)
        self.assertEqual(code, 130, err)
        self.assertFalse(self.output.exists())
        self.assertEqual(self.resume(kept), self.undisturbed())

    def test_kill_keeps_what_is_done(self):
        code, _, _, kept = self.stop_half_way(signal.SIGKILL)
        self.assertEqual(code, -signal.SIGKILL)
        self.assertFalse(self.output.exists())
        self.assertEqual(self.resume(kept), self.undisturbed())

    def test_killed_again_and_again(self):
        wanted = self.undisturbed()
        for goal in (1, 2, 3, 4):
            process = self.start(*self.command(self.source, self.output, *self.CUT, "--quiet",
                                               model=self.slow_model()))
            self.wait_for_commits(process, goal)
            process.kill()
            process.communicate()
        self.score(self.source, self.output, *self.CUT, model=self.slow_model())
        self.assertEqual(sha256(self.output), wanted)

    def test_two_at_once_agree(self):
        """The same command twice at the same time: they share the chunks and agree."""
        self.two_at_once()

    def test_two_at_once_with_workers_agree(self):
        self.two_at_once("--workers", "2")

    def two_at_once(self, *options):
        first = self.start(*self.command(self.source, self.output, *self.CUT, "--force", "--json",
                                         *options, model=self.slow_model()))
        second = self.start(*self.command(self.source, self.folder / "two.mp4", *self.CUT, "--json",
                                          *options, model=self.slow_model()))
        ends = []
        readers = [threading.Thread(target=lambda p=p: ends.append(p.communicate()))
                   for p in (first, second)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        self.assertEqual((first.returncode, second.returncode), (0, 0), ends)
        reports = [json.loads(out) for out, _ in ends]
        self.assertEqual(sum(report["frames_scored_now"] for report in reports), reports[0]["frames"],
                         "a chunk was scored twice, or by nobody")
        self.assertEqual(sha256(self.output), sha256(self.folder / "two.mp4"))
        self.assertEqual(sha256(self.output), self.undisturbed())

    def test_two_at_once_publish_one_output(self):
        """Whoever comes second finds the very bits it would have published."""
        command = self.command(self.source, self.output, *self.CUT, "--quiet", model=self.slow_model())
        both = [self.start(*command), self.start(*command)]
        ends = [process.communicate() for process in both]
        self.assertEqual([process.returncode for process in both], [0, 0], ends)
        self.assertEqual(sha256(self.output), self.undisturbed())

    def test_threads_never_change_the_bits(self):
        one = self.undisturbed("--threads", "1")
        shutil.rmtree(self.folder / "other-runs")
        (self.folder / "undisturbed.mp4").unlink()
        self.assertEqual(one, self.undisturbed("--threads", "2"))

    def test_second_run_scores_nothing(self):
        self.score(self.source, self.output, *self.CUT)
        first, kept = sha256(self.output), self.commits()
        self.score(self.source, self.output, *self.CUT, "--force")
        self.assertEqual(self.commits(), kept)
        self.assertEqual(sha256(self.output), first)

    def test_what_is_scored_again(self):
        negative = onnx_model.write_negative(self.folder / "negative")
        for options, model, scored in (
                ([], self.identity, 60), ([], self.identity, 0), ([], negative, 60),
                (["--no-reuse"], self.identity, 60), ([], self.identity, 0), ([], negative, 0),
                # Chunks hold encoded frames, and scored ones are not kept.
                (["--crf", "30"], self.identity, 60), (["--crf", "30"], self.identity, 0)):
            with self.subTest((options, model)):
                done = self.score(self.source, self.output, *self.CUT, "--force", "--json", *options,
                                  model=model)
                report = json.loads(done.stdout)
                self.assertEqual((report["frames_scored_now"], report["frames"]), (scored, 60))

    def test_other_container_scores_nothing(self):
        self.score(self.source, self.output, *self.CUT)
        kept = self.commits()
        self.score(self.source, self.folder / "out.mkv", *self.CUT)
        self.assertEqual(self.commits(), kept)

    def test_no_reuse_scores_again(self):
        self.score(self.source, self.output, *self.CUT)
        first, kept = sha256(self.output), self.commits()
        self.score(self.source, self.output, *self.CUT, "--force", "--no-reuse")
        self.assertTrue(all(facts != kept.get(path) for path, facts in self.commits().items()))
        self.assertEqual(sha256(self.output), first)

    def test_changed_input_is_another_run(self):
        self.score(self.source, self.output, *self.CUT)
        first = sha256(self.output)
        make_video(self.source, "-bf", "2", frames=60, filters=",hue=h=120")
        self.score(self.source, self.output, *self.CUT, "--force")
        self.assertEqual(len(self.run_folders()), 2)
        self.assertNotEqual(sha256(self.output), first)

    def test_changed_model_is_another_run(self):
        self.score(self.source, self.output, *self.CUT)
        first = sha256(self.output)
        negative = onnx_model.write_negative(self.folder / "negative")
        self.identity.write_bytes(negative.read_bytes())
        self.score(self.source, self.output, *self.CUT, "--force")
        self.assertEqual(len(self.run_folders()), 2)
        self.assertNotEqual(sha256(self.output), first)

    def test_changed_spec_is_another_run(self):
        self.score(self.source, self.output, *self.CUT)
        spec = self.identity.with_suffix(".toml")
        spec.write_text(spec.read_text().replace('"rgb"', '"bgr"'))
        self.score(self.source, self.output, *self.CUT, "--force")
        self.assertEqual(len(self.run_folders()), 2)

    def test_changed_parameters_are_another_run(self):
        for number, options in enumerate([[], ["--crf", "30"], ["--preset", "ultrafast"],
                                          ["--size", "32x24"], ["--to", "1"]]):
            self.score(self.source, self.output, *self.CUT, "--force", *options)
            self.assertEqual(len(self.run_folders()), number + 1, options)

    def test_input_changed_under_the_run(self):
        process = self.start(*self.command(self.source, self.output, *self.CUT, "--quiet",
                                           model=self.slow_model()))
        self.wait_for_commits(process, 1)
        other = make_video(self.folder / "other.mp4", frames=60, filters=",hue=h=120")
        os.replace(other, self.source)
        _, err = process.communicate(timeout=support.TIMEOUT)
        self.assertEqual(process.returncode, 3, err)
        self.assert_one_sentence(err.decode())
        self.assertFalse(self.output.exists())

    def test_damaged_chunk_is_never_published(self):
        self.score(self.source, self.output, *self.CUT)
        self.output.unlink()
        chunk = sorted((self.run_folders()[0] / "chunks").glob("000001-*.nut"))[0]
        data = bytearray(chunk.read_bytes())
        data[len(data) // 2] ^= 255
        chunk.chmod(0o644)
        chunk.write_bytes(data)
        done = run(*self.command(self.source, self.output, *self.CUT, "--quiet"))
        if done.returncode == 0:  # scored again: then it must be right
            self.assertEqual(sha256(self.output), self.undisturbed_identity())
        else:
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assert_one_sentence(done.stderr)
            self.assertFalse(self.output.exists())

    def undisturbed_identity(self):
        output = self.folder / "again.mp4"
        self.score(self.source, output, *self.CUT, runs=self.folder / "third-runs")
        return sha256(output)

    def test_default_runs_folder(self):
        state = self.folder / "state"
        done = run("run", "--model", self.identity, self.source, self.output,
                   env={"XDG_STATE_HOME": str(state)})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(self.commits(state / "atelier" / "runs"))


if __name__ == "__main__":
    support.main()
