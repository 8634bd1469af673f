// SPDX-License-Identifier: Apache-2.0
#include "media/av_sink.h"

#include <new>

namespace atelier::media {
namespace {
constexpr int kBufferBytes = 256 * 1024;
}  // namespace

SinkIo::SinkIo(ByteSink& sink) : sink_(sink) {
  auto* buffer = static_cast<unsigned char*>(av_malloc(kBufferBytes));
  if (!buffer) throw std::bad_alloc();
  context_ = avio_alloc_context(buffer, kBufferBytes, 1, this, nullptr, &SinkIo::write, nullptr);
  if (!context_) {
    av_free(buffer);
    throw std::bad_alloc();
  }
}

SinkIo::~SinkIo() {
  av_freep(&context_->buffer);
  avio_context_free(&context_);
}

int SinkIo::write(void* opaque, uint8_t* from, int size) {
  auto& io = *static_cast<SinkIo*>(opaque);
  if (io.error_) return AVERROR(EIO);
  auto written = io.sink_.write({reinterpret_cast<std::byte*>(from), static_cast<size_t>(size)});
  if (!written.ok()) {
    io.error_ = written.error();
    return AVERROR(EIO);
  }
  io.bytes_ += static_cast<uint64_t>(size);
  return size;
}

}  // namespace atelier::media
