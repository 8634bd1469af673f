// SPDX-License-Identifier: Apache-2.0
// atelier.toml: whatever the file holds, a sentence or a configuration with a pool.
#include "server/config.h"

#include "fuzz.h"

namespace fuzz = atelier::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config = atelier::server::parse_config(fuzz::text_of(data, size), "/etc/atelier");
  if (!config.ok()) {
    fuzz::must(!config.error().message.empty(), "an error has a sentence");
    return 0;
  }
  fuzz::must(!config->pools.empty(), "a configuration has a pool");
  fuzz::must(config->stores.ops.is_file() ? config->stores.ops.path.is_absolute() : true,
             "run folders have an absolute path");
  return 0;
}
