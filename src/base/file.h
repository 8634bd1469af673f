// SPDX-License-Identifier: Apache-2.0
// Local files behind ByteSource and ByteSink, and scratch files that leave nothing behind.
#pragma once

#include <filesystem>
#include <memory>

#include "base/bytes.h"
#include "base/hash.h"

namespace atelier {

// An owned file descriptor.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  ~Fd();
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

// "No such file or directory" for errno 2, thread-safely.
std::string describe_errno(int error);
// Maps errno to a Code: ENOSPC/EDQUOT/EFBIG no_space, EIO/ESTALE/ETIMEDOUT unavailable, the rest
// `otherwise`.
Code code_of_errno(int error, Code otherwise);

// Writes all of `bytes`; short writes and EINTR are handled.
Result<void> write_fully(int fd, std::span<const std::byte> bytes,
                         const std::filesystem::path& name);

// A regular file opened for reading. Safe from several threads (pread).
class FileSource final : public ByteSource {
 public:
  // Errors: invalid_input (absent, unreadable, a directory).
  static Result<std::unique_ptr<FileSource>> open(const std::filesystem::path& path);
  // Opens `folder` / `inside`, where a stranger chose `inside`: it must be relative and without
  // "..", and no part of it may be a symbolic link. Errors: invalid_input.
  static Result<std::unique_ptr<FileSource>> open_beneath(const std::filesystem::path& folder,
                                                          const std::filesystem::path& inside);
  uint64_t size() const override { return size_; }
  Result<size_t> read_at(uint64_t offset, std::span<std::byte> into) override;

 private:
  friend class ScratchFile;
  static Result<std::unique_ptr<FileSource>> take(Fd fd, const std::filesystem::path& path);
  FileSource(Fd fd, uint64_t size, std::filesystem::path path)
      : fd_(std::move(fd)), size_(size), path_(std::move(path)) {}
  Fd fd_;
  uint64_t size_;
  std::filesystem::path path_;
};

// A temporary file, written in order and hashed on the way, then read back; removed with the
// object. One thread writes; afterwards reading is safe from several threads.
class ScratchFile final : public ByteSink {
 public:
  // Creates the file in `folder`, which must exist and lends its room.
  static Result<std::unique_ptr<ScratchFile>> create(const std::filesystem::path& folder);
  Result<void> write(std::span<const std::byte> bytes) override;
  uint64_t size() const { return size_; }
  // SHA-256 of everything written; ends the writing.
  std::string finish_sha256() { return hash_.finish_hex(); }
  // What was written so far; stays readable after this object is gone.
  Result<std::unique_ptr<FileSource>> open() const;

  // The same file for another process, which writes it in place of this one.
  Result<Fd> share() const;
  // The other process's side. Errors: invalid_argument if it is no regular file.
  static Result<std::unique_ptr<ScratchFile>> adopt(Fd fd);
  // What the other process has written so far. It may go on writing: believe what is read, not what
  // was said of it.
  Result<std::unique_ptr<FileSource>> open_shared() const;

 private:
  ScratchFile(Fd fd, std::filesystem::path folder)
      : fd_(std::move(fd)), folder_(std::move(folder)) {}
  Fd fd_;
  std::filesystem::path folder_;
  uint64_t size_ = 0;
  Sha256 hash_;
};

// Bytes free for this user on the file system of `folder`.
Result<uint64_t> free_space(const std::filesystem::path& folder);

}  // namespace atelier
