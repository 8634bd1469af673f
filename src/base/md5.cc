// SPDX-License-Identifier: Apache-2.0
#include "base/md5.h"

#include <openssl/evp.h>

#include <array>
#include <new>

#include "base/base64.h"

namespace atelier {

struct Md5::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  bool works = false;
  State() {
    if (context == nullptr) throw std::bad_alloc();
    works = EVP_DigestInit_ex(context, EVP_md5(), nullptr) == 1;
  }
  ~State() { EVP_MD_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Md5::Md5() : state_(std::make_unique<State>()) {}
Md5::~Md5() = default;

void Md5::update(std::span<const std::byte> bytes) {
  if (state_->works) EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}

std::string Md5::finish_base64() {
  std::array<unsigned char, 16> digest{};
  if (!state_->works || EVP_DigestFinal_ex(state_->context, digest.data(), nullptr) != 1) return {};
  return to_base64(std::as_bytes(std::span(digest)));
}

}  // namespace atelier
