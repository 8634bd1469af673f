// SPDX-License-Identifier: Apache-2.0
// atelier cp: checked copies between any two stores.
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/inputs.h"
#include "store/copy.h"
#include "store/names.h"

namespace atelier::cli {
namespace {

// What is copied, and between which stores.
struct Job {
  std::unique_ptr<ObjectStore> from, to;
  std::vector<CopyItem> items;
  std::string target;  // for people
  uint64_t left_out = 0;
  std::string first_left_out;
};

Result<ObjectInfo> find_object(const Place& place, const std::string& text) {
  auto info = TRY(place.store->head(place.key));
  if (info) return *std::move(info);
  const ListPage below = TRY(place.store->list(place.key + "/", "", 1));
  if (!below.objects.empty()) {
    return make_error(Code::invalid_argument,
                      "'{}' is a folder; give --recursive to copy what is in it.", text);
  }
  return make_error(Code::invalid_input, "There is no file or object '{}'; check its name.", text);
}

bool names_a_folder(const std::string& text, const Location& place) {
  std::error_code ignored;
  return text.ends_with('/') || place.name().empty() ||
         (place.is_file() && std::filesystem::is_directory(place.path, ignored));
}

Result<Job> plan_one(const CopyCommandOptions& options) {
  Place from = TRY(open_place(options.from));
  ObjectInfo info = TRY(find_object(from, options.from));
  const Location to = TRY(parse_location(options.to));
  const bool into = names_a_folder(options.to, to);
  Job job;
  job.to = TRY(open_folder(into ? to : to.folder()));
  job.items.push_back({std::move(info), into ? from.key : to.name()});
  job.target = job.to->url(job.items.front().to);
  job.from = std::move(from.store);
  return job;
}

std::string left_out_sentence(const Job& job, const std::string& from) {
  return fmt::format(
      "{} of the objects below {} are not copied, since a name with an empty, '.' or '..' part "
      "can be no file's ('{}' is one); rename them in the store.",
      job.left_out, from, percent_encode(job.first_left_out.substr(0, 200)));
}

Result<Job> plan_all(const CopyCommandOptions& options) {
  const Location from = TRY(parse_location(options.from));
  const Location to = TRY(parse_location(options.to));
  Job job;
  job.from = TRY(open_folder(from));
  ListPage there = TRY(list_whole(*job.from, ""));
  for (ObjectInfo& info : there.objects) {
    std::string key = info.key;
    job.items.push_back({std::move(info), std::move(key)});
  }
  job.left_out = there.unnamed;
  job.first_left_out = std::move(there.first_unnamed);
  if (job.items.empty() && job.left_out > 0) {
    return Error{Code::invalid_input, left_out_sentence(job, from.url())};
  }
  if (job.items.empty()) {
    return make_error(Code::invalid_input, "There is nothing below {}; check its name.",
                      from.url());
  }
  job.to = TRY(open_folder(to));
  job.target = to.url();
  return job;
}

}  // namespace

Result<void> cp_command(const CopyCommandOptions& options, Console& console,
                        const std::stop_token& stop) {
  const Job job = TRY(options.recursive ? plan_all(options) : plan_one(options));
  for (const std::string& note : notes_of_stores()) console.note(note);
  if (job.left_out > 0) console.note(left_out_sentence(job, job.from->url("")));
  uint64_t all_bytes = 0;
  for (const CopyItem& item : job.items) all_bytes += item.from.size;
  CopyOptions how;
  how.replace = options.force;
  how.progress = [&](uint64_t objects, uint64_t bytes) {
    console.progress(fmt::format("{} of {} objects, {} of {}", objects, job.items.size(),
                                 size_text(bytes), size_text(all_bytes)));
  };
  SystemClock clock;
  const CopyTotals done = TRY(copy_objects(*job.from, *job.to, job.items, how, clock, stop));
  console.say(fmt::format("Copied to {}: {} objects, {}; there already: {}.", job.target,
                          done.objects, size_text(done.bytes), done.skipped));
  nlohmann::json object = {
      {"objects", done.objects}, {"bytes", done.bytes}, {"skipped", done.skipped}};
  if (job.left_out > 0) object["left_out"] = job.left_out;
  console.object(object.dump(2) + "\n");
  return {};
}

}  // namespace atelier::cli
