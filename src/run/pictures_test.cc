// SPDX-License-Identifier: Apache-2.0
#include "run/pictures.h"

#include <gtest/gtest.h>

#include "media/frame_writer.h"
#include "media/picture_files.h"
#include "store/counting_store.h"
#include "store/faulty_store.h"
#include "store/memory_store.h"

namespace atelier::run {
namespace {

constexpr int kPictures = 4;

// PNG pictures in shades of gray, one chunk.
media::EncodeSettings png() {
  media::EncodeSettings settings;
  settings.codec = "png";
  settings.width = settings.height = 8;
  settings.format = {PixelFormat::Family::gray, 8, 0, 0, false};
  settings.time_base = {1, 25};
  return settings;
}

std::vector<std::byte> make_chunk(int shade) {
  MemorySink sink;
  auto writer = media::FrameWriter::create(png(), sink).value();
  for (int i = 0; i < kPictures; ++i) {
    FrameBuffer frame(8, 8, png().format, {});
    for (int y = 0; y < 8; ++y) {
      std::fill_n(frame.view().plane[0].data + y * frame.view().plane[0].stride, 8,
                  static_cast<std::byte>(shade + i));
    }
    EXPECT_TRUE(writer->write(frame.view(), i, 1, nullptr).ok());
  }
  EXPECT_TRUE(writer->finish().ok());
  return sink.take();
}

class PicturesTest : public testing::Test {
 protected:
  Result<void> publish(ObjectStore& store, bool replace = false) {
    media::MuxRequest mux;
    mux.video_time_base = {1, 25};
    mux.chunks = {{0, kPictures}};
    mux.open_chunk = [&](size_t) -> Result<std::unique_ptr<ByteSource>> {
      return std::unique_ptr<ByteSource>(std::make_unique<MemorySource>(chunk_));
    };
    mux.encode = png();
    FinishRequest request;
    request.output = &store;
    request.output_key = "%d.png";
    request.replace = replace;
    report_ = {};
    return publish_pictures(mux, request, report_, {});
  }
  void put(const std::string& key, const std::string& text) {
    const auto bytes = std::as_bytes(std::span(text));
    ASSERT_TRUE(store_->put(key, bytes, Condition::always()).value().written);
  }
  size_t objects() { return list_all(*store_, "").value().size(); }

  std::vector<std::byte> chunk_ = make_chunk(100);
  std::unique_ptr<ObjectStore> store_ = make_memory_store();
  FinishReport report_;
};

TEST_F(PicturesTest, AFailureRemovesNothing) {
  FaultyStore broken(*store_, scripted_faults({{StoreVerb::put, 2, Fault::before}}));
  ASSERT_FALSE(publish(broken).ok());
  EXPECT_EQ(objects(), 2U);
  // As another worker of the same run does.
  EXPECT_TRUE(publish(*store_).ok());
  EXPECT_EQ(objects(), 4U);
  FaultyStore late(*store_, scripted_faults({{StoreVerb::put, 3, Fault::before}}));
  ASSERT_FALSE(publish(late).ok());
  EXPECT_EQ(objects(), 4U);
}

TEST_F(PicturesTest, AnotherPictureIsKeptAndNothingWritten) {
  put("3.png", "mine");
  const auto done = publish(*store_);
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code, Code::invalid_argument);
  EXPECT_NE(done.error().message.find("3.png"), std::string::npos) << done.error().message;
  EXPECT_EQ(objects(), 1U);
}

TEST_F(PicturesTest, PicturesOfALongerJobBehindTheLastAreRefusedOrNoted) {
  put("5.png", "older");
  put("6.png", "older");
  const auto done = publish(*store_);
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code, Code::invalid_argument);
  EXPECT_NE(done.error().message.find("5.png"), std::string::npos) << done.error().message;
  EXPECT_EQ(objects(), 2U);
  ASSERT_TRUE(publish(*store_, true).ok());
  ASSERT_EQ(report_.notes.size(), 1U);
  EXPECT_NE(report_.notes[0].find("5.png"), std::string::npos) << report_.notes[0];
  EXPECT_EQ(objects(), 6U);
  // Neither where nothing follows at once.
  EXPECT_TRUE(store_->remove("5.png").value());
  ASSERT_TRUE(publish(*store_).ok());
  EXPECT_TRUE(report_.notes.empty());
}

TEST_F(PicturesTest, AnObjectOfAnotherSizeIsNotRead) {
  put("1.png", std::string(1 << 16, 'x'));
  CountingStore counting(*store_);
  ASSERT_FALSE(publish(counting).ok());
  EXPECT_EQ(counting.counts().of(StoreVerb::get), 0U);
}

TEST(PictureName, IsRecognised) {
  using media::is_picture_name;
  EXPECT_TRUE(is_picture_name("%d.png", "1.png"));
  EXPECT_TRUE(is_picture_name("a-%03d.png", "a-007.png"));
  EXPECT_TRUE(is_picture_name("a-%03d.png", "a-1234.png"));
  EXPECT_TRUE(is_picture_name("7%d1.png", "7121.png"));
  for (const char* file : {"0.png", "01.png", "-1.png", "1.jpg", "1", "", ".png", "a1.png",
                           "99999999999999999999999.png"}) {
    EXPECT_FALSE(is_picture_name("%d.png", file)) << file;
  }
  EXPECT_FALSE(is_picture_name("a-%03d.png", "a-07.png"));
}

}  // namespace
}  // namespace atelier::run
