// SPDX-License-Identifier: Apache-2.0
// What the kinds that speak HTTP do alike: they read ranges in pieces, several at a time, and send
// what is more than one piece by an upload. Internal to store/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/object_store.h"
#include "store/remote_transfer.h"

namespace atelier {

// Counts the objects of a list that no key of ours names (ListPage::unnamed). Each is told in the
// page of the object that follows it, or in the last one, so that none is told twice.
class UnnamedObjects {
 public:
  void see(std::string_view key, uint64_t size);
  // Before an object is added, and at the list's end.
  void tell(ListPage& page);

 private:
  uint64_t count_ = 0;
  std::string first_;
};

class RemoteStore : public ObjectStore {
 public:
  Result<std::vector<std::byte>> get(std::string_view key, ByteRange range,
                                     std::string_view if_match) final;
  Result<PutOutcome> put(std::string_view key, std::span<const std::byte> bytes,
                         const Condition& condition) final;

 protected:
  // One request for a part of an object, see FetchPiece. Called from several threads.
  virtual Result<FetchedPiece> fetch(std::string_view key, uint64_t offset, uint64_t length,
                                     const std::string& if_match) = 0;
  // Of what one request for a part is to ask at most.
  virtual uint64_t largest_fetch() const { return kRemotePiece; }
  // One request that writes at most kRemotePiece bytes. The key has been checked.
  virtual Result<PutOutcome> put_piece(std::string_view key, std::span<const std::byte> bytes,
                                       const Condition& condition) = 0;

  Error absent(std::string_view key) const;   // as get answers it
  Error changed(std::string_view key) const;  // likewise
};

}  // namespace atelier
