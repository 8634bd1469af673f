// SPDX-License-Identifier: Apache-2.0
#include "cli/kept_choices.h"

#include "cli/folders.h"
#include "run/tuning_cache.h"
#include "store/local_store.h"

namespace atelier::cli {

namespace fs = std::filesystem;

model::Choices known_choices() {
  std::error_code error;
  if (!fs::is_directory(cache_home(), error)) return {};
  const auto store = open_local_store(cache_home());
  return store.ok() ? run::TuningCache(**store).known() : model::Choices();
}

Result<void> keep_choices(const model::Choices& measured) {
  std::error_code error;
  fs::create_directories(cache_home(), error);
  if (error) {
    return make_error(Code::invalid_argument, "Cannot make the folder '{}' ({}).",
                      cache_home().string(), error.message());
  }
  const auto store = TRY(open_local_store(cache_home()));
  return run::TuningCache(*store).keep(measured);
}

}  // namespace atelier::cli
