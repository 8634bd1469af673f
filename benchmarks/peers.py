#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Seconds per frame of Atelier and of its peers on the same networks, in the same run.

Each round calls every runtime once in a process of its own; what is printed is the median over the rounds of the medians of
their runs. A peer that is not installed or does not take the network is a line with its own words.

usage: peers.py [--quick] [NETWORK-WIDTH...], such as wave-1920

environment: ATELIER (program), SHARED (folder with models/ and media/)
"""
import json
import pathlib
import sys
import tempfile

import common

ROUNDS = 3
PATIENCE = 30  # seconds: a runtime whose round takes longer is called in one round only
WARM_UP = 1
GOALS = {"f32": (2.0, 2.3), "bf16": (2.6, 3.0), "int8": (3.5, 4.5)}  # of wave.onnx over ONNX Runtime f32: at least, aim
REFERENCE = "onnxruntime f32"


def cases(quick, wanted):
    """Network, size, runs a round."""
    found = [(common.WAVE, 512, 512, 3), (common.WAVE, 1920, 1080, 1), (common.LEAN, 1280, 720, 5), (common.LEAN, 1920, 1080, 3)]
    found = [case for case in found if not (quick and case[1] == 1920)]
    found = [case for case in found if not wanted or f"{case[0].stem}-{case[1]}" in wanted]
    return [case for case in found if not common.missing(case[0])]


def make_qdq(model, frame, width, height, folder):
    """The QDQ model with the ranges that ONNX Runtime finds on this very frame."""
    try:
        import onnx
        import qdq
    except ImportError as error:
        raise common.Failed(f"the QDQ model needs python3-onnx: {error}") from None
    net = onnx.load(str(model))
    ranges, target = folder / "ranges.onnx", folder / "qdq.onnx"
    onnx.save(qdq.with_ranges(net), str(ranges))
    seen = common.peer("ort_bench.mjs", model=ranges, frame=frame, width=width, height=height, warm_up=0, repeats=0,
                       scalars=True)["scalars"]
    largest = 127 if "vnni" in pathlib.Path("/proc/cpuinfo").read_text() else 63
    onnx.save(qdq.quantise(net, {name: (seen[f"{name}/min"], seen[f"{name}/max"]) for name in qdq.observed(net)}, largest),
              str(target))
    return target


def runtimes(model, width, height, repeats, folder):
    """{name: function that answers with seconds_median}"""
    frame, size = folder / "frame.rgb", {"width": width, "height": height}
    written = set()

    def of_peer(name, program, network):
        def run():
            out = folder / f"{name}.f32"
            wanted = {} if name in written else {"out": out}
            written.add(name)
            return common.peer(program, model=network() if callable(network) else network, frame=frame, warm_up=WARM_UP,
                               repeats=repeats, **size, **wanted)
        return run

    def of_atelier(precision):
        def run():
            found = common.atelier("bench", "--model", model, "--size", f"{width}x{height}", "--threads", common.THREADS,
                                   "--repeats", repeats, "--precision", precision)
            return {**found, "seconds_median": found["score_seconds_per_frame"]}
        return run

    quantised = []

    def int8_network():
        if not quantised:
            quantised.append(make_qdq(model, frame, width, height, folder))
        return quantised[0]

    return {REFERENCE: of_peer(REFERENCE, "ort_bench.mjs", model),
            "atelier f32": of_atelier("f32"),
            "atelier bf16": of_atelier("bf16"),
            "onnxruntime QDQ int8": of_peer("onnxruntime QDQ int8", "ort_bench.mjs", int8_network),
            "atelier int8": of_atelier("int8"),
            "libtorch f32": of_peer("libtorch f32", "torch_net.py", model),
            "OpenCV dnn f32": of_peer("OpenCV dnn f32", "opencv_net.py", model)}


def quality(name, answers, folder):
    """dB PSNR: of Atelier's bf16 and int8 against its f32, of a peer against ONNX Runtime f32; same frame."""
    if "psnr_db" in answers[0]:
        return f"{answers[0]['psnr_db']:.1f}"
    made, expected = folder / f"{name}.f32", folder / f"{REFERENCE}.f32"
    if name == REFERENCE or not made.exists() or not expected.exists():
        return ""
    import numpy
    a, b = (numpy.fromfile(path, dtype=numpy.float32) for path in (made, expected))
    return f"{common.psnr(a, b):.1f}" if a.size == b.size else "other size"


def measure(model, width, height, repeats, folder, settings):
    source = common.make_frame(folder / "frame.rgb", width, height)
    found = common.alternate(runtimes(model, width, height, repeats, folder), ROUNDS, PATIENCE)
    seconds = {name: common.median([answer["seconds_median"] for answer in answers])
               for name, answers in found.items() if not isinstance(answers[0], common.Failed)}
    rows = []
    for name, answers in found.items():
        if name not in seconds:
            rows.append([name, f"cannot: {answers[0]}"])
            continue
        ratio = f"{seconds[REFERENCE] / seconds[name]:.2f}" if REFERENCE in seconds else ""
        rows.append([name, f"{seconds[name]:.4f}", ratio, quality(name, answers, folder)])
        if "version" in answers[0]:
            settings[answers[0]["runtime"]] = [answers[0]["version"], answers[0]["options"]]
        else:
            settings["atelier"] = answers[0]["isa"]
    print(f"\n{model.stem} at {width}x{height}: seconds per frame, medians of {ROUNDS} alternating rounds of {repeats}, "
          f"frame of {source}")
    print(common.table(["", "s/frame", "over ORT f32", "PSNR dB"], rows), flush=True)
    once = [name for name in seconds if len(found[name]) < ROUNDS]
    if once:
        print(f"  one round only, since it takes over {PATIENCE} s: {', '.join(once)}")
    if model == common.WAVE and REFERENCE in seconds:
        for precision, (least, aim) in GOALS.items():
            if f"atelier {precision}" in seconds:
                ratio = seconds[REFERENCE] / seconds[f"atelier {precision}"]
                print(f"  atelier {precision}: {ratio:.2f} times ONNX Runtime f32 (goal {least}, aim {aim}): "
                      f"{'reached' if ratio >= least else 'not reached'}")


def main():
    print(f"\nPEERS  {common.machine()}; {WARM_UP} warm-up; every process alone on the machine")
    settings = {}
    for model, width, height, repeats in cases("--quick" in sys.argv[1:], set(sys.argv[1:]) - {"--quick"}):
        with tempfile.TemporaryDirectory() as folder:
            measure(model, width, height, repeats, pathlib.Path(folder), settings)
    print("\n  atelier's time includes the colour conversion of the frame, the peers' does not; its PSNR is of its own test "
          "frame")
    for name, told in settings.items():
        print(f"  {name}: {json.dumps(told)}")


if __name__ == "__main__":
    main()
