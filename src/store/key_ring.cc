// SPDX-License-Identifier: Apache-2.0
#include "store/key_ring.h"

#include <algorithm>
#include <optional>

#include "base/hash.h"
#include "store/big_endian.h"

namespace atelier {
namespace {

using encrypted::KeyId;
using encrypted::StoreKey;

constexpr std::string_view kMagic = "ATELKEYS";
constexpr uint64_t kVersion = 1;

// The beginning: magic, version, number of keys, fingerprint of the master key, nonce.
constexpr size_t kVersionAt = 8;
constexpr size_t kCountAt = 12;
constexpr size_t kFingerprintAt = 16;
constexpr size_t kFingerprintSize = 32;
constexpr size_t kNonceAt = kFingerprintAt + kFingerprintSize;
constexpr size_t kSealedAt = kNonceAt + Aes256Gcm::kNonceSize;
constexpr size_t kEntrySize = sizeof(KeyId) + SecretKey::kSize;

// How often a change that lost a race is tried anew.
constexpr int kAttempts = 10;

size_t ring_size(uint64_t keys) { return kSealedAt + keys * kEntrySize + Aes256Gcm::kTagSize; }

// Plain entries, wiped with the object.
struct Entries {
  explicit Entries(size_t count) : bytes(count * kEntrySize) {}
  ~Entries() { wipe(bytes); }
  Entries(const Entries&) = delete;
  Entries& operator=(const Entries&) = delete;
  std::span<std::byte> of(size_t i) { return std::span(bytes).subspan(i * kEntrySize, kEntrySize); }
  std::vector<std::byte> bytes;
};

struct StoredRing {
  std::string key;  // of the object
  std::vector<std::byte> bytes;
  std::string etag;
};

// Of the ring whose newest key has that id.
std::string own_name(const KeyId& id) { return std::string(kOwnRings) + to_hex(id); }

Error absent_error(ObjectStore& inner) {
  return make_error(Code::invalid_argument,
                    "{} does not exist, so what is beside it is not encrypted or has lost its "
                    "keys; give another place, or restore that object from a copy.",
                    inner.url(kKeyRingKey));
}

Error busy_error(ObjectStore& inner) {
  return make_error(Code::conflict, "{} is being changed by others again and again; try later.",
                    inner.url(kKeyRingKey));
}

Error mixed_error(ObjectStore& inner) {
  return make_error(
      Code::invalid_argument,
      "Some of the key rings {}... are sealed by this master key and some by another, "
      "as a change of it that was cut short leaves them; repeat it by `atelier "
      "rekey` with the old key and the new one.",
      inner.url(kOwnRings));
}

Error damaged_error(std::string_view url, std::string_view what) {
  return make_error(Code::corrupt, "{} {}; restore it from a copy.", url, what);
}

Result<StoreKey> fresh_store_key() {
  SecretKey key = TRY(SecretKey::random());
  StoreKey fresh{{}, std::move(key)};
  TRY(fill_random(fresh.id));
  return fresh;
}

Result<std::vector<std::byte>> seal_now(const KeyRing& ring, const MasterKey& master) {
  Aes256Gcm::Nonce nonce{};
  TRY(fill_random(nonce));
  return seal_key_ring(ring, master, nonce);
}

// Nothing if there is none.
Result<std::optional<StoredRing>> fetch(ObjectStore& inner, const std::string& key) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const std::optional<ObjectInfo> info = TRY(inner.head(key));
    if (!info) return std::optional<StoredRing>();
    auto bytes = inner.get(key, {0, ring_size(kMostStoreKeys) + 1}, info->etag);
    if (bytes.ok()) return std::optional(StoredRing{key, std::move(bytes).value(), info->etag});
    // Changed or removed since head.
    const Code code = bytes.error().code;
    if (code != Code::conflict && code != Code::invalid_input) return bytes.error();
  }
  return busy_error(inner);
}

enum class Reach { enough, all };

