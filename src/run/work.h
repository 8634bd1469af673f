// SPDX-License-Identifier: Apache-2.0
// A worker at work: its broker, and one scorer after another until there is nothing left.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "run/broker.h"
#include "run/scorer_process.h"

namespace atelier::run {

// What a scorer prints, in pieces as logs/<worker>/000001.log in the run folder. One thread. A
// piece that cannot be written is lost, as is what follows the first thousand: logs never stop a
// run.
class LogSegments {
 public:
  LogSegments(const Clock& clock, std::string worker) : clock_(clock), worker_(std::move(worker)) {}
  // Until there is a folder, text is kept, the latest 64 KiB of it.
  void add(RunFolder* folder, std::string_view text);
  void flush(RunFolder& folder);

 private:
  const Clock& clock_;
  std::string worker_;
  std::string text_;
  Clock::Duration since_{};
  int written_ = 0;
};

// `scorer` has prepared, or is null; afterwards it is null, or rests (ScorerTask::stays). When it
// ends before its work, or another one before it has prepared, the next is started; the broker
// decides what becomes of the chunks it had. For runs whose manifest stands: a death is nobody's
// fault then. Errors: those of ScorerProcess::start, prepare and score, and of
// Broker::scorer_ended and settle.
Result<void> work(std::unique_ptr<ScorerProcess>& scorer, const std::string& program,
                  const ScorerTask& task, SharedProgress& progress, Broker& broker,
                  std::stop_token stop);

}  // namespace atelier::run
