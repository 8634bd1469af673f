// SPDX-License-Identifier: Apache-2.0
#include "run/pictures.h"

#include <optional>

#include "media/picture_files.h"

namespace atelier::run {
namespace {

Result<std::optional<bool>> holds(ObjectStore& store, const std::string& key,
                                  std::span<const std::byte> file) {
  MemorySource wanted({file.begin(), file.end()});
  return same_bytes(store, key, wanted);
}

// Before anything is written. The first picture of another job behind this one's last would make
// one sequence of the two.
Result<void> check_names(const media::MuxRequest& mux, const FinishRequest& request,
                         std::stop_token stop) {
  ObjectStore& store = *request.output;
  uint64_t last = 0;
  const auto look = [&](uint64_t number, std::span<const std::byte> file) -> Result<void> {
    last = number;
    const std::string key = media::picture_name(request.output_key, number);
    if (TRY(holds(store, key, file)).value_or(true)) return {};
    return make_error(
        Code::invalid_argument,
        "'{}' exists and was kept, and nothing was published; choose another name or use --force.",
        store.url(key));
  };
  TRY(media::for_each_picture(mux, look, std::move(stop)));
  const std::string next = media::picture_name(request.output_key, last + 1);
  if (!TRY(store.head(next))) return {};
  return make_error(Code::invalid_argument,
                    "'{}' would follow this job's last picture, and nothing was published; choose "
                    "another name or use --force.",
                    store.url(next));
}

}  // namespace

Result<void> publish_pictures(const media::MuxRequest& mux, const FinishRequest& request,
                              FinishReport& report, std::stop_token stop) {
  ObjectStore& store = *request.output;
  if (!request.replace) TRY(check_names(mux, request, stop));

  uint64_t last = 0;
  const auto put = [&](uint64_t number, std::span<const std::byte> file) -> Result<void> {
    last = number;
    const std::string key = media::picture_name(request.output_key, number);
    const auto outcome =
        TRY(store.put(key, file, request.replace ? Condition::always() : Condition::if_absent()));
    if (!outcome.written && !TRY(holds(store, key, file)).value_or(false)) {
      return make_error(Code::invalid_argument,
                        "'{}' appeared while the pictures were being written and was kept; choose "
                        "another name or use --force.",
                        store.url(key));
    }
    report.bytes += file.size();
    return {};
  };
  TRY(media::for_each_picture(mux, put, std::move(stop)));
  const std::string next = media::picture_name(request.output_key, last + 1);
  if (TRY(store.head(next))) {
    report.notes.push_back(fmt::format(
        "'{}' follows this job's last picture and is not of this job; it and what comes after it "
        "were kept.",
        store.url(next)));
  }
  return {};
}

}  // namespace atelier::run
