// SPDX-License-Identifier: Apache-2.0
#include "store/local_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "store/local_files.h"
#include "store/local_list.h"
#include "store/names.h"

namespace atelier {
namespace {

namespace fs = std::filesystem;
using local::PendingFile;

struct OpenFile {
  Fd fd;
  struct stat info {};
};

Error absent_error(const fs::path& path) {
  return make_error(Code::invalid_input, "'{}' does not exist or is not a file; check its name.",
                    path.native());
}

Error changed_error(const fs::path& path) {
  return make_error(Code::conflict, "'{}' has changed since it was looked at; start again.",
                    path.native());
}

// What is read of a file is what its name says only if the name says the same before it is opened
// and afterwards: on a network, what an open file says of itself may be what was known of the one
// before it. No etag ever comes back. Who meets a file that was replaced meanwhile looks again.
constexpr int kMostLooks = 20;

Result<OpenFile> open_file(const fs::path& path, std::string_view if_match) {
  const std::optional<struct stat> info = TRY(local::find_file(path));
  if (!info) return absent_error(path);
  if (!if_match.empty() && local::etag_of(*info) != if_match) return changed_error(path);
  // O_NONBLOCK: opening a pipe that has no writer would wait for ever.
  OpenFile file{Fd(local::by_name([&] {
                  return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
                })),
                *info};
  if (file.fd) return file;
  if (local::means_absent(errno)) return absent_error(path);
  return local::errno_error("open", path, errno);
}

Result<bool> is_still(const fs::path& path, const struct stat& info) {
  const std::optional<struct stat> now = TRY(local::find_file(path));
  return now && local::etag_of(*now) == local::etag_of(info);
}

// Fills `into` unless the file ends or is no more; how many bytes came.
Result<size_t> read_fully(const Fd& fd, const fs::path& path, uint64_t offset,
                          std::span<std::byte> into) {
  size_t done = 0;
  while (done < into.size()) {
    const ssize_t count = ::pread(fd.get(), into.data() + done, into.size() - done,
                                  static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count == 0 || (count < 0 && errno == ESTALE)) break;  // ESTALE: it was replaced
    if (count < 0) return local::errno_error("read", path, errno);
    done += static_cast<size_t>(count);
  }
  return done;
}

// One open file for all reads. Safe from several threads (pread).
class LocalSource final : public ByteSource {
 public:
  LocalSource(OpenFile file, fs::path path)
      : file_(std::move(file)), etag_(local::etag_of(file_.info)), path_(std::move(path)) {}
  uint64_t size() const override { return static_cast<uint64_t>(file_.info.st_size); }

  Result<size_t> read_at(uint64_t offset, std::span<std::byte> into) override {
    if (offset >= size()) return size_t{0};
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(into.size(), size() - offset));
    const size_t count = TRY(read_fully(file_.fd, path_, offset, into.first(wanted)));
    // By name, so that a file that was replaced counts as changed too; after the read, so that the
    // bytes belong to the etag.
    const std::optional<struct stat> now = TRY(local::find_file(path_));
    if (!now || local::etag_of(*now) != etag_ || count != wanted) return changed_error(path_);
    return count;
  }

 private:
  const OpenFile file_;
  const std::string etag_;
  const fs::path path_;
};

class LocalUpload final : public Upload {
 public:
  explicit LocalUpload(std::unique_ptr<PendingFile> file) : file_(std::move(file)) {}
  Result<void> append(std::span<const std::byte> bytes) override { return file_->write(bytes); }
  Result<PutOutcome> commit(const Condition& condition) override {
    return file_->publish(condition);
  }
  void abort() override { file_->discard(); }

 private:
  std::unique_ptr<PendingFile> file_;
};

class LocalStore final : public ObjectStore {
 public:
  LocalStore(fs::path root, std::chrono::milliseconds patience)
      : root_(std::move(root)), patience_(patience) {}

  Result<std::optional<ObjectInfo>> head(std::string_view key) override {
    const fs::path path = TRY(path_of(key));
    const std::optional<struct stat> info = TRY(local::find_file(path));
    if (!info) return std::optional<ObjectInfo>();
    return std::optional(ObjectInfo{std::string(key), static_cast<uint64_t>(info->st_size),
                                    local::etag_of(*info), local::modified_of(*info)});
  }

