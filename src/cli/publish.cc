// SPDX-License-Identifier: Apache-2.0
#include "cli/publish.h"

#include <algorithm>
#include <system_error>

#include "base/clock.h"
#include "cli/ticker.h"
#include "media/picture_files.h"
#include "run/finish.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;

// A sequence would replace one of its names; both of the input's count, where it is a link.
bool is_among_pictures(const Place& input, const Place& output) {
  std::error_code error;
  if (!input.location.is_file() || !output.location.is_file()) {
    return input.location.folder() == output.location.folder() &&
           media::is_picture_name(output.key, input.key);
  }
  const fs::path folder = output.location.path.parent_path();
  for (const fs::path& path : {input.location.path, fs::canonical(input.location.path, error)}) {
    if (media::is_picture_name(output.key, path.filename().string()) &&
        fs::equivalent(path.parent_path(), folder, error)) {
      return true;
    }
  }
  return false;
}

void say_damage(Console& console, const run::FinishReport& report, bool deinterlace) {
  if (report.decode_errors > 0) {
    console.note(
        fmt::format("The decoder met {} errors; {} of {} frames could be decoded and were scored.",
                    report.decode_errors, report.frames, report.frames_expected));
  } else if (report.frames < report.frames_expected) {
    // Damage that no decoder noticed, or packets that are not meant to be shown (VP8, AVI).
    console.note(
        fmt::format("{} of the video's {} packets gave a frame, and all those were scored.",
                    report.frames, report.frames_expected));
  }
  if (report.retimed > 0) {
    console.note(
        fmt::format("{} frames have no time of their own or another frame's in the input; each was "
                    "given one beside its neighbours.",
                    report.retimed));
  }
  if (report.interlaced > 0 && !deinterlace) {
    console.note(fmt::format(
        "{} frames are marked as interlaced in a video that is not; they were scored as "
        "they are. --deinterlace makes one picture of their fields.",
        report.interlaced));
  }
}

}  // namespace

Result<void> check_folder(const Location& location, const char* what) {
  std::error_code error;
  const fs::path folder = location.path.parent_path();
  if (!location.is_file() || fs::is_directory(folder, error)) return {};
  return make_error(Code::invalid_argument, "There is no folder '{}' for the {}; make it first.",
                    folder.string(), what);
}

// A link to nowhere is something, too.
Result<bool> is_there(const Place& place) {
  std::error_code error;
  if (place.location.is_file()) return fs::exists(fs::symlink_status(place.location.path, error));
  return TRY(place.store->head(place.key)).has_value();
}

bool is_same(const Location& a, const Location& b) {
  if (!a.is_file() || !b.is_file()) return a == b;
  std::error_code error;
  return fs::equivalent(a.path, b.path, error) ||
         fs::weakly_canonical(a.path, error) == fs::weakly_canonical(b.path, error);
}

Result<Output> open_output(const std::string& text, const std::string& input_text,
                           const Place& input) {
  Output output;
  output.place = TRY(open_place(text));
  output.container = TRY(media::container_of(output.place.key));
  TRY(check_folder(output.place.location, "output"));
  if (is_same(output.place.location, input.location)) {
    return make_error(Code::invalid_argument, "The output is the input; choose another name.");
  }
  if (media::is_pictures(output.container) && is_among_pictures(input, output.place)) {
    return make_error(Code::invalid_argument,
                      "The input '{}' has a name that the output '{}' takes for a picture; choose "
                      "another name or folder.",
                      input_text, text);
  }
  return output;
}

Result<void> check_free(const Output& output, const std::string& text) {
  if (media::is_pictures(output.container) || !TRY(is_there(output.place))) return {};
  return make_error(Code::invalid_argument,
                    "'{}' exists and was kept; choose another name or use --force.", text);
}

Result<run::RunReport> publish(const run::Manifest& manifest, run::RunFolder& folder,
                               const PublishRequest& request, Console& console,
                               std::stop_token stop) {
  const Ticker ticker(console, system_clock(), line_of_phase("Joining"));
  Input& input = *request.input;
  input.info = TRY(media::probe(*input.source, input.place.key));
  run::FinishRequest finish;
  finish.input = input.source.get();
  finish.info = &input.info;
  finish.container = request.output->container;
  finish.output = request.output->place.store.get();
  finish.output_key = request.output->place.key;
  finish.replace = request.replace;
  finish.scratch = request.scratch;
  finish.unpainted = request.unpainted;
  run::RunReport report;
  report.finish = TRY(run::finish(manifest, folder, finish, std::move(stop)));
  say_damage(console, report.finish, manifest.parameters.deinterlace);
  for (const std::string& note : report.finish.notes) {
    const auto& said = request.said;
    if (std::find(said.begin(), said.end(), note) == said.end()) console.note(note);
  }
  for (const std::string& note : notes_of_stores()) console.note(note);
  report.output = request.output->place.location.url();
  report.run = folder.url();
  return report;
}

}  // namespace atelier::cli
