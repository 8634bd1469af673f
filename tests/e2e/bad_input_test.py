#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Inputs, models, names and outputs that are wrong: exit code, one sentence, nothing published."""

import json
import os
import pathlib
import random
import re
import resource
import struct
import subprocess

import onnx_model
import support
from support import ffmpeg, frame_times, make_video, packets, run, stream_hash, tone


class Refused(support.Case):
    def setUp(self):
        super().setUp()
        (self.folder / "to").mkdir()
        self.output = self.folder / "to" / "out.mp4"

    def refuse(self, code, source, *options, saying=(), **keywords):
        return self.assert_refused(
            code, self.command(source, self.output, "--quiet", *options, **keywords), self.output,
            saying)


class BadInputs(Refused):
    def test_not_a_video(self):
        source = self.folder / "notes.mp4"
        source.write_text("These are notes, not a video.\n" * 400)
        self.refuse(3, source, saying="notes.mp4")

    def test_noise(self):
        source = self.folder / "noise.mp4"
        source.write_bytes(random.Random(1).randbytes(200000))
        self.refuse(3, source, saying="noise.mp4")

    def test_sound_only(self):
        source = self.folder / "song.mp4"
        ffmpeg(*tone(2), "-c:a", "aac", source)
        self.refuse(3, source, saying="song.mp4")

    def test_sound_with_cover_only(self):
        cover = self.folder / "cover.png"
        ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x64", "-frames:v", "1", cover)
        source = self.folder / "song.m4a"
        ffmpeg(*tone(2), "-i", cover, "-map", "0", "-map", "1", "-c:a", "aac", "-c:v", "copy",
               "-disposition:v:0", "attached_pic", source)
        self.refuse(3, source)

    def test_empty(self):
        source = self.folder / "empty.mp4"
        source.touch()
        self.refuse(3, source, saying="empty.mp4")

    def test_header_only(self):
        whole = make_video(self.folder / "whole.mkv")
        for size in (1, 40, 400):
            source = self.folder / f"cut{size}.mkv"
            source.write_bytes(whole.read_bytes()[:size])
            self.refuse(3, source, saying=source.name)

    def test_mp4_without_its_index(self):
        whole = make_video(self.folder / "whole.mp4").read_bytes()
        source = self.folder / "cut.mp4"
        source.write_bytes(whole[:whole.index(b"moov") - 4])
        self.refuse(3, source, saying="cut.mp4")

    def test_mp4_that_ends_before_its_index_says(self):
        whole = make_video(self.folder / "whole.mp4", "-bf", "2", "-movflags", "+faststart",
                           frames=75)
        source = self.folder / "cut.mp4"
        data = whole.read_bytes()
        source.write_bytes(data[:len(data) * 6 // 10])
        done = self.refuse(3, source, saying=["cut.mp4", "truncated", "--to"])
        # The time that the refusal names is one that works.
        end = re.search(r"first ([0-9.]+) seconds", done.stderr).group(1)
        self.assertGreater(float(end), 0.5)
        self.refuse(3, source, "--to", str(float(end) + 0.2), saying="truncated")
        self.score(source, self.output, "--to", end)
        times = frame_times(whole)
        wanted = [t for t in times if t - times[0] < float(end)]
        self.assertEqual(len(frame_times(self.output)), len(wanted))
        self.score(whole, self.output, "--force")

    def test_missing(self):
        self.refuse(3, self.folder / "nowhere.mp4", saying="nowhere.mp4")

    def test_folder_as_input(self):
        self.refuse(3, self.folder / "models", saying="models")

    def test_unreadable(self):
        if os.geteuid() == 0:
            print("SKIPPED: root can read everything")
            self.skipTest("root can read everything")
        source = make_video(self.folder / "in.mp4")
        source.chmod(0)
        self.refuse(3, source, saying="in.mp4")

    def test_interlaced_is_refused(self):
        source = make_video(self.folder / "in.mp4", "-flags", "+ildct+ilme", "-x264-params",
                            "interlaced=1", filters=",interlace,setfield=tff")
        self.refuse(3, source, saying="interlace")

    def test_broken_bitstream(self):
        source = support.need_shared_media() / "invalid-bitstream.webm"
        done = run(*self.command(source, self.output, "--quiet"))
        self.assertIn(done.returncode, (0, 3), done.stderr)
        self.assertEqual(self.output.exists(), done.returncode == 0)


class DamagedInputs(support.Case):
    """What decodes is scored, the rest is counted, the sound stays where it was."""

    def check_damaged(self, source, original):
        output = self.folder / "out.mkv"
        done = self.score(source, output, "--json", "--chunk-seconds", "0.5")
        report = json.loads(done.stdout)
        self.assertEqual(stream_hash(source), stream_hash(output), "sound changed")
        sound = [float(p["pts_time"]) for p in packets(source, "a:0")]
        ours = [float(p["pts_time"]) for p in packets(output, "a:0")]
        video = frame_times(original)
        left = frame_times(output)
        shift = ours[0] - sound[0]
        for a, b in zip(sound, ours):
            self.assertAlmostEqual(a + shift, b, delta=0.002)
        for moment in left:
            nearest = min(abs(moment - shift - t) for t in video)
            self.assertLessEqual(nearest, 0.002, "a frame moved")
        self.assertGreater(len(left), len(video) // 3, "too little was saved")
        return report, len(video) - len(left)

    def test_damage_in_the_middle(self):
        original = make_video(self.folder / "whole.mkv", "-g", "8", frames=60)
        data = bytearray(original.read_bytes())
        for packet in packets(original, "v:0")[20:26]:
            begin, size = int(packet["pos"]), int(packet["size"])
            # Past the block's header: the container stays whole.
            for i in range(begin + size // 3, begin + size):
                data[i] = (data[i] * 5 + 77) & 255
        source = self.folder / "hurt.mkv"
        source.write_bytes(data)
        report, _ = self.check_damaged(source, original)
        self.assertIn("decode_errors", json.dumps(report))
        self.assertGreater(count_of(report, "decode_errors"), 0)

    def test_damaged_sound_costs_its_packets_only(self):
        """A broken ADTS header stops a plain copy; the job leaves the packet out and says so."""
        original = make_video(self.folder / "whole.ts", "-g", "8", "-c:a", "aac", frames=60)
        source, copy = self.folder / "hurt.ts", self.folder / "copy.mp4"
        for seed in range(40):
            data = bytearray(original.read_bytes())
            chance = random.Random(seed)
            for _ in range(25):
                data[chance.randrange(len(data) // 8, len(data))] ^= 1 << chance.randrange(8)
            source.write_bytes(data)
            plain = subprocess.run(["ffmpeg", "-v", "error", "-xerror", "-y", "-i", source, "-map", "0:a?", "-c", "copy",
                                    copy], stdin=subprocess.DEVNULL, capture_output=True)
            if plain.returncode and b"ADTS" in plain.stderr:
                break
        else:
            self.fail("no seed breaks an ADTS header")
        for name in ("out.mkv", "out.mp4"):
            done = self.score(source, self.folder / name, "--json")
            self.assertIn("left out", " ".join(json.loads(done.stdout)["notes"]))
            self.assertGreater(len(packets(self.folder / name, "a:0")), 10)

    def test_zeros_in_the_middle(self):
        original = make_video(self.folder / "whole.ts", "-g", "8", frames=60)
        data = bytearray(original.read_bytes())
        packet = 188
        middle = len(data) // packet // 2 * packet
        for at in range(middle, middle + 12 * packet, packet):
            if (data[at + 1] & 31) << 8 | data[at + 2] == 0x100:  # the video's packets only
                data[at + 12:at + packet] = bytes(packet - 12)
        source = self.folder / "hurt.ts"
        source.write_bytes(data)
        self.check_damaged(source, original)

    def test_truncated(self):
        for suffix in ("mkv", "ts"):
            with self.subTest(suffix):
                original = make_video(self.folder / f"whole.{suffix}", "-g", "8", frames=60)
                source = self.folder / f"cut.{suffix}"
                data = original.read_bytes()
                source.write_bytes(data[:len(data) * 6 // 10])
                output = self.folder / f"out-{suffix}.mkv"
                self.score(source, output)
                times = frame_times(output)
                whole = frame_times(original)
                self.assertGreater(len(times), len(whole) // 3)
                self.assertLess(len(times), len(whole))


def count_of(tree, key):
    """The sum of every number under `key` anywhere in a JSON value."""
    if isinstance(tree, dict):
        return sum(value if name == key and isinstance(value, (int, float)) else count_of(value, key)
                   for name, value in tree.items())
    if isinstance(tree, list):
        return sum(count_of(value, key) for value in tree)
    return 0


class BadOutputs(Refused):
    def test_existing_output_is_kept(self):
        source = make_video(self.folder / "in.mp4")
        self.output.write_text("precious")
        self.refuse(2, source, saying="--force")
        self.assertEqual(self.output.read_text(), "precious")
        self.score(source, self.output, "--force")
        self.assertNotEqual(self.output.read_bytes()[:8], b"precious")

    def call(self, *arguments, **keywords):
        environment = {**os.environ, "XDG_STATE_HOME": str(self.folder)}
        return subprocess.run([support.PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, env=environment, timeout=support.TIMEOUT, **keywords)

    def test_full_standard_output_is_no_success(self):
        with open("/dev/full", "wb") as full:
            done = self.call("models", "--json", stdout=full)
        self.assertEqual(done.returncode, 1)
        self.assert_one_sentence(done.stderr.decode())

    def test_reader_that_has_gone_does_not_stop_the_job(self):
        source = make_video(self.folder / "in.mp4")
        read, write = os.pipe()
        os.close(read)
        done = self.call(*self.command(source, self.output), stdout=write)
        os.close(write)
        self.assertEqual(done.returncode, 1, "its report could not be written")
        self.assertEqual(len(frame_times(self.output)), len(frame_times(source)))

    def test_file_size_limit_is_an_error_not_a_signal(self):
        source = make_video(self.folder / "in.mp4", size="320x240")
        limit = ["--codec", "ffv1"]
        self.output = self.output.with_suffix(".mkv")
        done = self.call(*self.command(source, self.output, *limit), stdout=subprocess.DEVNULL,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)))
        self.assertEqual(done.returncode, 1)
        self.assert_one_sentence(done.stderr.decode())
        self.assertFalse(self.output.exists())

    def test_link_to_nowhere_is_kept(self):
        source = make_video(self.folder / "in.mp4")
        self.output.symlink_to("nowhere.mp4")
        self.refuse(2, source, saying="--force")
        self.assertTrue(self.output.is_symlink())

    def test_failure_with_force_keeps_the_old_output(self):
        source = self.folder / "notes.mp4"
        source.write_text("no video")
        self.output.write_text("precious")
        self.refuse(3, source, "--force")
        self.assertEqual(self.output.read_text(), "precious")

    def test_output_over_its_input(self):
        source = make_video(self.folder / "in.mp4")
        before = source.read_bytes()
        for name in ("in.mp4", "to/../in.mp4"):
            self.assert_refused(2, self.command(source, self.folder / name, "--quiet", "--force"))
        os.link(source, self.folder / "linked.mp4")
        self.assert_refused(
            2, self.command(source, self.folder / "linked.mp4", "--quiet", "--force"))
        self.assertEqual(source.read_bytes(), before)

    def test_output_folder_missing(self):
        source = make_video(self.folder / "in.mp4")
        output = self.folder / "not" / "there" / "out.mp4"
        done = run(*self.command(source, output, "--quiet"))
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assert_one_sentence(done.stderr)

    def test_unknown_container(self):
        source = make_video(self.folder / "in.mp4")
        for name in ("out.xyz", "out", "out.avi"):
            self.output = self.folder / "to" / name
            self.refuse(2, source, saying=".mkv")

    def test_output_is_a_folder(self):
        source = make_video(self.folder / "in.mp4")
        self.output.mkdir()
        self.refuse(2, source)
        self.refuse(2, source, "--force")


class BadModels(Refused):
    def setUp(self):
        super().setUp()
        self.source = make_video(self.folder / "in.mp4")
        self.models = self.folder / "models"

    def test_unknown_name(self):
        self.refuse(2, self.source, model="no-such-style", saying="no-such-style")

    def test_missing_file(self):
        self.refuse(2, self.source, model=self.models / "none.onnx", saying="none")

    def test_text_as_model(self):
        path = onnx_model.write(self.models, "text", b"I am not a network.\n" * 50)
        self.refuse(2, self.source, model=path, saying="text")

    def test_empty_model(self):
        self.refuse(2, self.source, model=onnx_model.write(self.models, "empty", b""),
                    saying="empty")

    def test_truncated_model(self):
        whole = onnx_model.write_slow(self.models).read_bytes()
        for part in (10, len(whole) // 2, len(whole) - 1):
            path = onnx_model.write(self.models, "cut", whole[:part], onnx_model.SPEC)
            self.refuse(2, self.source, model=path)

    def test_unsupported_operator_is_named(self):
        done = self.refuse(2, self.source, model=onnx_model.write_unsupported(self.models))
        self.assertRegex(done.stderr, r"\bDet\b")
        self.assertEqual(self.run_folders(), [], "a run was begun for a model that cannot run")

    def test_weights_in_another_file(self):
        path = onnx_model.write_external(self.models)
        weights = self.models / "weights.bin"
        self.refuse(2, self.source, model=path, saying="weights.bin")
        hashes = set()
        for value in (1.0, 2.0):
            weights.write_bytes(struct.pack("<3f", 0.0, 0.0, value))
            done = run("models", path, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            hashes.add(json.loads(done.stdout)["models"][0]["sha256"])
        self.assertEqual(len(hashes), 2, "the weights are not part of the model's hash")
        weights.write_bytes(b"\0" * 11)
        self.refuse(2, self.source, model=path, saying="weights.bin")

    def test_weights_that_are_no_file_of_the_folder(self):
        path = onnx_model.write_external(self.models)
        weights = self.models / "weights.bin"
        secret = self.folder / "secret.bin"
        secret.write_bytes(b"\0" * 12)
        weights.symlink_to(secret)
        self.refuse(2, self.source, model=path, saying="weights.bin")
        weights.unlink()
        os.mkfifo(weights)
        self.refuse(2, self.source, model=path, saying="weights.bin")
        for location in ("../secret.bin", str(secret), "/dev/zero"):
            with self.subTest(location):
                self.refuse(2, self.source,
                            model=onnx_model.write_external(self.models, location, 0),
                            saying="folder")

    def test_output_that_is_no_image(self):
        self.refuse(2, self.source, model=onnx_model.write_not_an_image(self.models))

    def test_size_that_does_not_fit(self):
        path = onnx_model.write_fixed_size(self.models, 96, 80)
        self.refuse(2, self.source, model=path, saying="96x80")

    def test_bad_spec(self):
        data = self.identity.read_bytes()
        for text in ("colour_order = \"rgb\"\n", "color_order = 7\n", "range = [0,\n",
                     "size_multiple = -4\n", "scale = [1, 2]\n"):
            with self.subTest(text):
                path = onnx_model.write(self.models, "spec", data, text)
                self.refuse(2, self.source, model=path)

    def test_hostile_bytes_never_crash(self):
        whole = self.identity.read_bytes()
        rng = random.Random(5)
        for _ in range(25):
            data = bytearray(whole)
            for _ in range(rng.randint(1, 6)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            path = onnx_model.write(self.models, "hurt", bytes(data), onnx_model.SPEC)
            done = run(*self.command(self.source, self.output, "--quiet", "--force", model=path))
            self.assertIn(done.returncode, (0, 2), done.stderr)


class BadCommandLines(Refused):
    def test_wrong_options(self):
        source = make_video(self.folder / "in.mp4")
        for options in (["--size", "64"], ["--size", "-4x9"], ["--size", "0x0x0"],
                        ["--size", "99999999x99999999"], ["--threads", "-1"],
                        ["--chunk-seconds", "0"], ["--chunk-seconds", "nan"], ["--crf", "99"],
                        ["--codec", "nonsense"], ["--preset", "nonsense"], ["--from", "2", "--to", "1"],
                        ["--from", "abc"], ["--keep-frames", "gif"], ["--no-such-option"],
                        ["--encoder-opts", "nonsense=1"], ["--memory", "lots"], ["--memory", "0G"],
                        ["--memory", "-1G"], ["--memory", ""]):
            with self.subTest(options):
                self.refuse(2, source, *options)

    def test_unknown_command_is_named(self):
        self.assert_refused(2, ["paint", "a.mp4", "b.mp4"], saying="no command 'paint'")

    def test_empty_values_are_named(self):
        source = make_video(self.folder / "in.mp4")
        for option in ("--codec", "--from", "--to", "--size"):
            self.refuse(2, source, option, "", saying=f"{option} is empty")

    def test_range_without_a_frame(self):
        source = make_video(self.folder / "in.mp4")
        self.refuse(3, source, "--from", "1000")

    def test_without_arguments(self):
        for arguments in (["run"], ["nonsense"], ["run", "only-one"], ["probe"]):
            with self.subTest(arguments):
                done = run(*arguments)
                self.assertEqual(done.returncode, 2)
                self.assertTrue(done.stderr.strip())

    def test_help_and_version(self):
        for arguments in (["--help"], ["run", "--help"], ["--version"]):
            done = run(*arguments)
            self.assertEqual(done.returncode, 0)
            self.assertTrue(done.stdout.strip())
            self.assertEqual(done.stderr, "")


class OddNames(support.Case):
    NAMES = ["a b  c", "it's \"quoted\"", "$(touch pwned)", "`touch pwned`", "-dash", "--force",
             "semi;colon & more", "percent%20%s%n", "hash#1?query=2", "new\nline", "100%",
             "c:\\x", "überraschung-日本", "star*[a-z]?", "a=b:c,d"]

    def test_odd_names(self):
        plain = make_video(self.folder / "plain.mp4", frames=8).read_bytes()
        work = self.folder / "work"
        work.mkdir()
        for name in self.NAMES:
            with self.subTest(name):
                (work / f"{name}.mp4").write_bytes(plain)
                out = f"{name} out.mp4"
                done = run(*self.command(f"{name}.mp4", out, "--json"), cwd=work)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertTrue((work / out).exists())
                json.loads(done.stdout)
        self.assertFalse((work / "pwned").exists())
        self.assertEqual(len(os.listdir(work)), 2 * len(self.NAMES))

    def test_invalid_utf8_name(self):
        plain = make_video(self.folder / "plain.mp4", frames=8).read_bytes()
        source = os.fsencode(self.folder) + b"/\xff\xfe\xc0 in.mp4"
        output = os.fsencode(self.folder) + b"/\xff\xfe\xc0 out.mp4"
        pathlib.Path(os.fsdecode(source)).write_bytes(plain)
        done = run(*self.command(source, output, "--json"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(os.path.exists(output))
        json.loads(done.stdout)
        for folder in self.run_folders():
            json.loads((folder / "manifest.json").read_text(encoding="utf-8"))

    def test_leading_dash_without_the_two_dashes(self):
        """Taken for an option: refused, never half understood."""
        work = self.folder / "work"
        work.mkdir()
        make_video(work / "plain.mp4", frames=8)
        (work / "plain.mp4").rename(work / "-plain.mp4")
        done = run("run", "-plain.mp4", "out.mp4", "--model", self.identity, cwd=work)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(os.listdir(work), ["-plain.mp4"])


if __name__ == "__main__":
    support.main()
