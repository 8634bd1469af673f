// SPDX-License-Identifier: Apache-2.0
#include "cli/inputs.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cmath>
#include <system_error>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/read_ahead.h"
#include "cli/folders.h"
#include "run/prepare.h"
#include "store/open_store.h"

namespace atelier::cli {
namespace {

// The largest side of a picture that any codec here can hold.
constexpr int kLargestSide = 16384;

bool parse_number(std::string_view text, double& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && std::isfinite(value) &&
         value >= 0;
}

// What all stores of this process are opened with.
struct Opening {
  Mutex mutex;
  std::atomic<Clock*> clock = &system_clock();
  std::optional<Credentials> credentials GUARDED_BY(mutex);
  Mutex notes_mutex;  // of its own: stores say things while others are opened
  std::vector<std::string> notes GUARDED_BY(notes_mutex);
  size_t taken GUARDED_BY(notes_mutex) = 0;  // of the notes
};
Opening& the_opening() {
  static Opening opening;
  return opening;
}

// No secret in what a crash leaves. A limit of 0 would hold for files alone: where cores are piped
// to a program (core(5)) the kernel refuses one at the limit of 1 byte, and files at that, too. A
// hard limit of 0 stays. PR_SET_DUMPABLE would do more, and too much: a rank's scorer is started
// from the rank's /proc, which a process that is not dumped may not lend.
void leave_no_core() {
  const rlimit one_byte{1, 1};
  ::setrlimit(RLIMIT_CORE, &one_byte);
}

// Stores keep it as long as they live.
void take_note(const std::string& note) {
  Opening& opening = the_opening();
  MutexLock lock(opening.notes_mutex);
  if (std::ranges::find(opening.notes, note) == opening.notes.end()) opening.notes.push_back(note);
}

// What `use` returns, called with the credentials and with where notes go.
template <class Use>
auto with_credentials(Use use)
    -> decltype(use(std::declval<const Credentials&>(), std::declval<const Notes&>())) {
  Opening& opening = the_opening();
  MutexLock lock(opening.mutex);
  if (!opening.credentials) opening.credentials = TRY(Credentials::load(environment()));
  if (opening.credentials->has_file()) leave_no_core();
  return use(*opening.credentials, take_note);
}

bool parse_side(std::string_view text, int& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 &&
         value <= kLargestSide;
}

}  // namespace

std::vector<std::string> notes_of_stores() {
  Opening& opening = the_opening();
  MutexLock lock(opening.notes_mutex);
  const auto fresh = opening.notes.begin() + static_cast<ptrdiff_t>(opening.taken);
  opening.taken = opening.notes.size();
  return {fresh, opening.notes.end()};
}

namespace {

HurriedClock& hurried_clock() {
  static HurriedClock clock;
  return clock;
}

}  // namespace

void forget_stores() {
  Opening& opening = the_opening();
  opening.clock = &system_clock();
  {
    MutexLock lock(opening.mutex);
    opening.credentials.reset();
  }
  MutexLock lock(opening.notes_mutex);
  opening.notes.clear();
  opening.taken = 0;
}

void hurry_stores() { the_opening().clock = &hurried_clock(); }

Result<std::unique_ptr<ObjectStore>> open_folder_briefly(const Location& folder) {
  return with_credentials([&](const Credentials& credentials, const Notes& notes) {
    if (!folder.is_file()) leave_no_core();
    return open_store(folder, credentials, hurried_clock(), notes);
  });
}

Result<std::unique_ptr<ObjectStore>> open_folder(const Location& folder) {
  return with_credentials([&](const Credentials& credentials, const Notes& notes) {
    if (!folder.is_file()) leave_no_core();
    return open_store(folder, credentials, *the_opening().clock, notes);
  });
}

Result<Link> link_to(const Location& object, Access access, std::chrono::seconds lasts) {
  return with_credentials([&](const Credentials& credentials, const Notes& notes) {
    leave_no_core();
    return share_link(object, access, lasts, credentials, system_clock(), notes);
  });
}

Result<bool> is_encrypted(const Location& place) {
  return with_credentials([&](const Credentials& credentials, const Notes&) -> Result<bool> {
    return TRY(credentials.encryption(place)).has_value();
  });
}

Result<bool> change_key(const Location& place, const MasterKey& new_key) {
  return with_credentials([&](const Credentials& credentials, const Notes& notes) {
    return change_master_key(place, credentials, new_key, system_clock(), notes);
  });
}

Result<void> add_key(const Location& place) {
  return with_credentials([&](const Credentials& credentials, const Notes& notes) {
    return add_store_key_to(place, credentials, system_clock(), notes);
  });
}

Result<StaleUploads> sweep_uploads(const Location& place, bool only_look) {
  return with_credentials([&](const Credentials& credentials, const Notes& notes) {
    return remove_stale_uploads(place, std::chrono::hours(24), only_look, credentials,
                                *the_opening().clock, notes);
  });
}

Result<std::filesystem::path> scratch_for(std::initializer_list<Location> places) {
  for (const Location& place : places) {
    if (TRY(is_encrypted(place))) return scratch_in_memory();
  }
  return scratch_folder();
}

Result<Place> open_place(const std::string& text) {
  Place place;
  place.location = TRY(parse_location(text));
  place.key = place.location.name();
  if (place.key.empty()) {
    return make_error(Code::invalid_argument, "'{}' names a folder where a file is needed.", text);
  }
  place.store = TRY(open_folder(place.location.folder()));
  return place;
}

Result<Location> location_of_runs(const std::string& text) {
  if (!text.empty()) return parse_location(text);
  Location runs;
  runs.path = state_home() / "runs";
  return runs;
}

Result<std::unique_ptr<ObjectStore>> open_runs(const std::string& text) {
  return open_folder(TRY(location_of_runs(text)));
}

Result<StoredInput> find_input(const std::string& text) {
  StoredInput input;
  input.place = TRY(open_place(text));
  auto object = TRY(input.place.store->head(input.place.key));
  if (!object) {
    std::error_code ignored;
    const Location& where = input.place.location;
    const bool exists = where.is_file() && std::filesystem::exists(where.path, ignored);
    return make_error(Code::invalid_input, "{} '{}'{}.",
                      exists ? "Cannot read" : "There is no file", text,
                      exists ? ": it is not a regular file" : "");
  }
  if (object->size == 0) return make_error(Code::invalid_input, "'{}' is empty.", text);
  input.identity = {input.place.location.url(), input.place.key, object->etag, object->size};
  if (!input.place.location.is_file() || TRY(is_encrypted(input.place.location))) {
    input.source =
        std::make_unique<ReadAheadSource>(open_seen(*input.place.store, *std::move(object)));
    return input;
  }
  auto source = input.place.store->open_source(input.place.key, object->etag);
  // A file that may not be read is the input's fault, not the command line's.
  if (!source.ok() && source.error().code == Code::invalid_argument) {
    return Error{Code::invalid_input, source.error().message};
  }
  input.source = TRY(std::move(source));
  return input;
}

Result<Input> open_input(const std::string& text) {
  Input input{TRY(find_input(text)), {}};
  input.info = TRY(media::probe(*input.source, input.place.key));
  return input;
}

Result<Input> open_video(const std::string& text, bool deinterlace) {
  Input input = TRY(open_input(text));
  TRY(run::check_video(input.info, text, deinterlace));
  return input;
}

Result<double> parse_time(const std::string& text, const std::string& option) {
  double total = 0;
  std::string_view rest = text;
  for (int part = 0; part < 3; ++part) {
    const size_t colon = rest.find(':');
    double value = 0;
    if (!parse_number(rest.substr(0, colon), value)) break;
    total = total * 60 + value;
    if (colon == std::string_view::npos) return total;
    rest.remove_prefix(colon + 1);
  }
  return make_error(Code::invalid_argument,
                    "{} takes seconds or [hours:]minutes:seconds, not '{}'.", option, text);
}

std::optional<uint64_t> parse_with_unit(std::string_view text, std::span<const Unit> units) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end + 1 != text.data() + text.size()) return std::nullopt;
  for (const Unit& unit : units) {
    // Far beyond any age or size, far below what sums of them could overflow.
    if (*end == unit.letter && value <= (uint64_t{1} << 60) / unit.factor) {
      return value * unit.factor;
    }
  }
  return std::nullopt;
}

std::optional<uint64_t> parse_bytes(std::string_view text) {
  constexpr std::array<Unit, 4> kSizes = {
      {{'K', 1u << 10}, {'M', 1u << 20}, {'G', 1u << 30}, {'T', uint64_t{1} << 40}}};
  return parse_with_unit(text, kSizes);
}

Result<WantedSize> parse_size(const std::string& text) {
  WantedSize size;
  const size_t cross = text.find('x');
  if (cross == std::string::npos ||
      !parse_side(std::string_view(text).substr(0, cross), size.width) ||
      !parse_side(std::string_view(text).substr(cross + 1), size.height) ||
      (size.width == 0 && size.height == 0)) {
    return make_error(
        Code::invalid_argument,
        "--size takes WIDTHxHEIGHT up to {}, one of them 0 to keep the aspect, not '{}'.",
        kLargestSide, text);
  }
  return size;
}

}  // namespace atelier::cli
