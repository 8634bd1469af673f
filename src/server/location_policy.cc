// SPDX-License-Identifier: Apache-2.0
#include "server/location_policy.h"

#include <algorithm>
#include <system_error>

#include "server/pipeline_parameters.h"
#include "server/text_values.h"
#include "store/names.h"

namespace atelier::server {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLongest = 4096;

Error not_a_place(std::string_view text, std::string_view why) {
  return make_error(Code::invalid_argument,
                    "{} cannot be used: {}; give an absolute path, or a location like "
                    "az://account/container/path or s3://bucket/path.",
                    shown(text), why);
}

bool is_file_url(std::string_view text) {
  constexpr std::string_view kScheme = "file:";
  return text.size() >= kScheme.size() &&
         std::equal(kScheme.begin(), kScheme.end(), text.begin(),
                    [](char a, char b) { return a == b || (a != ':' && (a ^ ' ') == b); });
}

// Calls `look` with each part between slashes until it returns true.
template <class Look>
bool any_part(std::string_view text, Look look) {
  for (;;) {
    const size_t slash = text.find('/');
    if (look(text.substr(0, slash))) return true;
    if (slash == std::string_view::npos) return false;
    text.remove_prefix(slash + 1);
  }
}

bool goes_up(std::string_view text) {
  return any_part(text, [](std::string_view part) { return part == ".."; });
}

bool is_reserved(std::string_view text) {
  return any_part(text, [](std::string_view part) {
    return part.starts_with(kReservedName) || part.starts_with(kKeysName);
  });
}

std::string inside(const Location& place) {
  return place.is_file() ? place.path.native() : place.key;
}

// The same place with all links followed; an object has none.
Result<Location> resolved(const Location& place, const ResolveLinks& resolve) {
  Location result = place;
  if (place.is_file()) result.path = TRY(resolve(place.path));
  return result;
}

bool is_strictly_within(const Location& place, const Location& root) {
  return is_within(place, root) && place != root;
}

// A place as it was written and as it is.
struct Seen {
  Location written;
  Location real;
};

Result<Seen> see(const Location& place, const ResolveLinks& resolve) {
  Location real = TRY(resolved(place, resolve));
  return Seen{place, std::move(real)};
}

Result<bool> is_closed(const Seen& place, const LocationPolicy& policy,
                       const ResolveLinks& resolve) {
  for (const Location& closed : policy.closed) {
    const Location real = TRY(resolved(closed, resolve));
    for (const Location* at : {&place.written, &place.real}) {
      if (is_within(*at, closed) || is_within(*at, real)) return true;
    }
  }
  return false;
}

Result<bool> is_below_one(const Seen& place, const std::vector<Location>& roots,
                          const ResolveLinks& resolve) {
  for (const Location& root : roots) {
    if (!is_strictly_within(place.written, root)) continue;
    const Location real = TRY(resolved(root, resolve));
    if (is_strictly_within(place.real, real)) return true;
  }
  return false;
}

// A prefix may also be the place itself.
Result<bool> is_permitted(const Seen& place, const std::vector<std::string>& prefixes,
                          const ResolveLinks& resolve) {
  if (prefixes.empty()) return true;
  for (const std::string& prefix : prefixes) {
    const auto root = parse_user_location(prefix);
    if (!root.ok() || !is_within(place.written, *root)) continue;
    const Location real = TRY(resolved(*root, resolve));
    if (is_within(place.real, real)) return true;
  }
  return false;
}

// What another attempt would meet again, since it lies in the path and not in the disk. Rights come
// back: a ticket of Kerberos' is renewed.
bool is_of_the_path(const std::error_code& error) {
  return error == std::errc::filename_too_long ||
         error == std::errc::too_many_symbolic_link_levels || error == std::errc::not_a_directory;
}

}  // namespace

Result<Location> parse_user_location(std::string_view text) {
  if (text.size() > kLongest) return not_a_place(text, "it is longer than 4096 bytes");
  Location location = TRY(parse_location(text));
  if (location.is_file()) {
    const bool is_path = text.starts_with('/');
    if (!is_path && !is_file_url(text)) return not_a_place(text, "it is relative");
    const auto plain = is_path ? std::string(text) : percent_decode(text);
    if (!plain || goes_up(*plain)) return not_a_place(text, "it holds '..'");
  }
  if (is_reserved(inside(location))) {
    return not_a_place(text, "it holds a name that stores keep for themselves");
  }
  return location;
}

bool is_within(const Location& place, const Location& root) {
  if (place.scheme != root.scheme || place.account != root.account ||
      place.container != root.container) {
    return false;
  }
  const std::string at = inside(place);
  std::string below = inside(root);
  if (below == "/") below.clear();
  if (!at.starts_with(below)) return false;
  return below.empty() || at.size() == below.size() || at[below.size()] == '/';
}

Result<fs::path> resolve_links(const fs::path& path) {
  std::error_code error;
  fs::path real = fs::weakly_canonical(path, error);
  if (!error) return real;
  return make_error(is_of_the_path(error) ? Code::invalid_argument : Code::unavailable,
                    "Cannot tell where '{}' leads: {}.", percent_encode(path.native()),
                    error.message());
}

Result<void> check_apart(const LocationPolicy& policy, const ResolveLinks& resolve) {
  std::vector<Location> open = policy.media;
  open.insert(open.end(), policy.models.begin(), policy.models.end());
  for (const Location& closed : policy.closed) {
    const Seen own = TRY(see(closed, resolve));
    for (const Location& place : open) {
      const Seen other = TRY(see(place, resolve));
      if (!is_within(own.written, other.written) && !is_within(other.written, own.written) &&
          !is_within(own.real, other.real) && !is_within(other.real, own.real)) {
        continue;
      }
      return make_error(Code::invalid_argument,
                        "'{}', which users' runs may use, and '{}', which is the service's own, "
                        "may not lie in each other; move one of them.",
                        place.url(), closed.url());
    }
  }
  return {};
}

Result<void> check_location(const LocationPolicy& policy, const ResolveLinks& resolve,
                            const std::vector<std::string>& prefixes, std::string_view location,
                            LocationUse use) {
  if (use == LocationUse::model && is_model_name(location)) return {};
  const Location written = TRY(parse_user_location(location));
  // What is written outside is refused before the file system is asked about it.
  const auto& roots = use == LocationUse::model ? policy.models : policy.media;
  const bool is_near = std::any_of(roots.begin(), roots.end(), [&](const Location& root) {
    return is_strictly_within(written, root);
  });
  const char* what = use == LocationUse::read    ? "read"
                     : use == LocationUse::write ? "write"
                                                 : "take a model from";
  if (is_near) {
    const Seen place = TRY(see(written, resolve));
    if (TRY(is_below_one(place, roots, resolve)) && !TRY(is_closed(place, policy, resolve))) {
      if (TRY(is_permitted(place, prefixes, resolve))) return {};
      return make_error(Code::invalid_argument,
                        "Your token may not {} {}; ask for one with this place among its prefixes.",
                        what, shown(written.url()));
    }
  }
  return make_error(Code::invalid_argument,
                    "This service may not {} {}; it lies outside of the [stores] of its "
                    "configuration.",
                    what, shown(written.url()));
}

}  // namespace atelier::server
