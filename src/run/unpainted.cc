// SPDX-License-Identifier: Apache-2.0
#include "run/unpainted.h"

#include <deque>

namespace atelier::run {
namespace {

uint64_t frames_of(const Manifest& manifest, const ChunkFailure& failure) {
  return manifest.chunks.at(static_cast<size_t>(failure.chunk)).frames;
}

Error given_up(const std::vector<ChunkFailure>& failures, uint64_t frames) {
  return make_error(Code::corrupt,
                    "Chunk {} was given up: {} Chunks given up in all: {}, with {} frames; what is "
                    "done is kept, and the same command tries them again (with --error-threshold "
                    "{} it would show them unpainted).",
                    failures.front().chunk, failures.front().error, failures.size(), frames,
                    frames);
}

// Hands out the given chunks and takes what stands in for them.
class UnpaintedDesk final : public ChunkDesk {
 public:
  UnpaintedDesk(RunFolder& folder, const Manifest& manifest, std::filesystem::path scratch,
                std::deque<int> chunks)
      : folder_(folder),
        manifest_(manifest),
        scratch_(std::move(scratch)),
        chunks_(std::move(chunks)) {}

  Result<std::optional<ChunkPlan>> next(std::stop_token) override {
    if (chunks_.empty()) return std::optional<ChunkPlan>();
    const int chunk = chunks_.front();
    chunks_.pop_front();
    return std::optional(manifest_.chunks.at(static_cast<size_t>(chunk)));
  }
  Result<std::unique_ptr<ScratchFile>> open_result(const ChunkPlan&) override {
    return ScratchFile::create(scratch_);
  }
  Result<void> commit(ChunkCommit commit, ScratchFile& result) override {
    const auto source = TRY(result.open_shared());
    TRY(folder_.commit_unpainted(std::move(commit), *source));
    return {};
  }
  Result<void> keep_frame(uint64_t number, const std::string& extension,
                          std::span<const std::byte> picture) override {
    return folder_.put_frame(number, extension, picture);
  }
  Result<void> keep_trace(int, std::span<const Span>) override { return {}; }

 private:
  RunFolder& folder_;
  const Manifest& manifest_;
  std::filesystem::path scratch_;
  std::deque<int> chunks_;
};

Result<void> decode(std::deque<int> chunks, const Manifest& manifest, RunFolder& folder,
                    const UnpaintedRequest& request, const std::stop_token& stop) {
  ScorerTask task = request.task;
  task.unpainted = true;
  task.trace = false;
  task.stays = false;
  const int first = chunks.front();
  UnpaintedDesk desk(folder, manifest, request.scratch, std::move(chunks));
  const auto progress = TRY(SharedProgress::create());
  const auto scorer = TRY(ScorerProcess::start(request.program, task, *progress));
  TRY(scorer->prepare(stop));
  const std::string why = TRY(scorer->score(desk, stop));
  if (why.empty()) return {};
  return make_error(Code::corrupt,
                    "Chunk {} or a later one that was given up could not even be shown unpainted: "
                    "{} What is done is kept.",
                    first, why);
}

}  // namespace

Result<std::vector<Unpainted>> take_unpainted(const std::vector<ChunkFailure>& failures,
                                              const Manifest& manifest, RunFolder& folder,
                                              const UnpaintedRequest& request,
                                              std::stop_token stop) {
  uint64_t frames = 0;
  for (const ChunkFailure& failure : failures) frames += frames_of(manifest, failure);
  if (frames > request.threshold) return given_up(failures, frames);
  std::deque<int> missing;
  for (const ChunkFailure& failure : failures) {
    if (!TRY(folder.read_unpainted(failure.chunk))) missing.push_back(failure.chunk);
  }
  if (!missing.empty()) TRY(decode(missing, manifest, folder, request, stop));
  std::vector<Unpainted> taken;
  for (const ChunkFailure& failure : failures) {
    auto commit = TRY(folder.read_unpainted(failure.chunk));
    if (!commit) {
      return make_error(Code::unavailable, "What stands in for chunk {} came and went; run again.",
                        failure.chunk);
    }
    const ChunkPlan& plan = manifest.chunks.at(static_cast<size_t>(failure.chunk));
    taken.push_back({*std::move(commit), plan.first_frame, failure.error});
  }
  return taken;
}

}  // namespace atelier::run
