// SPDX-License-Identifier: Apache-2.0
#include "media/picture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "media/av.h"
#include "media/sheet.h"

namespace atelier::media {
namespace {

using Family = PixelFormat::Family;
using Range = ColorSpec::Range;

FrameBuffer flat(int width, int height, PixelFormat format, int matrix, Range range,
                 std::array<int, 3> codes) {
  ColorSpec color;
  color.matrix = static_cast<uint8_t>(matrix);
  color.range = range;
  FrameBuffer frame(width, height, format, color);
  for (int p = 0; p < format.planes(); ++p) {
    for (int y = 0; y < frame.view().plane_height(p); ++y) {
      const auto& plane = frame.view().plane[static_cast<size_t>(p)];
      std::byte* row = plane.data + plane.stride * y;
      const int code = p < 3 ? codes[static_cast<size_t>(p)] : 0;
      for (int x = 0; x < frame.view().plane_width(p); ++x) {
        if (format.depth > 8) {
          reinterpret_cast<uint16_t*>(row)[x] = static_cast<uint16_t>(code);
        } else {
          row[x] = static_cast<std::byte>(code);
        }
      }
    }
  }
  return frame;
}

// What an ordinary reader of the file sees.
FramePtr read_back(const std::vector<std::byte>& file, AVCodecID id) {
  const CodecContextPtr context(avcodec_alloc_context3(avcodec_find_decoder(id)));
  EXPECT_EQ(avcodec_open2(context.get(), nullptr, nullptr), 0);
  const PacketPtr packet = make_packet();
  EXPECT_EQ(av_new_packet(packet.get(), static_cast<int>(file.size())), 0);
  std::copy_n(reinterpret_cast<const uint8_t*>(file.data()), file.size(), packet->data);
  FramePtr frame = make_frame();
  EXPECT_EQ(avcodec_send_packet(context.get(), packet.get()), 0);
  EXPECT_EQ(avcodec_send_packet(context.get(), nullptr), 0);
  EXPECT_EQ(avcodec_receive_frame(context.get(), frame.get()), 0);
  return frame;
}

std::array<int, 3> rgb_at(const AVFrame& frame, int x, int y) {
  const uint8_t* row = frame.data[0] + static_cast<ptrdiff_t>(frame.linesize[0]) * y;
  if (frame.format == AV_PIX_FMT_RGB24) return {row[3 * x], row[3 * x + 1], row[3 * x + 2]};
  EXPECT_EQ(frame.format, AV_PIX_FMT_RGB48BE);
  const auto wide = [&](int i) { return row[2 * i] * 256 + row[2 * i + 1]; };
  return {wide(3 * x), wide(3 * x + 1), wide(3 * x + 2)};
}

struct Case {
  int matrix;
  Range range;
  std::array<int, 3> codes;
};

// 75% red in each matrix and range, from the tables of BT.801, SMPTE RP 219 and H.273's equations.
TEST(Picture, PngHasTheColourThatTheFramesTagsMean) {
  const std::vector<Case> cases{{6, Range::limited, {65, 100, 212}},
                                {1, Range::limited, {51, 109, 212}},
                                {1, Range::unspecified, {51, 109, 212}},
                                {5, Range::full, {57, 96, 224}},
                                {9, Range::limited, {59, 105, 212}},
                                {8, Range::full, {48, 80, 224}},
                                {0, Range::full, {0, 0, 191}}};
  for (const Case& c : cases) {
    const uint8_t shift = c.matrix == 0 ? 0 : 1;
    const FrameBuffer frame =
        flat(37, 21, {Family::yuv, 8, shift, shift, false}, c.matrix, c.range, c.codes);
    const auto file = encode_png(frame.view());
    ASSERT_TRUE(file.ok()) << file.error().message;
    const FramePtr picture = read_back(*file, AV_CODEC_ID_PNG);
    ASSERT_EQ(picture->width, 37);
    ASSERT_EQ(picture->height, 21);
    for (const auto& [x, y] : std::vector<std::array<int, 2>>{{0, 0}, {18, 10}, {36, 20}}) {
      const auto rgb = rgb_at(*picture, x, y);
      EXPECT_NEAR(rgb[0], 191, 2) << "matrix " << c.matrix;
      EXPECT_NEAR(rgb[1], 0, 2) << "matrix " << c.matrix;
      EXPECT_NEAR(rgb[2], 0, 2) << "matrix " << c.matrix;
    }
  }
}

TEST(Picture, PngOfRgbIsTheSameSamples) {
  FrameBuffer frame = flat(5, 4, {Family::rgb, 8, 0, 0, true}, 2, Range::unspecified, {0, 0, 0});
  for (size_t p = 0; p < 3; ++p) {
    for (int i = 0; i < 20; ++i) {
      const auto& plane = frame.view().plane[p];
      plane.data[plane.stride * (i / 5) + i % 5] = static_cast<std::byte>(p * 80 + i * 3);
    }
  }
  const auto file = encode_png(frame.view());
  ASSERT_TRUE(file.ok());
  const FramePtr picture = read_back(*file, AV_CODEC_ID_PNG);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(rgb_at(*picture, i % 5, i / 5), (std::array<int, 3>{i * 3, 80 + i * 3, 160 + i * 3}));
  }
}

TEST(Picture, PngOfDeepFramesHasSixteenBits) {
  const FrameBuffer frame =
      flat(16, 16, {Family::yuv, 10, 1, 1, false}, 1, Range::limited, {502, 512, 512});
  const auto file = encode_png(frame.view());
  ASSERT_TRUE(file.ok());
  const FramePtr picture = read_back(*file, AV_CODEC_ID_PNG);
  const int wanted = static_cast<int>(std::lround((502 / 4.0 - 16) / 219 * 65535));
  EXPECT_EQ(rgb_at(*picture, 8, 8), (std::array<int, 3>{wanted, wanted, wanted}));
}

TEST(Picture, GrayAndOnePixelPicturesWork) {
  const FrameBuffer frame = flat(1, 1, {Family::gray, 8, 0, 0, false}, 2, Range::full, {99, 0, 0});
  const auto file = encode_png(frame.view());
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(rgb_at(*read_back(*file, AV_CODEC_ID_PNG), 0, 0), (std::array<int, 3>{99, 99, 99}));
  const FrameBuffer small =
      flat(1, 1, {Family::yuv, 8, 1, 1, false}, 1, Range::limited, {235, 128, 128});
  EXPECT_TRUE(encode_png(small.view()).ok());
}

TEST(Picture, JpegIsFullRange601AndSmallerAtLowerQuality) {
  FrameBuffer frame =
      flat(64, 48, {Family::yuv, 8, 1, 1, false}, 1, Range::limited, {51, 109, 212});
  const auto file = encode_jpeg(frame.view(), 95);
  ASSERT_TRUE(file.ok()) << file.error().message;
  const FramePtr picture = read_back(*file, AV_CODEC_ID_MJPEG);
  ASSERT_EQ(picture->format, AV_PIX_FMT_YUVJ444P);
  EXPECT_NEAR(picture->data[0][picture->linesize[0] * 20 + 30], 57, 2);
  EXPECT_NEAR(picture->data[1][picture->linesize[1] * 20 + 30], 96, 2);
  EXPECT_NEAR(picture->data[2][picture->linesize[2] * 20 + 30], 224, 2);
  for (int i = 0; i < 64 * 48; ++i) {
    const auto& plane = frame.view().plane[0];
    plane.data[plane.stride * (i / 64) + i % 64] = static_cast<std::byte>(i * 37 % 200 + 16);
  }
  const auto fine = encode_jpeg(frame.view(), 95);
  const auto coarse = encode_jpeg(frame.view(), 30);
  ASSERT_TRUE(fine.ok() && coarse.ok());
  EXPECT_LT(coarse->size(), fine->size() * 2 / 3);
}

TEST(Picture, AnUnsupportedMatrixIsSaid) {
  const FrameBuffer frame =
      flat(4, 4, {Family::yuv, 8, 1, 1, false}, 10, Range::limited, {51, 109, 212});
  const auto file = encode_png(frame.view());
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.error().code, Code::invalid_input);
}