// The one ring first, and those with names of their own: what a list shows, and `known`, unless
// that is empty, which it may not show yet. Enough is the one, if it is there, and `known`: who
// only reads need not be allowed to list.
Result<std::vector<StoredRing>> fetch_rings(ObjectStore& inner, Reach reach,
                                            const std::string& known = {}) {
  std::vector<StoredRing> rings;
  const auto add = [&](const std::string& key) -> Result<void> {
    auto ring = TRY(fetch(inner, key));
    if (ring) rings.push_back(*std::move(ring));
    return {};
  };
  TRY(add(std::string(kKeyRingKey)));
  std::vector<std::string> names;
  if (rings.empty() || reach == Reach::all) {
    for (ObjectInfo& info : TRY(list_all(inner, kOwnRings))) names.push_back(std::move(info.key));
  }
  if (!known.empty() && std::ranges::find(names, known) == names.end()) names.push_back(known);
  for (const std::string& name : names) TRY(add(name));
  return rings;
}

bool is_the_one(const std::vector<StoredRing>& rings) { return rings.front().key == kKeyRingKey; }

std::string_view fingerprint_of(std::span<const std::byte> sealed) {
  if (sealed.size() < kSealedAt) return {};
  return as_text(sealed.subspan(kFingerprintAt, kFingerprintSize));
}

// All of them as one, the newest key last: a ring that is made holds all keys that its maker knew
// and one more, so that the longest has the newest.
Result<KeyRing> merge(ObjectStore& inner, std::vector<StoredRing> stored, const MasterKey& master) {
  const auto ours = std::ranges::count_if(stored, [&](const StoredRing& ring) {
    return fingerprint_of(ring.bytes) == master.fingerprint();
  });
  if (ours > 0 && static_cast<size_t>(ours) < stored.size()) return mixed_error(inner);
  if (stored.size() == 1) {
    return parse_key_ring(stored[0].bytes, master, inner.url(stored[0].key));
  }
  std::ranges::sort(stored, {}, [](const StoredRing& ring) {
    return std::pair(ring.bytes.size(), std::string_view(ring.key));
  });
  KeyRing all;
  for (const StoredRing& one : stored) {
    KeyRing ring = TRY(parse_key_ring(one.bytes, master, inner.url(one.key)));
    for (StoreKey& key : ring.keys) {
      if (all.find(key.id) == nullptr) all.keys.push_back(std::move(key));
    }
  }
  return all;
}

// Puts a ring with one key, where conditions are decided unless there is one. The name of what was
// made for sure, or nothing.
Result<std::string> create_ring(ObjectStore& inner, const MasterKey& master) {
  KeyRing ring;
  ring.keys.push_back(TRY(fresh_store_key()));
  const std::vector<std::byte> bytes = TRY(seal_now(ring, master));
  if (TRY(inner.decides_conditions(kKeyRingKey))) {
    TRY(inner.put(kKeyRingKey, bytes, Condition::if_absent()));
    return std::string();
  }
  const std::string name = own_name(ring.newest().id);
  TRY(inner.put(name, bytes, Condition::always()));
  return name;
}

// Writes what `change` makes of a stored ring, or nothing if it gives nothing; again as long as
// others come between. False if nothing was to be written.
template <class Change>
Result<bool> change_ring(ObjectStore& inner, const std::string& key, Change change) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const std::optional<StoredRing> stored = TRY(fetch(inner, key));
    if (!stored) return absent_error(inner);
    const std::optional<std::vector<std::byte>> bytes = TRY(change(stored->bytes));
    if (!bytes) return false;
    const PutOutcome outcome = TRY(inner.put(key, *bytes, Condition::if_match(stored->etag)));
    if (outcome.written) return true;
  }
  return busy_error(inner);
}

// The one ring under a name of its own, as it is: where conditions are advisory nobody changes it
// in its place. It stays if somebody (or a copy that comes back) changed it since.
Result<void> give_own_name(ObjectStore& inner, const StoredRing& one, const MasterKey& master) {
  const KeyRing ring = TRY(parse_key_ring(one.bytes, master, inner.url(one.key)));
  TRY(inner.put(own_name(ring.newest().id), one.bytes, Condition::if_absent()));
  const std::optional<ObjectInfo> now = TRY(inner.head(one.key));
  if (now && now->etag == one.etag) TRY(inner.remove(one.key));
  return {};
}

