#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Models that are not clean: one size only, another output size, luma alone, no picture at all."""

import json
import pathlib
import shutil

import onnx_model
import support
from support import make_video, streams, tool

OTHER = pathlib.Path(__file__).parents[2] / "../shared/models/other"


def raw(path, pixel_format="rgb24"):
    return tool("ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-pix_fmt", pixel_format,
                "-f", "rawvideo", "-")


class OtherModels(support.Case):
    def setUp(self):
        super().setUp()
        self.models = self.folder / "models"

    def video_size(self, path):
        facts = next(s for s in streams(path) if s["codec_type"] == "video")
        return facts["width"], facts["height"]

    def shared(self, name, toml):
        if not (OTHER / f"{name}.onnx").exists():
            self.skipTest(f"NOT TESTED: {OTHER / name}.onnx is absent")
        target = self.models / f"{name}.onnx"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(OTHER / f"{name}.onnx", target)
        target.with_suffix(".toml").write_text(toml)
        return target

    def painted(self, model, size, frames=2, filters=""):
        source = make_video(self.folder / "in.mkv", frames=frames, size=size, sound=False,
                            filters=filters)
        output = self.folder / "out.mkv"
        self.score(source, output, "--codec", "ffv1", "--force", model=model)
        return source, output

    def test_a_model_that_doubles_makes_a_video_of_that_size(self):
        model = self.shared("upscalerjs_default_x2",
                            'color_order = "rgb"\nrange = [0, 1]\noutput_range = [0, 1]\n'
                            'clamp = true\n')
        source, output = self.painted(model, "48x36", filters=",gblur=sigma=2")
        self.assertEqual(self.video_size(output), (96, 72))
        self.assert_similar(source, output, 2)

    def test_luma_three_times_as_large_keeps_its_colours(self):
        model = self.shared("super_resolution",
                            'channels = "luma"\nrange = [0, 1]\noutput_range = [0, 1]\n'
                            'clamp = true\nfit = "tile"\nhalo = 8\n')
        source, output = self.painted(model, "64x48", frames=1)
        self.assertEqual(self.video_size(output), (192, 144))
        self.assert_similar(source, output, 3)

    def assert_similar(self, source, output, factor):
        """Blocks of the enlarged picture are, on average, the pixels they came from."""
        width, height = self.video_size(source)
        before, after = raw(source), raw(output)
        frames = len(before) // (width * height * 3)
        self.assertEqual(len(after), len(before) * factor * factor)
        self.assertGreaterEqual(frames, 1)
        total = 0
        for y in range(height):
            for x in range(width):
                for c in range(3):
                    block = [after[((y * factor + j) * width * factor + x * factor + i) * 3 + c]
                             for j in range(factor) for i in range(factor)]
                    total += abs(sum(block) / len(block) - before[(y * width + x) * 3 + c])
        self.assertLess(total / (width * height * 3), 8)

    def test_a_frame_that_would_take_too_much_memory_is_scored_in_tiles_and_said(self):
        # 1,408 bytes a pixel, of which a frame of this size may take 1,245.
        wide = onnx_model.write_wide_negative(self.models, 352)
        source = make_video(self.folder / "in.mkv", frames=2, size="1280x720", sound=False)
        made = {}
        for model in (wide, onnx_model.write_negative(self.models)):
            made[model.stem] = self.folder / f"{model.stem}.mkv"
            done = self.score(source, made[model.stem], "--codec", "ffv1", "--json", model=model)
            said = " ".join(json.loads(done.stdout)["notes"])
            self.assertEqual("scored in 2 tiles of" in said, model == wide, said)
        self.assertEqual(raw(made["wide-negative"], "yuv420p"), raw(made["negative"], "yuv420p"))

    def test_one_size_only_in_tiles_and_letterboxed(self):
        for fit, most in (("tile", 1), ("letterbox", 12)):
            with self.subTest(fit):
                model = onnx_model.write_fixed_size(self.models, 40, 32)
                model.with_suffix(".toml").write_text(onnx_model.SPEC + f'fit = "{fit}"\n')
                source, output = self.painted(model, "100x70")
                self.assertEqual(self.video_size(output), (100, 70))
                before, after = raw(source, "yuv420p"), raw(output, "yuv420p")
                self.assertEqual(len(before), len(after))
                difference = sum(abs(a - b) for a, b in zip(before, after)) / len(before)
                self.assertLessEqual(difference, most)

    def test_one_size_only_without_a_toml_is_letterboxed_and_said(self):
        model = onnx_model.write_fixed_size(self.models, 40, 32)
        model.with_suffix(".toml").unlink()
        source = make_video(self.folder / "in.mkv", frames=2, size="100x70", sound=False)
        done = support.run(*self.command(source, self.folder / "out.mkv", model=model))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("40 x 32", done.stdout + done.stderr)
        self.assertEqual(self.video_size(self.folder / "out.mkv"), (100, 70))

    def test_a_classifier_is_refused(self):
        source = make_video(self.folder / "in.mkv", frames=2, sound=False)
        for name in ("squeezenet1_1_fp32", "mnist", "ultraface_RFB_320"):
            with self.subTest(name):
                model = self.shared(name, 'color_order = "rgb"\n')
                self.assert_refused(2, self.command(source, self.folder / "out.mkv", model=model),
                                    self.folder / "out.mkv")


if __name__ == "__main__":
    support.main()