TEST(Sheet, PairsStandSideBySideScaledToFit) {
  const FrameBuffer red =
      flat(1920, 1080, {Family::yuv, 8, 1, 1, false}, 1, Range::limited, {51, 109, 212});
  const FrameBuffer green =
      flat(3840, 2160, {Family::rgb, 10, 0, 0, false}, 0, Range::full, {0, 767, 0});
  const std::vector<SheetRow> rows{{red.view(), green.view()}, {green.view(), red.view()}};
  const auto sheet = make_sheet(rows, {.max_width = 808});
  ASSERT_TRUE(sheet.ok()) << sheet.error().message;
  const FrameView& view = sheet->view();
  EXPECT_EQ(view.width, 808);
  EXPECT_EQ(view.height, 225 * 2 + 8);
  const auto at = [&](size_t p, int x, int y) {
    return static_cast<int>(view.plane[p].data[view.plane[p].stride * y + x]);
  };
  EXPECT_NEAR(at(0, 200, 100), 191, 2);
  EXPECT_NEAR(at(1, 200, 100), 0, 2);
  EXPECT_NEAR(at(1, 607, 100), 191, 2);
  EXPECT_NEAR(at(0, 607, 100), 0, 2);
  EXPECT_NEAR(at(1, 0, 457), 191, 2);
  EXPECT_NEAR(at(0, 408, 233), 191, 2);
  for (size_t p = 0; p < 3; ++p) {
    EXPECT_EQ(at(p, 403, 50), 24);
    EXPECT_EQ(at(p, 100, 228), 24);
  }
}

