// SPDX-License-Identifier: Apache-2.0
#include "media/joiner.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace atelier::media {
namespace {

Error damaged(size_t number, std::string_view why) {
  return make_error(Code::corrupt, "Chunk {} is damaged: {}; score it again.", number, why);
}

int64_t dts_at(std::span<const int64_t> sorted, size_t reorder, size_t i) {
  return i >= reorder ? sorted[i - reorder] : sorted[0] - static_cast<int64_t>(reorder - i);
}

size_t reorder_of(std::span<const int64_t> pts, std::span<const int64_t> sorted) {
  size_t deepest = 0;
  for (size_t i = 0; i < pts.size(); ++i) {
    const auto at = std::lower_bound(sorted.begin(), sorted.end(), pts[i]);
    const auto rank = static_cast<size_t>(at - sorted.begin());
    if (i > rank) deepest = std::max(deepest, i - rank);
  }
  return deepest;
}

std::vector<int64_t> sorted_copy(std::span<const int64_t> pts) {
  std::vector<int64_t> sorted(pts.begin(), pts.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

}  // namespace

size_t deepest_reorder(std::span<const int64_t> pts) { return reorder_of(pts, sorted_copy(pts)); }

std::vector<int64_t> join_dts(std::span<const int64_t> pts) {
  const std::vector<int64_t> sorted = sorted_copy(pts);
  const size_t reorder = reorder_of(pts, sorted);
  std::vector<int64_t> dts(pts.size());
  for (size_t i = 0; i < dts.size(); ++i) dts[i] = dts_at(sorted, reorder, i);
  return dts;
}

struct Joiner::Chunk {
  size_t number = 0;
  std::unique_ptr<ByteSource> source;
  std::unique_ptr<Input> input;  // reads `source`, so it goes first
};

Joiner::Joiner(const MuxRequest& request) : request_(request) {}
Joiner::~Joiner() = default;

Result<std::unique_ptr<Joiner>> Joiner::open(const MuxRequest& request, std::stop_token stop) {
  if (request.chunks.empty()) {
    return make_error(Code::internal, "There are no chunks to join.");
  }
  std::unique_ptr<Joiner> joiner(new Joiner(request));
  for (size_t i = 0; i < request.chunks.size(); ++i) TRY(joiner->index(i, stop));
  return joiner;
}

Result<std::unique_ptr<Joiner::Chunk>> Joiner::open_chunk(size_t number) const {
  auto chunk = std::make_unique<Chunk>();
  chunk->number = number;
  chunk->source = TRY(request_.open_chunk(number));
  auto input = Input::open(*chunk->source, fmt::format("Chunk {}", number));
  if (!input.ok()) {
    // Our own file that is no media: not the user's input.
    if (input.error().code == Code::invalid_input) return damaged(number, input.error().message);
    return input.error();
  }
  chunk->input = std::move(input).value();
  const AVFormatContext& format = *chunk->input->get();
  if (std::strcmp(format.iformat->name, "nut") != 0 || format.nb_streams != 1 ||
      format.streams[0]->codecpar->codec_type != AVMEDIA_TYPE_VIDEO) {
    return damaged(number, "it is not a NUT file of one video stream");
  }
  return chunk;
}

Result<bool> Joiner::read(Chunk& chunk, AVPacket& packet) const {
  auto got = chunk.input->read(packet);
  if (!got.ok()) return got.error();
  if (!*got) {
    if (chunk.input->truncated()) return damaged(chunk.number, "its end cannot be read");
    return false;
  }
  if (packet.flags & AV_PKT_FLAG_CORRUPT) return damaged(chunk.number, "a packet is broken");
  const AVRational theirs = chunk.input->stream(0)->time_base;
  const AVRational ours = to_av(request_.video_time_base);
  const int64_t pts = packet.pts;
  if (pts == AV_NOPTS_VALUE || pts < 0) return damaged(chunk.number, "a packet has no timestamp");
  packet.pts = av_rescale_q(pts, theirs, ours);
  if (av_compare_ts(pts, theirs, packet.pts, ours) != 0) {
    return damaged(chunk.number, "a timestamp is no multiple of the video's time base");
  }
  packet.pts += request_.chunks[chunk.number].first_pts;
  packet.dts = AV_NOPTS_VALUE;
  packet.stream_index = 0;
  return true;
}

Result<void> Joiner::check_same_parameters(const AVCodecParameters& parameters,
                                           size_t number) const {
  const AVCodecParameters& first = *parameters_;
  const bool same =
      parameters.codec_id == first.codec_id && parameters.width == first.width &&
      parameters.height == first.height && parameters.format == first.format &&
      parameters.extradata_size == first.extradata_size &&
      (first.extradata_size == 0 || std::memcmp(parameters.extradata, first.extradata,
                                                static_cast<size_t>(first.extradata_size)) == 0);
  if (!same) return damaged(number, "its codec parameters differ from the first chunk's");
  return {};
}

Result<void> Joiner::index(size_t number, std::stop_token stop) {
  const JoinChunk& expected = request_.chunks[number];
  std::unique_ptr<Chunk> chunk = TRY(open_chunk(number));
  const AVCodecParameters& parameters = *chunk->input->stream(0)->codecpar;
  if (!parameters_) {
    parameters_.reset(avcodec_parameters_alloc());
    if (!parameters_ || avcodec_parameters_copy(parameters_.get(), &parameters) < 0) {
      throw std::bad_alloc();
    }
  }
  TRY(check_same_parameters(parameters, number));
  std::vector<int64_t> pts;
  PacketPtr packet = make_packet();
  while (TRY(read(*chunk, *packet))) {
    if (stop.stop_requested()) return make_error(Code::cancelled, "Joining was interrupted.");
    pts.push_back(packet->pts);
  }
  if (pts.size() != expected.frames || pts.empty()) {
    return damaged(number, fmt::format("it holds {} frames where {} were scored", pts.size(),
                                       expected.frames));
  }
  const std::vector<int64_t> sorted = sorted_copy(pts);
  TRY(append(number, sorted));
  reorder_ = std::max(reorder_, reorder_of(pts, sorted));
  bytes_ += chunk->source->size();
  return {};
}

Result<void> Joiner::append(size_t number, const std::vector<int64_t>& sorted) {
  const bool increasing =
      std::adjacent_find(sorted.begin(), sorted.end(), std::greater_equal<>()) == sorted.end();
  const size_t before = number > 0 ? request_.chunks[number - 1].frames : 0;
  // Each frame that came too late took one tick, so no more of them can be in the way.
  const bool follows =
      times_.empty() || times_.back() - sorted.front() < static_cast<int64_t>(before);
  if (sorted.front() != request_.chunks[number].first_pts || !increasing || !follows) {
    return damaged(number, "its timestamps do not follow those of the chunk before it");
  }
  if (!times_.empty() && sorted.front() <= times_.back()) moved_[number] = {times_.size(), sorted};
  for (const int64_t pts : sorted) {
    times_.push_back(times_.empty() ? pts : std::max(pts, times_.back() + 1));
  }
  return {};
}

// Of a packet of the current chunk in times_.
std::optional<size_t> Joiner::place_of(int64_t pts) const {
  const auto moved = moved_.find(current_->number);
  const std::vector<int64_t>& times = moved == moved_.end() ? times_ : moved->second.times;
  const auto at = std::lower_bound(times.begin(), times.end(), pts);
  if (at == times.end() || *at != pts) return std::nullopt;
  return static_cast<size_t>(at - times.begin()) +
         (moved == moved_.end() ? 0 : moved->second.begin);
}

Result<bool> Joiner::next(AVPacket& packet) {
  for (;;) {
    if (!current_) {
      if (next_chunk_ == request_.chunks.size()) return false;
      current_ = TRY(open_chunk(next_chunk_++));
      TRY(check_same_parameters(*current_->input->stream(0)->codecpar, current_->number));
    }
    if (TRY(read(*current_, packet))) break;
    current_.reset();
  }
  const auto place = place_of(packet.pts);
  if (written_ == times_.size() || !place) {
    return damaged(current_->number, "it changed while it was read");
  }
  const size_t rank = shown_at_ = *place;
  packet.pts = times_[rank];
  if (rank + 1 < times_.size()) {
    packet.duration = times_[rank + 1] - packet.pts;
  } else if (last_duration_ > 0) {
    packet.duration = last_duration_;
  } else {
    packet.duration = rank > 0 ? packet.pts - times_[rank - 1] : 1;
  }
  packet.dts = dts_at(times_, reorder_, written_);
  if (packet.dts > packet.pts) return damaged(current_->number, "it changed while it was read");
  ++written_;
  packet.pos = -1;
  return true;
}

}  // namespace atelier::media
