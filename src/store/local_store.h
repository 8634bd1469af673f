// SPDX-License-Identifier: Apache-2.0
// A store in a folder: the object "a/b" is the file a/b, so that people can look at it.
//
// Idea: a write goes to a hidden file beside its object, is flushed to the disk and then takes the
// object's name in one step: by rename (always), by link, which refuses an existing name
// (if_absent), or by rename under a lock (if_match). So a reader sees the old object or the new
// one, and a crash leaves at most a hidden file. An etag is made of size, time of modification (set
// by us to the nanosecond, as the file system's own clock can stand still for milliseconds) and
// inode.
//
// Cost: two flushes per write. Limits: an etag cannot see that a stranger changed a file in place
// and then set its time back; if_match needs a file system with flock; a file in the way of a
// folder, or the other way round, is an error. Links to files are followed on reading and replaced
// on writing; links to folders are followed where a key or a prefix names them, but list does not
// descend into them by itself, since they can form a ring.
#pragma once

#include <filesystem>
#include <memory>

#include "store/object_store.h"

namespace atelier {

// `root` is made by the first put. Several processes, also on several machines, may use one root.
// Errors: invalid_argument if `root` is not absolute or is a file.
Result<std::unique_ptr<ObjectStore>> open_local_store(std::filesystem::path root);

}  // namespace atelier
