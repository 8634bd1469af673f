// SPDX-License-Identifier: Apache-2.0
#include "store/copy.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>

#include "base/hash.h"
#include "base/mutex.h"
#include "store/retry.h"

namespace atelier {
namespace {

constexpr uint64_t kPiece = uint64_t{8} << 20;
constexpr size_t kAtOnce = 4;

// An upload that another one has swept away, or whose server went, is begun again.
RetryPolicy upload_retries(const ObjectStore& to) {
  RetryPolicy policy = to.retries();
  policy.first_delay = std::max<Clock::Duration>(policy.first_delay, std::chrono::seconds(1));
  return policy;
}

Error interrupted() {
  return Error{Code::cancelled,
               "Interrupted; what was copied is kept, and the same command goes on."};
}

class Copier {
 public:
  Copier(ObjectStore& from, ObjectStore& to, const CopyOptions& options, Clock& clock,
         const std::stop_token& stop)
      : from_(from), to_(to), options_(options), clock_(clock), stop_(stop) {}

  // Takes items until there are none or one failed; run by several threads.
  void work(const std::vector<const CopyItem*>& items) {
    for (size_t i = next_++; i < items.size() && !failed(); i = next_++) {
      const auto done = copy(*items[i]);
      if (!done.ok()) fail(done.error());
    }
  }
  void begin_again() { next_ = 0; }

  Result<CopyTotals> result() {
    MutexLock lock(mutex_);
    if (failure_) return *failure_;
    return totals_;
  }

 private:
  bool failed() {
    MutexLock lock(mutex_);
    return failure_.has_value();
  }
  void fail(const Error& error) {
    MutexLock lock(mutex_);
    if (!failure_) failure_ = error;
  }
  void moved(uint64_t bytes) {
    bytes_done_ += bytes;
    if (options_.progress) options_.progress(objects_done_, bytes_done_);
  }
  void finished(const CopyItem& item, bool written);

  Result<void> copy(const CopyItem& item);
  // What is to hold for the write; nothing if the same bytes are there.
  Result<std::optional<Condition>> look(const CopyItem& item);
  Result<bool> is_same(const CopyItem& item, const std::string& to_etag);
  struct Written {
    PutOutcome outcome;
    std::string sha256;  // of what was read
  };
  // Adds what it has sent to `sent`.
  Result<Written> write(const CopyItem& item, const Condition& condition, uint64_t& sent);
  Result<Written> write_repeated(const CopyItem& item, const Condition& condition);
  // Whether what was written is what was read.
  Result<bool> is_whole(const CopyItem& item, const Written& written);
  Result<std::string> hash_at(const std::string& key, uint64_t size, const std::string& etag);
  Result<void> settle_conflict(const CopyItem& item, const Condition& condition);
  Error remove_damaged(const CopyItem& item, const Written& written);
  Error changed(const CopyItem& item) const {
    return make_error(Code::conflict, "{} changed while it was being written; start again.",
                      to_.url(item.to));
  }