  Result<std::vector<std::byte>> get(std::string_view key, ByteRange range,
                                     std::string_view if_match) override {
    const fs::path path = TRY(path_of(key));
    for (int look = 0; look < kMostLooks; ++look) {
      const OpenFile file = TRY(open_file(path, if_match));
      const auto size = static_cast<uint64_t>(file.info.st_size);
      const uint64_t begin = std::min(range.offset, size);
      std::vector<std::byte> bytes(static_cast<size_t>(std::min(range.length, size - begin)));
      const size_t count = TRY(read_fully(file.fd, path, begin, bytes));
      if (count == bytes.size() && TRY(is_still(path, file.info))) return bytes;
    }
    return changed_error(path);  // somebody writes into it all the time
  }

  Result<PutOutcome> put(std::string_view key, std::span<const std::byte> bytes,
                         const Condition& condition) override {
    const fs::path path = TRY(path_of(key));
    if (condition.kind != Condition::Kind::always) {
      // Most conflicts are seen here, before anything is written.
      const std::optional<struct stat> now = TRY(local::find_file(path));
      const bool absent = condition.kind == Condition::Kind::if_absent;
      if (absent ? now.has_value() : !now || local::etag_of(*now) != condition.etag) {
        return PutOutcome{};
      }
    }
    const std::unique_ptr<PendingFile> file = TRY(PendingFile::create(path, patience_));
    TRY(file->write(bytes));
    return file->publish(condition);
  }

  Result<std::unique_ptr<Upload>> begin_upload(std::string_view key) override {
    const fs::path path = TRY(path_of(key));
    return std::unique_ptr<Upload>(
        std::make_unique<LocalUpload>(TRY(PendingFile::create(path, patience_))));
  }

  Result<ListPage> list(std::string_view prefix, std::string_view after, size_t limit) override {
    if (limit == 0) return Error{Code::invalid_argument, "A list needs a limit of at least 1."};
    return local::list_files(root_, prefix, after, limit);
  }

  Result<bool> remove(std::string_view key) override {
    const fs::path path = TRY(path_of(key));
    if (!TRY(local::find_file(path))) return false;
    const bool removed = TRY(unlink_locked(path));
    local::remove_empty_folders(path.parent_path(), root_);
    return removed;
  }

  Result<std::unique_ptr<ByteSource>> open_source(std::string_view key,
                                                  std::string_view if_match) override {
    const fs::path path = TRY(path_of(key));
    for (int look = 0; look < kMostLooks; ++look) {
      OpenFile file = TRY(open_file(path, if_match));
      if (!TRY(is_still(path, file.info))) continue;
      return std::unique_ptr<ByteSource>(std::make_unique<LocalSource>(std::move(file), path));
    }
    return changed_error(path);
  }

  Result<bool> decides_conditions(std::string_view /*key*/) override { return true; }
  std::string url(std::string_view key) const override {
    const std::string root = root_.native() == "/" ? "" : root_.native();
    return "file://" + percent_encode(root) + "/" + percent_encode(key);
  }

 private:
  Result<fs::path> path_of(std::string_view key) const {
    TRY(check_key(key));
    return root_ / fs::path(key);
  }

  // Locked, so that it does not fall into the middle of another writer's if_match.
  Result<bool> unlink_locked(const fs::path& path) const {
    const auto lock = local::NameLock::acquire(path, local::random_name(), patience_);
    // A full disk has no room for the lock, and removing is what it needs.
    if (!lock.ok() && lock.error().code != Code::no_space) {
      // The folder may have gone with the object while we came.
      if (!TRY(local::find_file(path))) return false;
      return lock.error();
    }
    if (local::by_name([&] { return ::unlink(path.c_str()); }) == 0) return true;
    if (local::means_absent(errno)) return false;
    return local::errno_error("remove", path, errno);
  }

  const fs::path root_;
  const std::chrono::milliseconds patience_;
};

}  // namespace

Result<std::unique_ptr<ObjectStore>> open_local_store(fs::path root,
                                                      std::chrono::milliseconds patience) {
  if (!root.is_absolute()) {
    return make_error(Code::invalid_argument,
                      "The store's folder '{}' is not an absolute path; "
                      "give the whole path.",
                      root.native());
  }
  root = root.lexically_normal();
  if (!root.has_filename() && root.has_relative_path()) root = root.parent_path();
  struct stat info {};
  if (::stat(root.c_str(), &info) == 0 && !S_ISDIR(info.st_mode)) {
    return make_error(Code::invalid_argument,
                      "'{}' is a file, but a store needs a folder; choose another place.",
                      root.native());
  }
  return std::unique_ptr<ObjectStore>(std::make_unique<LocalStore>(std::move(root), patience));
}

}  // namespace atelier
