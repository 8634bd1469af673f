// SPDX-License-Identifier: Apache-2.0
// The ways to compute one convolution by our own kernels, by name. Which one is planned: a plan to
// obey, else what was measured (model/tuning.h), else a rule (plan_ways.cc).
#pragma once

#include <map>
#include <string>
#include <vector>

namespace atelier::model {

inline constexpr const char* kWayDirect = "direct";
inline constexpr const char* kWayWinograd = "winograd_f4x3";
inline constexpr const char* kWayInt8 = "direct_int8";
inline constexpr const char* kWayBf16 = "direct_bf16";
// With the enlargement before it taken in: its picture is never made.
inline constexpr const char* kWayEnlarged = "resize+direct";
inline constexpr const char* kWayEnlargedInt8 = "resize+direct_int8";
inline constexpr const char* kWayEnlargedBf16 = "resize+direct_bf16";

// Key of a layer -> the way to compute it. A key says all that the time of a layer depends on but
// the machine (tuning_machine()): shape, neighbours, precision, threads, the ways there are. No
// node or network is named, so equal layers share what was measured. Unknown keys, and ways that a
// layer does not have, are ignored.
using Choices = std::map<std::string, std::string>;

// What was measured of one key.
struct TunedLayer {
  std::string key;
  std::string rule;  // the way by rule
  std::string way;   // the chosen one
  // By way: of one such layer and the steps beside it.
  std::map<std::string, double> seconds;
  std::vector<std::string> nodes;  // of the network measured that have this key
};

}  // namespace atelier::model
