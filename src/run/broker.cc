// SPDX-License-Identifier: Apache-2.0
#include "run/broker.h"

#include <unistd.h>

#include <array>
#include <cctype>
#include <random>

#include "run/waiting.h"

namespace atelier::run {
namespace {

// Lets the others work for a while, after a look at what they have that took so long.
void pause(std::chrono::nanoseconds look, std::stop_token stop) {
  std::random_device random;
  const double chance = static_cast<double>(random()) / static_cast<double>(random.max());
  const auto rest = rest_after(std::chrono::duration_cast<std::chrono::milliseconds>(look), chance);
  Mutex mutex;
  std::condition_variable_any wake;
  mutex.lock();
  wake.wait_for(mutex, stop, rest, [] { return false; });
  mutex.unlock();
}

}  // namespace

Heart::Heart(Ledger& ledger, const Progress& progress, std::chrono::milliseconds interval)
    : ledger_(ledger), progress_(progress), interval_(interval) {}

Result<std::unique_ptr<Heart>> Heart::start(Ledger& ledger, const Progress& progress,
                                            std::chrono::milliseconds interval) {
  TRY(ledger.beat(progress.encoded));
  std::unique_ptr<Heart> heart(new Heart(ledger, progress, interval));
  heart->thread_ =
      std::jthread([heart = heart.get()](const std::stop_token& stop) { heart->beat_until(stop); });
  return heart;
}

void Heart::beat_until(const std::stop_token& stop) {
  const std::stop_callback wake(stop, [this] { wake_.notify_all(); });
  for (;;) {
    mutex_.lock();
    wake_.wait_for(mutex_, stop, interval_, [] { return false; });
    mutex_.unlock();
    if (stop.stop_requested()) return;
    (void)ledger_.beat(progress_.encoded);
  }
}

Heart::~Heart() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  (void)ledger_.beat(progress_.encoded, true);
}

Result<std::optional<ChunkPlan>> Broker::next(std::stop_token stop) {
  for (;;) {
    if (stop.stop_requested()) return make_error(Code::cancelled, "Interrupted.");
    {
      MutexLock lock(mutex_);
      // A suspect is in flight alone.
      const auto ready = [this]() REQUIRES(mutex_) {
        return upload_failure_ || in_flight_.empty() || may_ask();
      };
      if (!changed_.wait(mutex_, stop, ready)) continue;
      if (upload_failure_) return *upload_failure_;
      alone_ = !suspects_.empty();
      if (alone_) {
        const Claim suspect = suspects_.front();
        suspects_.pop_front();
        return std::optional(hand_out(suspect));
      }
    }
    const auto begin = std::chrono::steady_clock::now();
    const Ledger::Answer answer = TRY(ledger_.claim());
    const auto look = std::chrono::steady_clock::now() - begin;
    switch (answer.next) {
      case Ledger::Next::claimed: {
        MutexLock lock(mutex_);
        if (answer.claim.attempt == 1) return std::optional(hand_out(answer.claim));
        suspects_.push_back(answer.claim);
        continue;
      }
      case Ledger::Next::settled: return std::optional<ChunkPlan>();
      case Ledger::Next::cancelled:
        return make_error(Code::cancelled, "Run {} was cancelled; what is done is kept.",
                          folder_.run_id());
      case Ledger::Next::wait: break;
    }
    pause(look, stop);
  }
}

ChunkPlan Broker::hand_out(const Claim& claim) {
  in_flight_[claim.chunk] = claim;
  return manifest_.chunks[static_cast<size_t>(claim.chunk)];
}

Result<std::unique_ptr<ScratchFile>> Broker::open_result(const ChunkPlan&) {
  return ScratchFile::create(scratch_);
}

Result<void> Broker::commit(ChunkCommit commit, ScratchFile& result) {
  auto source = TRY(result.open_shared());
  TRY(settle());
  {
    MutexLock lock(mutex_);
    uploading_ = commit.index;
    changed_.notify_all();
  }
  upload_ = std::async(std::launch::async,
                       [this, commit = std::move(commit), source = std::move(source)]() mutable {
                         return put_and_tell(std::move(commit), *source);
                       });
  return {};
}

Result<void> Broker::put(ChunkCommit commit, ByteSource& result) {
  const int chunk = commit.index;
  const uint64_t frames = commit.frames;
  const StageSeconds seconds = commit.seconds;
  commit.worker = ledger_.worker();
  {
    MutexLock lock(mutex_);
    const auto claim = in_flight_.find(chunk);
    commit.attempt = claim == in_flight_.end() ? 0 : claim->second.attempt;
  }
  TRY(folder_.commit_chunk(std::move(commit), result));
  MutexLock lock(mutex_);
  in_flight_.erase(chunk);
  uploading_.reset();
  deaths_in_a_row_ = 0;
  frames_ += frames;
  seconds_.decode += seconds.decode;
  seconds_.score += seconds.score;
  seconds_.encode += seconds.encode;
  changed_.notify_all();
  return {};
}

Result<void> Broker::put_and_tell(ChunkCommit commit, ByteSource& result) {
  Result<void> done = put(std::move(commit), result);
  if (!done) {
    MutexLock lock(mutex_);
    upload_failure_ = done.error();
    changed_.notify_all();
  }
  return done;
}

Result<void> Broker::settle() { return upload_.valid() ? upload_.get() : Result<void>(); }

StageSeconds Broker::seconds() {
  MutexLock lock(mutex_);
  return seconds_;
}

Result<void> Broker::scorer_ended(const std::string& why) {
  // Machines without memory and broken installations end every scorer.
  constexpr int kMostDeaths = 10;
  TRY(settle());
  MutexLock lock(mutex_);
  if (++deaths_in_a_row_ > kMostDeaths) return Error{Code::internal, why};
  if (in_flight_.size() == 1) {
    TRY(ledger_.give_back(in_flight_.begin()->second, true, why));
  } else {
    // None: it died waiting, or before it began.
    for (const auto& [chunk, claim] : in_flight_) suspects_.push_back(claim);
  }
  in_flight_.clear();
  alone_ = false;
  return {};
}

Result<void> Broker::keep_frame(uint64_t number, const std::string& extension,
                                std::span<const std::byte> picture) {
  return folder_.put_frame(number, extension, picture);
}

Result<void> Broker::keep_trace(int chunk, std::span<const Span> spans) {
  (void)folder_.put_trace(ledger_.worker(), chunk, to_json(spans));
  return {};
}

std::string make_worker_name() {
  std::array<char, 65> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0 || host[0] == '\0') host = {"worker"};
  std::string name;
  for (const char* c = host.data(); *c != '\0'; ++c) {
    name += std::isalnum(static_cast<unsigned char>(*c)) != 0 ? *c : '-';
  }
  std::random_device random;
  return fmt::format("{}-{}-{:08x}", name, ::getpid(), random());
}

}  // namespace atelier::run
