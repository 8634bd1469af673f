// SPDX-License-Identifier: Apache-2.0
#include "media/frame_extras.h"

#include <algorithm>
#include <array>
#include <new>

namespace atelier::media {
namespace {

// What describes this frame's pictures or text and stays true when the picture is painted over. Not
// here: motion vectors, encoder parameters and user data of the old bitstream (its encoder's
// signature), film grain, and the display matrix, which the container carries.
constexpr std::array kKept = {
    AV_FRAME_DATA_A53_CC,
    AV_FRAME_DATA_MASTERING_DISPLAY_METADATA,
    AV_FRAME_DATA_CONTENT_LIGHT_LEVEL,
    AV_FRAME_DATA_DYNAMIC_HDR_PLUS,
};

bool is_kept(AVFrameSideDataType type) {
  return std::find(kKept.begin(), kKept.end(), type) != kKept.end();
}

Result<void> copy_kept(const AVFrame& from, AVFrame& to) {
  for (int i = 0; i < from.nb_side_data; ++i) {
    const AVFrameSideData& data = *from.side_data[i];
    if (!is_kept(data.type) || !data.buf) continue;
    AVBufferRef* bytes = av_buffer_ref(data.buf);
    if (!bytes) throw std::bad_alloc();
    av_frame_remove_side_data(&to, data.type);
    if (!av_frame_new_side_data_from_buf(&to, data.type, bytes)) {
      av_buffer_unref(&bytes);
      return make_error(Code::internal, "A frame's side data could not be attached.");
    }
  }
  return {};
}

}  // namespace

std::shared_ptr<const FrameExtras> FrameExtras::of(const AVFrame& frame) {
  bool any = false;
  for (int i = 0; i < frame.nb_side_data; ++i) any = any || is_kept(frame.side_data[i]->type);
  if (!any) return nullptr;
  auto extras = std::make_shared<FrameExtras>();
  extras->carrier_ = make_frame();
  if (!copy_kept(frame, *extras->carrier_).ok()) return nullptr;
  return extras;
}

Result<void> FrameExtras::attach_to(AVFrame& frame) const {
  return carrier_ ? copy_kept(*carrier_, frame) : Result<void>();
}

}  // namespace atelier::media
