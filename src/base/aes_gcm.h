// SPDX-License-Identifier: Apache-2.0
// AES-256-GCM (NIST SP 800-38D) over OpenSSL's libcrypto, which uses the processor's AES and
// carry-less multiplication, and keys that are wiped when they go away.
//
// GCM encrypts and makes a tag of 16 bytes over ciphertext, nonce and additional data; opening says
// yes only to the very same four. Limit: two messages under one key and nonce give away their XOR
// and the power to forge, so whoever seals must see to it that a nonce never comes twice.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "base/bytes.h"

namespace atelier {

// Overwrites in a way that the compiler may not leave out.
void wipe(std::span<std::byte> bytes);

// From the operating system's generator, by OpenSSL's. Errors: internal.
Result<void> fill_random(std::span<std::byte> bytes);

// 32 secret bytes: moved, never copied by accident, and wiped where they were. They are not locked
// into memory: a swap file or a core dump may hold them.
class SecretKey {
 public:
  static constexpr size_t kSize = 32;
  explicit SecretKey(std::span<const std::byte, kSize> bytes);
  // Errors: internal.
  static Result<SecretKey> random();
  ~SecretKey() { wipe(bytes_); }
  SecretKey(SecretKey&& other) noexcept;
  SecretKey& operator=(SecretKey&& other) noexcept;
  SecretKey copy() const { return SecretKey(bytes_); }
  std::span<const std::byte, kSize> bytes() const { return bytes_; }

 private:
  std::array<std::byte, kSize> bytes_;
};

// One thread at a time. A message and its additional data are less than 1 GiB each; buffers may not
// overlap.
class Aes256Gcm {
 public:
  static constexpr size_t kNonceSize = 12;
  static constexpr size_t kTagSize = 16;
  using Nonce = std::array<std::byte, kNonceSize>;

  explicit Aes256Gcm(const SecretKey& key);
  ~Aes256Gcm();
  Aes256Gcm(Aes256Gcm&&) noexcept;
  Aes256Gcm& operator=(Aes256Gcm&&) noexcept;

  // Fills `sealed`, which has the size of `plain` plus kTagSize: ciphertext, then tag.
  void seal(const Nonce& nonce, std::span<const std::byte> additional,
            std::span<const std::byte> plain, std::span<std::byte> sealed);
  // Fills `plain`, which has the size of `sealed` less kTagSize. False, with `plain` wiped, unless
  // key, nonce, additional data and every sealed byte are those of one call of seal.
  [[nodiscard]] bool open(const Nonce& nonce, std::span<const std::byte> additional,
                          std::span<const std::byte> sealed, std::span<std::byte> plain);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace atelier
