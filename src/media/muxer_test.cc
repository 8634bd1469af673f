// SPDX-License-Identifier: Apache-2.0
#include "media/muxer.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>

#include "base/file.h"
#include "base/hash.h"
#include "media/av.h"
#include "media/mux_testing.h"
#include "media/test_video.h"

extern "C" {
#include <libavutil/display.h>
#include <libavutil/mastering_display_metadata.h>
}

namespace atelier::media::mux_test {
namespace {

using test::make_video;
using test::TestVideo;

constexpr std::array kContainers = {Container::mp4, Container::mov, Container::matroska};

struct ReadBack {
  std::unique_ptr<FileSource> source;
  std::unique_ptr<Input> input;
  std::map<int, std::vector<int64_t>> pts;  // by stream, sorted
  std::map<int, std::string> text;          // by stream, all bytes

  AVStream& video() const {
    for (unsigned i = 0; i < input->get()->nb_streams; ++i) {
      AVStream& stream = *input->stream(static_cast<int>(i));
      if (stream.codecpar->codec_type == AVMEDIA_TYPE_VIDEO) return stream;
    }
    std::abort();
  }
  std::string tag(const AVDictionary* tags, const char* key) const {
    const AVDictionaryEntry* entry = av_dict_get(tags, key, nullptr, 0);
    return entry ? entry->value : "";
  }
};

ReadBack read_back(const std::filesystem::path& path) {
  ReadBack back;
  back.source = FileSource::open(path).value();
  back.input = Input::open(*back.source, "output").value();
  PacketPtr packet = make_packet();
  while (back.input->read(*packet).value()) {
    back.pts[packet->stream_index].push_back(packet->pts);
    back.text[packet->stream_index].append(reinterpret_cast<char*>(packet->data),
                                           static_cast<size_t>(packet->size));
  }
  for (auto& [stream, times] : back.pts) std::sort(times.begin(), times.end());
  return back;
}

// The output's frame times are the wanted ones, exactly or in Matroska to the millisecond.
void expect_times(const ReadBack& back, const std::vector<int64_t>& wanted, Rational base,
                  Container container) {
  const AVStream& video = back.video();
  const std::vector<int64_t>& got = back.pts.at(video.index);
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (container == Container::matroska) {
      EXPECT_EQ(got[i], av_rescale_q(wanted[i], to_av(base), video.time_base)) << "frame " << i;
    } else {
      EXPECT_EQ(av_compare_ts(got[i], video.time_base, wanted[i], to_av(base)), 0) << "frame " << i;
    }
  }
}

void add_text_stream(AVFormatContext& output) {
  AVStream* text = avformat_new_stream(&output, nullptr);
  text->codecpar->codec_type = AVMEDIA_TYPE_SUBTITLE;
  text->codecpar->codec_id = AV_CODEC_ID_SUBRIP;
  text->time_base = {1, 1000};
  text->disposition = AV_DISPOSITION_FORCED;
  av_dict_set(&text->metadata, "language", "fre", 0);
  av_dict_set(&text->metadata, "title", "Sous-titres", 0);
  AVStream* font = avformat_new_stream(&output, nullptr);
  font->codecpar->codec_type = AVMEDIA_TYPE_ATTACHMENT;
  font->codecpar->codec_id = AV_CODEC_ID_TTF;
  font->codecpar->extradata = static_cast<uint8_t*>(av_mallocz(40 + AV_INPUT_BUFFER_PADDING_SIZE));
  std::memcpy(font->codecpar->extradata, "not really a font", 17);
  font->codecpar->extradata_size = 40;
  av_dict_set(&font->metadata, "filename", "a.ttf", 0);
  av_dict_set(&font->metadata, "mimetype", "application/x-truetype-font", 0);
}

void add_chapter(AVFormatContext& output, int64_t id, int64_t start, int64_t end) {
  auto* chapter = static_cast<AVChapter*>(av_mallocz(sizeof(AVChapter)));
  chapter->id = id;
  chapter->time_base = {1, 1000};
  chapter->start = start;
  chapter->end = end;
  av_dict_set(&chapter->metadata, "title", ("Part " + std::to_string(id)).c_str(), 0);
  int count = static_cast<int>(output.nb_chapters);
  av_dynarray_add(&output.chapters, &count, chapter);
  output.nb_chapters = static_cast<unsigned>(count);
}

// A Matroska file with subtitles, a font, chapters and labels added to `video`.
std::vector<std::byte> enrich(std::vector<std::byte> video) {
  MemorySource source(std::move(video));
  auto input = Input::open(source, "video").value();
  AVFormatContext* output = nullptr;
  avformat_alloc_output_context2(&output, nullptr, "matroska", nullptr);
  for (unsigned i = 0; i < input->get()->nb_streams; ++i) {
    AVStream* to = avformat_new_stream(output, nullptr);
    avcodec_parameters_copy(to->codecpar, input->stream(static_cast<int>(i))->codecpar);
    to->codecpar->codec_tag = 0;
    to->time_base = input->stream(static_cast<int>(i))->time_base;
    to->disposition = i == 0 ? AV_DISPOSITION_DEFAULT : 0;
    av_dict_set(&to->metadata, "language", i == 0 ? "jpn" : "ger", 0);
    av_dict_set(&to->metadata, "BPS", "123456", 0);
  }
  const int text = static_cast<int>(output->nb_streams);
  add_text_stream(*output);
  add_chapter(*output, 1, 0, 700);
  add_chapter(*output, 2, 700, 2000);
  av_dict_set(&output->metadata, "title", "A \"title\" with $(quotes)", 0);
  av_dict_set(&output->metadata, "MY_OWN", "tag", 0);
  output->avoid_negative_ts = 0;
  avio_open_dyn_buf(&output->pb);
  EXPECT_GE(avformat_write_header(output, nullptr), 0);
  PacketPtr packet = make_packet();
  while (input->read(*packet).value()) {
    av_packet_rescale_ts(packet.get(), input->stream(packet->stream_index)->time_base,
                         output->streams[packet->stream_index]->time_base);
    av_interleaved_write_frame(output, packet.get());
  }
  for (int i = 0; i < 3; ++i) {
    const std::string line = "Line " + std::to_string(i);
    av_new_packet(packet.get(), static_cast<int>(line.size()));
    std::memcpy(packet->data, line.data(), line.size());
    packet->pts = packet->dts = i * 600 + 100;
    packet->duration = 400;
    packet->stream_index = text;
    av_interleaved_write_frame(output, packet.get());
  }
  av_write_trailer(output);
  uint8_t* bytes = nullptr;
  const int size = avio_close_dyn_buf(output->pb, &bytes);
  const auto view = std::as_bytes(std::span(bytes, static_cast<size_t>(size)));
  std::vector<std::byte> result(view.begin(), view.end());
  av_free(bytes);
  avformat_free_context(output);
  return result;
}

// Both videos in one Matroska file, which stores no decode times.
std::vector<std::byte> two_videos(std::vector<std::byte> first, std::vector<std::byte> second) {
  MemorySource sources[] = {MemorySource(std::move(first)), MemorySource(std::move(second))};
  std::unique_ptr<Input> inputs[2];
  AVFormatContext* output = nullptr;
  avformat_alloc_output_context2(&output, nullptr, "matroska", nullptr);
  for (size_t i = 0; i < 2; ++i) {
    inputs[i] = Input::open(sources[i], "video").value();
    AVStream* to = avformat_new_stream(output, nullptr);
    avcodec_parameters_copy(to->codecpar, inputs[i]->stream(0)->codecpar);
    to->codecpar->codec_tag = 0;
    to->time_base = inputs[i]->stream(0)->time_base;
  }
  avio_open_dyn_buf(&output->pb);
  EXPECT_GE(avformat_write_header(output, nullptr), 0);
  PacketPtr packet = make_packet();
  for (int i = 0; i < 2; ++i) {
    Input& input = *inputs[i];
    while (input.read(*packet).value()) {
      packet->stream_index = i;
      av_packet_rescale_ts(packet.get(), input.stream(0)->time_base, output->streams[i]->time_base);
      av_interleaved_write_frame(output, packet.get());
    }
  }
  av_write_trailer(output);
  uint8_t* bytes = nullptr;
  const int size = avio_close_dyn_buf(output->pb, &bytes);
  const auto view = std::as_bytes(std::span(bytes, static_cast<size_t>(size)));
  std::vector<std::byte> result(view.begin(), view.end());
  av_free(bytes);
  avformat_free_context(output);
  return result;
}

struct Made {
  explicit Made(std::vector<std::byte> bytes, const JobOptions& options = {})
      : source(std::move(bytes)) {
    auto made = make_job(source, options);
    EXPECT_TRUE(made.ok()) << made.error().message;
    job = std::move(made).value();
  }
  MemorySource source;
  Job job;
  TempFolder folder;
  std::filesystem::path path(Container container) const {
    return folder / (container == Container::matroska ? "out.mkv" : "out.mp4");
  }
};

TEST(Mux, KeepsVariableTimesOfTinyChunksInEveryContainer) {
  TestVideo video;
  video.time_base = {1, 57600};
  video.frames = 23;
  int64_t time = 0;
  for (int i = 0; i < video.frames; ++i) video.pts.push_back(time += 700 + (i * 977) % 2600);
  const int64_t first = video.pts.front();
  for (int64_t& pts : video.pts) pts -= first;
  for (const int frames_per_chunk : {1, 2, 7, 1000}) {
    JobOptions options;
    options.preset = "veryfast";  // with B-frames
    options.chunk_seconds = 1000;
    options.max_frames_per_chunk = frames_per_chunk;
    Made made(make_video(video), options);
    ASSERT_EQ(made.job.pts.size(), 23U);
    for (const Container container : kContainers) {
      auto report = mux(made.job.request(container, made.path(container)), {});
      ASSERT_TRUE(report.ok()) << report.error().message;
      EXPECT_EQ(report->video_frames, 23U);
      EXPECT_EQ(report->shifted_seconds, 0);
      expect_times(read_back(made.path(container)), made.job.pts, made.job.encode.time_base,
                   container);
    }
  }
}

TEST(Mux, KeepsTimeBasesWithANumerator) {
  TestVideo video;
  video.frames = 12;
  Made made(make_video(video));
  made.job.encode.time_base = {1001, 30000};
  MemorySink sink;
  auto writer = FrameWriter::create(made.job.encode, sink);
  ASSERT_TRUE(writer.ok());
  const FrameBuffer frame(96, 64, made.job.encode.format, made.job.encode.color);
  std::vector<int64_t> pts;
  for (int i = 0; i < 5; ++i) {
    pts.push_back(i * i);
    ASSERT_TRUE((*writer)->write(frame.view(), i * i, 1, nullptr).ok());
  }
  ASSERT_TRUE((*writer)->finish().ok());
  made.job.bytes = {sink.take()};
  made.job.chunks = {{0, 5}};
  for (const Container container : kContainers) {
    auto report = mux(made.job.request(container, made.path(container)), {});
    ASSERT_TRUE(report.ok()) << report.error().message;
    expect_times(read_back(made.path(container)), pts, {1001, 30000}, container);
  }
}

TEST(Mux, NoTwoFramesShareATime) {
  TestVideo video;
  video.time_base = {1, 90000};
  video.frames = 8;
  for (int i = 0; i < 8; ++i) video.pts.push_back(i * 3600);
  JobOptions options;
  options.preset = "veryfast";  // with B-frames
  options.chunk_seconds = 1000;
  options.max_frames_per_chunk = 4;
  Made made(make_video(video), options);
  ASSERT_EQ(made.job.chunks.size(), 2U);
  // As after frames that came too late: the second chunk begins where the first one ended.
  const int64_t last = made.job.chunks[1].first_pts = made.job.pts[3];
  for (const Container container : kContainers) {
    auto report = mux(made.job.request(container, made.path(container)), {});
    ASSERT_TRUE(report.ok()) << report.error().message;
    auto times = read_back(made.path(container)).pts.at(0);
    std::sort(times.begin(), times.end());
    ASSERT_EQ(times.size(), made.job.pts.size());
    const bool coarse = container == Container::matroska;
    EXPECT_EQ(times[3], coarse ? last / 90 : last);
    EXPECT_EQ(times[4], coarse ? last / 90 + 1 : last + 1);
    EXPECT_EQ(times[5], coarse ? last / 90 + 40 : last + 3600);
  }
  made.job.chunks[1].first_pts -= 4;
  const auto report = mux(made.job.request(Container::mp4, made.path(Container::mp4)), {});
  EXPECT_EQ(report.error().code, Code::corrupt) << "more than late frames explain";
}

TEST(Mux, KeepsALateStartExactly) {
  TestVideo video;
  video.time_base = {1, 30000};
  video.frames = 5;
  video.pts = {0, 1001, 2002, 3003, 4004};
  video.audio = true;
  Made made(make_video(video));
  for (JoinChunk& chunk : made.job.chunks) chunk.first_pts += 1234;
  for (const Container container : kContainers) {
    auto report = mux(made.job.request(container, made.path(container)), {});
    ASSERT_TRUE(report.ok()) << report.error().message;
    std::vector<int64_t> wanted = made.job.pts;
    for (int64_t& pts : wanted) pts += 1234;
    EXPECT_EQ(report->shifted_seconds, 0);
    expect_times(read_back(made.path(container)), wanted, made.job.encode.time_base, container);
  }
}

TEST(Mux, MovesEverythingWhenTheVideoStartsBeforeZero) {
  TestVideo video;
  video.time_base = {1, 1000};
  video.frames = 20;
  for (int i = 0; i < 20; ++i) video.pts.push_back(i * 40);
  video.audio = true;
  Made made(make_video(video));
  const ReadBack before = [&] {
    auto plain = mux(made.job.request(Container::matroska, made.folder / "plain.mkv"), {});
    EXPECT_TRUE(plain.ok());
    return read_back(made.folder / "plain.mkv");
  }();
  const int64_t moved = made.job.pts.front() + ticks_at_or_after(0.08, made.job.encode.time_base);
  for (JoinChunk& chunk : made.job.chunks) chunk.first_pts -= moved;
  auto report = mux(made.job.request(Container::matroska, made.path(Container::matroska)), {});
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_DOUBLE_EQ(report->shifted_seconds, 0.08);
  EXPECT_EQ(report->notes.size(), 1U);
  const ReadBack back = read_back(made.path(Container::matroska));
  std::vector<int64_t> wanted = made.job.pts;
  for (int64_t& pts : wanted) pts -= made.job.pts.front();
  expect_times(back, wanted, made.job.encode.time_base, Container::matroska);
  ASSERT_EQ(back.pts.at(1).size(), before.pts.at(1).size());
  EXPECT_EQ(back.pts.at(1).back(), before.pts.at(1).back() + 80);
}

TEST(Mux, WritesTheSameBytesTwice) {
  TestVideo video;
  video.audio = true;
  Made made(enrich(make_video(video)));
  for (const Container container : kContainers) {
    std::array<std::string, 2> hashes;
    for (std::string& hash : hashes) {
      ASSERT_TRUE(mux(made.job.request(container, made.path(container)), {}).ok());
      auto file = FileSource::open(made.path(container)).value();
      hash = sha256_hex(read_all(*file, 1 << 30, "output").value());
    }
    EXPECT_EQ(hashes[0], hashes[1]);
  }
}

TEST(Mux, KeepsLabelsChaptersSubtitlesAndAttachmentsInMatroska) {
  TestVideo video;
  video.audio = true;
  Made made(enrich(make_video(video)));
  auto fit = fit_container(made.source, made.job.info, Container::matroska, "libx264");
  ASSERT_TRUE(fit.ok());
  EXPECT_TRUE(fit->notes.empty());
  auto report = mux(made.job.request(Container::matroska, made.folder / "o.mkv"), {});
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(report->notes.empty());
  const ReadBack back = read_back(made.folder / "o.mkv");
  const AVFormatContext& format = *back.input->get();
  ASSERT_EQ(format.nb_streams, 4U);
  EXPECT_EQ(back.tag(format.metadata, "title"), "A \"title\" with $(quotes)");
  EXPECT_EQ(back.tag(format.metadata, "MY_OWN"), "tag");
  EXPECT_EQ(back.tag(format.streams[0]->metadata, "language"), "jpn");
  EXPECT_EQ(back.tag(format.streams[0]->metadata, "BPS"), "") << "it spoke of other bytes";
  EXPECT_EQ(back.tag(format.streams[1]->metadata, "BPS"), "123456");
  EXPECT_EQ(back.tag(format.streams[2]->metadata, "language"), "fre");
  EXPECT_EQ(back.tag(format.streams[2]->metadata, "title"), "Sous-titres");
  EXPECT_EQ(format.streams[0]->disposition, AV_DISPOSITION_DEFAULT);
  EXPECT_EQ(format.streams[1]->disposition, 0);
  EXPECT_EQ(format.streams[2]->disposition, AV_DISPOSITION_FORCED);
  EXPECT_EQ(back.text.at(2), "Line 0Line 1Line 2");
  EXPECT_EQ(back.pts.at(2), (std::vector<int64_t>{100, 700, 1300}));
  EXPECT_EQ(back.tag(format.streams[3]->metadata, "filename"), "a.ttf");
  EXPECT_EQ(std::memcmp(format.streams[3]->codecpar->extradata, "not really a font", 17), 0);
  ASSERT_EQ(format.nb_chapters, 2U);
  EXPECT_EQ(av_compare_ts(format.chapters[1]->start, format.chapters[1]->time_base, 700, {1, 1000}),
            0);
  EXPECT_EQ(back.tag(format.chapters[1]->metadata, "title"), "Part 2");
}

TEST(Mux, SaysWhatMp4CannotHoldAndRewritesText) {
  TestVideo video;
  video.audio = true;
  Made made(enrich(make_video(video)));
  auto fit = fit_container(made.source, made.job.info, Container::mp4, "libx264");
  ASSERT_TRUE(fit.ok());
  EXPECT_EQ(fit->dropped_streams, std::vector<int>{3});
  EXPECT_EQ(fit->converted_streams, std::vector<int>{2});
  ASSERT_EQ(fit->notes.size(), 2U);
  EXPECT_NE(fit->notes[1].find("a.ttf"), std::string::npos);
  EXPECT_NE(fit->notes[1].find("Matroska (.mkv) keeps it"), std::string::npos);
  auto report = mux(made.job.request(Container::mp4, made.folder / "o.mp4"), {});
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(report->notes, fit->notes);
  const ReadBack back = read_back(made.folder / "o.mp4");
  const AVFormatContext& format = *back.input->get();
  EXPECT_EQ(format.streams[2]->codecpar->codec_id, AV_CODEC_ID_MOV_TEXT);
  EXPECT_NE(back.text.at(2).find("Line 1"), std::string::npos);
  EXPECT_EQ(back.tag(format.streams[2]->metadata, "language"), "fre");
  EXPECT_EQ(back.tag(format.streams[2]->metadata, "handler_name"), "Sous-titres");
  EXPECT_EQ(back.tag(format.metadata, "MY_OWN"), "tag");
  EXPECT_EQ(format.nb_chapters, 2U);
}

TEST(Mux, KeepsCoverArtWhereItFits) {
  TestVideo video;
  video.cover_art = true;
  Made made(make_video(video));
  for (const Container container : {Container::mp4, Container::matroska}) {
    auto report = mux(made.job.request(container, made.path(container)), {});
    ASSERT_TRUE(report.ok()) << report.error().message;
    const ReadBack back = read_back(made.path(container));
    ASSERT_EQ(back.input->get()->nb_streams, 2U);
    EXPECT_TRUE(back.input->stream(1)->disposition & AV_DISPOSITION_ATTACHED_PIC);
    EXPECT_EQ(back.input->stream(1)->codecpar->codec_id, AV_CODEC_ID_PNG);
  }
  auto fit = fit_container(made.source, made.job.info, Container::mov, "libx264");
  ASSERT_TRUE(fit.ok());
  EXPECT_EQ(fit->dropped_streams, std::vector<int>{1});
}

TEST(Mux, KeepsRotationAspectRatioColoursAndHdr) {
  TestVideo video;
  video.pixel_format = "yuv420p10le";
  video.rotation = 90;
  video.sample_aspect_ratio = {128, 117};
  video.color = {9, 9, 16, ColorSpec::Range::limited, ColorSpec::Siting::left};
  Made made(make_video(video));
  AVContentLightMetadata light{1000, 400};
  const auto bytes = std::as_bytes(std::span(&light, 1));
  made.job.encode.hdr.content_light.assign(bytes.begin(), bytes.end());
  for (const Container container : kContainers) {
    auto report = mux(made.job.request(container, made.path(container)), {});
    ASSERT_TRUE(report.ok()) << report.error().message;
    const ReadBack back = read_back(made.path(container));
    const AVStream& stream = back.video();
    EXPECT_EQ(color_of(*stream.codecpar), made.job.encode.color);
    EXPECT_EQ(av_cmp_q(stream.sample_aspect_ratio, {128, 117}), 0);
    size_t size = 0;
    EXPECT_NE(av_stream_get_side_data(&stream, AV_PKT_DATA_CONTENT_LIGHT_LEVEL, &size), nullptr);
    const uint8_t* matrix = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
    ASSERT_NE(matrix, nullptr);
    EXPECT_DOUBLE_EQ(av_display_rotation_get(reinterpret_cast<const int32_t*>(matrix)), -90);
    EXPECT_EQ(av_stream_get_side_data(&stream, AV_PKT_DATA_SPHERICAL, &size), nullptr);
  }
}

TEST(Mux, CutsTheOtherStreamsWithTheVideo) {
  TestVideo video;
  video.frames = 75;
  video.audio = true;
  JobOptions options;
  options.range = {.from = 1.0, .to = 2.0};
  Made made(enrich(make_video(video)), options);
  ASSERT_EQ(made.job.pts.size(), 25U);
  auto report = mux(made.job.request(Container::mp4, made.folder / "o.mp4"), {});
  ASSERT_TRUE(report.ok()) << report.error().message;
  const MediaTime start{made.job.pts.front(), made.job.encode.time_base};
  EXPECT_DOUBLE_EQ(report->shifted_seconds, -start.seconds());
  const ReadBack back = read_back(made.folder / "o.mp4");
  EXPECT_EQ(back.pts.at(0).front(), 0);
  const AVStream& audio = *back.input->stream(1);
  EXPECT_GE(back.pts.at(1).front(), 0);
  EXPECT_LT(av_q2d(audio.time_base) * static_cast<double>(back.pts.at(1).back()), 1.0);
  EXPECT_EQ(back.input->get()->nb_chapters, 1U);
}

TEST(Mux, NamesADamagedChunk) {
  TestVideo video;
  JobOptions options;
  Made made(make_video(video), options);
  ASSERT_EQ(made.job.chunks.size(), 4U);
  const auto try_it = [&] {
    return mux(made.job.request(Container::mp4, made.folder / "o.mp4"), {});
  };
  const auto good = made.job.bytes[2];
  const auto expect_corrupt = [&](const char* what) {
    auto report = try_it();
    ASSERT_FALSE(report.ok()) << what;
    EXPECT_EQ(report.error().code, Code::corrupt) << what << report.error().message;
    EXPECT_NE(report.error().message.find("Chunk 2"), std::string::npos) << report.error().message;
    EXPECT_FALSE(std::filesystem::exists(made.folder / "o.mp4")) << what;
  };
  made.job.bytes[2].resize(good.size() / 2);
  expect_corrupt("cut short");
  made.job.bytes[2] = std::vector<std::byte>(1000);
  expect_corrupt("zeros");
  made.job.bytes[2] = made.job.bytes[3];
  made.job.chunks[2].frames = made.job.chunks[3].frames + 1;
  expect_corrupt("another number of frames");
  made.job.bytes[2] = good;
  made.job.chunks[2].frames -= 1;
  expect_corrupt("one too many");
  auto other = made.job.encode;
  other.preset = "veryfast";
  MemorySink sink;
  auto writer = FrameWriter::create(other, sink).value();
  const FrameBuffer frame(96, 64, other.format, other.color);
  ASSERT_TRUE(writer->write(frame.view(), 0, 1, nullptr).ok());
  ASSERT_TRUE(writer->finish().ok());
  made.job.bytes[2] = sink.take();
  made.job.chunks[2].frames = 1;
  expect_corrupt("other codec parameters");
}

// Their pts in file order, in seconds.
std::vector<double> times_of(ByteSource& source, int stream) {
  auto input = Input::open(source, "video").value();
  const double tick = av_q2d(input->stream(stream)->time_base);
  std::vector<double> times;
  PacketPtr packet = make_packet();
  while (input->read(*packet).value()) {
    if (packet->stream_index != stream) continue;
    EXPECT_NE(packet->pts, AV_NOPTS_VALUE);
    times.push_back(static_cast<double>(packet->pts) * tick);
  }
  return times;
}

TEST(Mux, ACopiedVideoWithBFramesKeepsItsTimes) {
  TestVideo video;
  video.b_frames = 3;
  video.options["x264-params"] = "b-adapt=0:b-pyramid=normal";
  Made made(two_videos(make_video(video), make_video(video)));
  const int other = 1 - made.job.info.video_stream;
  const std::vector<double> wanted = times_of(made.source, other);
  ASSERT_EQ(wanted.size(), 50U);
  ASSERT_FALSE(std::is_sorted(wanted.begin(), wanted.end()));
  for (const Container container : kContainers) {
    const auto path = made.path(container);
    auto report = mux(made.job.request(container, path), {});
    ASSERT_TRUE(report.ok()) << report.error().message;
    auto written = FileSource::open(path).value();
    const std::vector<double> got = times_of(*written, other);
    ASSERT_EQ(got.size(), wanted.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 1e-9) << "packet " << i;
  }
}

TEST(Mux, NoticesAChangedInput) {
  TestVideo video;
  video.audio = true;
  Made made(make_video(video));
  auto request = made.job.request(Container::mp4, made.folder / "o.mp4");
  request.expected.at(0).sha256.front() ^= 1;
  auto report = mux(request, {});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, Code::conflict);
  EXPECT_NE(report.error().message.find("Stream 1"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(made.folder / "o.mp4"));
}

TEST(Mux, LeavesNothingWhenInterruptedOrFull) {
  TestVideo video;
  Made made(make_video(video));
  const auto request = made.job.request(Container::mp4, made.folder / "o.mp4");
  std::stop_source stop;
  stop.request_stop();
  auto report = mux(request, stop.get_token());
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, Code::cancelled);
  EXPECT_FALSE(std::filesystem::exists(made.folder / "o.mp4"));
  // A limit on the file's size stands for a full disk: the write itself fails half-way.
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{2000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  report = mux(request, {});
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, Code::no_space) << report.error().message;
  EXPECT_FALSE(std::filesystem::exists(made.folder / "o.mp4"));
}

TEST(ContainerOf, KnowsThemByTheirNames) {
  EXPECT_EQ(container_of("a b.MP4").value(), Container::mp4);
  EXPECT_EQ(container_of("a.m4v").value(), Container::mp4);
  EXPECT_EQ(container_of("-a.mov").value(), Container::mov);
  EXPECT_EQ(container_of("a.tar.mkv").value(), Container::matroska);
  EXPECT_EQ(container_of("a.webm").value(), Container::webm);
  EXPECT_EQ(container_of("a.ts").value(), Container::mpegts);
  EXPECT_EQ(container_of("a.avi").error().code, Code::invalid_argument);
  EXPECT_EQ(container_of("mp4").error().code, Code::invalid_argument);
}

}  // namespace
}  // namespace atelier::media::mux_test
