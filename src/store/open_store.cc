// SPDX-License-Identifier: Apache-2.0
#include "store/open_store.h"

#include "store/azure/azure_store.h"
#include "store/encrypting_store.h"
#include "store/local_store.h"
#include "store/prefix_store.h"
#include "store/retrying_store.h"
#include "store/s3/s3_store.h"

namespace atelier {
namespace {

Result<std::unique_ptr<ObjectStore>> open_once(const Location& place,
                                               const Credentials& credentials, Clock& clock,
                                               const Notes& notes) {
  const std::string prefix = place.key.empty() ? "" : place.key + "/";
  switch (place.scheme) {
    case Location::Scheme::file: return open_local_store(place.path);
    case Location::Scheme::azure: {
      azure::Account account = TRY(credentials.azure(place, notes));
      return azure::open_azure_store(std::move(account), {place.container, prefix}, clock);
    }
    case Location::Scheme::s3: {
      s3::Options options;
      options.bucket = TRY(credentials.s3(place, clock, notes));
      options.prefix = prefix;
      options.note = notes;
      return s3::open_s3_store(std::move(options), clock);
    }
  }
  return make_error(Code::invalid_argument, "Cannot open {}.", place.url());
}

Result<std::unique_ptr<ObjectStore>> open_plain(const Location& place,
                                                const Credentials& credentials, Clock& clock,
                                                const Notes& notes) {
  auto store = TRY(open_once(place, credentials, clock, notes));
  const auto patience = TRY(credentials.patience(place));
  return std::unique_ptr<ObjectStore>(std::make_unique<RetryingStore>(
      std::move(store), clock, place.is_file() ? RetryPolicy{} : patience.retries()));
}

// An encrypting store and the one below it.
class OwningEncrypting final : public ObjectStore {
 public:
  static Result<std::unique_ptr<ObjectStore>> open(std::unique_ptr<ObjectStore> inner,
                                                   MasterKey master) {
    auto outer = TRY(open_encrypting_store(*inner, std::move(master)));
    return std::unique_ptr<ObjectStore>(
        std::make_unique<OwningEncrypting>(std::move(inner), std::move(outer)));
  }
  OwningEncrypting(std::unique_ptr<ObjectStore> inner, std::unique_ptr<ObjectStore> outer)
      : inner_(std::move(inner)), outer_(std::move(outer)) {}

  Result<std::optional<ObjectInfo>> head(std::string_view key) override {
    return outer_->head(key);
  }
  Result<std::vector<std::byte>> get(std::string_view key, ByteRange range,
                                     std::string_view if_match) override {
    return outer_->get(key, range, if_match);
  }
  Result<PutOutcome> put(std::string_view key, std::span<const std::byte> bytes,
                         const Condition& condition) override {
    return outer_->put(key, bytes, condition);
  }
  Result<std::unique_ptr<Upload>> begin_upload(std::string_view key) override {
    return outer_->begin_upload(key);
  }
  Result<ListPage> list(std::string_view prefix, std::string_view after, size_t limit) override {
    return outer_->list(prefix, after, limit);
  }
  Result<bool> remove(std::string_view key) override { return outer_->remove(key); }
  Result<bool> decides_conditions(std::string_view key) override {
    return outer_->decides_conditions(key);
  }
  RetryPolicy retries() const override { return outer_->retries(); }
  std::string url(std::string_view key) const override { return outer_->url(key); }

 private:
  std::unique_ptr<ObjectStore> inner_;
  std::unique_ptr<ObjectStore> outer_;  // goes first
};

Result<MasterKey> key_of(const Credentials::Encryption& encryption) {
  return encryption.key_file.empty() ? master_key_of_command(encryption.key_command)
                                     : read_master_key_file(encryption.key_file);
}

// What follows the root in a place below it: "" or "a/b/".
std::string below(const Location& root, const Location& place) {
  std::string path = place.is_file() ? place.path.lexically_relative(root.path).generic_string()
                     : root.key.empty()
                         ? place.key
                         : place.key.substr(std::min(place.key.size(), root.key.size() + 1));
  if (path.empty() || path == ".") return {};
  return path + "/";
}

}  // namespace

Result<std::unique_ptr<ObjectStore>> open_store(const Location& place,
                                                const Credentials& credentials, Clock& clock,
                                                const Notes& notes) {
  const auto encryption = TRY(credentials.encryption(place));
  if (!encryption) return open_plain(place, credentials, clock, notes);
  auto plain = TRY(open_plain(encryption->root, credentials, clock, notes));
  MasterKey key = TRY(key_of(*encryption));
  auto store = TRY(OwningEncrypting::open(std::move(plain), std::move(key)));
  const std::string path = below(encryption->root, place);
  if (path.empty()) return store;
  return std::unique_ptr<ObjectStore>(std::make_unique<PrefixStore>(std::move(store), path));
}

namespace {

// What is below the encrypted place that `place` lies in, and the key that opens it.
struct Ring {
  std::unique_ptr<ObjectStore> store;
  MasterKey key;
};

Result<Ring> open_ring(const Location& place, const Credentials& credentials, Clock& clock,
                       const Notes& notes) {
  const auto encryption = TRY(credentials.encryption(place));
  if (!encryption) {
    return make_error(Code::invalid_argument,
                      "{} is not encrypted: no section of the file of credentials that it lies in "
                      "has a master_key_file or master_key_command.",
                      place.url());
  }
  auto store = TRY(open_plain(encryption->root, credentials, clock, notes));
  MasterKey key = TRY(key_of(*encryption));
  return Ring{std::move(store), std::move(key)};
}

}  // namespace

Result<bool> change_master_key(const Location& place, const Credentials& credentials,
                               const MasterKey& new_key, Clock& clock, const Notes& notes) {
  const Ring ring = TRY(open_ring(place, credentials, clock, notes));
  return rotate_master_key(*ring.store, ring.key, new_key);
}

Result<void> add_store_key_to(const Location& place, const Credentials& credentials, Clock& clock,
                              const Notes& notes) {
  const Ring ring = TRY(open_ring(place, credentials, clock, notes));
  return add_store_key(*ring.store, ring.key);
}

}  // namespace atelier
