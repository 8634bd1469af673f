// SPDX-License-Identifier: Apache-2.0
#include "store/s3/s3_conditions.h"

#include <random>

#include "base/bytes.h"
#include "store/names.h"
#include "store/s3/s3_objects.h"

namespace atelier::s3 {
namespace {

// Beside `key`, where whoever may write that may write this.
std::string scratch_beside(const std::string& key) {
  std::random_device random;
  return fmt::format("{}{}probe-{:08x}{:08x}", key.substr(0, key.rfind('/') + 1), kReservedName,
                     random(), random());
}

}  // namespace

Result<TriedWrite> ConditionalWrites::write_scratch(const std::string& scratch, Way way,
                                                    const Condition& condition) {
  // Other bytes each time, so that etags differ.
  std::random_device random;
  const std::string text = fmt::format("{:08x}{:08x}", random(), random());
  if (way == Way::put) return try_put_object(service_, scratch, as_bytes(text), condition);
  const std::string id = TRY(begin_multipart(service_, scratch));
  const auto etag = send_part(service_, scratch, id, 1, as_bytes(text));
  Result<TriedWrite> tried =
      etag.ok() ? try_complete_multipart(service_, scratch, id, {*etag}, condition) : etag.error();
  if (!tried.ok() || !tried->outcome.written) {
    static_cast<void>(abort_multipart(service_, scratch, id));
  }
  return tried;
}

// Only of a server that says so is it believed that it has no such writes: whatever else goes wrong
// says nothing of it, and claims would be advisory for good.
Result<bool> ConditionalWrites::try_if_absent(const std::string& scratch, Way way) {
  const TriedWrite first = TRY(write_scratch(scratch, way, Condition::if_absent()));
  if (!first.unknown.empty()) {
    // Of the condition, if it goes without.
    TRY(write_unconditionally(scratch, way));
    return false;
  }
  if (!first.outcome.written) return false;
  const TriedWrite second = TRY(write_scratch(scratch, way, Condition::if_absent()));
  return second.unknown.empty() && !second.outcome.written;
}

Result<bool> ConditionalWrites::try_if_match(const std::string& scratch, Way way) {
  const std::string old = TRY(write_unconditionally(scratch, way));
  const std::string etag = TRY(write_unconditionally(scratch, way));
  const TriedWrite stale = TRY(write_scratch(scratch, way, Condition::if_match(old)));
  if (!stale.unknown.empty() || stale.outcome.written) return false;
  const TriedWrite fresh = TRY(write_scratch(scratch, way, Condition::if_match(etag)));
  return fresh.unknown.empty() && fresh.outcome.written;
}

// The etag.
Result<std::string> ConditionalWrites::write_unconditionally(const std::string& scratch, Way way) {
  const TriedWrite tried = TRY(write_scratch(scratch, way, Condition::always()));
  if (tried.unknown.empty()) return tried.outcome.etag;
  return make_error(Code::invalid_argument,
                    "The server of {} does not know how an object is written ({}); check that it "
                    "is one of S3.",
                    service_.url(scratch), tried.unknown);
}

Result<bool> ConditionalWrites::obeyed(const std::string& key, Way way, Kind kind) {
  if (service_.is_amazon()) return true;
  MutexLock lock(mutex_);
  const auto found = known_.find({way, kind});
  if (found != known_.end()) return found->second;
  const std::string scratch = scratch_beside(key);
  const auto obeys =
      kind == Kind::if_absent ? try_if_absent(scratch, way) : try_if_match(scratch, way);
  // Hidden, if it must stay.
  static_cast<void>(delete_object(service_, scratch));
  if (!obeys.ok()) return obeys.error();
  known_[{way, kind}] = *obeys;
  if (!*obeys && !noted_ && note_) {
    noted_ = true;
    note_(fmt::format(
        "The server of {} has no conditional writes, so claims are advisory: two workers may do "
        "the "
        "same work, and of two who write one output at the same time the second replaces it.",
        service_.url("")));
  }
  return *obeys;
}

Result<bool> ConditionalWrites::decides(const std::string& key) {
  return TRY(obeyed(key, Way::put, Kind::if_absent)) && TRY(obeyed(key, Way::put, Kind::if_match));
}

Result<PutOutcome> ConditionalWrites::write(const std::string& key, Way way,
                                            const Condition& condition, const Send& send) {
  if (condition.kind == Kind::always || TRY(obeyed(key, way, condition.kind))) {
    return send(condition);
  }
  const auto before = TRY(head_object(service_, key));
  if (condition.kind == Kind::if_absent && before) return PutOutcome{};
  if (condition.kind == Kind::if_match && (!before || before->etag != condition.etag)) {
    return PutOutcome{};
  }
  PutOutcome outcome = TRY(send(Condition::always()));
  const auto after = TRY(head_object(service_, key));
  if (after && after->etag != outcome.etag) return PutOutcome{};
  return outcome;
}

}  // namespace atelier::s3
