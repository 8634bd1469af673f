// SPDX-License-Identifier: Apache-2.0
// atelier share: a link that lends one object for some time.
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "store/azure/azure_service.h"

namespace atelier::cli {
namespace {

using std::chrono::seconds;

Result<seconds> parse_lasts(const std::string& text) {
  constexpr std::array<Unit, 4> kTimes = {{{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}}};
  // What a link may last is its kind's to say; longer than this no kind's does.
  constexpr uint64_t kBeyondAll = uint64_t{86400} * 36500;
  const auto lasts = parse_with_unit(text, kTimes);
  if (lasts && *lasts > 0 && *lasts <= kBeyondAll) return seconds(*lasts);
  return make_error(
      Code::invalid_argument,
      "--for takes days, hours, minutes or seconds like 7d, 12h, 30m or 90s, not '{}'.", text);
}

}  // namespace

Result<void> share_command(const ShareOptions& options, Console& console) {
  if (options.read == options.write) {
    return make_error(Code::invalid_argument,
                      "share needs just one of --read and --write; make two links for both.");
  }
  const seconds lasts = TRY(parse_lasts(options.lasts));
  const Location object = TRY(parse_location(options.url));
  const Link link = TRY(link_to(object, options.read ? Access::read : Access::write, lasts));
  const std::string expires = azure::iso_time(link.expires);
  for (const std::string& note : notes_of_stores()) console.note_aside(note);
  console.note_aside(
      fmt::format("Until {} whoever has this link can {} {}; keep it like a password.", expires,
                  options.read ? "read" : "write", object.url()));
  console.result(link.url);
  const nlohmann::json found = {{"url", link.url}, {"expires", expires}};
  console.object(found.dump(2) + "\n");
  return {};
}

}  // namespace atelier::cli
