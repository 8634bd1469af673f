// SPDX-License-Identifier: Apache-2.0
#include "run/pictures.h"

#include <algorithm>

#include "media/picture_files.h"

namespace atelier::run {
namespace {

Result<bool> holds(ObjectStore& store, const std::string& key, std::span<const std::byte> bytes) {
  const std::vector<std::byte> there = TRY(store.get(key));
  return std::equal(there.begin(), there.end(), bytes.begin(), bytes.end());
}

Error taken(ObjectStore& store, const std::string& key) {
  return make_error(
      Code::invalid_argument,
      "'{}' exists and was kept, and nothing was published; choose another name or use --force.",
      store.url(key));
}

}  // namespace

Result<void> publish_pictures(const media::MuxRequest& mux, const FinishRequest& request,
                              FinishReport& report, std::stop_token stop) {
  ObjectStore& store = *request.output;
  const auto look = [&](uint64_t number, std::span<const std::byte> file) -> Result<void> {
    const std::string key = media::picture_name(request.output_key, number);
    if (TRY(store.head(key)) && !TRY(holds(store, key, file))) return taken(store, key);
    return {};
  };
  if (!request.replace) TRY(media::for_each_picture(mux, look, stop));

  std::vector<std::string> written;
  const auto put = [&](uint64_t number, std::span<const std::byte> file) -> Result<void> {
    const std::string key = media::picture_name(request.output_key, number);
    const auto outcome =
        TRY(store.put(key, file, request.replace ? Condition::always() : Condition::if_absent()));
    if (outcome.written) {
      written.push_back(key);
    } else if (!TRY(holds(store, key, file))) {
      return taken(store, key);
    }
    report.bytes += file.size();
    return {};
  };
  auto done = media::for_each_picture(mux, put, std::move(stop));
  if (!done.ok() && !request.replace) {
    for (const std::string& key : written) (void)store.remove(key);
  }
  return done;
}

}  // namespace atelier::run