// Of the ring with a key more, or of one that has as many as it may.
Result<std::vector<std::byte>> seal_with_fresh_key(ObjectStore& inner, KeyRing& ring,
                                                   const MasterKey& master) {
  if (ring.keys.size() >= kMostStoreKeys) {
    return make_error(Code::invalid_argument,
                      "{} has {} store keys, and more are not possible; copy the objects into a "
                      "new store.",
                      inner.url(kKeyRingKey), ring.keys.size());
  }
  ring.keys.push_back(TRY(fresh_store_key()));
  return seal_now(ring, master);
}

Result<void> add_to_the_one(ObjectStore& inner, const MasterKey& master) {
  const std::string key(kKeyRingKey);
  TRY(change_ring(
      inner, key,
      [&](std::span<const std::byte> stored) -> Result<std::optional<std::vector<std::byte>>> {
        KeyRing ring = TRY(parse_key_ring(stored, master, inner.url(key)));
        return std::optional(TRY(seal_with_fresh_key(inner, ring, master)));
      }));
  return {};
}

// What is stored, sealed by `new_key`; nothing if it is already.
Result<std::optional<std::vector<std::byte>>> seal_again(std::span<const std::byte> stored,
                                                         const MasterKey& old_key,
                                                         const MasterKey& new_key,
                                                         std::string_view url) {
  if (fingerprint_of(stored) == new_key.fingerprint()) {
    TRY(parse_key_ring(stored, new_key, url));  // said to be in force only if it opens
    return std::optional<std::vector<std::byte>>();
  }
  const KeyRing ring = TRY(parse_key_ring(stored, old_key, url));
  return std::optional(TRY(seal_now(ring, new_key)));
}

}  // namespace

const StoreKey* KeyRing::find(const KeyId& id) const {
  const auto found = std::ranges::find(keys, id, &StoreKey::id);
  return found == keys.end() ? nullptr : &*found;
}

std::vector<std::byte> seal_key_ring(const KeyRing& ring, const MasterKey& master,
                                     const Aes256Gcm::Nonce& nonce) {
  Entries entries(ring.keys.size());
  for (size_t i = 0; i < ring.keys.size(); ++i) {
    std::ranges::copy(ring.keys[i].id, entries.of(i).begin());
    std::ranges::copy(ring.keys[i].key.bytes(), entries.of(i).subspan(sizeof(KeyId)).begin());
  }
  std::vector<std::byte> bytes(ring_size(ring.keys.size()));
  const std::span sealed(bytes);
  std::ranges::copy(as_bytes(kMagic), sealed.begin());
  put_big_endian(kVersion, sealed.subspan(kVersionAt, 4));
  put_big_endian(ring.keys.size(), sealed.subspan(kCountAt, 4));
  const std::string fingerprint = master.fingerprint();
  std::ranges::copy(as_bytes(fingerprint), sealed.subspan(kFingerprintAt).begin());
  std::ranges::copy(nonce, sealed.subspan(kNonceAt).begin());
  Aes256Gcm(master.key())
      .seal(nonce, sealed.first(kNonceAt), entries.bytes, sealed.subspan(kSealedAt));
  return bytes;
}

