#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How near to what this machine can do at most: each convolution of wave.onnx against the measured peak.

`bench_floor` measures the peak (multiply-adds of floats, of bytes and, with AMX, of bfloat16, bytes per second). The operations that a network states
follow from its shapes; those that are executed are fewer where the plan says Winograd: F(4x4, 3x3) does 36 multiplications
where 144 are stated, its transforms not counted. Utilisation is executed operations a second over the peak of the layer's
element type. The floor is the time of all executed operations at the peak, or of reading every convolution's input and weights
and writing its output once at the measured bandwidth.

usage: floor.py [--quick]      environment: ATELIER (program), SHARED (folder with models/)
"""
import json
import pathlib
import sys

import common

FLOOR = pathlib.Path(common.ATELIER).parent / "bench_floor"
GOAL = 70
REPEATS = 5
BYTES = {"f32": 4, "bf16": 2, "int8": 1}
TILE = 4  # of F(4x4, 3x3): six by six multiplications


def shapes(path, width, height):
    """{tensor: [extents]} of the network at this size."""
    import onnx
    import qdq
    model = qdq.of_size(onnx.load(str(path)), width, height)
    found = {t.name: list(t.dims) for t in model.graph.initializer}
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        found[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return model, found


def stated(node, extents):
    """Operations (two a multiply-add) that a convolution states."""
    into, weights, out = (extents[name] for name in (node.input[0], node.input[1], node.output[0]))
    count = weights[0] * weights[1] * weights[2] * weights[3]
    # Every output of a Conv, every input of a ConvTranspose meets all weights of its channel.
    area = into[2] * into[3] if node.op_type == "ConvTranspose" else out[2] * out[3]
    return 2 * count * area


def executed(node, extents, algorithm):
    if not algorithm.startswith("winograd_f4x3"):
        return stated(node, extents)
    out, weights = extents[node.output[0]], extents[node.input[1]]
    tiles = -(-out[2] // TILE) * -(-out[3] // TILE)
    return 2 * weights[0] * weights[1] * 36 * tiles


def moved(node, extents, size):
    """Bytes of a convolution's input, weights and output, each once."""
    total = 0
    for name in (node.input[0], node.input[1], node.output[0]):
        product = size
        for extent in extents[name]:
            product *= extent
        total += product
    return total


def kind_of(algorithm):
    """The type of the elements that it multiplies."""
    return next((kind for kind in ("int8", "bf16") if algorithm.endswith(kind)), "f32")


def rows_of(path, width, height, precision):
    """(layer, algorithm, element type, seconds, stated, executed, bytes) of each convolution, and the whole answer."""
    answer = common.atelier("bench", "--model", path, "--size", f"{width}x{height}", "--threads", common.THREADS, "--repeats",
                            REPEATS, "--precision", precision)
    model, extents = shapes(path, width, height)
    layers = {layer["node"]: layer for layer in answer["layers"]}
    rows = []
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        # A layer without a name is called by its output.
        layer = layers[node.name or node.output[0]]
        kind = kind_of(layer["algorithm"])
        rows.append((layer["node"], layer["algorithm"], kind, layer["seconds"], stated(node, extents),
                     executed(node, extents, layer["algorithm"]), moved(node, extents, BYTES[kind])))
    return rows, answer


def report(path, width, height, precision, peak, layers):
    rows, answer = rows_of(path, width, height, precision)
    peaks = {"f32": peak["f32_gflops"] * 1e9, "bf16": peak["bf16_gflops"] * 1e9, "int8": peak["int8_gops"] * 1e9}
    use = [100 * row[5] / row[3] / peaks[row[2]] for row in rows]
    if layers:
        print(f"\n{path.stem} at {width}x{height}, {precision}: convolutions, medians of {REPEATS}")
        print(common.table(["layer", "algorithm", "type", "ms", "stated Gop/s", "executed Gop/s", "% of peak"],
                           [[name, algorithm, kind, f"{seconds * 1e3:.2f}", f"{said / seconds / 1e9:.0f}",
                             f"{done / seconds / 1e9:.0f}", f"{percent:.0f}"]
                            for (name, algorithm, kind, seconds, said, done, _), percent in zip(rows, use)]))
    total = sum(row[3] for row in rows)
    at_peak = sum(row[5] / peaks[row[2]] for row in rows)
    said_at_peak = sum(row[4] / peaks[row[2]] for row in rows)
    in_memory = sum(row[6] for row in rows) / (peak["copy_gbs"] * 1e9)
    frame = answer["score_seconds_per_frame"]
    print(f"  {path.stem} {width}x{height} {precision}: frame {frame * 1e3:.1f} ms, its convolutions {total * 1e3:.1f} ms; floor: "
          f"operations {at_peak * 1e3:.1f} ms, bytes {in_memory * 1e3:.1f} ms; frame over floor "
          f"{frame / max(at_peak, in_memory):.2f}")
    mean = sum(use) / len(use)
    print(f"    used of the peak by convolutions: mean {mean:.1f} %, by time {100 * at_peak / total:.1f} % (goal {GOAL} %: "
          f"{'reached' if mean >= GOAL else 'not reached'}); stated operations over peak, by time: "
          f"{100 * said_at_peak / total:.1f} %", flush=True)


def main():
    quick = "--quick" in sys.argv[1:]
    print(f"\nFLOOR  {common.machine()}")
    if common.missing(FLOOR):
        print("  build it with: tools/build release bench_floor")
        return
    found = json.loads(common.call([FLOOR, common.THREADS]))
    print(f"  f32: {found['f32_instruction']}; int8: {found['int8_instruction']}; best of 5")
    print(common.table(["", "f32 GFLOP/s", "bf16 GFLOP/s", "int8 Gop/s", "read GB/s", "copy GB/s"],
                       [[name, *(f"{found[key][what]:.1f}" if found[key][what] else "none"
                                 for what in ("f32_gflops", "bf16_gflops", "int8_gops", "read_gbs", "copy_gbs"))]
                        for name, key in (("one thread alone", "one"), (f"all {common.THREADS}", "all"))]))
    if common.missing(common.WAVE):
        return
    peak = found["all"]
    for precision in ("f32", "bf16", "int8") if peak["bf16_gflops"] else ("f32", "int8"):
        report(common.WAVE, 512, 512, precision, peak, True)
        if not quick:
            report(common.WAVE, 1920, 1080, precision, peak, False)
            report(common.LEAN, 1920, 1080, precision, peak, False)


if __name__ == "__main__":
    main()
