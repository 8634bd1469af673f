// SPDX-License-Identifier: Apache-2.0
#include "store/secret.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

namespace atelier {
namespace {

constexpr size_t kMostBytes = size_t{64} << 10;
constexpr std::string_view kSecret = "a secret";

Error cannot_read(std::string_view what, const std::filesystem::path& path,
                  const std::string& why) {
  return make_error(Code::invalid_argument, "Cannot take {} from '{}': {}.", what, path.string(),
                    why);
}

}  // namespace

Result<Fd> open_private_file(const std::filesystem::path& path, std::string_view what) {
  // O_NONBLOCK: opening a pipe that has no writer would wait for ever.
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0) {
    return cannot_read(what, path, describe_errno(errno));
  }
  if (!S_ISREG(info.st_mode)) return cannot_read(what, path, "it is not a regular file");
  if (info.st_uid != ::geteuid() && info.st_uid != 0) {
    return cannot_read(what, path, "it belongs to another user; make one of your own");
  }
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return cannot_read(what, path, "others than its owner may use it; run chmod 600 on it");
  }
  return fd;
}

Result<std::string> read_secret_file(const std::filesystem::path& path) {
  const Fd fd = TRY(open_private_file(path, kSecret));
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t count = ::read(fd.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return cannot_read(kSecret, path, describe_errno(errno));
    if (count == 0) break;
    text.append(buffer.data(), static_cast<size_t>(count));
    if (text.size() > kMostBytes) return cannot_read(kSecret, path, "it is longer than 64 KiB");
  }
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return cannot_read(kSecret, path, "it is empty");
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

std::shared_ptr<Secret> Secret::text(std::string value) {
  auto secret = std::make_shared<Secret>();
  MutexLock lock(secret->mutex_);
  secret->value_ = std::move(value);
  return secret;
}

std::shared_ptr<Secret> Secret::file(std::filesystem::path path) {
  auto secret = std::make_shared<Secret>();
  secret->path_ = std::move(path);
  return secret;
}

Result<std::string> Secret::read() {
  MutexLock lock(mutex_);
  if (path_.empty()) return value_;
  struct stat info {};
  if (::stat(path_.c_str(), &info) != 0) {
    return cannot_read(kSecret, path_, describe_errno(errno));
  }
  const bool same = info.st_ino == inode_ && info.st_mtim.tv_sec == read_at_.tv_sec &&
                    info.st_mtim.tv_nsec == read_at_.tv_nsec;
  if (same && !value_.empty()) return value_;
  value_ = TRY(read_secret_file(path_));
  inode_ = info.st_ino;
  read_at_ = info.st_mtim;
  return value_;
}

}  // namespace atelier
