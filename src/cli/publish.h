// SPDX-License-Identifier: Apache-2.0
// The end of a run, whichever command comes to it: where the result goes, the join, what is said of
// it, the report.
#pragma once

#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "cli/console.h"
#include "cli/inputs.h"
#include "media/muxer.h"
#include "run/report.h"
#include "run/run_folder.h"
#include "run/unpainted.h"

namespace atelier::cli {

// Errors: invalid_argument where the folder of a file is not there. `what`: "output".
Result<void> check_folder(const Location& location, const char* what);
// A link to nowhere is something, too.
Result<bool> is_there(const Place& place);
// Also by another name.
bool is_same(const Location& a, const Location& b);

struct Output {
  Place place;
  media::Container container = media::Container::mp4;
};
// Nothing is written yet. `text` and `input_text`: as the user named them. Errors: invalid_argument
// (no such folder or container, the output is the input or would replace it).
Result<Output> open_output(const std::string& text, const std::string& input_text,
                           const Place& input);
// Errors: invalid_argument where something is there. Of a sequence of pictures, of which a run that
// was killed may have left some, that is looked at when it is published.
Result<void> check_free(const Output& output, const std::string& text);

struct PublishRequest {
  Input* input = nullptr;  // probed here
  const Output* output = nullptr;
  bool replace = false;  // otherwise the output must be absent, or these very bytes
  std::filesystem::path scratch;
  std::vector<run::Unpainted> unpainted;
  std::vector<std::string> said;  // notes that the user has heard
};
// Joins and publishes; says what there is to say of frames and streams. The report lacks what only
// the caller knows: engine, times, notes. Errors: those of run::finish.
Result<run::RunReport> publish(const run::Manifest& manifest, run::RunFolder& folder,
                               const PublishRequest& request, Console& console,
                               std::stop_token stop);

}  // namespace atelier::cli
