// SPDX-License-Identifier: Apache-2.0
// Every file of the shared collection through decode, chunks of half a second, join and mux; judged
// by tests/independent_check.py, which uses ffprobe and none of our code.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include "base/file.h"
#include "media/mux_testing.h"

namespace atelier::media::mux_test {
namespace {

const std::filesystem::path kMedia = ATELIER_SOURCE_DIR "/../shared/media";

std::vector<std::string> media_files() {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(kMedia, error)) {
    const std::string name = entry.path().filename().string();
    if (name != "invalid-bitstream.webm") names.push_back(name);  // holds no decodable frame
  }
  std::sort(names.begin(), names.end());
  if (names.empty()) names.push_back("absent");
  return names;
}

std::string quoted(const std::filesystem::path& path) { return "'" + path.string() + "'"; }

class MuxEveryFile : public ::testing::TestWithParam<std::string> {};

TEST_P(MuxEveryFile, AgreesWithTheInput) {
  if (GetParam() == "absent") {
    GTEST_SKIP() << "NOT TESTED: ../shared/media is absent, no real file was muxed.";
  }
  const std::filesystem::path input = kMedia / GetParam();
  auto source = FileSource::open(input);
  ASSERT_TRUE(source.ok()) << source.error().message;
  auto job = make_job(**source);
  ASSERT_TRUE(job.ok()) << job.error().message;
  const TempFolder folder;
  // One of them for each file, all with $ATELIER_SLOW.
  constexpr std::array kContainers = {Container::mp4, Container::matroska, Container::mov};
  const auto files = media_files();
  const auto number = std::find(files.begin(), files.end(), GetParam()) - files.begin();
  const Container own = kContainers.at(static_cast<size_t>(number) % kContainers.size());
  for (const Container container : kContainers) {
    if (std::getenv("ATELIER_SLOW") == nullptr && container != own) continue;
    const char* extension = container == Container::mp4   ? ".mp4"
                            : container == Container::mov ? ".mov"
                                                          : ".mkv";
    const char* keep = std::getenv("ATELIER_KEEP_OUTPUTS");
    const auto output = keep ? std::filesystem::path(keep) / (GetParam() + extension)
                             : folder / ("out" + std::string(extension));
    auto fit = fit_container(**source, job->info, container, "libx264");
    ASSERT_TRUE(fit.ok()) << fit.error().message;
    auto report = mux(job->request(container, output), {});
    ASSERT_TRUE(report.ok()) << report.error().message;
    for (const std::string& note : report->notes) std::printf("note: %s\n", note.c_str());
    EXPECT_EQ(report->video_frames, job->pts.size());
    std::string dropped;
    for (const int index : fit->dropped_streams) dropped += std::to_string(index) + ",";
    const std::string command =
        "python3 " ATELIER_SOURCE_DIR "/tests/independent_check.py --stream " +
        std::to_string(job->info.video_stream) + " --dropped '" + dropped + "' --shift " +
        std::to_string(report->shifted_seconds) + " " + quoted(input) + " " + quoted(output) +
        " | grep -v '^PASS'; exit \\${PIPESTATUS[0]}";
    const int status = std::system(("bash -c \"" + command + "\"").c_str());
    EXPECT_EQ(status, 0) << output;
  }
}

INSTANTIATE_TEST_SUITE_P(Shared, MuxEveryFile, ::testing::ValuesIn(media_files()),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return !std::isalnum(c); },
                               '_');
                           return name;
                         });

}  // namespace
}  // namespace atelier::media::mux_test
