// SPDX-License-Identifier: Apache-2.0
// What services publish that they take, and what of it a plan would exceed. Pure; sources, with the
// titles of the pages, are in docs/plan.md.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "engine/simulation.h"

namespace atelier::engine {

struct StoreLimit {
  std::string_view service;  // "Azure Blob Storage"
  std::string_view what;     // "requests a second of an account"
  double most = 0;           // in the unit of `load`
  double (*load)(const StoreLoad&);
};

// Defaults where regions differ or more is given on request.
std::span<const StoreLimit> published_limits();

// Those of published_limits() that the plan's busiest second is beyond.
std::vector<const StoreLimit*> exceeded_limits(const StoreLoad& load);

}  // namespace atelier::engine
