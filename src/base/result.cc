// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

namespace atelier {

const char* to_string(Code code) {
  switch (code) {
    case Code::invalid_argument: return "invalid_argument";
    case Code::invalid_input: return "invalid_input";
    case Code::unavailable: return "unavailable";
    case Code::conflict: return "conflict";
    case Code::corrupt: return "corrupt";
    case Code::cancelled: return "cancelled";
    case Code::no_space: return "no_space";
    case Code::internal: return "internal";
  }
  return "internal";
}

}  // namespace atelier
