// SPDX-License-Identifier: Apache-2.0
// The file-system steps of the local store: a file that takes its name only when it is complete.
// Used by local_store.cc alone.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <optional>
#include <vector>

#include "base/file.h"
#include "store/object_store.h"

namespace atelier::local {

// "Cannot <doing> '<path>': <why>; <what to do>." with the code that `error` (errno) asks for.
Error errno_error(std::string_view doing, const std::filesystem::path& path, int error);

// True if `error` says that nothing is there.
bool means_absent(int error);

// The regular file at `path`, through links; empty if there is none.
Result<std::optional<struct stat>> find_file(const std::filesystem::path& path);

std::string etag_of(const struct stat& info);
std::chrono::system_clock::time_point modified_of(const struct stat& info);

// Removes empty folders from `folder` upwards, but not `stop` or anything above it.
void remove_empty_folders(std::filesystem::path folder, const std::filesystem::path& stop);

// A lock that all writers of one folder share, between threads and machines. Nothing of it stays.
class FolderLock {
 public:
  // Errors: unavailable where the file system has no locks; else as errno_error.
  static Result<FolderLock> acquire(const std::filesystem::path& folder);
  FolderLock(FolderLock&&) noexcept = default;
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock();

 private:
  FolderLock(Fd fd, std::filesystem::path path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Fd fd_;
  std::filesystem::path path_;
};

// A file beside `target` under a reserved name. One thread at a time. Unless published, it and the
// folders made for it vanish with it.
class PendingFile {
 public:
  static Result<std::unique_ptr<PendingFile>> create(const std::filesystem::path& target);
  ~PendingFile() { discard(); }
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;

  Result<void> write(std::span<const std::byte> bytes);
  // Gives the file its name if the condition holds; otherwise, and after an error, discards it.
  Result<PutOutcome> publish(const Condition& condition);
  void discard();

 private:
  PendingFile(Fd fd, std::filesystem::path path, std::filesystem::path target,
              std::vector<std::filesystem::path> made)
      : fd_(std::move(fd)),
        path_(std::move(path)),
        target_(std::move(target)),
        made_(std::move(made)) {}
  Result<bool> take_name(const Condition& condition);
  Result<bool> take_free_name();
  Result<bool> take_matching_name(const std::string& etag);
  Result<bool> take_any_name();
  Result<void> rename_over();

  Fd fd_;
  std::filesystem::path path_;  // empty once published or discarded
  std::filesystem::path target_;
  std::vector<std::filesystem::path> made_;  // folders that were not there, outermost first
};

}  // namespace atelier::local
