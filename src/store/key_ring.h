// SPDX-License-Identifier: Apache-2.0
// The store keys of an encrypted store: one small object in the store itself, sealed by the master
// key. docs/encryption.md has its format.
//
// Idea: all store keys are in one object, so that each change of them, another master key as well,
// is one conditional put: done or not done, never half. Losing that object is losing everything in
// the store; its copies are worth as little to a stranger as the master key is secret.
//
// Where conditions are advisory (ObjectStore::decides_conditions) such a put could undo another's,
// and what was sealed by a key that is lost is lost. There each store key that is made gets a ring
// of its own, under a name that holds the key's id, so that nobody writes it over but to change the
// master key; in it are the keys, too, that its maker knew. All rings together are the ring. The
// price: another master key takes a put for each.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "store/encrypted_object.h"
#include "store/master_key.h"
#include "store/names.h"
#include "store/object_store.h"

namespace atelier {

inline constexpr std::string_view kKeyRingKey = ".atelier-keys/ring";
// What names of rings begin with that hold one key more than their makers knew; that key's id, 32
// hex digits, follows. Where a kKeyRingKey is beside them (a copy that came back), all count.
inline constexpr std::string_view kOwnRings = ".atelier-keys/ring-";
static_assert(kKeyRingKey.starts_with(kKeysName) && kOwnRings.starts_with(kKeysName));

// Oldest first, at least one; the last one seals what is written.
struct KeyRing {
  std::vector<encrypted::StoreKey> keys;
  const encrypted::StoreKey& newest() const { return keys.back(); }
  const encrypted::StoreKey* find(const encrypted::KeyId& id) const;  // null if there is none
};

inline constexpr size_t kMostStoreKeys = 1000;

// `nonce` must be fresh: random, or never used with this master key.
std::vector<std::byte> seal_key_ring(const KeyRing& ring, const MasterKey& master,
                                     const Aes256Gcm::Nonce& nonce);
// Errors, naming `url`: invalid_argument if another master key sealed it, corrupt.
Result<KeyRing> parse_key_ring(std::span<const std::byte> sealed, const MasterKey& master,
                               std::string_view url);

// With `wanted`, the ring of that key is looked at also if no list shows it yet. Errors:
// invalid_argument if there is no ring or the master key is another one; corrupt; the store's.
Result<KeyRing> read_key_ring(ObjectStore& inner, const MasterKey& master,
                              const encrypted::KeyId* wanted = nullptr);

// The same, but an empty store gets a ring with one fresh key. Of several that try at once one
// writes it and all read it; where conditions are advisory each may write one, and each key is
// kept. A store that holds objects and no ring is refused (invalid_argument): it was not encrypted,
// or its ring was lost, and a new one would hide that.
Result<KeyRing> open_key_ring(ObjectStore& inner, const MasterKey& master);

// From now on `new_key` opens the store and `old_key` does not; no object is written again, and who
// has the store open goes on undisturbed. False if `new_key` was in force already, so it may be
// repeated after any error. Of several rings some may be changed then, and neither key opens the
// store until it is repeated. Errors: as read_key_ring, conflict if others keep changing the ring.
Result<bool> rotate_master_key(ObjectStore& inner, const MasterKey& old_key,
                               const MasterKey& new_key);

// Another store key for whatever is written by those who open the store from now on. Repeating it
// after an error may add two. Errors: as rotate_master_key, invalid_argument after kMostStoreKeys,
// and if the master key is being changed at the same time, which must be repeated then.
Result<void> add_store_key(ObjectStore& inner, const MasterKey& master);

}  // namespace atelier
