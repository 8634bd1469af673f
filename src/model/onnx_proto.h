// SPDX-License-Identifier: Apache-2.0
// The only door to libonnx and protobuf. Internal to src/model: no public header includes it.
#pragma once

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wextra"
#include <onnx/checker.h>
#include <onnx/onnx_pb.h>
#pragma GCC diagnostic pop
