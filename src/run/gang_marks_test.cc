// SPDX-License-Identifier: Apache-2.0
#include "run/gang_marks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/memory_store.h"

namespace atelier::run {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(GangMarks, WhoNeverCameAndWhoFellSilentIsAbsent) {
  const auto store = make_memory_store();
  const std::vector<std::string> nodes = {"n1", "n2", "n3"};
  ASSERT_TRUE(put_mark(*store, "r", "w.7.0", "n1", 0).ok());
  ASSERT_TRUE(put_mark(*store, "r", "w.7.0", "n2", 0).ok());
  ASSERT_TRUE(put_mark(*store, "r", "w.6.0", "n3", 0).ok());  // of another life
  const GangMarks before = marks_of(*store, "r", "w.7.0").value();
  EXPECT_THAT(absent_nodes(nodes, {}, before), ElementsAre("n3"));
  EXPECT_THAT(absent_nodes(nodes, before, before), ElementsAre("n1", "n2", "n3"));
  ASSERT_TRUE(put_mark(*store, "r", "w.7.0", "n1", 1).ok());
  ASSERT_TRUE(put_mark(*store, "r", "w.7.0", "n3", 0).ok());
  EXPECT_THAT(absent_nodes(nodes, before, marks_of(*store, "r", "w.7.0").value()),
              ElementsAre("n2"));
}

TEST(GangMarks, NothingStaysOfThem) {
  const auto store = make_memory_store();
  ASSERT_TRUE(put_mark(*store, "r", "w.7.0", "n1", 0).ok());
  ASSERT_TRUE(remove_mark(*store, "r", "w.7.0", "n1").ok());
  ASSERT_TRUE(remove_mark(*store, "r", "w.7.0", "n1").ok()) << "nor is it an error";
  EXPECT_THAT(marks_of(*store, "r", "w.7.0").value(), IsEmpty());
}

}  // namespace
}  // namespace atelier::run
