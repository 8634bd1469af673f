// SPDX-License-Identifier: Apache-2.0
// MD5 (RFC 1321) of bytes that come in pieces, see hash.h.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace atelier {

class Md5 {
 public:
  Md5();
  ~Md5();
  Md5(const Md5&) = delete;
  Md5& operator=(const Md5&) = delete;
  void update(std::span<const std::byte> bytes);
  // As md5_base64: empty where OpenSSL has no MD5 (a FIPS build); call once.
  std::string finish_base64();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace atelier
