// SPDX-License-Identifier: Apache-2.0
#include "store/check_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>

namespace atelier {
namespace {

std::vector<std::byte> random_bytes(size_t count) {
  std::random_device random;
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

std::string fresh_key() {
  std::random_device random;
  return fmt::format("atelier-doctor-{:08x}{:08x}", random(), random());
}

class Check {
  // How long a call took, kept as one of three.
  template <typename Call>
  auto timed(size_t which, const Call& call) {
    const auto begin = clock_.now();
    auto answer = call();
    times_.at(which) = clock_.now() - begin;
    return answer;
  }

 public:
  Check(ObjectStore& store, const Clock& clock, StoreRole role)
      : store_(store), clock_(clock), role_(role) {}

  Result<StoreCheck> run() {
    StoreCheck found;
    const auto begin = std::chrono::system_clock::now();
    const PutOutcome first = TRY(timed(0, [&] { return put(bytes_); }));
    const auto end = std::chrono::system_clock::now();
    if (!first.written) return wrong("is not free, though its name was just drawn");
    const PutOutcome second = TRY(put(random_bytes(bytes_.size())));
    found.conditions = !second.written;
    if (second.written) {
      TRY(store_.put(key_, bytes_, Condition::always()));
    }
    const auto head = TRY(store_.head(key_));
    if (!head || head->size != bytes_.size()) return wrong("is not there after it was put");
    if (role_ == StoreRole::runs) {
      const ListPage page = TRY(store_.list(key_, {}, 1));
      if (page.objects.size() != 1) return wrong("is not listed");
    }
    const auto read = TRY(timed(1, [&] { return store_.get(key_); }));
    if (read != bytes_) return wrong("does not hold what was put");
    const auto removed = timed(2, [&] { return store_.remove(key_); });
    if (role_ == StoreRole::output && !removed.ok() &&
        removed.error().code == Code::invalid_argument) {
      found.left = store_.url(key_);
    } else if (!TRY(removed)) {
      return wrong("cannot be removed");
    }
    found.clock_ahead = ahead(head->modified, begin, end);
    std::sort(times_.begin(), times_.end());
    found.round_trip = std::chrono::duration_cast<std::chrono::microseconds>(times_[1]);
    return found;
  }

  // After an error: nothing stays.
  void clean_up() { (void)store_.remove(key_); }

 private:
  Result<PutOutcome> put(const std::vector<std::byte>& bytes) {
    return store_.put(key_, bytes, Condition::if_absent());
  }

  Error wrong(const char* what) const {
    return make_error(Code::internal,
                      "'{}' {}; a store that does not keep what it is given cannot hold runs.",
                      store_.url(key_), what);
  }

  // Stores that give whole seconds round down.
  static std::chrono::milliseconds ahead(std::chrono::system_clock::time_point modified,
                                         std::chrono::system_clock::time_point begin,
                                         std::chrono::system_clock::time_point end) {
    using std::chrono::milliseconds;
    if (modified > end) return std::chrono::duration_cast<milliseconds>(modified - end);
    const auto earliest = begin - std::chrono::seconds(1);
    if (modified < earliest) return std::chrono::duration_cast<milliseconds>(modified - earliest);
    return milliseconds(0);
  }

  ObjectStore& store_;
  const Clock& clock_;
  const StoreRole role_;
  const std::string key_ = fresh_key();
  const std::vector<std::byte> bytes_ = random_bytes(1024);
  std::array<Clock::Duration, 3> times_{};
};

}  // namespace

Result<StoreCheck> check_store(ObjectStore& store, const Clock& clock, StoreRole role) {
  Check check(store, clock, role);
  auto found = check.run();
  // Who cannot be reached cannot be asked to remove anything either.
  if (!found.ok() && found.error().code != Code::unavailable) check.clean_up();
  return found;
}

}  // namespace atelier
