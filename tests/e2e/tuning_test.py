#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--tune: what is measured is kept, goes before the rules and into the manifest, and is obeyed; a cache that is bad harms nothing."""

import json
import os

import support
from support import make_video, run, sha256


class Tuning(support.Case):
    spreads = False
    LOSSLESS = ["--codec", "ffv1", "--json"]

    def setUp(self):
        super().setUp()
        self.cache = self.folder / "cache"
        self.env = {**os.environ, "XDG_CACHE_HOME": str(self.cache)}
        self.source = make_video(self.folder / "in.mkv", frames=6, size="96x64", sound=False)

    def paint(self, name, *options):
        output = self.folder / f"{name}.mkv"
        done = run(*self.command(self.source, output, *self.LOSSLESS, *options, runs=self.folder / name, model="starry-night"),
                   env=self.env)
        self.assertEqual(done.returncode, 0, done.stderr)
        manifest, = (self.folder / name).glob("*/manifest.json")
        return output, json.loads(manifest.read_text())["plan"], json.loads(done.stdout)

    def kept(self):
        file, = (self.cache / "atelier/tuning").glob("*.json")
        return file, json.loads(file.read_text())

    def algorithms(self, plan):
        return {step["node"]: step["algorithm"] for step in plan if "Conv" in step["op"]}

    def test_what_is_measured_is_kept_and_need_not_be_measured_again(self):
        self.paint("short")
        self.assertFalse((self.cache / "atelier/tuning").exists(), "six frames do not pay for measuring")
        _, plan, _ = self.paint("measured", "--tune", "on", "--precision", "f32")
        file, cache = self.kept()
        self.assertGreater(len(cache["choices"]), 0)
        self.assertIn("oneDNN", cache["machine"])
        before = file.stat().st_mtime_ns
        _, again, _ = self.paint("known", "--tune", "on", "--precision", "f32")
        self.assertEqual(file.stat().st_mtime_ns, before)
        self.assertEqual(self.algorithms(again), self.algorithms(plan))

    def test_what_is_known_goes_before_the_rules_and_workers_obey(self):
        _, rule, _ = self.paint("rule", "--tune", "off", "--precision", "f32")
        self.assertIn("winograd_f4x3", self.algorithms(rule).values())
        self.paint("measured", "--tune", "on", "--precision", "f32")
        file, cache = self.kept()
        cache["choices"] = {key: "direct" for key in cache["choices"]}
        file.write_text(json.dumps(cache))
        one, plan, _ = self.paint("direct", "--precision", "f32", "--workers", "1")
        self.assertNotIn("winograd_f4x3", self.algorithms(plan).values())
        two, again, _ = self.paint("spread", "--precision", "f32", "--workers", "2", "--chunk-seconds", "0.1")
        self.assertEqual(again, plan)
        self.assertEqual(support.tool("ffmpeg", "-v", "error", "-i", one, "-f", "framemd5", "-"),
                         support.tool("ffmpeg", "-v", "error", "-i", two, "-f", "framemd5", "-"))
        _, off, _ = self.paint("off", "--tune", "off", "--precision", "f32")
        self.assertEqual(self.algorithms(off), self.algorithms(rule))
        # Ways that nobody knows are no ways.
        cache["choices"] = {key: "magic" for key in cache["choices"]}
        file.write_text(json.dumps(cache))
        _, unknown, _ = self.paint("unknown", "--precision", "f32")
        self.assertEqual(self.algorithms(unknown), self.algorithms(rule))

    def test_bench_keeps_what_it_measured(self):
        done = run("bench", "--model", "starry-night", "--size", "96x64", "--tune", "--repeats", "1", env=self.env)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(len(self.kept()[1]["choices"]), 0)
        file = self.cache / "atelier/tuning"
        for each in file.iterdir():
            each.unlink()
        file.rmdir()
        file.write_text("a file where a folder should be")
        done = run("bench", "--model", "starry-night", "--size", "96x64", "--tune", "--repeats", "1", env=self.env)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("not kept for runs", done.stdout + done.stderr)

    def test_a_full_cache_is_no_trouble(self):
        self.paint("measured", "--tune", "on")
        file, cache = self.kept()
        for i in range(9000):
            cache["choices"][f"a layer of another network {i} " + 200 * "x"] = "direct"
        file.write_text(json.dumps(cache))
        self.paint("full", "--tune", "on")

    def test_a_bad_cache_harms_nothing(self):
        wanted, _, _ = self.paint("wanted", "--tune", "off")
        self.paint("measured", "--tune", "on")
        file, _ = self.kept()
        file.write_text("{" * 1000)
        output, _, _ = self.paint("damaged")
        self.assertEqual(sha256(output), sha256(wanted))
        self.paint("repaired", "--tune", "on")
        self.assertGreater(len(self.kept()[1]["choices"]), 0)
        file.unlink()
        file.parent.rmdir()
        file.parent.write_text("a file where a folder should be")
        _, _, report = self.paint("unwritable", "--tune", "on")
        self.assertIn("not kept for the next run", " ".join(report["notes"]))


if __name__ == "__main__":
    support.main()
