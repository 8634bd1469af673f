// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/frame.h"
#include "base/hash.h"
#include "base/queue.h"
#include "base/time.h"

namespace atelier {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return make_error(Code::invalid_input, "{} is odd.", n);
  return n / 2;
}

Result<int> quarter(int n) { return TRY(half(TRY(half(n)))); }

TEST(Result, TryPassesTheErrorOn) {
  EXPECT_EQ(quarter(12).value(), 3);
  EXPECT_EQ(quarter(6).error().message, "3 is odd.");
  EXPECT_EQ(quarter(6).error().code, Code::invalid_input);
}

// FIPS 180-4 examples.
TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(sha256_hex({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex(as_bytes("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(MediaTime, ComparesAcrossTimeBasesExactly) {
  EXPECT_EQ(compare({1001, {1, 30000}}, {1001, {1, 30000}}), std::strong_ordering::equal);
  EXPECT_EQ(compare({1, {1, 3}}, {333, {1, 1000}}), std::strong_ordering::greater);
  EXPECT_EQ(compare({INT64_MAX / 4, {1, 90000}}, {INT64_MAX / 4, {1, 90001}}),
            std::strong_ordering::greater);
}

TEST(MediaTime, SecondsTypedInDecimalHitTheirTick) {
  EXPECT_EQ(ticks_at_or_after(0.04, {1, 25}), 1);
  EXPECT_EQ(ticks_at_or_after(0.041, {1, 25}), 2);
  EXPECT_EQ(ticks_at_or_after(-0.5, {1, 1000}), -500);
}

TEST(MediaTime, SecondsBeyondEveryVideoStayOnTheirSide) {
  EXPECT_GT(ticks_at_or_after(1e30, {1, 90000}), int64_t{1} << 60);
  EXPECT_LT(ticks_at_or_after(-1e300, {1, 90000}), -(int64_t{1} << 60));
}

TEST(SamePicture, LooksAtEverySampleAndAtWhatItMeans) {
  const PixelFormat format{PixelFormat::Family::yuv, 10, 1, 1, true};
  const auto filled = [](FrameBuffer frame) {
    for (int p = 0; p < frame.view().format.planes(); ++p) {
      for (int y = 0; y < frame.view().plane_height(p); ++y) {
        const auto& plane = frame.view().plane[static_cast<size_t>(p)];
        std::fill_n(plane.data + y * plane.stride, frame.view().plane_width(p) * 2, std::byte(p));
      }
    }
    return frame;
  };
  const FrameBuffer one = filled(FrameBuffer(5, 3, format, {}));
  const FrameBuffer same = filled(FrameBuffer(5, 3, format, {}));
  EXPECT_TRUE(same_picture(one.view(), same.view()));
  const FrameView::Plane& luma = same.view().plane[0];
  ASSERT_GT(luma.stride, 10);
  luma.data[10] = std::byte(77);
  EXPECT_TRUE(same_picture(one.view(), same.view())) << "behind a row of ten bytes";
  for (int p = 0; p < format.planes(); ++p) {
    FrameBuffer other = filled(FrameBuffer(5, 3, format, {}));
    const auto& plane = other.view().plane[static_cast<size_t>(p)];
    const int last = (other.view().plane_height(p) - 1) * static_cast<int>(plane.stride) +
                     other.view().plane_width(p) * 2 - 1;
    plane.data[last] = std::byte(77);
    EXPECT_FALSE(same_picture(one.view(), other.view())) << "the last byte of plane " << p;
  }
  ColorSpec full;
  full.range = ColorSpec::Range::full;
  EXPECT_FALSE(same_picture(one.view(), filled(FrameBuffer(5, 3, format, full)).view()));
  EXPECT_FALSE(same_picture(one.view(), filled(FrameBuffer(4, 3, format, {})).view()));
}

TEST(FrameBuffer, OddSizesRoundChromaUp) {
  FrameBuffer buffer(5, 3, {PixelFormat::Family::yuv, 10, 1, 1, true}, {});
  const FrameView& view = buffer.view();
  EXPECT_EQ(view.format.planes(), 4);
  EXPECT_EQ(view.plane_width(1), 3);
  EXPECT_EQ(view.plane_height(2), 2);
  EXPECT_EQ(view.plane_width(3), 5);
  for (const auto& plane : view.plane) EXPECT_EQ(reinterpret_cast<uintptr_t>(plane.data) % 64, 0u);
}

TEST(BoundedQueue, EndOfStreamIsAValueAndAbortWakesBothSides) {
  BoundedQueue<int> queue(1);
  std::jthread producer([&] {
    for (int i = 0; i < 100; ++i) queue.push(i);
    queue.close();
  });
  for (int i = 0; i < 100; ++i) ASSERT_EQ(queue.pop(), i);
  EXPECT_EQ(queue.pop(), std::nullopt);
  producer.join();

  BoundedQueue<int> full(1);
  ASSERT_TRUE(full.push(1));
  std::jthread stuck([&] { EXPECT_FALSE(full.push(2)); });
  full.abort();
  stuck.join();
  EXPECT_EQ(full.pop(), std::nullopt);
}

TEST(ScratchFile, IsHashedReadBackAndLeavesNothing) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "scratch_test";
  std::filesystem::create_directories(folder);
  std::unique_ptr<FileSource> source;
  {
    auto scratch = ScratchFile::create(folder);
    ASSERT_TRUE(scratch.ok());
    EXPECT_TRUE(std::filesystem::is_empty(folder));
    ASSERT_TRUE((*scratch)->write(as_bytes("ab")).ok());
    ASSERT_TRUE((*scratch)->write(as_bytes("c")).ok());
    EXPECT_EQ((*scratch)->finish_sha256(), sha256_hex(as_bytes("abc")));
    source = (*scratch)->open().value();
  }
  EXPECT_EQ(as_text(read_all(*source, 10, "it").value()), "abc");
  EXPECT_EQ(read_all(*source, 2, "it").error().code, Code::invalid_input);
}

TEST(FileSource, OpensNothingOutsideTheFolder) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(testing::TempDir()) / "beneath";
  fs::remove_all(folder);
  fs::create_directories(folder / "in" / "deep");
  std::ofstream(folder / "in" / "deep" / "w") << "weights";
  std::ofstream(folder / "out") << "secret";
  fs::create_symlink("../out", folder / "in" / "link");
  fs::create_directory_symlink("..", folder / "in" / "up");
  const auto file = FileSource::open_beneath(folder / "in", "deep/w");
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ((*file)->size(), 7U);
  for (const char* name : {"", "../out", "deep/../../out", "/etc/passwd", "link", "up/out", "deep",
                           "deep/", "none", "/dev/zero"}) {
    const auto other = FileSource::open_beneath(folder / "in", name);
    ASSERT_FALSE(other.ok()) << name;
    EXPECT_EQ(other.error().code, Code::invalid_input);
  }
  EXPECT_FALSE(FileSource::open_beneath("/dev", "zero").ok());
  fs::remove_all(folder);
}

TEST(FileSource, NamesWhatItCannotOpen) {
  EXPECT_EQ(FileSource::open("/nonexistent/x").error().message,
            "Cannot open '/nonexistent/x': No such file or directory.");
  EXPECT_EQ(FileSource::open("/tmp").error().code, Code::invalid_input);
}

TEST(HurriedClock, TimeIsTenTimesAsFastWhetherItSleepsOrWorks) {
  HurriedClock clock;
  const auto truly = system_clock().now(), begin = clock.now();
  clock.sleep_for(std::chrono::milliseconds(200));
  system_clock().sleep_for(std::chrono::milliseconds(5));
  const auto took = clock.now() - begin;
  const auto real = system_clock().now() - truly;
  EXPECT_GE(took, std::chrono::milliseconds(250));
  EXPECT_LE(took, 10 * real);
  EXPECT_GE(real, std::chrono::milliseconds(25));
}

TEST(FakeClock, SleepingIsAdvancing) {
  FakeClock clock;
  clock.sleep_for(std::chrono::seconds(3));
  clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(clock.now(), std::chrono::seconds(4));
}

}  // namespace
}  // namespace atelier
