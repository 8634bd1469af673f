// SPDX-License-Identifier: Apache-2.0
// What a scorer does, done by a process that is locked in: import a model, probe, decode, score
// with kernels of oneDNN and our own, encode with every encoder, each with several threads. It must
// give the bits that a free process gives.
//
// Each work is done by this program started anew, because libraries keep what they asked the system
// for once. By hand, to see what is denied:
//   strace -f sandbox_work_test --work libx264 locked 3<video 4<>scratch
#include <fcntl.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>

#include "base/file.h"
#include "media/encoder_choice.h"
#include "media/picture.h"
#include "media/test_video.h"
#include "model/model_file.h"
#include "model/processor.h"
#include "model/runner_testing.h"
#include "model/test_net.h"
#include "run/sandbox.h"

namespace atelier::run {
namespace {

constexpr int kInput = 3;    // what the work reads
constexpr int kScratch = 4;  // an empty file

class FdSource final : public ByteSource {
 public:
  uint64_t size() const override { return static_cast<uint64_t>(::lseek(kInput, 0, SEEK_END)); }
  Result<size_t> read_at(uint64_t offset, std::span<std::byte> into) override {
    const ssize_t count = ::pread(kInput, into.data(), into.size(), static_cast<off_t>(offset));
    if (count < 0) return make_error(Code::unavailable, "Cannot read: {}.", describe_errno(errno));
    return static_cast<size_t>(count);
  }
};

class FdSink final : public ByteSink {
 public:
  Result<void> write(std::span<const std::byte> bytes) override {
    return write_fully(kScratch, bytes, "scratch");
  }
};

std::vector<std::byte> read_scratch() {
  std::vector<std::byte> bytes(static_cast<size_t>(::lseek(kScratch, 0, SEEK_END)));
  EXPECT_EQ(::pread(kScratch, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  return bytes;
}

// A line of results. What differs between a free and a locked process fails the test.
template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  const std::string line = fmt::format(format, std::forward<Args>(args)...) + "\n";
  std::fwrite(line.data(), 1, line.size(), stdout);
}

std::string hash_of(const FrameView& frame) {
  Sha256 hash;
  for (int p = 0; p < frame.format.planes(); ++p) {
    const auto& plane = frame.plane[static_cast<size_t>(p)];
    for (int y = 0; y < frame.plane_height(p); ++y) {
      hash.update({plane.data + y * plane.stride,
                   static_cast<size_t>(frame.plane_width(p)) * frame.format.bytes_per_sample()});
    }
  }
  return hash.finish_hex();
}

using FrameCall = std::function<void(const media::DecodedFrame&)>;

// Probes the input and decodes it with three threads.
media::MediaInfo decode(bool deinterlace, const FrameCall& call) {
  FdSource source;
  auto info = media::probe(source, "input").value();
  media::ReadRequest request;
  request.stream = info.video_stream;
  request.threads = 3;
  request.deinterlace = deinterlace;
  auto reader = media::FrameReader::open(source, info, request).value();
  while (const auto frame = reader->next().value()) call(*frame);
  return info;
}

// Two layers of our own kernels around a grouped one, which oneDNN compiles here and now.
std::unique_ptr<model::Runner> small_runner() {
  model::Net net(5, 3);
  net.conv({.out = 16}).then("Relu").conv({.out = 16, .group = 2}).conv({.out = 3});
  auto made = model::runner(net.graph(), 3);
  say("instructions {}", static_cast<int>(model::own_isa()));
  for (const model::PlanStep& step : made->plan({96, 64}).value()) {
    say("{} {} {}", step.op, step.algorithm, step.implementation);
  }
  return made;
}

// Decode, score, encode: a chunk's life. `codec` is the encoder's name.
void transcode(const std::string& codec) {
  media::EncoderWish wish;
  wish.codec = codec;
  const auto choice = media::choose_encoder(wish, media::Container::matroska);
  media::EncodeSettings settings;
  settings.codec = codec;
  settings.crf = choice.ok() ? choice->crf : 0;
  settings.preset = choice.ok() ? choice->preset : "";
  const auto constants = media::encoder_constants(codec);
  settings.threads = constants.threads;
  settings.fixed = constants.fixed;
  settings.width = 96;
  settings.height = 64;
  if (codec == "mjpeg") settings.color.range = ColorSpec::Range::full;
  settings.format = media::choose_format(codec, {}, 96, 64).value().format;
  const auto runner = small_runner();
  FdSink sink;
  auto writer = media::FrameWriter::create(settings, sink).value();
  int64_t pts = 0;
  decode(false, [&](const media::DecodedFrame& frame) {
    FrameBuffer out(96, 64, settings.format, settings.color);
    runner->score(frame.view, out.view()).value();
    writer->write(out.view(), pts++, 1, frame.extras).value();
  });
  const auto report = writer->finish().value();
  const auto bytes = read_scratch();
  say("{} frames, {}", report.frames, sha256_hex(bytes));
  // The decoder of what was encoded.
  MemorySource chunk(bytes);
  const auto info = media::probe(chunk, "chunk").value();
  media::ReadRequest request;
  request.stream = info.video_stream;
  request.threads = 3;
  for (const auto& id : media::test::read_frames(chunk, info, request).frames) {
    say("{} {}", id.pts, id.hash);
  }
}

void decode_all(bool deinterlace) {
  const auto info = decode(deinterlace, [&](const media::DecodedFrame& frame) {
    say("{} {}", frame.pts, hash_of(frame.view));
    if (frame.pts == 0) say("{}", sha256_hex(media::encode_png(frame.view).value()));
    if (frame.pts == 0) say("{}", sha256_hex(media::encode_jpeg(frame.view, 90).value()));
  });
  for (const auto& stream : info.streams) say("{} {}", stream.index, stream.codec);
}

// A model file: protobuf, libonnx, our own passes, then a frame.
void import_model() {
  FdSource source;
  const auto bytes = read_all(source, 1 << 24, "the model").value();
  auto loaded = model::load_model(bytes, std::nullopt, "starry-night").value();
  auto runner = model::make_onednn_runner(loaded.graph, loaded.spec, {3, {}}).value();
  FrameBuffer in(96, 64, {}, {});
  for (int p = 0; p < 3; ++p) {
    const auto& plane = in.view().plane[static_cast<size_t>(p)];
    for (int y = 0; y < in.view().plane_height(p); ++y) {
      std::memset(plane.data + y * plane.stride, y * 3 + p, static_cast<size_t>(plane.stride));
    }
  }
  FrameBuffer out(96, 64, {}, {});
  runner->score(in.view(), out.view()).value();
  say("{} {} nodes, {}", loaded.sha256, loaded.graph.nodes.size(), hash_of(out.view()));
}

void work(const std::string& name) {
  if (name == "model") return import_model();
  if (name.starts_with("decode ")) return decode_all(false);
  if (name == "deinterlace") return decode_all(true);
  transcode(name);
}

Fd unnamed_file(std::span<const std::byte> bytes) {
  std::string path = testing::TempDir() + "/sandbox-XXXXXX";
  Fd fd(::mkostemp(path.data(), O_CLOEXEC));
  ::unlink(path.c_str());
  EXPECT_TRUE(write_fully(fd.get(), bytes, path).ok());
  return fd;
}

// What the work said; empty if it did not end well.
std::string run_work(const std::string& name, const char* how, const Fd& input) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const Fd scratch = unnamed_file({});
  const pid_t child = ::fork();
  if (child == 0) {
    // Away from where they go.
    const int in = ::fcntl(input.get(), F_DUPFD, 10);
    const int out = ::fcntl(scratch.get(), F_DUPFD, 10);
    ::dup2(ends[1], STDOUT_FILENO);
    ::dup2(in, kInput);
    ::dup2(out, kScratch);
    ::close(in);
    ::close(out);
    ::execl("/proc/self/exe", "sandbox_work_test", "--work", name.c_str(), how, nullptr);
    ::_exit(127);
  }
  write_end = Fd();
  std::string said;
  std::array<char, 4096> some{};
  for (ssize_t n = 0; (n = ::read(read_end.get(), some.data(), some.size())) > 0;) {
    said.append(some.data(), static_cast<size_t>(n));
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << name << ", " << how << ": signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0) << name << ", " << how;
  return status == 0 ? said : std::string();
}

std::string expect_same(const std::string& name, std::span<const std::byte> input) {
  const Fd file = unnamed_file(input);
  const std::string free = run_work(name, "free", file);
  EXPECT_FALSE(free.empty());
  EXPECT_EQ(run_work(name, "locked", file), free);
  return free;
}

media::test::TestVideo video(const char* codec, const char* container) {
  media::test::TestVideo video;
  video.codec = codec;
  video.container = container;
  video.frames = 8;
  return video;
}

class EveryEncoder : public testing::TestWithParam<const char*> {};

TEST_P(EveryEncoder, GivesTheSameBitsLockedIn) {
  const std::string said =
      expect_same(GetParam(), media::test::make_video(video("libx264", "mp4")));
  EXPECT_NE(said.find("8 frames"), std::string::npos) << said;
  EXPECT_NE(said.find("jit"), std::string::npos) << "oneDNN compiled nothing: " << said;
}

INSTANTIATE_TEST_SUITE_P(Codecs, EveryEncoder,
                         testing::Values("libx264", "libx265", "libsvtav1", "libaom-av1",
                                         "libvpx-vp9", "prores_ks", "ffv1", "mjpeg", "gif", "png"),
                         [](const auto& codec) {
                           std::string name = codec.param;
                           std::erase_if(name, [](char c) { return !std::isalnum(c); });
                           return name;
                         });

TEST(SandboxWork, AModelIsImportedLockedIn) {
  auto file = FileSource::open(ATELIER_SOURCE_DIR "/models/starry-night.onnx").value();
  EXPECT_NE(expect_same("model", read_all(*file, 1 << 24, "it").value()).find("nodes"),
            std::string::npos);
}

TEST(SandboxWork, OtherDecodersGiveTheSameLockedIn) {
  for (const auto& [codec, container] : std::map<const char*, const char*>{
           {"libvpx", "webm"}, {"mpeg2video", "mpegts"}, {"mpeg4", "avi"}, {"flv", "flv"}}) {
    auto what = video(codec, container);
    what.audio = container != std::string("webm");
    expect_same(std::string("decode ") + codec, media::test::make_video(what));
  }
}

TEST(SandboxWork, DeinterlacingGivesTheSameLockedIn) {
  auto what = video("mpeg2video", "matroska");
  what.interlaced = true;
  expect_same("deinterlace", media::test::make_video(what));
}

}  // namespace
}  // namespace atelier::run

int main(int argc, char** argv) {
  if (argc == 4 && std::strcmp(argv[1], "--work") == 0) {
    if (std::strcmp(argv[3], "locked") == 0) {
      atelier::run::SandboxPolicy policy;
      policy.cpu_seconds = 600;
      policy.file_bytes = 1 << 28;
      policy.open_files = 64;
      const auto locked = atelier::run::lock_down(policy);
      if (!locked.ok()) return 3;
    }
    atelier::run::work(argv[2]);
    return 0;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
