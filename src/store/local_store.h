// SPDX-License-Identifier: Apache-2.0
// A store in a folder: the object "a/b" is the file a/b, so that people can look at it.
//
// Idea: a write goes to a hidden file beside its object, is flushed to the disk and then takes the
// object's name in one step: by link, which refuses an existing name (if_absent), or by rename
// under a lock on the name (always, if_match; local_lock.h). So a reader sees the old object or the
// new one, and a crash leaves at most hidden files. An etag is made of size, time of modification
// (set by us to the nanosecond, as the file system's own clock can stand still for milliseconds)
// and inode.
//
// Several machines may share the folder by a network file system: nothing here rests on locks of
// the kernel or on what one machine remembers of names, attributes and lists; what counts is asked
// of the server (AT_STATX_FORCE_SYNC). Such a file system must make links and renames in one step,
// show on opening what another machine wrote and closed, and give a file the same inode number
// everywhere. Tested by contract_test.cc and shared_folder_test.cc on two mounts
// (tests/net/shared_mounts.py).
//
// Cost: two flushes per write. Limits: an etag cannot see that a stranger changed a file in place
// and then set its time back; a file in the way of a folder, or the other way round, is an error.
// Links to files are followed on reading and replaced on writing; links to folders are followed
// where a key or a prefix names them, but list does not descend into them by itself, since they can
// form a ring.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>

#include "store/object_store.h"

namespace atelier {

// `root` is made by the first put. Several processes, also on several machines, may use one root.
// `patience`: after it a writer who was killed while he held the lock on a name is taken for dead;
// far more than a rename takes. Errors: invalid_argument if `root` is not absolute or is a file.
Result<std::unique_ptr<ObjectStore>> open_local_store(
    std::filesystem::path root, std::chrono::milliseconds patience = std::chrono::seconds(10));

}  // namespace atelier
