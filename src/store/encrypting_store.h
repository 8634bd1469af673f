// SPDX-License-Identifier: Apache-2.0
// A store whose objects lie encrypted in another one: AES-256-GCM in frames of 1 MiB, a fresh data
// key for each writing of each object. docs/encryption.md has format, keys and limits.
//
// What comes back was written under that very key by somebody who had the master key: bytes that
// were touched, cut, moved, mixed or copied from another object answer corrupt before any of them
// is returned. Not hidden: names, sizes, times. Not noticed: an object that was put back to an
// older state, or removed, by somebody who may write to the inner store. Sizes told by head and
// list are arithmetic on the inner ones, so they are believed only as far as the inner store is; a
// read that reaches the end checks the end.
//
// Retries belong below it: no two writings give the same stored bytes, so a retrying store that
// reads back after a lost answer cannot take another's for its own.
//
// Cost: bytes anywhere cost their whole frames, so read in pieces of MiB. A get from the first MiB
// is one inner get; others need the object's header, too, at most once as long as it is among those
// last used. Without an etag to match, a first get from further inside looks for one (head).
#pragma once

#include <memory>

#include "store/key_ring.h"
#include "store/master_key.h"
#include "store/object_store.h"

namespace atelier {

// Keeps a reference to `inner`, which must outlive the store; uploads must not outlive the store.
// Keys that begin with kKeysName (names.h) are invalid_argument here. An empty inner store gets its
// key ring now. Errors as open_key_ring's: a wrong master key is told here and not by every object.
Result<std::unique_ptr<ObjectStore>> open_encrypting_store(ObjectStore& inner, MasterKey master);

}  // namespace atelier
