// SPDX-License-Identifier: Apache-2.0
// Publishes a job's pictures as one object each.
#pragma once

#include <stop_token>

#include "media/muxer.h"
#include "run/finish.h"

namespace atelier::run {

// `request.output_key` is a pattern, see media/picture_files.h; of `mux` the chunks are used. Looks
// at every name before the first picture is written: unless `replace` is set, one that exists with
// other bytes stops it all, and so does one behind the last picture; with `replace` the latter is
// kept and noted in the report. The same bytes are taken as published, by a run that was killed or
// by another worker of this one. So what was written before a failure stays: it may be another
// worker's by now, and the next run goes on from it. Adds up `report.bytes`. Errors: those of
// for_each_picture and of the store; invalid_argument (a name is taken).
Result<void> publish_pictures(const media::MuxRequest& mux, const FinishRequest& request,
                              FinishReport& report, std::stop_token stop);

}  // namespace atelier::run
