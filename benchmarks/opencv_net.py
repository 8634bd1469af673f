# SPDX-License-Identifier: Apache-2.0
"""Times OpenCV's dnn module (Debian's python3-opencv) on an ONNX file of one size; prints one JSON object.

usage: opencv_net.py '{"model":, "width":, "height":, "threads":, "warm_up":, "repeats":, "frame":, "out":}'
"""
import json
import pathlib
import sys
import tempfile

import cv2
import numpy
import onnx

import common
import qdq


def main():
    arguments = json.loads(sys.argv[1])
    cv2.setNumThreads(arguments["threads"])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "net.onnx"
        onnx.save(qdq.of_size(onnx.load(arguments["model"]), arguments["width"], arguments["height"]), str(path))
        net = cv2.dnn.readNetFromONNX(str(path))
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
    image = common.picture(arguments["frame"], arguments["width"], arguments["height"])

    def run():
        net.setInput(image)
        return net.forward()

    if arguments.get("out"):
        run().astype(numpy.float32).tofile(arguments["out"])
    found = common.timed(arguments, run)
    print(json.dumps({"runtime": "OpenCV dnn", "version": cv2.__version__, "options": "fused, CPU target", **found}))


if __name__ == "__main__":
    main()
