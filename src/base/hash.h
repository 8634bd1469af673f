// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4) over OpenSSL's libcrypto, which uses the processor's SHA instructions.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"

namespace atelier {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(std::span<const std::byte> bytes);
  // 64 lower-case hex digits; call once.
  std::string finish_hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_hex(std::span<const std::byte> bytes);
// Of everything in the source. Errors: the source's.
Result<std::string> sha256_hex(ByteSource& source);

}  // namespace atelier
