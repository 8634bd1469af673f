// SPDX-License-Identifier: Apache-2.0
// An object store as the run folder needs it: whole objects, put atomically, with conditions;
// paged, ordered lists. Absence and conflict are values; an Error means that the outcome is unknown
// or the store is out of reach.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "store/retry.h"

namespace atelier {

struct ObjectInfo {
  std::string key;
  uint64_t size = 0;
  std::string etag;  // opaque; changes whenever the content does
  std::chrono::system_clock::time_point modified;
  // What whoever put it wrote beside it, names in lower case: said by head of Azure and S3, never
  // by list.
  std::map<std::string, std::string> metadata{};
};

// What must hold for a put or an upload's commit to write.
struct Condition {
  enum class Kind { always, if_absent, if_match };
  Kind kind = Kind::always;
  std::string etag;  // with if_match
  static Condition always() { return {}; }
  static Condition if_absent() { return {Kind::if_absent, {}}; }
  static Condition if_match(std::string etag) { return {Kind::if_match, std::move(etag)}; }
};

// written: the object now holds these bytes. conflict: the condition did not hold and nothing was
// changed.
struct PutOutcome {
  bool written = false;
  std::string etag;  // of what was written; empty on conflict
};

struct ByteRange {
  uint64_t offset = 0;
  uint64_t length = UINT64_MAX;  // clipped to the object's end
};

struct ListPage {
  std::vector<ObjectInfo> objects;  // ordered by key, bytewise
  std::string next;                 // pass as `after` for the following page; empty at the end
  // Objects up to here whose keys break the rule at ObjectStore: others wrote them, and they can be
  // neither listed nor read. What only marks a folder ("a/", empty) is not counted.
  uint64_t unnamed = 0;
  std::string first_unnamed{};  // the key of one of them
};

// An object in the making: invisible until commit; dropping it without commit leaves nothing
// behind. After a failed append, commit answers an error and writes nothing.
class Upload {
 public:
  virtual ~Upload() = default;
  virtual Result<void> append(std::span<const std::byte> bytes) = 0;
  // Ends the upload whatever the answer.
  virtual Result<PutOutcome> commit(const Condition& condition) = 0;
  virtual void abort() = 0;
};

// Keys are non-empty relative paths of bytes separated by '/', without empty, "." or ".." parts,
// without NUL and without parts that start with kReservedName (names.h); any other key is
// invalid_argument. All verbs are safe from several threads. Errors:
// unavailable (retry), no_space, invalid_argument, internal. Only an authoritative answer is
// "absent".
class ObjectStore {
 public:
  virtual ~ObjectStore() = default;
  virtual Result<std::optional<ObjectInfo>> head(std::string_view key) = 0;
  // The bytes of the range. invalid_input if the object is absent; conflict if `if_match` is not
  // its etag.
  virtual Result<std::vector<std::byte>> get(std::string_view key, ByteRange range = {},
                                             std::string_view if_match = {}) = 0;
  virtual Result<PutOutcome> put(std::string_view key, std::span<const std::byte> bytes,
                                 const Condition& condition) = 0;
  virtual Result<std::unique_ptr<Upload>> begin_upload(std::string_view key) = 0;
  // Up to `limit` objects (at least 1) whose key starts with `prefix` and sorts after `after`.
  virtual Result<ListPage> list(std::string_view prefix, std::string_view after, size_t limit) = 0;
  // True if an object was there. Removing an absent object is no error.
  virtual Result<bool> remove(std::string_view key) = 0;
  // Whether of two puts whose conditions exclude one another the store lets one alone write. Where
  // it does not, conditions are advisory: it looks before and after it writes, and whoever writes
  // in between is overwritten. To find out may take a few puts beside `key`, of which none stays.
  virtual Result<bool> decides_conditions(std::string_view key) = 0;
  // For whoever repeats an upload, which no store repeats by itself.
  virtual RetryPolicy retries() const { return {}; }
  // What open_object and open_object_at call. Reads by head and get(range, if_match) unless a kind
  // knows something faster; decorators keep this one, so that they see every read.
  virtual Result<std::unique_ptr<ByteSource>> open_source(std::string_view key,
                                                          std::string_view if_match);
  // For messages: "file:///runs/ab12" plus the key, percent-encoded where a URL needs it.
  virtual std::string url(std::string_view key) const = 0;
};

// A ByteSource over one object at one etag: if the object changes, reads answer conflict. Keeps a
// reference to the store, which must outlive it. Safe from several threads. Errors: invalid_input
// if absent.
Result<std::unique_ptr<ByteSource>> open_object(ObjectStore& store, std::string_view key);
Result<std::unique_ptr<ByteSource>> open_object_at(ObjectStore& store, std::string_view key,
                                                   std::string_view etag);

// The same for what head or list has just said, without asking again.
std::unique_ptr<ByteSource> open_seen(ObjectStore& store, ObjectInfo info);

// All of a small object, by one call; nothing if it is absent. Errors: corrupt if it has more than
// `limit` bytes.
Result<std::optional<std::vector<std::byte>>> read_object(ObjectStore& store, std::string_view key,
                                                          uint64_t limit);

// Whether the object holds just the bytes of `wanted`; nothing if it is absent. Another size is
// seen without reading it; what changes meanwhile is not the same.
Result<std::optional<bool>> same_bytes(ObjectStore& store, std::string_view key,
                                       ByteSource& wanted);

// Every key with `prefix`, all pages: as one page, and its objects alone. `at_once`: of a page.
inline constexpr size_t kListedAtOnce = 1000;
Result<ListPage> list_whole(ObjectStore& store, std::string_view prefix,
                            size_t at_once = kListedAtOnce);
Result<std::vector<ObjectInfo>> list_all(ObjectStore& store, std::string_view prefix);

// Copies a source into an object by an upload in 8 MiB pieces.
Result<PutOutcome> put_source(ObjectStore& store, std::string_view key, ByteSource& source,
                              const Condition& condition);
// The same, from the beginning again while that is unavailable, as long as the store's own retries
// go on (ObjectStore::retries) and a dozen times where they count: no store repeats an append,
// since nobody knows whether its bytes arrived. Over a RetryingStore, which finds out what became
// of a commit.
Result<PutOutcome> put_source_repeatedly(ObjectStore& store, std::string_view key,
                                         ByteSource& source, const Condition& condition,
                                         Clock& clock);

}  // namespace atelier
