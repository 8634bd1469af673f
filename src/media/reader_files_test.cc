// SPDX-License-Identifier: Apache-2.0
// The reading half over real files, when they are there, checked with the ffmpeg program.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>
#include <cstdio>
#include <filesystem>

#include "base/file.h"
#include "media/test_video.h"

namespace atelier::media {
namespace {

namespace fs = std::filesystem;
using test::decode_plainly;
using test::read_frames;
using test::read_in_stretches;
using test::same_frames;

const fs::path kMedia = fs::path(ATELIER_SOURCE_DIR) / ".." / "shared" / "media";

std::vector<std::string> files() {
  std::vector<std::string> names;
  if (fs::is_directory(kMedia)) {
    for (const auto& entry : fs::directory_iterator(kMedia)) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  if (names.empty()) names.emplace_back("absent");
  return names;
}

class RealFile : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!fs::is_directory(kMedia)) GTEST_SKIP() << "NO TEST FILES: " << kMedia << " is absent.";
    if (GetParam() == "invalid-bitstream.webm") GTEST_SKIP() << "broken on purpose";
  }
  static std::vector<std::byte> bytes() {
    auto source = FileSource::open(kMedia / GetParam());
    return source.ok() ? read_all(**source, 1U << 30, "file").value() : std::vector<std::byte>();
  }
};

// Lines of `ffmpeg -f framemd5` that are frames; -1 without the program.
int frames_by_ffmpeg(const std::string& name, int stream) {
  if (system("ffmpeg -version >/dev/null 2>&1") != 0) return -1;
  const std::string command = "ffmpeg -v quiet -i '" + (kMedia / name).string() +
                              "' -map 0:" + std::to_string(stream) +
                              " -fps_mode passthrough -f framemd5 - </dev/null | grep -vc '^#'";
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 64> line{};
  const bool read = pipe && fgets(line.data(), line.size(), pipe);
  if (pipe) pclose(pipe);
  return read ? atoi(line.data()) : -1;
}

TEST_P(RealFile, StretchesAddUpToTheStraightDecodeAndToFfmpeg) {
  MemorySource source(bytes());
  auto info = probe(source, GetParam());
  ASSERT_TRUE(info.ok()) << info.error().message;
  ASSERT_GE(info->video_stream, 0);
  const auto plain = decode_plainly(source, info->video_stream);
  ReadRequest whole;
  whole.stream = info->video_stream;
  whole.threads = 2;
  const auto straight = read_frames(source, *info, whole);
  EXPECT_TRUE(same_frames(straight.frames, plain));
  EXPECT_EQ(straight.report.decode_errors, 0U);
  EXPECT_TRUE(same_frames(read_in_stretches(source, *info, 0.5, 2), plain));
  if (const int expected = frames_by_ffmpeg(GetParam(), info->video_stream); expected >= 0) {
    EXPECT_EQ(static_cast<int>(plain.size()), expected);
  }
}

TEST_P(RealFile, DamageGivesTheSameFramesForAnyNumberOfThreads) {
  auto damaged = bytes();
  if (damaged.size() > 600000) GTEST_SKIP() << "the smaller files show it";
  for (size_t i = 0; i < 12; ++i) {
    damaged[damaged.size() / 3 + i * damaged.size() / 40] ^= std::byte{0x14};
  }
  auto cut_off = bytes();
  cut_off.resize(cut_off.size() * 3 / 4);
  for (auto& file : {damaged, cut_off}) {
    MemorySource source(file);
    auto info = probe(source, GetParam());
    if (!info.ok() || info->video_stream < 0) continue;
    if (info->streams[static_cast<size_t>(info->video_stream)].video.width == 0) continue;
    uint64_t errors = 0;
    const auto one = read_in_stretches(source, *info, 1.0, 1, &errors);
    for (const int threads : {2, 4}) {
      if (threads == 2 && std::getenv("ATELIER_SLOW") == nullptr) continue;
      uint64_t others = 0;
      EXPECT_TRUE(same_frames(read_in_stretches(source, *info, 1.0, threads, &others), one))
          << threads << " threads, " << file.size() << " bytes";
      EXPECT_EQ(others, errors) << threads << " threads, " << file.size() << " bytes";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shared, RealFile, testing::ValuesIn(files()), [](const auto& name) {
  std::string text = name.param;
  for (char& c : text) c = isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return text;
});

}  // namespace
}  // namespace atelier::media
