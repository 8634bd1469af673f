// SPDX-License-Identifier: Apache-2.0
// Publishes a job's pictures as one object each.
#pragma once

#include <stop_token>

#include "media/muxer.h"
#include "run/finish.h"

namespace atelier::run {

// `request.output_key` is a pattern, see media/picture_files.h; of `mux` the chunks are used. Looks
// at every name before the first picture is written: unless `replace` is set, one that exists with
// other bytes stops it all (with the same bytes it was published by a run that was killed). What
// was written goes again when something fails later, unless `replace` is set. Adds up
// `report.bytes`. Errors: those of for_each_picture and of the store; invalid_argument (a name is
// taken).
Result<void> publish_pictures(const media::MuxRequest& mux, const FinishRequest& request,
                              FinishReport& report, std::stop_token stop);

}  // namespace atelier::run
