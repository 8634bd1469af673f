// SPDX-License-Identifier: Apache-2.0
// What services publish that they take, and what of it a plan would exceed. Pure; sources, with the
// titles of the pages, are in docs/plan.md.
#pragma once

#include <span>
#include <string_view>

#include "engine/simulation.h"

namespace atelier::engine {

struct StoreLimit {
  std::string_view service;  // "Azure Blob Storage"
  std::string_view what;     // "requests a second of an account"
  double most = 0;           // in the unit of `load`
  double (*load)(const StoreLoad&);
  // By the busiest second of a plan.
  bool is_exceeded(const StoreLoad& by) const { return load(by) > most; }
};

// Defaults where regions differ or more is given on request.
std::span<const StoreLimit> published_limits();

}  // namespace atelier::engine
