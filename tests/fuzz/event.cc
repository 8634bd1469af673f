// SPDX-License-Identifier: Apache-2.0
// Bodies of webhooks: headers, an empty line, the body. Their places are never relative, and none
// is taken twice from what is too much.
#include "fuzz.h"
#include "server/triggers/event_body.h"

namespace fuzz = atelier::fuzz;
using namespace atelier::server;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest = fuzz::text_of(data, size);
  const auto headers = fuzz::take_headers(rest);
  const auto body = parse_event_body(headers, rest);
  if (body.ok()) {
    fuzz::must(body->blobs.size() + body->ignored <= kMostEvents, "at most so many events");
    for (const BlobEvent& blob : body->blobs) {
      fuzz::must(!blob.place.is_file() || blob.place.path.is_absolute(),
                 "a file's path is absolute");
    }
  }
  (void)allow_event_origin(headers);
  (void)place_of_event_url(rest);
  (void)place_of_s3_event("bucket", rest);
  return 0;
}
