// SPDX-License-Identifier: Apache-2.0
#include "run/work.h"

namespace atelier::run {
namespace {

constexpr size_t kSegment = 64 << 10;  // bytes
constexpr std::chrono::seconds kOldest(5);

}  // namespace

void LogSegments::add(RunFolder* folder, std::string_view text) {
  if (text_.empty()) since_ = clock_.now();
  text_ += text;
  if (text_.size() < kSegment && clock_.now() - since_ < kOldest) return;
  if (folder) {
    flush(*folder);
  } else if (text_.size() > kSegment) {
    text_.erase(0, text_.size() - kSegment);
  }
}

void LogSegments::flush(RunFolder& folder) {
  constexpr int kMostSegments = 1000;
  if (text_.empty() || written_ == kMostSegments) return;
  (void)folder.put_log(worker_, ++written_, text_);
  text_.clear();
}

Result<void> work(std::unique_ptr<ScorerProcess>& scorer, const std::string& program,
                  const ScorerTask& task, SharedProgress& progress, Broker& broker,
                  std::stop_token stop) {
  for (;;) {
    if (!scorer) {
      scorer = TRY(ScorerProcess::start(program, task, progress));
      const auto prepared = scorer->prepare(stop);
      if (!prepared.ok() && scorer->died()) {
        scorer.reset();
        TRY(broker.scorer_ended(prepared.error().message));
        continue;
      }
      if (!prepared.ok()) scorer.reset();
      TRY(prepared);
    }
    auto scored = scorer->score(broker, stop);
    if (!scorer->rests()) scorer.reset();
    const std::string why = TRY(std::move(scored));
    if (why.empty()) return broker.settle();
    TRY(broker.scorer_ended(why));
  }
}

}  // namespace atelier::run
