// SPDX-License-Identifier: Apache-2.0
#include "engine/worker_process.h"

#include <cstdlib>
#include <string_view>

namespace atelier::engine {

Code code_of_exit(int code) {
  switch (code) {
    case 2: return Code::invalid_argument;
    case 3: return Code::invalid_input;
    case 4:
    case kNotStarted:
    case kNotFound: return Code::unavailable;
    case kInterrupted: return Code::cancelled;
    default: return Code::internal;
  }
}

namespace {

// An address may hold a password, or a SAS in its query. No store is opened at such a one.
bool is_harmless(std::string_view name, std::string_view value) {
  return name.find("ENDPOINT") == std::string_view::npos ||
         value.find_first_of("@?") == std::string_view::npos;
}

}  // namespace

std::vector<std::string> harmless_variables() {
  std::vector<std::string> names;
  for (const char* name : {"PATH",
                           "HOME",
                           "LANG",
                           "LC_ALL",
                           "ATELIER_CREDENTIALS",
                           "ATELIER_CA_FILE",
                           "ATELIER_MODELS",
                           "XDG_CACHE_HOME",
                           "XDG_STATE_HOME",
                           "XDG_DATA_HOME",
                           "XDG_CONFIG_HOME",
                           "AWS_PROFILE",
                           "AWS_CONFIG_FILE",
                           "AWS_SHARED_CREDENTIALS_FILE",
                           "AWS_REGION",
                           "AWS_DEFAULT_REGION",
                           "AWS_CA_BUNDLE",
                           "AWS_ENDPOINT_URL",
                           "AWS_ENDPOINT_URL_S3",
                           "AZURE_STORAGE_ACCOUNT",
                           "AZURE_STORAGE_SERVICE_ENDPOINT",
                           "OMP_WAIT_POLICY",
                           "SVT_LOG"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && is_harmless(name, value)) names.emplace_back(name);
  }
  return names;
}

}  // namespace atelier::engine
