// SPDX-License-Identifier: Apache-2.0
// How large the input of a run is.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "store/location.h"
#include "store/object_store.h"

namespace atelier::server {

// Bytes of a file of this machine, a matter of microseconds; nothing where it is none, is not there
// or is no single file (numbered pictures).
std::optional<int64_t> size_of_file(const std::string& url);

// The same of objects, too. A place (a bucket, an account) that did not answer is not asked again
// for a minute, as whoever asks waits for it meanwhile. One thread.
class InputSizes {
 public:
  // Gives the store of a folder.
  using Open = std::function<Result<std::unique_ptr<ObjectStore>>(const Location&)>;
  explicit InputSizes(Open open) : open_(std::move(open)) {}
  // Errors: those of `open` and of the store; while it is left alone, that which it had last.
  Result<std::optional<int64_t>> of(const std::string& url, Clock::Duration now);

 private:
  struct Away {
    Error error;
    Clock::Duration until{0};
  };
  Result<std::optional<int64_t>> ask(const Location& place);
  const Open open_;
  std::map<std::string, Away> away_;
};

}  // namespace atelier::server