TEST(Sheet, PicturesAreTurnedClockwise) {
  FrameBuffer in(4, 2, {Family::rgb, 8, 0, 0, false}, {});
  for (size_t p = 0; p < 3; ++p) {
    for (int i = 0; i < 8; ++i) {
      in.view().plane[p].data[in.view().plane[p].stride * (i / 4) + i % 4] =
          static_cast<std::byte>(10 * i + 10);
    }
  }
  const std::vector<SheetRow> rows{{in.view(), in.view()}};
  // Row by row of the picture 10 20 30 40 / 50 60 70 80 after so many quarter turns.
  const std::vector<std::vector<int>> wanted{{10, 20, 30, 40, 50, 60, 70, 80},
                                             {50, 10, 60, 20, 70, 30, 80, 40},
                                             {80, 70, 60, 50, 40, 30, 20, 10},
                                             {40, 80, 30, 70, 20, 60, 10, 50}};
  for (int turns = -3; turns < 4; ++turns) {
    const auto sheet = make_sheet(rows, {.quarter_turns = turns});
    ASSERT_TRUE(sheet.ok()) << sheet.error().message;
    const int width = turns % 2 == 0 ? 4 : 2;
    ASSERT_EQ(sheet->view().width, 2 * width + 8);
    ASSERT_EQ(sheet->view().height, 8 / width);
    for (int i = 0; i < 8; ++i) {
      for (const int left : {0, width + 8}) {
        const auto& plane = sheet->view().plane[1];
        const auto got = plane.data[plane.stride * (i / width) + left + i % width];
        EXPECT_EQ(static_cast<int>(got),
                  wanted[static_cast<size_t>(turns + 4) % 4][static_cast<size_t>(i)])
            << turns << " turns, sample " << i;
      }
    }
  }
}

TEST(Sheet, PixelsThatAreNotSquareAreShownInTheirShape) {
  const FrameBuffer in =
      flat(40, 30, {Family::yuv, 8, 1, 1, false}, 1, Range::limited, {235, 128, 128});
  const std::vector<SheetRow> rows{{in.view(), in.view()}};
  const auto wide = make_sheet(rows, {.pixel_aspect = 2});
  ASSERT_TRUE(wide.ok()) << wide.error().message;
  EXPECT_EQ(wide->view().width, 2 * 80 + 8);
  EXPECT_EQ(wide->view().height, 30);
  const auto turned = make_sheet(rows, {.quarter_turns = 1, .pixel_aspect = 2});
  ASSERT_TRUE(turned.ok()) << turned.error().message;
  EXPECT_EQ(turned->view().width, 2 * 30 + 8);
  EXPECT_EQ(turned->view().height, 80);
}

TEST(Sheet, SmallPicturesKeepTheirSizeAndOddOnesWork) {
  const FrameBuffer tiny =
      flat(3, 5, {Family::yuv, 8, 1, 1, false}, 1, Range::limited, {235, 128, 128});
  const std::vector<SheetRow> rows{{tiny.view(), tiny.view()}};
  const auto sheet = make_sheet(rows);
  ASSERT_TRUE(sheet.ok()) << sheet.error().message;
  EXPECT_EQ(sheet->view().width, 14);
  EXPECT_EQ(sheet->view().height, 5);
  EXPECT_FALSE(make_sheet({}).ok());
  EXPECT_FALSE(make_sheet(rows, {.max_width = 9}).ok());
}

}  // namespace
}  // namespace atelier::media
