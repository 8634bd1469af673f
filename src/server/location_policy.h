// SPDX-License-Identifier: Apache-2.0
// Which places the runs of a caller may touch. Nothing is allowed but what lies below a store that
// the operator named, and below one of the caller's prefixes where the caller has any; the
// service's own folder and the run folders never are.
//
// Files are compared twice: as they are written, and after links were resolved, so that a link
// inside a store does not lead out of it. That is looked at when a run is submitted and again each
// time that one of its steps starts. Whoever makes a link inside a media folder on this machine in
// the moment between that look and the opening of the file gets past it, and must be trusted, or
// the media lie in an object store.
//
// Pure but for the function that resolves; safe from several threads as far as that is.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/location.h"

namespace atelier::server {

// A location that somebody else gave: absolute, without "..", of at most 4 KiB, and without names
// that stores keep for themselves (store/names.h). "file:///a%20b" and "/a b" give the same one.
// Errors: invalid_argument.
Result<Location> parse_user_location(std::string_view text);

// Whether a place is the root or lies below it, by whole parts of the path: "/a/b" is within "/a"
// and "/ab" is not.
bool is_within(const Location& place, const Location& root);

// The path that a path leads to when all links in the part of it that exists are followed, like
// std::filesystem::weakly_canonical.
using ResolveLinks =
    std::function<Result<std::filesystem::path>(const std::filesystem::path& path)>;
// Asks the file system. Errors: invalid_argument (the path cannot lead anywhere: links go in
// circles, a name is too long, a folder may not be entered); unavailable (the disk does not
// answer).
Result<std::filesystem::path> resolve_links(const std::filesystem::path& path);

struct LocationPolicy {
  std::vector<Location> media;   // runs read inputs and write outputs below
  std::vector<Location> models;  // they read models below
  std::vector<Location> closed;  // the service's own: nothing of a user's lies there
};

enum class LocationUse { read, write, model };

// Whether nothing that is closed lies within what is open, nor the other way round; also after
// links were resolved. To be called when the service starts. Errors: invalid_argument, which names
// both; those of `resolve`.
Result<void> check_apart(const LocationPolicy& policy, const ResolveLinks& resolve);

// Whether a run may use a location so. `prefixes`: Principal::prefixes; a prefix that is no
// location allows nothing. The name of an installed model (is_model_name) may be used by all;
// models elsewhere lie below `models`, and below a prefix like everything else. Errors:
// invalid_argument (it may not; the sentence does not tell whether anything is there); those of
// `resolve`.
Result<void> check_location(const LocationPolicy& policy, const ResolveLinks& resolve,
                            const std::vector<std::string>& prefixes, std::string_view location,
                            LocationUse use);

}  // namespace atelier::server
