// SPDX-License-Identifier: Apache-2.0
#include "engine/store_limits.h"

#include <algorithm>
#include <array>

namespace atelier::engine {
namespace {

constexpr double kBytesOfGigabit = 1e9 / 8;

double on_one_object(const StoreLoad& load) {
  return std::max(load.peak_cancel_looks, load.peak_input_reads);
}

}  // namespace

std::span<const StoreLimit> published_limits() {
  static constexpr std::array<StoreLimit, 6> kLimits = {{
      {"Azure Blob Storage", "requests a second of an account", 20000,
       [](const StoreLoad& load) { return load.peak_calls; }},
      {"Azure Blob Storage", "requests a second of one blob", 500, on_one_object},
      {"Azure Blob Storage", "bytes a second into an account", 25 * kBytesOfGigabit,
       [](const StoreLoad& load) { return load.peak_bytes_written; }},
      {"Azure Blob Storage", "bytes a second out of an account", 50 * kBytesOfGigabit,
       [](const StoreLoad& load) { return load.peak_bytes_read; }},
      {"Amazon S3", "writes a second of a prefix", 3500,
       [](const StoreLoad& load) { return load.peak_writes; }},
      {"Amazon S3", "reads a second of a prefix", 5500,
       [](const StoreLoad& load) { return load.peak_reads; }},
  }};
  return kLimits;
}

}  // namespace atelier::engine
