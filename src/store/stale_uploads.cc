// SPDX-License-Identifier: Apache-2.0
#include "store/stale_uploads.h"

#include "store/remote_key.h"
#include "store/s3/s3_objects.h"

namespace atelier {

Result<StaleUploads> remove_stale_uploads(const Location& place, std::chrono::seconds age,
                                          bool only_look, const Credentials& credentials,
                                          Clock& clock, const Notes& notes) {
  StaleUploads stale;
  if (place.scheme != Location::Scheme::s3 || place.key.empty()) return stale;
  const auto service = TRY(s3::Service::create(TRY(credentials.s3(place, clock, notes)), clock));
  const std::string prefix = to_remote_key(place.key + "/");
  const s3::OpenUploads open = TRY(s3::list_uploads(*service, prefix));
  for (const s3::OpenUpload& upload : open.uploads) {
    if (open.now - upload.begun < age) continue;
    ++stale.found;
    if (only_look) continue;
    TRY(s3::abort_multipart(*service, upload.key, upload.id));
    ++stale.removed;
  }
  return stale;
}

}  // namespace atelier
