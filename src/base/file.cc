// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace atelier {

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

Fd& Fd::operator=(Fd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

std::string describe_errno(int error) { return std::generic_category().message(error); }

Code code_of_errno(int error, Code otherwise) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return Code::no_space;
    case EIO:
    case ESTALE:
    case ETIMEDOUT: return Code::unavailable;
    default: return otherwise;
  }
}

Result<void> write_fully(int fd, std::span<const std::byte> bytes,
                         const std::filesystem::path& name) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      const int error = errno;
      return make_error(code_of_errno(error, Code::internal), "Cannot write '{}': {}.",
                        name.string(), describe_errno(error));
    }
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return {};
}

Result<std::unique_ptr<FileSource>> FileSource::open(const std::filesystem::path& path) {
  // Without O_NONBLOCK a FIFO would block here until somebody writes.
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) {
    return make_error(code_of_errno(errno, Code::invalid_input), "Cannot open '{}': {}.",
                      path.string(), describe_errno(errno));
  }
  return take(std::move(fd), path);
}

Result<std::unique_ptr<FileSource>> FileSource::open_beneath(const std::filesystem::path& folder,
                                                             const std::filesystem::path& inside) {
  const std::filesystem::path whole = folder / inside;
  const auto refuse = [&](const std::string& why) {
    return make_error(Code::invalid_input, "Cannot open '{}': {}.", whole.string(), why);
  };
  if (inside.empty() || inside.is_absolute() || !inside.has_filename()) {
    return refuse("it is not a name inside that folder");
  }
  const std::string start = folder.empty() ? "." : folder.string();
  Fd fd(::open(start.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (auto part = inside.begin(); part != inside.end(); ++part) {
    if (!fd) return refuse(describe_errno(errno));
    if (*part == "..") return refuse("it is not a name inside that folder");
    const bool last = std::next(part) == inside.end();
    const int kind = last ? O_RDONLY | O_NONBLOCK : O_PATH | O_DIRECTORY;
    fd = Fd(::openat(fd.get(), part->c_str(), kind | O_CLOEXEC | O_NOFOLLOW));
  }
  if (!fd) return refuse(errno == ELOOP ? "it is a symbolic link" : describe_errno(errno));
  return take(std::move(fd), whole);
}

Result<std::unique_ptr<FileSource>> FileSource::take(Fd fd, const std::filesystem::path& path) {
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return make_error(Code::invalid_input, "Cannot read '{}': it is not a regular file.",
                      path.string());
  }
  return std::unique_ptr<FileSource>(
      new FileSource(std::move(fd), static_cast<uint64_t>(info.st_size), path));
}

Result<size_t> FileSource::read_at(uint64_t offset, std::span<std::byte> into) {
  for (;;) {
    const ssize_t count = ::pread(fd_.get(), into.data(), into.size(), static_cast<off_t>(offset));
    if (count >= 0) return static_cast<size_t>(count);
    if (errno == EINTR) continue;
    return make_error(code_of_errno(errno, Code::unavailable), "Cannot read '{}': {}.",
                      path_.string(), describe_errno(errno));
  }
}

Result<std::unique_ptr<ScratchFile>> ScratchFile::create(const std::filesystem::path& folder) {
  std::string name = (folder / "atelier-XXXXXX").string();
  Fd fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd) {
    return make_error(code_of_errno(errno, Code::internal),
                      "Cannot make a scratch file in '{}': {}.", folder.string(),
                      describe_errno(errno));
  }
  ::unlink(name.c_str());
  return std::unique_ptr<ScratchFile>(new ScratchFile(std::move(fd), folder));
}

Result<void> ScratchFile::write(std::span<const std::byte> bytes) {
  TRY(write_fully(fd_.get(), bytes, folder_ / "scratch"));
  hash_.update(bytes);
  size_ += bytes.size();
  return {};
}

Result<Fd> ScratchFile::share() const {
  Fd copy(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) {
    return make_error(Code::internal, "Cannot share a scratch file in '{}': {}.", folder_.string(),
                      describe_errno(errno));
  }
  return copy;
}

Result<std::unique_ptr<FileSource>> ScratchFile::open() const {
  Fd copy = TRY(share());
  return std::unique_ptr<FileSource>(new FileSource(std::move(copy), size_, folder_ / "scratch"));
}

Result<std::unique_ptr<FileSource>> ScratchFile::open_shared() const {
  return FileSource::take(TRY(share()), folder_ / "scratch");
}

Result<std::unique_ptr<ScratchFile>> ScratchFile::adopt(Fd fd) {
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return make_error(Code::invalid_argument, "What was shared is no regular file.");
  }
  return std::unique_ptr<ScratchFile>(new ScratchFile(std::move(fd), "."));
}

Result<uint64_t> free_space(const std::filesystem::path& folder) {
  struct statvfs info {};
  if (::statvfs(folder.c_str(), &info) != 0) {
    return make_error(Code::internal, "Cannot see how much room '{}' has: {}.", folder.string(),
                      describe_errno(errno));
  }
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

}  // namespace atelier
