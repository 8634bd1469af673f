// SPDX-License-Identifier: Apache-2.0
#include "store/encrypted_object.h"

#include <algorithm>

#include "store/big_endian.h"

namespace atelier::encrypted {
namespace {

constexpr std::string_view kMagic = "ATELCRYP";
constexpr uint64_t kVersion = 1;

// The header: magic, version, frame size, id of the store key; then the sealed data key.
constexpr size_t kVersionAt = 8;
constexpr size_t kFrameSizeAt = 12;
constexpr size_t kStoreKeyAt = 16;
constexpr size_t kNonceAt = 32;
constexpr size_t kDataKeyAt = kNonceAt + Aes256Gcm::kNonceSize;
static_assert(kDataKeyAt + SecretKey::kSize + Aes256Gcm::kTagSize == kHeaderSize);

uint64_t count_frames(uint64_t size, uint64_t frame_size) {
  return size == 0 ? 1 : (size - 1) / frame_size + 1;
}

void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

Aes256Gcm::Nonce frame_nonce(uint64_t frame, bool last) {
  Aes256Gcm::Nonce nonce{};
  put_big_endian(last ? 1 : 0, std::span(nonce).first(4));
  put_big_endian(frame, std::span(nonce).last(8));
  return nonce;
}

// What the tag of a data key covers besides it: the header up to there, then the object's key.
std::vector<std::byte> data_key_context(std::span<const std::byte> header,
                                        std::string_view object_key) {
  std::vector<std::byte> context;
  append(context, header.first(kNonceAt));
  append(context, as_bytes(object_key));
  return context;
}

// Header, then object key: what the tags of frames cover besides them.
std::vector<std::byte> frame_context(const StoreKey& store_key, const SecretKey& data_key,
                                     const Aes256Gcm::Nonce& nonce, std::string_view object_key) {
  std::vector<std::byte> context(kHeaderSize);
  const std::span header(context);
  std::ranges::copy(as_bytes(kMagic), header.begin());
  put_big_endian(kVersion, header.subspan(kVersionAt, 4));
  put_big_endian(kFrameSize, header.subspan(kFrameSizeAt, 4));
  std::ranges::copy(store_key.id, header.subspan(kStoreKeyAt).begin());
  std::ranges::copy(nonce, header.subspan(kNonceAt).begin());
  Aes256Gcm(store_key.key)
      .seal(nonce, data_key_context(header, object_key), data_key.bytes(),
            header.subspan(kDataKeyAt));
  append(context, as_bytes(object_key));
  return context;
}

Error damaged(std::string_view url, std::string_view what) {
  return make_error(Code::corrupt,
                    "{} is not what was written there: {}; restore it from a copy, or remove it "
                    "and make it again.",
                    url, what);
}

}  // namespace

uint64_t sealed_size(uint64_t plain) {
  return kHeaderSize + plain + count_frames(plain, kFrameSize) * Aes256Gcm::kTagSize;
}

std::optional<uint64_t> plain_size(uint64_t sealed) {
  if (sealed < kHeaderSize + Aes256Gcm::kTagSize) return std::nullopt;
  const uint64_t body = sealed - kHeaderSize;
  const uint64_t frames = count_frames(body, kSealedFrameSize);
  const uint64_t tags = frames * Aes256Gcm::kTagSize;
  // A last frame of nothing, or of less than a tag, is in no object but the empty one.
  if (frames > kMaxFrames || body < tags) return std::nullopt;
  const uint64_t plain = body - tags;
  return count_frames(plain, kFrameSize) == frames ? std::optional(plain) : std::nullopt;
}

Frames frames_of(ByteRange range) {
  const uint64_t end =
      range.length > UINT64_MAX - range.offset ? UINT64_MAX : range.offset + range.length;
  const uint64_t first = range.offset / kFrameSize;
  const uint64_t past = std::min(count_frames(end, kFrameSize), kMaxFrames);
  return {first, past > first ? past - first : 1};
}

ByteRange sealed_range(Frames frames) {
  const uint64_t length = frames.count * kSealedFrameSize + 1;
  if (frames.first == 0) return {0, kHeaderSize + length};
  return {kHeaderSize + frames.first * kSealedFrameSize, length};
}

Result<ObjectSealer> ObjectSealer::create(const StoreKey& store_key, std::string_view object_key) {
  const SecretKey data_key = TRY(SecretKey::random());
  Aes256Gcm::Nonce nonce{};
  TRY(fill_random(nonce));
  return ObjectSealer(store_key, data_key, nonce, object_key);
}

ObjectSealer::ObjectSealer(const StoreKey& store_key, const SecretKey& data_key,
                           const Aes256Gcm::Nonce& nonce, std::string_view object_key)
    : additional_(frame_context(store_key, data_key, nonce, object_key)), cipher_(data_key) {}

Result<void> ObjectSealer::add(std::span<const std::byte> plain, std::vector<std::byte>& sealed) {
  while (!plain.empty()) {
    if (held_.size() == kFrameSize) {
      if (frame_ + 1 == kMaxFrames) {
        return Error{Code::invalid_argument,
                     "An encrypted object holds at most 4 PiB; write less."};
      }
      seal(held_, false, sealed);
      held_.clear();
    }
    // A frame that is not the last needs no copy.
    if (held_.empty() && plain.size() > kFrameSize && frame_ + 1 < kMaxFrames) {
      seal(plain.first(kFrameSize), false, sealed);
      plain = plain.subspan(kFrameSize);
      continue;
    }
    const size_t count = std::min<size_t>(plain.size(), kFrameSize - held_.size());
    append(held_, plain.first(count));
    plain = plain.subspan(count);
  }
  return {};
}

void ObjectSealer::finish(std::vector<std::byte>& sealed) { seal(held_, true, sealed); }

void ObjectSealer::seal(std::span<const std::byte> plain, bool last,
                        std::vector<std::byte>& sealed) {
  if (!begun_) append(sealed, std::span(additional_).first(kHeaderSize));
  begun_ = true;
  const size_t begin = sealed.size();
  sealed.resize(begin + plain.size() + Aes256Gcm::kTagSize);
  cipher_.seal(frame_nonce(frame_++, last), additional_, plain, std::span(sealed).subspan(begin));
}

Result<KeyId> store_key_of(std::span<const std::byte> header, std::string_view url) {
  if (!as_text(header).starts_with(kMagic)) {
    return make_error(Code::corrupt,
                      "{} is not encrypted, or its beginning is damaged; write it again through a "
                      "store that has a master key.",
                      url);
  }
  if (header.size() < kHeaderSize) return damaged(url, "it ends inside its header");
  const uint64_t version = get_big_endian(header.subspan(kVersionAt, 4));
  if (version != kVersion || get_big_endian(header.subspan(kFrameSizeAt, 4)) != kFrameSize) {
    return make_error(Code::corrupt,
                      "{} is encrypted in version {} of the format, of which this program knows "
                      "version {} in frames of 1 MiB alone; read it with a newer Atelier.",
                      url, version, kVersion);
  }
  KeyId id{};
  std::ranges::copy(header.subspan(kStoreKeyAt, id.size()), id.begin());
  return id;
}

Result<ObjectOpener> ObjectOpener::create(std::span<const std::byte> header,
                                          const StoreKey& store_key, std::string_view object_key,
                                          std::string url) {
  if (TRY(store_key_of(header, url)) != store_key.id) {
    return damaged(url, "it belongs to another store key");
  }
  header = header.first(kHeaderSize);
  Aes256Gcm::Nonce nonce{};
  std::ranges::copy(header.subspan(kNonceAt, nonce.size()), nonce.begin());
  std::array<std::byte, SecretKey::kSize> opened{};
  if (!Aes256Gcm(store_key.key)
           .open(nonce, data_key_context(header, object_key), header.subspan(kDataKeyAt), opened)) {
    return damaged(url, "its header is damaged or another object's");
  }
  SecretKey key(opened);
  wipe(opened);
  std::vector<std::byte> additional(header.begin(), header.end());
  append(additional, as_bytes(object_key));
  return ObjectOpener(std::move(additional), std::move(key), std::move(url));
}

Result<ObjectOpener::Part> ObjectOpener::open(Frames frames,
                                              std::span<const std::byte> sealed) const {
  Part part;
  const uint64_t wanted = frames.count * kSealedFrameSize;
  part.to_end = sealed.size() <= wanted;
  if (!part.to_end) sealed = sealed.first(wanted);
  const uint64_t count = count_frames(sealed.size(), kSealedFrameSize);
  const uint64_t tags = count * Aes256Gcm::kTagSize;
  // The only frame without plain bytes is that of the empty object.
  const uint64_t last_size = sealed.size() - (count - 1) * kSealedFrameSize;
  const bool empty = frames.first == 0 && count == 1;
  if (last_size < Aes256Gcm::kTagSize + (empty ? 0 : 1)) {
    return damaged(url_, "it ends between two frames or inside a tag");
  }
  part.bytes.resize(sealed.size() - tags);
  Aes256Gcm cipher(key_);
  for (uint64_t i = 0; i < count; ++i) {
    const std::span piece =
        sealed.subspan(i * kSealedFrameSize, i + 1 == count ? last_size : size_t{kSealedFrameSize});
    const std::span plain =
        std::span(part.bytes).subspan(i * kFrameSize, piece.size() - Aes256Gcm::kTagSize);
    const bool last = part.to_end && i + 1 == count;
    if (!cipher.open(frame_nonce(frames.first + i, last), additional_, piece, plain)) {
      return damaged(url_, fmt::format("frame {} fails its check", frames.first + i));
    }
  }
  return part;
}

}  // namespace atelier::encrypted
