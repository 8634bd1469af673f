// SPDX-License-Identifier: Apache-2.0
#include "media/dts_queue.h"

#include <gtest/gtest.h>

namespace atelier::media {
namespace {

PacketPtr timed(int stream, int64_t pts, int64_t dts) {
  PacketPtr packet = make_packet();
  EXPECT_EQ(av_new_packet(packet.get(), 1), 0);
  packet->stream_index = stream;
  packet->pts = pts;
  packet->dts = dts;
  return packet;
}

TEST(DtsQueue, MakesDecodeTimesThatNeverTouchWhatIsShownWhen) {
  const int64_t none = AV_NOPTS_VALUE;
  const std::vector<int64_t> pts{23, 183, 103, 63, 143, 343, 263, 223, 303};
  for (const std::vector<int64_t>& came : {std::vector<int64_t>(pts.size(), none),
                                           {none, none, 23, 63, 103, 143, 183, 223, 263},
                                           {23, 63, 103, 143, 183, 223, 263, 303, 343},
                                           pts}) {
    DtsQueue queue;
    queue.reorders(1);
    for (size_t i = 0; i < pts.size(); ++i) {
      queue.push(timed(1, pts[i], came[i]));
      queue.push(timed(0, 1000 - static_cast<int64_t>(i), none));
    }
    EXPECT_EQ(queue.pop(), nullptr);  // deeper reordering may follow
    queue.finish();
    std::optional<int64_t> last;
    for (size_t i = 0; i < pts.size(); ++i) {
      const PacketPtr packet = queue.pop();
      ASSERT_TRUE(packet);
      EXPECT_EQ(packet->pts, pts[i]);
      EXPECT_LE(packet->dts, packet->pts);
      if (last) {
        EXPECT_GT(packet->dts, *last);
      }
      if (came[2] == 23 && i >= 2) {
        EXPECT_EQ(packet->dts, came[i]);  // usable ones stay
      }
      last = packet->dts;
      const PacketPtr other = queue.pop();
      ASSERT_TRUE(other);
      EXPECT_EQ(other->dts, none);  // not its matter
    }
    EXPECT_EQ(queue.pop(), nullptr);
  }
}

TEST(DtsQueue, WaitsForNoMoreThanItsBound) {
  DtsQueue queue;
  queue.reorders(0);
  queue.push(timed(0, 5, AV_NOPTS_VALUE));
  for (size_t i = 0; i + 2 < DtsQueue::kMostPackets; ++i) queue.push(timed(1, 0, 0));
  EXPECT_EQ(queue.pop(), nullptr);
  queue.push(timed(1, 0, 0));
  const PacketPtr packet = queue.pop();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->dts, 5);
}

}  // namespace
}  // namespace atelier::media
