// SPDX-License-Identifier: Apache-2.0
// A container of Azure Blob Storage as an object store: block blobs below a prefix.
//
// Writes: up to 8 MiB are one Put Blob; more are blocks of 8 MiB, several at a time, and a Put
// Block List, before which nothing can be seen. Every body carries its MD5, which the service
// checks. A block is named by its content, and one that an upload cut short has left (the service
// keeps it for a week) is not sent again, if the credential may read. The list comes with the MD5
// of the whole, for others to check. Reads: ranges of up to 4 MiB with If-Match, several at a time,
// each checked by the MD5 that the service tells of it. Lists: the service knows only its own
// markers; the marker of a page is kept under its last key, so that reading on costs one call, and
// starting at any other text reads pages from the first. What the service leaves open: two uploads
// of one blob at the same time sweep away each other's blocks; who commits second is told
// `unavailable` and begins again.
#pragma once

#include <memory>

#include "store/azure/azure_service.h"
#include "store/object_store.h"

namespace atelier::azure {

struct Folder {
  std::string container;
  std::string prefix;  // "" or "a/b/"; part of every blob's name
};

// Asks nothing of the service. The clock must outlive the store.
std::unique_ptr<ObjectStore> open_azure_store(Account account, Folder folder, Clock& clock);

}  // namespace atelier::azure
