// SPDX-License-Identifier: Apache-2.0
// Opening what a user named on the command line.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "media/media_info.h"
#include "run/manifest.h"
#include "store/location.h"
#include "store/master_key.h"
#include "store/object_store.h"
#include "store/share.h"
#include "store/stale_uploads.h"

namespace atelier::cli {

// What stores said since this was asked last of which the user should know, each sentence once:
// when they were opened, and later, when they find out what a server cannot do.
std::vector<std::string> notes_of_stores();

// As at the beginning of the process: credentials are read again, notes are said again. While no
// store is open.
void forget_stores();

// Stores that are opened from now on give up what is unavailable after seconds, not minutes.
void hurry_stores();

// Of a folder, a container or what lies below a part of one; repeats what is unavailable.
Result<std::unique_ptr<ObjectStore>> open_folder(const Location& folder);
// The same, but it gives up what is unavailable after seconds.
Result<std::unique_ptr<ObjectStore>> open_folder_briefly(const Location& folder);

// An object named by a location: the store that holds it (its parent folder) and its key.
struct Place {
  Location location;
  std::unique_ptr<ObjectStore> store;
  std::string key;
};
Result<Place> open_place(const std::string& text);

// A link to an object, by the credentials that its store would be opened with.
Result<Link> link_to(const Location& object, Access access, std::chrono::seconds lasts);

// Whether what lies there is encrypted by this program.
Result<bool> is_encrypted(const Location& place);
// From now on `new_key` opens the encrypted place that this lies in; false if it was so already.
Result<bool> change_key(const Location& place, const MasterKey& new_key);
// Another store key there, see key_ring.h.
Result<void> add_key(const Location& place);
// What uploads that never ended have left below a place a day ago and longer, see stale_uploads.h.
Result<StaleUploads> sweep_uploads(const Location& place, bool only_look);
// Where a job with these places may keep files meanwhile: in memory if one of them is encrypted.
Result<std::filesystem::path> scratch_for(std::initializer_list<Location> places);

// The store of runs: the folder that was named, or the default.
Result<Location> location_of_runs(const std::string& text);
Result<std::unique_ptr<ObjectStore>> open_runs(const std::string& text);

struct StoredInput {
  Place place;
  run::InputIdentity identity;
  std::unique_ptr<ByteSource> source;  // at the identity's etag
};
// Not a byte of it is looked at. Errors: invalid_input (absent, not a file, unreadable, empty).
Result<StoredInput> find_input(const std::string& text);

struct Input : StoredInput {
  media::MediaInfo info;
};
// Errors: invalid_input (absent, not a file, unreadable, not media).
Result<Input> open_input(const std::string& text);
// The same, and there must be a video to score, interlaced only with `deinterlace`.
Result<Input> open_video(const std::string& text, bool deinterlace);

// "12.5", "1:02.5" or "1:00:02.5" in seconds. Errors: invalid_argument naming the option.
Result<double> parse_time(const std::string& text, const std::string& option);
// "7d": a whole number and one of the units, of which each is worth so much. Nothing if it is
// anything else or beyond any use.
struct Unit {
  char letter;
  uint64_t factor;
};
std::optional<uint64_t> parse_with_unit(std::string_view text, std::span<const Unit> units);
// "500M", "10G": powers of 1024, K to T.
std::optional<uint64_t> parse_bytes(std::string_view text);
// "640x360", "640x0". Errors: invalid_argument.
struct WantedSize {
  int width = 0;
  int height = 0;
};
Result<WantedSize> parse_size(const std::string& text);

}  // namespace atelier::cli
