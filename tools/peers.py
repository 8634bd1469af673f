#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The operator cases of the ONNX project in OpenCV's dnn module, beside ours: make peers.

tools/peers.py            prints `opencv: passed X of Y` and, if build/release has it, our own line
tools/peers.py --list     also one line a case that OpenCV does not pass

Cases run in worker processes: one that crashes or takes over 20 s is a failed case, and the next
gets a new worker. OpenCV keeps neither element types nor ranks below two, so of its outputs only
the number of elements and the values (1e-7 + 1e-3 of the right one, as in ours) are compared.
"""

import collections
import pathlib
import select
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path("/usr/share/libonnx-testdata/data")
GROUPS = ["node", "pytorch-converted", "pytorch-operator", "simple"]
SECONDS = 20
Plain = None


def tensors(folder, kind):
    import onnx
    import onnx.numpy_helper
    found = []
    while (path := folder / f"{kind}_{len(found)}.pb").exists():
        tensor = onnx.TensorProto()
        tensor.ParseFromString(path.read_bytes())
        found.append(onnx.numpy_helper.to_array(tensor))
    return found


def plain(array):
    """As OpenCV's cv2.Mat, which Debian's package lacks: without it the last of three axes would be
    taken for the channels of a matrix."""
    import cv2
    import numpy
    global Plain
    if Plain is None:
        Plain = type("Plain", (numpy.ndarray,), {"wrap_channels": False})
        cv2._registerMatType(Plain)
    return array.view(Plain)


def run_case(folder):
    import cv2
    import numpy
    import onnx
    model = onnx.load(folder / "model.onnx")
    weights = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in weights]
    inputs = tensors(folder / "test_data_set_0", "input")
    expected = tensors(folder / "test_data_set_0", "output")
    if not expected or len(names) != len(inputs):
        return "no outputs, or other inputs than the model has"
    net = cv2.dnn.readNetFromONNX(str(folder / "model.onnx"))
    for name, value in zip(names, inputs):
        net.setInput(plain(numpy.ascontiguousarray(value, dtype=numpy.float32)), name)
    outputs = net.forward([value.name for value in model.graph.output])
    for right, actual in zip(expected, outputs):
        if right.size != actual.size:
            return f"{actual.shape} instead of {right.shape}"
        if not numpy.allclose(actual.ravel().astype(numpy.float64),
                              right.ravel().astype(numpy.float64), 1e-3, 1e-7, True):
            return "other values"
    return ""


def work():
    """A worker: a folder a line in, a verdict a line out."""
    for line in sys.stdin:
        try:
            verdict = run_case(pathlib.Path(line.rstrip("\n")))
        except Exception as error:  # whatever the peer throws, the case has failed
            verdict = " ".join(str(error).split())[:200] or "an exception"
        print("passed" if not verdict else "failed " + verdict, flush=True)


class Worker:
    def __init__(self):
        self.process = None

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def run(self, folder):
        if not self.process:
            self.process = subprocess.Popen([sys.executable, __file__, "--worker"], text=True,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL)
        self.process.stdin.write(f"{folder}\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], SECONDS)[0]:
            self.stop()
            return f"failed takes over {SECONDS} s"
        verdict = self.process.stdout.readline().strip()
        if not verdict:
            code = self.process.wait()
            self.stop()
            return f"failed crashes ({code})"
        return verdict


def ours():
    program = ROOT / "build/release/model_test"
    if not program.exists():
        return "atelier: build/release/model_test is not built"
    done = subprocess.run([program, "--gtest_filter=Conformance.*"], stdout=subprocess.PIPE,
                          text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("conformance: ")]
    return lines[-1].replace("conformance:", "atelier:") if lines else "atelier: no result"


def main(arguments):
    if arguments == ["--worker"]:
        work()
        return 0
    cases = [case for group in GROUPS for case in sorted((DATA / group).glob("*"))]
    if not cases:
        print("tools/peers.py: libonnx-testdata is not installed: tools/setup test peers",
              file=sys.stderr)
        return 1
    try:
        import cv2
        import onnx  # noqa: F401
    except ImportError as error:
        print(f"tools/peers.py: {error}: tools/setup peers, and run with /usr/bin/python3",
              file=sys.stderr)
        return 1
    worker = Worker()
    passed = 0
    kinds = collections.Counter()
    for case in cases:
        verdict = worker.run(case)
        passed += verdict == "passed"
        kinds["crashes" if verdict.startswith("failed crashes") else verdict.split()[0]] += 1
        if verdict != "passed" and "--list" in arguments:
            print(f"opencv: {case.parent.name}/{case.name}: {verdict[7:]}")
    worker.stop()
    print(f"opencv {cv2.__version__}: passed {passed} of {len(cases)} cases ({kinds['crashes']} crash)")
    print(ours())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
