#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the benchmark scripts compute themselves: medians and tables, goals, the QDQ model, counted operations."""
import contextlib
import io
import unittest

import common
import service_load

try:
    import numpy
    import onnx
    from onnx import helper, numpy_helper
    import floor
    import qdq
except ImportError as error:
    onnx = None
    print(f"SKIPPED: the QDQ model is not tested: {error}")


def network():
    """Two convolutions, the first with bias, and a transposed one, which stays as it is."""
    draw = numpy.random.default_rng(5)
    tensor = lambda name, *shape: numpy_helper.from_array(draw.standard_normal(shape).astype(numpy.float32), name)
    value = lambda name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3, "h", "w"])
    nodes = [helper.make_node("Conv", ["image", "w0", "b0"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
             helper.make_node("Relu", ["a"], ["b"]),
             helper.make_node("Conv", ["b", "w1"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
             helper.make_node("ConvTranspose", ["c", "w2"], ["out"], kernel_shape=[2, 2], strides=[2, 2])]
    graph = helper.make_graph(nodes, "net", [value("image")], [value("out")],
                              [tensor("w0", 8, 3, 3, 3), tensor("b0", 8), tensor("w1", 4, 8, 3, 3), tensor("w2", 4, 3, 2, 2)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


class Tables(unittest.TestCase):
    def test_columns_are_aligned_and_remarks_may_be_long(self):
        text = common.table(["", "s"], [["short", "1.5"], ["longer name", "12.25"]])
        self.assertEqual([line.rstrip() for line in text.splitlines()],
                         ["                   s", "  short          1.5", "  longer name  12.25"])
        remark = common.table(["", "s", "ratio"], [["a", "1", "2"], ["b", "cannot: a long sentence"]]).splitlines()
        self.assertEqual(remark[1:], ["  a  1      2", "  b  cannot: a long sentence"])

    def test_rounds_alternate_and_a_failure_is_asked_once(self):
        calls = []

        def good():
            calls.append("good")
            return len(calls)

        def bad():
            calls.append("bad")
            raise common.Failed("no such thing")

        found = common.alternate({"bad": bad, "good": good}, 3)
        self.assertEqual(calls, ["bad", "good", "good", "good"])
        self.assertEqual(str(found["bad"][0]), "no such thing")
        self.assertEqual(common.median(found["good"]), 3)

    def test_what_takes_too_long_is_asked_once(self):
        found = common.alternate({"slow": lambda: 1}, 3, patience=-1)
        self.assertEqual(found["slow"], [1])

    def test_a_program_that_fails_is_quoted(self):
        with self.assertRaisesRegex(common.Failed, r"error: no, really \(exit code 3\)"):
            common.call(["sh", "-c", "echo 'error: no, really' >&2; echo later >&2; exit 3"])
        with self.assertRaisesRegex(common.Failed, "is not installed"):
            common.call(["atelier-has-no-such-program"])


class Goals(unittest.TestCase):
    ROWS, FIRST = [["a", 5, 0], ["b", 5, 0]], {"p99_ms": 49.9, "errors": 0}
    PAGES = {"page_50_queued_ms": 1, "page_1000_queued_ms": 99.9, "worst_page_ms": 2}

    def tell(self, **other):
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            code = service_load.tell_goals(service_load.goals_of(other.get("rows", self.ROWS), {**self.FIRST, **other},
                                                                 {**self.PAGES, **other}))
        return code, told.getvalue().count(": NO")

    def test_a_goal_that_is_missed_is_the_exit_code(self):
        self.assertEqual(self.tell(), (0, 0))
        for missed in ({"p99_ms": 50}, {"errors": 1}, {"rows": [["a", 5, 0], ["b", 5, 1]]}, {"page_50_queued_ms": 100},
                       {"page_1000_queued_ms": 100}, {"worst_page_ms": 100}):
            self.assertEqual(self.tell(**missed), (1, 1), missed)
        self.assertEqual(self.tell(errors=1, p99_ms=50), (1, 2))


@unittest.skipIf(onnx is None, "python3-onnx is not installed")
class Qdq(unittest.TestCase):
    RANGES = {"image": (0, 255), "a": (-3, 5), "b": (0, 5), "c": (-1, 1)}

    def constants(self, model):
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    def test_observed_tensors_are_those_around_convolutions(self):
        self.assertEqual(qdq.observed(network()), ["image", "a", "b", "c"])
        ranges = qdq.with_ranges(network())
        onnx.checker.check_model(ranges)
        self.assertEqual(len(ranges.graph.output), 8)

    def test_every_convolution_is_wrapped_and_nothing_else(self):
        model = qdq.quantise(network(), self.RANGES)
        onnx.checker.check_model(model, full_check=True)
        made = {node.output[0]: node for node in model.graph.node}
        convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
        self.assertEqual(len(convolutions), 2)
        for node in convolutions:
            for name in node.input:
                self.assertEqual(made[name].op_type, "DequantizeLinear", name)
            after = [n.op_type for n in model.graph.node if node.output[0] in n.input]
            self.assertEqual(after, ["QuantizeLinear"])
        transposed = next(node for node in model.graph.node if node.op_type == "ConvTranspose")
        self.assertEqual(list(transposed.input), ["c", "w2"])

    def test_weights_come_back_within_half_a_step(self):
        for largest in (63, 127):
            known = self.constants(qdq.quantise(network(), self.RANGES, largest))
            for name, weights in self.constants(network()).items():
                if name not in ("w0", "w1"):
                    continue
                steps, scales = known[f"{name}/q"], known[f"{name}/scale"]
                self.assertEqual(steps.dtype, numpy.int8)
                self.assertEqual(numpy.abs(steps.astype(int)).max(), largest)
                error = numpy.abs(steps * scales.reshape(-1, 1, 1, 1) - weights)
                self.assertLessEqual(float((error / scales.reshape(-1, 1, 1, 1)).max()), 0.501)
        self.assertEqual(known["b0/q"].dtype, numpy.int32)

    def test_zero_is_exact(self):
        for low, high in ((0, 255), (-3, 5), (2, 7), (-9, -1), (0, 0)):
            scale, zero = qdq.affine(low, high)
            self.assertGreater(scale, 0)
            self.assertLessEqual(abs((0 - float(zero)) * scale - min(low, 0)), scale)


@unittest.skipIf(onnx is None, "python3-onnx is not installed")
class Operations(unittest.TestCase):
    def test_stated_and_executed(self):
        onnx_file = common.LEAN
        model, extents = floor.shapes(onnx_file, 64, 32)
        first = next(node for node in model.graph.node if node.op_type == "Conv")
        self.assertEqual(extents[first.output[0]][:2], [1, 16])
        area = extents[first.output[0]][2] * extents[first.output[0]][3]
        self.assertEqual(floor.stated(first, extents), 2 * area * 16 * 3 * 25)
        self.assertEqual(floor.executed(first, extents, "direct"), floor.stated(first, extents))
        self.assertEqual([floor.kind_of(name) for name in ("direct", "winograd_f4x3", "direct_bf16", "direct_int8")],
                         ["f32", "f32", "bf16", "int8"])

    def test_winograd_executes_a_quarter_and_whole_tiles(self):
        node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3])
        extents = {"x": [1, 8, 8, 8], "w": [4, 8, 3, 3], "y": [1, 4, 8, 8]}
        self.assertEqual(4 * floor.executed(node, extents, "winograd_f4x3"), floor.stated(node, extents))
        extents["y"] = [1, 4, 7, 8]
        self.assertEqual(floor.executed(node, extents, "winograd_f4x3"), 2 * 4 * 8 * 36 * 4)


if __name__ == "__main__":
    unittest.main()
