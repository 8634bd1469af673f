// SPDX-License-Identifier: Apache-2.0
#include "base/aes_gcm.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <new>

namespace atelier {
namespace {

const unsigned char* data_of(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* data_of(std::span<std::byte> bytes) {
  return reinterpret_cast<unsigned char*>(bytes.data());
}

// For calls that fail only without memory.
void must(int result) {
  if (result != 1) throw std::bad_alloc();
}

}  // namespace

void wipe(std::span<std::byte> bytes) { OPENSSL_cleanse(bytes.data(), bytes.size()); }

Result<void> fill_random(std::span<std::byte> bytes) {
  if (RAND_priv_bytes(data_of(bytes), static_cast<int>(bytes.size())) == 1) return {};
  return Error{Code::internal,
               "The system gave no random numbers to make a key of; look at its /dev/urandom."};
}

SecretKey::SecretKey(std::span<const std::byte, kSize> bytes) {
  std::copy(bytes.begin(), bytes.end(), bytes_.begin());
}

Result<SecretKey> SecretKey::random() {
  SecretKey key(std::array<std::byte, kSize>{});
  TRY(fill_random(key.bytes_));
  return key;
}

SecretKey::SecretKey(SecretKey&& other) noexcept : bytes_(other.bytes_) { wipe(other.bytes_); }

SecretKey& SecretKey::operator=(SecretKey&& other) noexcept {
  if (this != &other) {
    bytes_ = other.bytes_;
    wipe(other.bytes_);
  }
  return *this;
}

struct Aes256Gcm::State {
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  explicit State(const SecretKey& key) {
    if (context == nullptr) throw std::bad_alloc();
    must(EVP_CipherInit_ex(context, EVP_aes_256_gcm(), nullptr, data_of(key.bytes()), nullptr, 1));
  }
  ~State() { EVP_CIPHER_CTX_free(context); }  // wipes the key
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // Everything but the tag; `encrypt` is 1 or 0.
  void process(int encrypt, const Nonce& nonce, std::span<const std::byte> additional,
               std::span<const std::byte> from, std::span<std::byte> to) const {
    int count = 0;
    must(EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, data_of(nonce), encrypt));
    if (!additional.empty()) {
      must(EVP_CipherUpdate(context, nullptr, &count, data_of(additional),
                            static_cast<int>(additional.size())));
    }
    if (from.empty()) return;
    must(EVP_CipherUpdate(context, data_of(to), &count, data_of(from),
                          static_cast<int>(from.size())));
  }
};

Aes256Gcm::Aes256Gcm(const SecretKey& key) : state_(std::make_unique<State>(key)) {}
Aes256Gcm::~Aes256Gcm() = default;
Aes256Gcm::Aes256Gcm(Aes256Gcm&&) noexcept = default;
Aes256Gcm& Aes256Gcm::operator=(Aes256Gcm&&) noexcept = default;

void Aes256Gcm::seal(const Nonce& nonce, std::span<const std::byte> additional,
                     std::span<const std::byte> plain, std::span<std::byte> sealed) {
  state_->process(1, nonce, additional, plain, sealed.first(plain.size()));
  const std::span tag = sealed.subspan(plain.size(), kTagSize);
  int count = 0;
  must(EVP_CipherFinal_ex(state_->context, data_of(tag), &count));
  must(EVP_CIPHER_CTX_ctrl(state_->context, EVP_CTRL_GCM_GET_TAG, kTagSize, data_of(tag)));
}

bool Aes256Gcm::open(const Nonce& nonce, std::span<const std::byte> additional,
                     std::span<const std::byte> sealed, std::span<std::byte> plain) {
  state_->process(0, nonce, additional, sealed.first(plain.size()), plain);
  // OpenSSL takes the tag as non-const, and only reads it.
  std::array<std::byte, kTagSize> tag{};
  std::copy_n(sealed.begin() + static_cast<std::ptrdiff_t>(plain.size()), kTagSize, tag.begin());
  must(EVP_CIPHER_CTX_ctrl(state_->context, EVP_CTRL_GCM_SET_TAG, kTagSize, tag.data()));
  int count = 0;
  std::array<unsigned char, kTagSize> nothing{};  // GCM has no last block
  if (EVP_CipherFinal_ex(state_->context, nothing.data(), &count) == 1) return true;
  wipe(plain);
  return false;
}

}  // namespace atelier
