// SPDX-License-Identifier: Apache-2.0
// Short texts: targets of requests, tokens, URLs of webhooks, locations.
#include "fuzz.h"
#include "server/address_guard.h"
#include "server/http_target.h"
#include "server/location_policy.h"
#include "server/operations_policy.h"
#include "server/rate_limit.h"

namespace fuzz = atelier::fuzz;
using namespace atelier::server;

namespace {

void read_url(std::string_view text) {
  const auto url = parse_target_url(text);
  if (url.ok()) {
    const auto again = parse_target_url(url->url());
    fuzz::must(again.ok() && again->url() == url->url(), "a URL that was taken is taken again");
  }
  (void)parse_allowed_target(text);
}

void read_location(std::string_view text) {
  const auto place = parse_user_location(text);
  if (!place.ok()) return;
  fuzz::must(!place->is_file() || place->path.is_absolute(), "a file's path is absolute");
  fuzz::must(("/" + place->path.string() + "/").find("/../") == std::string::npos, "no way up");
  const auto again = parse_user_location(place->url());
  fuzz::must(again.ok() && *again == *place, "a location's URL is the same location");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  Call call;
  if (read_target(text, call)) {
    fuzz::must(call.path.find('\0') == std::string::npos, "no path has a NUL");
    fuzz::must(call.query.size() <= 64, "at most 64 parameters");
  }
  call.headers["authorization"] = text;
  if (const auto token = bearer_of(call)) {
    fuzz::must(!token->empty() && token->find_first_of(" \r\n") == std::string::npos,
               "a token is one word");
  }
  (void)address_key(text);
  read_url(text);
  read_location(text);
  return 0;
}
