// SPDX-License-Identifier: Apache-2.0
#include "media/frame_convert.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <vector>

extern "C" {
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
}

namespace atelier::media {
namespace {

// Planes of FrameView are R,G,B; libav's planar RGB is G,B,R.
int libav_plane(const PixelFormat& format, int plane) {
  if (format.family != PixelFormat::Family::rgb || plane > 2) return plane;
  return plane == 0 ? 2 : plane - 1;
}

FrameView view_of(const AVFrame& frame, PixelFormat format) {
  FrameView view;
  view.width = frame.width;
  view.height = frame.height;
  view.format = format;
  view.color = color_of(frame);
  for (int p = 0; p < format.planes(); ++p) {
    const auto from = static_cast<size_t>(libav_plane(format, p));
    view.plane[static_cast<size_t>(p)] = {reinterpret_cast<std::byte*>(frame.data[from]),
                                          frame.linesize[from]};
  }
  return view;
}

void store(std::byte* row, int x, unsigned value, int bytes_per_sample) {
  if (bytes_per_sample == 1) {
    row[x] = static_cast<std::byte>(value);
  } else {
    reinterpret_cast<uint16_t*>(row)[x] = static_cast<uint16_t>(value);
  }
}

void unpack_palette(const AVFrame& frame, const FrameView& to) {
  // A palette entry is 0xAARRGGBB in native order.
  const auto* palette = reinterpret_cast<const uint32_t*>(frame.data[1]);
  constexpr std::array<int, 4> kShift = {16, 8, 0, 24};
  for (int y = 0; y < to.height; ++y) {
    const uint8_t* from = frame.data[0] + static_cast<ptrdiff_t>(y) * frame.linesize[0];
    for (size_t p = 0; p < 4; ++p) {
      std::byte* row = to.plane[p].data + y * to.plane[p].stride;
      for (int x = 0; x < to.width; ++x) {
        row[x] = static_cast<std::byte>(palette[from[x]] >> kShift[p]);
      }
    }
  }
}

// One component of every other format: libav reads a line of samples, however they are packed.
void unpack_component(const AVFrame& frame, const AVPixFmtDescriptor& d, int component,
                      const FrameView& to, int plane, std::vector<uint16_t>& line) {
  const uint8_t* data[4] = {frame.data[0], frame.data[1], frame.data[2], frame.data[3]};
  const int linesize[4] = {frame.linesize[0], frame.linesize[1], frame.linesize[2],
                           frame.linesize[3]};
  const unsigned most = (1U << d.comp[component].depth) - 1;
  const unsigned full = (1U << to.format.depth) - 1;
  const bool inverted = frame.format == AV_PIX_FMT_MONOWHITE;
  const int width = to.plane_width(plane);
  for (int y = 0; y < to.plane_height(plane); ++y) {
    av_read_image_line(line.data(), data, linesize, &d, 0, y, component, width, 0);
    std::byte* row =
        to.plane[static_cast<size_t>(plane)].data + y * to.plane[static_cast<size_t>(plane)].stride;
    for (int x = 0; x < width; ++x) {
      unsigned value = line[static_cast<size_t>(x)];
      if (inverted) value = most - value;
      if (most != full) value = (value * full + most / 2) / most;
      store(row, x, value, to.format.bytes_per_sample());
    }
  }
}

void fill_plane(const FrameView& to, int plane, unsigned value) {
  const auto p = static_cast<size_t>(plane);
  for (int y = 0; y < to.plane_height(plane); ++y) {
    for (int x = 0; x < to.plane_width(plane); ++x) {
      store(to.plane[p].data + y * to.plane[p].stride, x, value, to.format.bytes_per_sample());
    }
  }
}

void unpack(const AVFrame& frame, const AVPixFmtDescriptor& d, const FrameView& to) {
  if (d.flags & AV_PIX_FMT_FLAG_PAL) return unpack_palette(frame, to);
  std::vector<uint16_t> line(static_cast<size_t>(frame.width) + 16);
  if (d.nb_components == 2 && to.format.planes() == 4) {  // gray with alpha
    unpack_component(frame, d, 0, to, 0, line);
    unpack_component(frame, d, 1, to, 3, line);
    fill_plane(to, 1, 1U << (to.format.depth - 1));
    fill_plane(to, 2, 1U << (to.format.depth - 1));
    return;
  }
  for (int c = 0; c < to.format.planes(); ++c) unpack_component(frame, d, c, to, c, line);
}

bool planes_are_there(const AVFrame& frame, AVPixelFormat format) {
  const int planes = av_pix_fmt_count_planes(format);
  for (int p = 0; p < planes; ++p) {
    if (!frame.data[p]) return false;
  }
  const AVPixFmtDescriptor* d = av_pix_fmt_desc_get(format);
  return planes > 0 && (!(d->flags & AV_PIX_FMT_FLAG_PAL) || frame.data[1]);
}

// Scaling treats R, G and B as three full-size planes, which is what yuv444p is to swscale: its own
// RGB path would go through YUV and lose bits.
AVPixelFormat scaling_format(PixelFormat format) {
  if (format.family == PixelFormat::Family::rgb) format.family = PixelFormat::Family::yuv;
  return to_av(format);
}

// swscale's positions are in 1/256 of a luma sample, 128 being half-way.
void set_siting(SwsContext* context, const char* end, const FrameView& view) {
  using Siting = ColorSpec::Siting;
  Siting siting = view.color.siting;
  // ITU-T H.264 and H.265: chroma of 4:2:0 is at the left when nothing is said.
  if (siting == Siting::unspecified) siting = Siting::left;
  const bool centered =
      siting == Siting::center || siting == Siting::top || siting == Siting::bottom;
  int vertical = 128;
  if (siting == Siting::top_left || siting == Siting::top) vertical = 0;
  if (siting == Siting::bottom_left || siting == Siting::bottom) vertical = 256;
  if (view.format.chroma_shift_x == 1) {
    av_opt_set_int(context, fmt::format("{}_h_chr_pos", end).c_str(), centered ? 128 : 0, 0);
  }
  if (view.format.chroma_shift_y == 1) {
    av_opt_set_int(context, fmt::format("{}_v_chr_pos", end).c_str(), vertical, 0);
  }
}

bool same_picture_kind(const FrameView& a, const FrameView& b) {
  return a.width == b.width && a.height == b.height && a.format == b.format && a.color == b.color;
}

}  // namespace

Result<PlanarPicture> to_planar(const AVFrame& frame) {
  const auto format = static_cast<AVPixelFormat>(frame.format);
  const AVPixelFormat planar = planar_equivalent(format);
  if (planar == AV_PIX_FMT_NONE) {
    const char* name = av_get_pix_fmt_name(format);
    return make_error(Code::invalid_input,
                      "The video's pixel format '{}' has no planar form that Atelier can score.",
                      name ? name : "unknown");
  }
  if (!planes_are_there(frame, format)) {
    return make_error(Code::corrupt, "The decoder gave a frame without samples.");
  }
  const PixelFormat wanted = describe(planar);
  const AVPixFmtDescriptor& d = *av_pix_fmt_desc_get(format);
  // The old full-range aliases (yuvj420p) differ in name only.
  if (planar == format || std::string_view(d.name).starts_with("yuvj")) {
    AVFrame* reference = av_frame_clone(&frame);
    if (!reference) throw std::bad_alloc();
    std::shared_ptr<AVFrame> owner(reference, AvDelete{});
    return PlanarPicture{view_of(*reference, wanted), std::move(owner)};
  }
  auto buffer = std::make_shared<FrameBuffer>(frame.width, frame.height, wanted, color_of(frame));
  unpack(frame, d, buffer->view());
  return PlanarPicture{buffer->view(), buffer};
}

Result<FramePtr> planar_frame(const AVFrame& frame) {
  const PlanarPicture picture = TRY(to_planar(frame));
  const auto format = static_cast<AVPixelFormat>(frame.format);
  const AVPixelFormat planar = planar_equivalent(format);
  FramePtr out(av_frame_clone(&frame));
  if (!out) throw std::bad_alloc();
  if (picture.view.plane[0].data == reinterpret_cast<const std::byte*>(frame.data[0]) ||
      planar == format) {
    return out;
  }
  out = make_frame();
  out->format = planar;
  out->width = frame.width;
  out->height = frame.height;
  if (av_frame_get_buffer(out.get(), 0) < 0) throw std::bad_alloc();
  if (av_frame_copy_props(out.get(), &frame) < 0) throw std::bad_alloc();
  const FrameView& view = picture.view;
  for (int p = 0; p < view.format.planes(); ++p) {
    const auto from = static_cast<size_t>(p);
    const auto to = static_cast<size_t>(libav_plane(view.format, p));
    const auto row = static_cast<size_t>(view.plane_width(p) * view.format.bytes_per_sample());
    for (int y = 0; y < view.plane_height(p); ++y) {
      std::memcpy(out->data[to] + static_cast<ptrdiff_t>(y) * out->linesize[to],
                  view.plane[from].data + y * view.plane[from].stride, row);
    }
  }
  return out;
}

void PictureScaler::Free::operator()(SwsContext* context) const { sws_freeContext(context); }

Result<void> PictureScaler::prepare(const FrameView& from) {
  if (context_ && same_picture_kind(from, made_for_)) return {};
  context_.reset(sws_alloc_context());
  if (!context_) throw std::bad_alloc();
  SwsContext* c = context_.get();
  // Two formats of one family are scaled as they are; a change of family (a stream that turns from
  // YUV to RGB on the way) needs the real conversion.
  const bool plain = from.format.family == format_.family;
  const AVPixelFormat source = plain ? scaling_format(from.format) : to_av(from.format);
  const AVPixelFormat target = plain ? scaling_format(format_) : to_av(format_);
  FrameView to;
  to.format = format_;
  to.color = from.color;
  av_opt_set_int(c, "srcw", from.width, 0);
  av_opt_set_int(c, "srch", from.height, 0);
  av_opt_set_int(c, "src_format", source, 0);
  av_opt_set_int(c, "dstw", width_, 0);
  av_opt_set_int(c, "dsth", height_, 0);
  av_opt_set_int(c, "dst_format", target, 0);
  const int range =
      from.color.range == ColorSpec::Range::full || from.format.family == PixelFormat::Family::rgb;
  av_opt_set_int(c, "src_range", range, 0);
  av_opt_set_int(c, "dst_range", range, 0);
  av_opt_set_int(c, "threads", 1, 0);
  av_opt_set_int(
      c, "sws_flags",
      SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP | SWS_BITEXACT, 0);
  set_siting(c, "src", from);
  set_siting(c, "dst", to);
  if (sws_init_context(c, nullptr, nullptr) < 0) {
    context_.reset();
    return make_error(Code::internal, "swscale cannot bring a {}x{} picture to {}x{}.", from.width,
                      from.height, width_, height_);
  }
  const int matrix = from.color.matrix == AVCOL_SPC_BT709        ? SWS_CS_ITU709
                     : from.color.matrix == AVCOL_SPC_BT2020_NCL ? SWS_CS_BT2020
                                                                 : SWS_CS_ITU601;
  const int* coefficients = sws_getCoefficients(matrix);
  // Refused for formats in which it means nothing.
  (void)sws_setColorspaceDetails(c, coefficients, range, coefficients, range, 0, 1 << 16, 1 << 16);
  made_for_ = from;
  return {};
}

Result<PlanarPicture> PictureScaler::fit(PlanarPicture picture) {
  const FrameView& from = picture.view;
  if (from.width == width_ && from.height == height_ && from.format == format_) return picture;
  TRY(prepare(from));
  auto buffer = std::make_shared<FrameBuffer>(width_, height_, format_, from.color);
  const FrameView& to = buffer->view();
  const bool plain = from.format.family == format_.family;
  const uint8_t* source[4] = {};
  uint8_t* target[4] = {};
  int source_stride[4] = {};
  int target_stride[4] = {};
  for (int p = 0; p < 4; ++p) {
    const auto i = static_cast<size_t>(p);
    const auto s = static_cast<size_t>(plain ? p : libav_plane(from.format, p));
    const auto t = static_cast<size_t>(plain ? p : libav_plane(format_, p));
    source[s] = reinterpret_cast<const uint8_t*>(from.plane[i].data);
    source_stride[s] = static_cast<int>(from.plane[i].stride);
    target[t] = reinterpret_cast<uint8_t*>(to.plane[i].data);
    target_stride[t] = static_cast<int>(to.plane[i].stride);
  }
  const int done =
      sws_scale(context_.get(), source, source_stride, 0, from.height, target, target_stride);
  if (done != height_) {
    return make_error(Code::internal, "swscale stopped after {} of {} lines.", done, height_);
  }
  return PlanarPicture{to, buffer};
}

}  // namespace atelier::media