  ObjectStore& from_;
  ObjectStore& to_;
  const CopyOptions& options_;
  Clock& clock_;
  const std::stop_token& stop_;
  std::atomic<size_t> next_{0};
  std::atomic<uint64_t> objects_done_{0}, bytes_done_{0};
  Mutex mutex_;
  CopyTotals totals_ GUARDED_BY(mutex_);
  std::optional<Error> failure_ GUARDED_BY(mutex_);
};

void Copier::finished(const CopyItem& item, bool written) {
  ++objects_done_;
  moved(written ? 0 : item.from.size);
  MutexLock lock(mutex_);
  totals_.objects += written ? 1 : 0;
  totals_.bytes += written ? item.from.size : 0;
  totals_.skipped += written ? 0 : 1;
}

Result<bool> Copier::is_same(const CopyItem& item, const std::string& to_etag) {
  const auto source = TRY(open_object_at(from_, item.from.key, item.from.etag));
  std::vector<std::byte> ours(static_cast<size_t>(std::min(item.from.size, kPiece)));
  for (uint64_t offset = 0; offset < item.from.size;) {
    if (stop_.stop_requested()) return interrupted();
    const size_t count = TRY(source->read_at(offset, ours));
    const auto theirs = TRY(to_.get(item.to, {offset, count}, to_etag));
    if (count == 0 || !std::ranges::equal(theirs, std::span(ours).first(count))) return false;
    offset += count;
  }
  return true;
}

Result<std::optional<Condition>> Copier::look(const CopyItem& item) {
  const std::optional<ObjectInfo> there = TRY(to_.head(item.to));
  if (!there) return std::optional(Condition::if_absent());
  if (there->size == item.from.size && TRY(is_same(item, there->etag))) {
    return std::optional<Condition>();
  }
  if (options_.replace) return std::optional(Condition::if_match(there->etag));
  return make_error(Code::invalid_argument,
                    "{} exists and is not the same as {}; give --force to replace it.",
                    to_.url(item.to), from_.url(item.from.key));
}

Result<Copier::Written> Copier::write(const CopyItem& item, const Condition& condition,
                                      uint64_t& sent) {
  const auto source = TRY(open_object_at(from_, item.from.key, item.from.etag));
  const uint64_t size = source->size();
  const std::unique_ptr<Upload> upload = TRY(to_.begin_upload(item.to));
  std::vector<std::byte> piece(static_cast<size_t>(std::min(size, kPiece)));
  Sha256 hash;
  for (uint64_t offset = 0; offset < size;) {
    if (stop_.stop_requested()) return interrupted();
    const size_t wanted = static_cast<size_t>(std::min(size - offset, kPiece));
    const size_t count = TRY(source->read_at(offset, std::span(piece).first(wanted)));
    if (count == 0) {
      return make_error(Code::conflict, "{} became shorter while it was copied; start again.",
                        from_.url(item.from.key));
    }
    hash.update(std::span(piece).first(count));
    TRY(upload->append(std::span(piece).first(count)));
    offset += count;
    sent += count;
    moved(count);
  }
  Written written;
  written.sha256 = hash.finish_hex();
  written.outcome = TRY(upload->commit(condition));
  return written;
}

Result<Copier::Written> Copier::write_repeated(const CopyItem& item, const Condition& condition) {
  return with_retries(upload_retries(to_), clock_, [&] {
    uint64_t sent = 0;
    auto written = write(item, condition, sent);
    if (!written.ok()) bytes_done_ -= sent;
    return written;
  });
}

Result<std::string> Copier::hash_at(const std::string& key, uint64_t size,
                                    const std::string& etag) {
  Sha256 hash;
  uint64_t done = 0;
  while (done < size) {
    if (stop_.stop_requested()) return interrupted();
    const auto piece = TRY(to_.get(key, {done, kPiece}, etag));
    if (piece.empty()) break;
    hash.update(piece);
    done += piece.size();
  }
  return done == size ? hash.finish_hex() : std::string();
}

// Somebody else wrote since we looked.
Result<void> Copier::settle_conflict(const CopyItem& item, const Condition& condition) {
  if (condition.kind == Condition::Kind::if_absent && !TRY(look(item))) {
    finished(item, false);
    return {};
  }
  return changed(item);
}

Result<bool> Copier::is_whole(const CopyItem& item, const Written& written) {
  const auto there = TRY(to_.head(item.to));
  if (!there || there->etag != written.outcome.etag) return changed(item);
  if (there->size != item.from.size) return false;
  return TRY(hash_at(item.to, there->size, there->etag)) == written.sha256;
}

// No store removes under a condition: looking first leaves little time for another's write to be
// taken away in place of ours.
Error Copier::remove_damaged(const CopyItem& item, const Written& written) {
  const auto there = to_.head(item.to);
  if (there.ok() && (!*there || (*there)->etag != written.outcome.etag)) return changed(item);
  const auto removed = there.ok() ? to_.remove(item.to) : Result<bool>(there.error());
  if (!removed.ok()) {
    return make_error(Code::corrupt,
                      "{} is not what was read of {} and could not be removed ({}); remove it, and "
                      "run the same command again.",
                      to_.url(item.to), from_.url(item.from.key), removed.error().message);
  }
  return make_error(Code::corrupt,
                    "{} was not what was read of {} and has been removed; run the same command "
                    "again, and if it comes back look at the store or the disk.",
                    to_.url(item.to), from_.url(item.from.key));
}

Result<void> Copier::copy(const CopyItem& item) {
  if (stop_.stop_requested()) return interrupted();
  const auto condition = TRY(look(item));
  if (!condition) {
    finished(item, false);
    return {};
  }
  const Written written = TRY(write_repeated(item, *condition));
  if (!written.outcome.written) {
    bytes_done_ -= item.from.size;
    return settle_conflict(item, *condition);
  }
  if (!TRY(is_whole(item, written))) return remove_damaged(item, written);
  finished(item, true);
  return {};
}

}  // namespace

Result<CopyTotals> copy_objects(ObjectStore& from, ObjectStore& to,
                                const std::vector<CopyItem>& items, const CopyOptions& options,
                                Clock& clock, const std::stop_token& stop) {
  Copier copier(from, to, options, clock, stop);
  std::vector<const CopyItem*> small, large;
  for (const CopyItem& item : items) (item.from.size > kPiece ? large : small).push_back(&item);
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < std::min(kAtOnce, small.size()); ++i) {
      threads.emplace_back([&] { copier.work(small); });
    }
  }
  copier.begin_again();
  copier.work(large);
  return copier.result();
}

}  // namespace atelier
