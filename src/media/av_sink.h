// SPDX-License-Identifier: Apache-2.0
// Private to src/media: libav's writes go through a ByteSink, in order, without seeking.
#pragma once

#include <cstdint>
#include <optional>

#include "media/av.h"

namespace atelier::media {

class SinkIo {
 public:
  // `sink` must outlive it.
  explicit SinkIo(ByteSink& sink);
  ~SinkIo();
  SinkIo(const SinkIo&) = delete;
  SinkIo& operator=(const SinkIo&) = delete;
  AVIOContext* get() const { return context_; }
  // Of the first write that failed: libav itself only knows that something did.
  const std::optional<Error>& error() const { return error_; }
  uint64_t bytes() const { return bytes_; }

 private:
  static int write(void* opaque, uint8_t* from, int size);
  ByteSink& sink_;
  AVIOContext* context_ = nullptr;
  std::optional<Error> error_;
  uint64_t bytes_ = 0;
};

}  // namespace atelier::media
