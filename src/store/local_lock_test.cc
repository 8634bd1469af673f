// SPDX-License-Identifier: Apache-2.0
#include "store/local_lock.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <optional>

#include "store/local_files.h"
#include "store/local_store.h"
#include "store/names.h"
#include "store/test_folder.h"

namespace atelier::local {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

class NameLock : public testing::Test {
 protected:
  NameLock() { EXPECT_TRUE(fs::create_directories(target_.parent_path())); }
  static Result<local::NameLock> take(const fs::path& target, milliseconds patience) {
    return local::NameLock::acquire(target, random_name(), patience);
  }
  size_t files() const {
    const fs::directory_iterator all(target_.parent_path());
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }
  const fs::path& target() const { return target_; }

 private:
  TestFolder folder_;
  const fs::path target_ = folder_.path() / "f" / "object";
};

TEST_F(NameLock, LeavesNothing) {
  std::optional<local::NameLock> lock = take(target(), std::chrono::hours(1)).value();
  EXPECT_EQ(files(), 1U);
  const auto other = take(target().string() + "2", std::chrono::hours(1));
  EXPECT_TRUE(other.ok()) << "another name was locked, too";
  EXPECT_EQ(files(), 2U);
  lock.reset();
  EXPECT_EQ(files(), 1U);
  EXPECT_TRUE(take(target(), std::chrono::hours(1)).ok());
}

TEST_F(NameLock, AHolderThatWasTakenForDeadKeepsItsHandsOff) {
  std::optional<local::NameLock> dead = take(target(), milliseconds(1)).value();
  const std::optional<local::NameLock> heir = take(target(), milliseconds(1)).value();
  dead.reset();  // it was only slow
  EXPECT_EQ(files(), 1U) << "the lock of the heir is gone, or the dead one's stayed";
  EXPECT_TRUE(heir.has_value());
}

TEST_F(NameLock, AWriterThatWasTakenForDeadWritesNoMore) {
  const auto store = open_local_store(target().parent_path(), milliseconds(1)).value();
  const auto pending = PendingFile::create(target(), milliseconds(1)).value();
  const fs::path file = fs::directory_iterator(target().parent_path())->path();
  ASSERT_TRUE(pending->write(as_bytes("late")).ok());
  // It holds the lock and stands still.
  const auto held = local::NameLock::acquire(target(), file.filename(), milliseconds(1)).value();
  ASSERT_TRUE(store->put("object", as_bytes("heir"), Condition::always()).value().written);
  const auto late = pending->publish(Condition::always());
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, Code::unavailable);
  EXPECT_EQ(as_text(store->get("object").value()), "heir");
  EXPECT_EQ(files(), 1U);
}

TEST_F(NameLock, TheLocksOfFileSystemsWithoutLinksAreTakenOver) {
  const fs::path lock = [&] {
    const auto held = take(target(), std::chrono::hours(1)).value();
    return fs::directory_iterator(target().parent_path())->path();
  }();
  ASSERT_EQ(files(), 0U);
  std::ofstream(lock) << "";
  ASSERT_EQ(files(), 1U);
  { EXPECT_TRUE(take(target(), milliseconds(1)).ok()); }
  EXPECT_EQ(files(), 0U);
}

// As a link it names what its holder was about to rename.
TEST_F(NameLock, AFileThatIsALockNamesThePendingFileToo) {
  fs::path lock;
  {
    const auto held = take(target(), std::chrono::hours(1)).value();
    lock = fs::directory_iterator(target().parent_path())->path();
  }
  const std::string pending = random_name();
  std::ofstream(lock) << pending;
  std::ofstream(target().parent_path() / pending) << "late";
  { EXPECT_TRUE(take(target(), milliseconds(1)).ok()); }
  EXPECT_EQ(files(), 0U) << "the dead one could still write";
}

TEST_F(NameLock, WithoutAFolderThereIsNone) {
  const auto lock = take(target().parent_path() / "absent/object", std::chrono::hours(1));
  ASSERT_FALSE(lock.ok());
}

}  // namespace
}  // namespace atelier::local
