// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"

#include <algorithm>

namespace atelier {

Result<size_t> MemorySource::read_at(uint64_t offset, std::span<std::byte> into) {
  if (offset >= bytes_.size()) return size_t{0};
  const size_t count = std::min<size_t>(into.size(), bytes_.size() - offset);
  std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), count, into.begin());
  return count;
}

Result<void> MemorySink::write(std::span<const std::byte> bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  return {};
}

Result<std::vector<std::byte>> read_all(ByteSource& source, uint64_t limit, std::string_view what) {
  if (source.size() > limit) {
    return make_error(Code::invalid_input, "{} is {} bytes long, more than the {} it may have.",
                      what, source.size(), limit);
  }
  std::vector<std::byte> bytes(source.size());
  size_t done = 0;
  while (done < bytes.size()) {
    const size_t count = TRY(source.read_at(done, std::span(bytes).subspan(done)));
    if (count == 0) {
      return make_error(Code::conflict, "{} became shorter while it was read; run again.", what);
    }
    done += count;
  }
  return bytes;
}

}  // namespace atelier