Result<KeyRing> parse_key_ring(std::span<const std::byte> sealed, const MasterKey& master,
                               std::string_view url) {
  if (sealed.size() < kSealedAt || !as_text(sealed).starts_with(kMagic)) {
    return damaged_error(url, "is no key ring");
  }
  const uint64_t version = get_big_endian(sealed.subspan(kVersionAt, 4));
  if (version != kVersion) {
    return make_error(Code::corrupt,
                      "{} is a key ring of version {}, and this program knows version {} alone; "
                      "use a newer Atelier.",
                      url, version, kVersion);
  }
  const uint64_t count = get_big_endian(sealed.subspan(kCountAt, 4));
  if (count < 1 || count > kMostStoreKeys || sealed.size() != ring_size(count)) {
    return damaged_error(url, "is cut short or damaged");
  }
  if (fingerprint_of(sealed) != master.fingerprint()) {
    return make_error(
        Code::invalid_argument,
        "The master key given is not the one that {} is sealed by; give that one, or, "
        "if it was rotated meanwhile, the new one.",
        url);
  }
  Aes256Gcm::Nonce nonce{};
  std::ranges::copy(sealed.subspan(kNonceAt, nonce.size()), nonce.begin());
  Entries entries(count);
  if (!Aes256Gcm(master.key())
           .open(nonce, sealed.first(kNonceAt), sealed.subspan(kSealedAt), entries.bytes)) {
    return damaged_error(url, "is damaged");
  }
  KeyRing ring;
  for (size_t i = 0; i < count; ++i) {
    const std::span<const std::byte> entry = entries.of(i);
    KeyId id{};
    std::ranges::copy(entry.first(id.size()), id.begin());
    ring.keys.push_back({id, SecretKey(entry.last<SecretKey::kSize>())});
  }
  return ring;
}

Result<KeyRing> read_key_ring(ObjectStore& inner, const MasterKey& master, const KeyId* wanted) {
  std::vector<StoredRing> stored =
      TRY(fetch_rings(inner, Reach::enough, wanted == nullptr ? std::string() : own_name(*wanted)));
  if (stored.empty()) return absent_error(inner);
  return merge(inner, std::move(stored), master);
}

Result<KeyRing> open_key_ring(ObjectStore& inner, const MasterKey& master) {
  bool was_used = false;
  std::string made;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::vector<StoredRing> stored = TRY(fetch_rings(inner, Reach::enough, made));
    if (!stored.empty()) return merge(inner, std::move(stored), master);
    if (was_used) return absent_error(inner);
    // Whoever opens the store at the same time puts the ring first and objects later: if there are
    // any, the ring, too, is there by now, or never.
    was_used = !TRY(inner.list({}, {}, 1)).objects.empty();
    if (!was_used) made = TRY(create_ring(inner, master));
  }
  return busy_error(inner);
}

Result<bool> rotate_master_key(ObjectStore& inner, const MasterKey& old_key,
                               const MasterKey& new_key) {
  bool changed = false;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const std::vector<StoredRing> stored = TRY(fetch_rings(inner, Reach::all));
    if (stored.empty()) return absent_error(inner);
    bool again = false;
    for (const StoredRing& one : stored) {  // before any is changed
      again = TRY(seal_again(one.bytes, old_key, new_key, inner.url(one.key))) || again;
    }
    // Also those that came while others were changed.
    if (!again) return changed;
    if (is_the_one(stored) && !TRY(inner.decides_conditions(kKeyRingKey))) {
      const bool is_new = fingerprint_of(stored.front().bytes) == new_key.fingerprint();
      TRY(give_own_name(inner, stored.front(), is_new ? new_key : old_key));
      continue;
    }
    for (const StoredRing& one : stored) {
      const std::string url = inner.url(one.key);
      changed = TRY(change_ring(inner, one.key,
                                [&](std::span<const std::byte> bytes) {
                                  return seal_again(bytes, old_key, new_key, url);
                                })) ||
                changed;
    }
  }
  return busy_error(inner);
}

Result<void> add_store_key(ObjectStore& inner, const MasterKey& master) {
  const std::vector<StoredRing> stored = TRY(fetch_rings(inner, Reach::all));
  if (stored.empty()) return absent_error(inner);
  KeyRing ring = TRY(merge(inner, stored, master));
  if (is_the_one(stored)) {
    if (TRY(inner.decides_conditions(kKeyRingKey))) return add_to_the_one(inner, master);
    TRY(give_own_name(inner, stored.front(), master));
  }
  const std::vector<std::byte> bytes = TRY(seal_with_fresh_key(inner, ring, master));
  const std::string name = own_name(ring.newest().id);
  TRY(inner.put(name, bytes, Condition::always()));
  // Whoever changes the master key meanwhile sees this ring, or is seen here.
  TRY(merge(inner, TRY(fetch_rings(inner, Reach::all, name)), master));
  return {};
}

}  // namespace atelier
