// SPDX-License-Identifier: Apache-2.0
// The file-system steps of the local store: a file that takes its name only when it is complete.
// Used by local_store.cc alone.
#pragma once

#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>
#include <vector>

#include "base/file.h"
#include "store/local_lock.h"
#include "store/object_store.h"

namespace atelier::local {

// "Cannot <doing> '<path>': <why>; <what to do>." with the code that `error` (errno) asks for.
Error errno_error(std::string_view doing, const std::filesystem::path& path, int error);

// True if `error` says that nothing is there.
bool means_absent(int error);

// What `call` (a system call with a path, -1 and errno if it fails) comes to. On a network, what a
// name was known to mean may be gone: the kernel looks again once and then says ESTALE, which a
// name that others replace all the time makes of any call. Looking again settles it; in what has
// gone for good, every look fails.
template <class Call>
auto by_name(Call call) {
  auto result = call();
  for (int look = 0; result == -1 && errno == ESTALE && look < 100; ++look) result = call();
  return result;
}

// A hidden name that no other file has.
std::string random_name();

// The regular file at `path`, through links, as its server knows it now; empty if there is none.
Result<std::optional<struct stat>> find_file(const std::filesystem::path& path);

// Makes a network file system ask its server what is in the folder, instead of believing what it
// saw some seconds ago. Does nothing else.
void look_anew(int folder);

std::string etag_of(const struct stat& info);
std::chrono::system_clock::time_point modified_of(const struct stat& info);

// Removes empty folders from `folder` upwards, but not `stop` or anything above it.
void remove_empty_folders(std::filesystem::path folder, const std::filesystem::path& stop);

// A file beside `target` under a reserved name. One thread at a time. Unless published, it and the
// folders made for it vanish with it.
class PendingFile {
 public:
  // `patience`: see NameLock.
  static Result<std::unique_ptr<PendingFile>> create(const std::filesystem::path& target,
                                                     std::chrono::milliseconds patience);
  ~PendingFile() { discard(); }
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;

  Result<void> write(std::span<const std::byte> bytes);
  // Gives the file its name if the condition holds; otherwise, and after an error, discards it.
  Result<PutOutcome> publish(const Condition& condition);
  void discard();

 private:
  PendingFile(Fd fd, std::filesystem::path path, std::filesystem::path target,
              std::vector<std::filesystem::path> made, std::chrono::milliseconds patience)
      : fd_(std::move(fd)),
        path_(std::move(path)),
        target_(std::move(target)),
        made_(std::move(made)),
        patience_(patience) {}
  Result<bool> take_name(const Condition& condition);
  Result<bool> take_free_name();
  Result<bool> has_free_name();
  Result<bool> take_matching_name(const std::string& etag);
  Result<bool> take_any_name();
  Result<NameLock> lock() const;
  Result<void> rename_over();
  Error taken_for_dead() const;

  Fd fd_;
  std::filesystem::path path_;  // empty once published or discarded
  std::filesystem::path target_;
  std::vector<std::filesystem::path> made_;  // folders that were not there, outermost first
  std::chrono::milliseconds patience_;
};

}  // namespace atelier::local
