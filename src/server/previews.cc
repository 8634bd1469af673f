// SPDX-License-Identifier: Apache-2.0
#include "server/previews.h"

#include <algorithm>

namespace atelier::server {

namespace fs = std::filesystem;

Previews::Previews(
    engine::Commands& commands, fs::path folder,
    std::function<Result<std::vector<std::string>>(const RunRow&, const fs::path&)> words_for,
    size_t most)
    : commands_(commands),
      folder_(std::move(folder)),
      words_for_(std::move(words_for)),
      most_(most) {}

Result<std::optional<fs::path>> Previews::of(const RunRow& run) {
  const fs::path path = folder_ / (run.id + ".png");
  std::error_code error;
  fs::create_directories(folder_, error);
  MutexLock lock(mutex_);
  if (making_ == run.id) return std::optional<fs::path>();
  if (const auto failed = failed_.find(run.id); failed != failed_.end()) {
    Error told = std::move(failed->second);
    failed_.erase(failed);
    return told;
  }
  if (fs::exists(path, error)) return std::optional<fs::path>(path);
  if (!making_.empty()) {
    return Error{Code::unavailable, "Another run's picture is being made; ask again.",
                 std::chrono::seconds(2)};
  }
  // It is renamed when it is whole.
  const fs::path unfinished = folder_ / (run.id + ".making.png");
  const std::vector<std::string> words = TRY(words_for_(run, unfinished));
  making_ = run.id;
  maker_ = std::jthread([this, id = run.id, words, path](const std::stop_token& stop) {
    make(id, words, path, stop);
  });
  return std::optional<fs::path>();
}

void Previews::make(const std::string& id, const std::vector<std::string>& words,
                    const fs::path& path, const std::stop_token& stop) {
  const auto answer = commands_.run(words, "", stop);
  const fs::path unfinished = folder_ / (id + ".making.png");
  std::error_code error;
  std::optional<Error> failure;
  if (!answer.ok()) {
    failure = answer.error();
  } else if (answer->code != 0) {
    const std::string& said = answer->err;
    failure = Error{answer->code == 3 ? Code::invalid_input : Code::internal,
                    said.substr(0, said.find('\n')),
                    {}};
  } else {
    fs::rename(unfinished, path, error);
    if (error) failure = make_error(Code::internal, "The picture of '{}' is not there.", id);
  }
  fs::remove(unfinished, error);
  remove_oldest();
  MutexLock lock(mutex_);
  constexpr size_t kMostFailures = 1000;
  if (failed_.size() >= kMostFailures) failed_.clear();
  if (failure) failed_.insert_or_assign(id, *failure);
  making_.clear();
}

void Previews::remove_oldest() {
  std::vector<std::pair<fs::file_time_type, fs::path>> all;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    all.emplace_back(entry.last_write_time(error), entry.path());
  }
  std::sort(all.begin(), all.end());
  for (size_t i = 0; i + most_ < all.size(); ++i) fs::remove(all[i].second, error);
}

}  // namespace atelier::server
