// SPDX-License-Identifier: Apache-2.0
// Digests over OpenSSL's libcrypto, which uses the processor's SHA instructions: SHA-256
// (FIPS 180-4), HMAC with it (RFC 2104), and MD5 (RFC 1321), which stores check transfers by.
#pragma once

#include <array>
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

using Sha256Digest = std::array<std::byte, 32>;
Sha256Digest hmac_sha256(std::span<const std::byte> key, std::string_view message);
// As base64: what HTTP calls Content-MD5. Good against accidents, not against anybody.
std::string md5_base64(std::span<const std::byte> bytes);
// Lower-case hex digits.
std::string to_hex(std::span<const std::byte> bytes);

}  // namespace atelier
