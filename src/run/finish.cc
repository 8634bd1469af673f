// SPDX-License-Identifier: Apache-2.0
#include "run/finish.h"

#include <algorithm>
#include <map>
#include <system_error>

#include "base/file.h"
#include "media/picture_files.h"
#include "run/broker.h"
#include "run/pictures.h"

namespace atelier::run {
namespace {

// Removes the unpublished file however the phase ends.
class ScratchOutput {
 public:
  explicit ScratchOutput(std::filesystem::path path) : path_(std::move(path)) {}
  ~ScratchOutput() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  ScratchOutput(const ScratchOutput&) = delete;
  ScratchOutput& operator=(const ScratchOutput&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A chunk that was committed after all is shown as it was painted.
std::optional<ChunkCommit> stand_in(int chunk, const std::vector<Unpainted>& all,
                                    FinishReport& report) {
  const auto found = std::find_if(all.begin(), all.end(), [chunk](const Unpainted& unpainted) {
    return unpainted.commit.index == chunk;
  });
  if (found == all.end()) return {};
  report.unpainted += found->commit.frames;
  report.notes.push_back(fmt::format(
      "{} frame{} from number {} on show the input's own picture, since chunk {} was given up: {}",
      found->commit.frames, found->commit.frames == 1 ? "" : "s", found->first_frame + 1, chunk,
      found->error));
  return found->commit;
}

Result<std::vector<ChunkCommit>> read_commits(const Manifest& manifest, RunFolder& folder,
                                              const std::vector<Unpainted>& unpainted,
                                              FinishReport& report) {
  std::vector<ChunkCommit> commits;
  uint64_t captions_lost = 0;
  for (const ChunkPlan& chunk : manifest.chunks) {
    auto commit = TRY(folder.read_commit(chunk.index));
    if (!commit) commit = stand_in(chunk.index, unpainted, report);
    if (!commit) {
      return make_error(Code::corrupt,
                        "Chunk {} of run {} has not been scored; run the same command again.",
                        chunk.index, manifest.run_id);
    }
    report.frames += commit->frames;
    report.frames_expected += chunk.frames;
    report.decode_errors += commit->decode_errors;
    report.retimed += commit->retimed;
    report.interlaced += commit->interlaced;
    report.repeated += commit->repeated;
    captions_lost += commit->captions_lost;
    report.seconds.decode += commit->seconds.decode;
    report.seconds.score += commit->seconds.score;
    report.seconds.encode += commit->seconds.encode;
    if (commit->frames > 0) commits.push_back(*std::move(commit));
  }
  if (captions_lost > 0) {
    report.notes.push_back(
        fmt::format("The captions of {} frame{} are left out: {} cannot carry them in the picture "
                    "stream; '--codec libx264' keeps them.",
                    captions_lost, captions_lost == 1 ? "" : "s", manifest.encode.codec));
  }
  if (commits.empty()) {
    return make_error(Code::invalid_input, "Not one frame of '{}' could be decoded.",
                      manifest.input.name);
  }
  return commits;
}

// The join reads every chunk twice: for its times, then for its packets. What is small enough is
// kept in between, so that a service is asked once.
class KeptChunks {
 public:
  KeptChunks(RunFolder& folder, const std::vector<ChunkCommit>& commits)
      : folder_(folder), commits_(commits) {}

  Result<std::unique_ptr<ByteSource>> open(size_t number) {
    if (const auto found = kept_.find(number); found != kept_.end()) {
      std::shared_ptr<ByteSource> source = std::move(found->second);
      kept_.erase(found);
      bytes_ -= source->size();
      return std::unique_ptr<ByteSource>(std::make_unique<Shared>(std::move(source)));
    }
    auto opened = TRY(folder_.open_chunk(commits_[number]));
    if (bytes_ + opened->size() > kMostBytes) return opened;
    bytes_ += opened->size();
    std::shared_ptr<ByteSource> source = std::move(opened);
    kept_[number] = source;
    return std::unique_ptr<ByteSource>(std::make_unique<Shared>(std::move(source)));
  }

 private:
  static constexpr uint64_t kMostBytes = uint64_t{64} << 20;

  class Shared final : public ByteSource {
   public:
    explicit Shared(std::shared_ptr<ByteSource> source) : source_(std::move(source)) {}
    uint64_t size() const override { return source_->size(); }
    Result<size_t> read_at(uint64_t offset, std::span<std::byte> into) override {
      return source_->read_at(offset, into);
    }

   private:
    const std::shared_ptr<ByteSource> source_;
  };

  RunFolder& folder_;
  const std::vector<ChunkCommit>& commits_;
  std::map<size_t, std::shared_ptr<ByteSource>> kept_;
  uint64_t bytes_ = 0;  // of what is kept
};

media::MuxRequest mux_request(const Manifest& manifest, KeptChunks& chunks,
                              const FinishRequest& request,
                              const std::vector<ChunkCommit>& commits) {
  media::MuxRequest mux;
  mux.input = request.input;
  mux.info = request.info;
  mux.range = manifest.parameters.range;
  mux.video_time_base = manifest.time_base;
  for (const ChunkCommit& commit : commits) mux.chunks.push_back({commit.first_pts, commit.frames});
  mux.open_chunk = [&chunks](size_t i) { return chunks.open(i); };
  mux.encode = manifest.encode;
  mux.expected = manifest.copied;
  mux.container = request.container;
  return mux;
}

}  // namespace

Result<FinishReport> finish(const Manifest& manifest, RunFolder& folder,
                            const FinishRequest& request, std::stop_token stop) {
  FinishReport report;
  const auto commits = TRY(read_commits(manifest, folder, request.unpainted, report));
  KeptChunks chunks(folder, commits);
  media::MuxRequest mux = mux_request(manifest, chunks, request, commits);
  if (media::is_pictures(request.container)) {
    TRY(publish_pictures(mux, request, report, std::move(stop)));
    return report;
  }
  // Several finishes of one run may write at once, from containers that share this folder too.
  const ScratchOutput scratch(request.scratch /
                              fmt::format("{}-{}{}", manifest.run_id, make_worker_name(),
                                          media::extension_of(request.container)));
  mux.scratch = scratch.path();
  const auto muxed = TRY(media::mux(mux, std::move(stop)));
  if (muxed.video_frames != report.frames) {
    return make_error(Code::internal,
                      "The joined video has {} frames where {} were scored; nothing was published.",
                      muxed.video_frames, report.frames);
  }
  report.copied_packets = muxed.copied_packets;
  report.bytes = muxed.bytes;
  report.shifted_seconds = muxed.shifted_seconds;
  report.notes.insert(report.notes.end(), muxed.notes.begin(), muxed.notes.end());

  const auto file = TRY(FileSource::open(scratch.path()));
  const auto outcome = TRY(put_source_repeatedly(
      *request.output, request.output_key, *file,
      request.replace ? Condition::always() : Condition::if_absent(), system_clock()));
  // Another worker of this run may have published the same bits.
  if (!outcome.written &&
      !TRY(same_bytes(*request.output, request.output_key, *file)).value_or(false)) {
    return make_error(
        Code::invalid_argument,
        "'{}' is there with other bytes and was kept; choose another name or use --force.",
        request.output->url(request.output_key));
  }
  return report;
}

}  // namespace atelier::run
