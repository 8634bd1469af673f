// SPDX-License-Identifier: Apache-2.0
#include "engine/gang.h"

#include "base/hash.h"

namespace atelier::engine {

Result<std::vector<std::byte>> read_once(
    Gang& gang, const std::function<Result<std::vector<std::byte>>()>& read, std::stop_token stop) {
  std::vector<std::byte> bytes;
  std::vector<std::byte> digest;
  if (gang.rank() == 0) {
    bytes = TRY(read());
    const std::string hash = sha256_hex(bytes);
    digest.assign(as_bytes(hash).begin(), as_bytes(hash).end());
  }
  bytes = TRY(gang.broadcast(std::move(bytes), stop));
  digest = TRY(gang.broadcast(std::move(digest), stop));
  if (sha256_hex(bytes) == as_text(digest)) return bytes;
  return make_error(Code::corrupt,
                    "What rank 0 sent to rank {} arrived as something else; look at the network "
                    "between the hosts.",
                    gang.rank());
}

}  // namespace atelier::engine
