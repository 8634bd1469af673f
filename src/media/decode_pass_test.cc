// SPDX-License-Identifier: Apache-2.0
// Where a pass starts.
#include "media/decode_pass.h"

#include <gtest/gtest.h>

#include "media/test_video.h"

namespace atelier::media {
namespace {

// The packet that a pass starts at which finds a frame of the second `wanted` missing; a key packet
// each second.
int64_t second_of_start(const std::string& container, PassStart start, int64_t wanted) {
  test::TestVideo film;
  film.container = container;
  film.time_base = {1, 5};
  film.frames = 150;
  film.gop = 5;
  film.options = {{"sc_threshold", "0"}, {"preset", "ultrafast"}};
  MemorySource source(test::make_video(film));
  const Rational base = probe(source, container).value().streams.at(0).time_base;
  const int64_t ticks = base.den / base.num;
  PassRequest request;
  request.stream = 0;
  request.first_pts = request.key_dts = request.before_dts = request.before_pts = wanted * ticks;
  request.start = start;
  request.mode = PassMode::careful;
  auto pass = DecodePass::open(source, request);
  EXPECT_TRUE(pass.ok());
  const FramePtr frame = make_frame();
  EXPECT_TRUE((*pass)->step(*frame).ok());
  EXPECT_TRUE((*pass)->start_pts());
  return (*pass)->start_pts().value_or(-1) / ticks;
}

TEST(DecodePass, StartsWhereItIsTold) {
  for (const char* container : {"mp4", "matroska"}) {
    EXPECT_EQ(second_of_start(container, PassStart::key, 25), 25) << container;
    EXPECT_EQ(second_of_start(container, PassStart::earlier_key, 25), 24) << container;
    EXPECT_EQ(second_of_start(container, PassStart::far_key, 25), 15) << container;
    EXPECT_EQ(second_of_start(container, PassStart::far_key, 10), 0) << container;
    EXPECT_EQ(second_of_start(container, PassStart::far_key, 4), 0) << container;
  }
}

}  // namespace
}  // namespace atelier::media
