# SPDX-License-Identifier: Apache-2.0
"""Tiny ONNX models, written byte by byte: protobuf's wire format needs no library.

Field numbers are those of onnx.proto (ModelProto, GraphProto, NodeProto, TensorProto, ...).
"""

import pathlib
import struct


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """An int is a varint, a float is fixed32, text and bytes are length-delimited."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name, shape, values):
    return b"".join(field(1, n) for n in shape) + field(2, 1) + field(8, name) + \
        field(9, struct.pack(f"<{len(values)}f", *values))


def value_info(name, shape):
    dims = b"".join(field(1, field(2, n) if isinstance(n, str) else field(1, n)) for n in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def attribute(name, value):
    if isinstance(value, list):
        return field(1, name) + b"".join(field(8, n) for n in value) + field(20, 7)
    if isinstance(value, float):
        return field(1, name) + field(2, value) + field(20, 1)
    return field(1, name) + field(3, value) + field(20, 2)


def node(operator, inputs, outputs, **attributes):
    return b"".join(field(1, name) for name in inputs) + \
        b"".join(field(2, name) for name in outputs) + field(3, outputs[0] + "_node") + \
        field(4, operator) + b"".join(field(5, attribute(k, v)) for k, v in attributes.items())


def model(nodes, weights, inputs, outputs, opset=13):
    graph = b"".join(field(1, n) for n in nodes) + field(2, "test") + \
        b"".join(field(5, w) for w in weights) + b"".join(field(11, i) for i in inputs) + \
        b"".join(field(12, o) for o in outputs)
    return field(1, 8) + field(2, "atelier-tests") + field(7, graph) + \
        field(8, field(1, "") + field(2, opset))


IMAGE = ["N", 3, "H", "W"]


def write(folder, stem, data, spec="clamp = false\n"):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.onnx").write_bytes(data)
    if spec is not None:
        (folder / f"{stem}.toml").write_text(spec)
    return folder / f"{stem}.onnx"


def matrix_model(matrix, bias=(0.0, 0.0, 0.0)):
    """out = matrix * rgb + bias for every pixel: a 1x1 convolution."""
    rows = len(matrix)
    return model([node("Conv", ["image", "w", "b"], ["out"], kernel_shape=[1, 1])],
                 [tensor("w", [rows, 3, 1, 1], [x for row in matrix for x in row]),
                  tensor("b", [rows], list(bias))],
                 [value_info("image", IMAGE)], [value_info("out", ["N", rows, "H", "W"])])


SPEC = 'licence = "Apache-2.0"\ninput = "image"\noutput = "out"\ncolor_order = "rgb"\n' \
       'range = [0, 255]\noutput_range = [0, 255]\n'
EYE = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


def write_identity(folder):
    return write(folder, "identity", matrix_model(EYE), SPEC + "clamp = false\n")


def write_negative(folder):
    """255 - x: another model, as cheap, whose effect can be seen."""
    return write(folder, "negative",
                 matrix_model([[-v for v in row] for row in EYE], [255.0, 255.0, 255.0]),
                 SPEC + "clamp = true\n")


def write_wide_negative(folder, channels):
    """255 - x through so many channels: the same pictures as `negative`, for more memory."""
    copies = [float(c % 3 == k) for c in range(channels) for k in range(3)]
    back = [-float(c == k) for k in range(3) for c in range(channels)]
    return write(folder, "wide-negative", model(
        [node("Conv", ["image", "w0"], ["wide"], kernel_shape=[1, 1]), node("Relu", ["wide"], ["positive"]),
         node("Conv", ["positive", "w1", "b1"], ["out"], kernel_shape=[1, 1])],
        [tensor("w0", [channels, 3, 1, 1], copies), tensor("w1", [3, channels, 1, 1], back),
         tensor("b1", [3], [255.0] * 3)],
        [value_info("image", IMAGE)], [value_info("out", IMAGE)]), SPEC + "clamp = true\n")


def write_red_only(folder, order="rgb"):
    """Keeps the first channel: shows whether RGB is taken for BGR."""
    keep = [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    return write(folder, f"first-{order}", matrix_model(keep),
                 SPEC.replace('"rgb"', f'"{order}"') + "clamp = true\n")


def write_external(folder, location="weights.bin", offset=8):
    """x * 1 + 0, the 1 in another file at an offset."""
    def entry(key, value):
        return field(13, field(1, key) + field(2, value))

    weight = field(1, 1) + field(2, 1) + field(8, "w") + entry("location", location) + \
        entry("offset", str(offset)) + entry("length", "4") + field(14, 1)
    return write(folder, "external",
                 model([node("Mul", ["image", "w"], ["out"])], [weight],
                       [value_info("image", IMAGE)], [value_info("out", IMAGE)]),
                 SPEC + "clamp = false\n")


def write_slow(folder, layers=16, channels=64):
    """Tens of milliseconds for a 64x48 frame, so that a test can meet it half-way."""
    nodes, weights, before, width = [], [], "image", 3
    for i in range(layers):
        last = i == layers - 1
        out = 3 if last else channels
        count = out * width * 9
        values = [((n * 7919 + i * 104729) % 1009 / 504.5 - 1.0) / (width * 3) for n in range(count)]
        weights += [tensor(f"w{i}", [out, width, 3, 3], values), tensor(f"b{i}", [out], [1.0] * out)]
        name = "out" if last else f"c{i}"
        nodes.append(node("Conv", [before, f"w{i}", f"b{i}"], [name], kernel_shape=[3, 3],
                          pads=[1, 1, 1, 1]))
        if not last:
            nodes.append(node("Relu", [name], [f"r{i}"]))
        before, width = f"r{i}", out
    return write(folder, "slow", model(nodes, weights, [value_info("image", IMAGE)],
                                       [value_info("out", IMAGE)]), SPEC + "clamp = true\n")


def write_not_an_image(folder):
    """Five channels out."""
    rows = [[float(r == c) for c in range(3)] for r in range(5)]
    return write(folder, "five", matrix_model(rows, [0.0] * 5), SPEC)


def write_unsupported(folder):
    return write(folder, "odd", model([node("Det", ["image"], ["a"]), node("Tan", ["a"], ["out"])],
                                      [], [value_info("image", IMAGE)], [value_info("out", IMAGE)]),
                 SPEC)


def write_fixed_size(folder, width, height):
    shape = [1, 3, height, width]
    return write(folder, "fixed", model(
        [node("Conv", ["image", "w"], ["out"], kernel_shape=[1, 1])],
        [tensor("w", [3, 3, 1, 1], [x for row in EYE for x in row])],
        [value_info("image", shape)], [value_info("out", shape)]), SPEC)
