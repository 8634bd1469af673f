// SPDX-License-Identifier: Apache-2.0
#include "run/machine_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace atelier::run {
namespace {

namespace fs = std::filesystem;

class MachineMemory : public testing::Test {
 protected:
  MachineMemory() { put("proc/meminfo", "MemFree: 7 kB\nMemTotal:       1000 kB\n"); }
  ~MachineMemory() override { fs::remove_all(root_); }
  void put(const fs::path& name, const std::string& text) {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  const fs::path root_ =
      fs::path(testing::TempDir()) / ("machine-memory-" + std::to_string(::getpid()));
};

TEST_F(MachineMemory, WithoutGroupsIsTheMachines) {
  EXPECT_EQ(usable_memory(root_), 1000u << 10);
  put("proc/self/cgroup", "garbage\n0::\n:\n5:memory:\n");
  EXPECT_EQ(usable_memory(root_), 1000u << 10);
}

TEST_F(MachineMemory, IsUnknownWhereNothingSaysIt) {
  EXPECT_EQ(usable_memory(root_ / "nowhere"), 0u);
  EXPECT_EQ(machine_memory(root_ / "nowhere"), 0u);
  put("proc/meminfo", "MemTotal: much\n");
  EXPECT_EQ(usable_memory(root_), 0u);
}

TEST_F(MachineMemory, IsTheLeastOfAGroupAndItsParents) {
  put("proc/self/cgroup", "0::/job.slice/step\n");
  put("sys/fs/cgroup/job.slice/step/memory.max", "max\n");
  EXPECT_EQ(usable_memory(root_), 1000u << 10);
  put("sys/fs/cgroup/job.slice/memory.max", "500000\n");
  EXPECT_EQ(usable_memory(root_), 500000u);
  put("sys/fs/cgroup/job.slice/step/memory.max", "400000\n");
  EXPECT_EQ(usable_memory(root_), 400000u);
  EXPECT_EQ(machine_memory(root_), 1000u << 10) << "whatever groups allow";
}

TEST_F(MachineMemory, IsTheLimitAtTheTopWhereTheGroupIsTheHosts) {
  put("proc/self/cgroup", "12:cpu,memory:/docker/0123\n1:name=systemd:/docker/0123\n0::/\n");
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "300000\n");
  EXPECT_EQ(usable_memory(root_), 300000u);
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(usable_memory(root_), 1000u << 10) << "no limit of v1 is a large number";
}

TEST(UsableMemory, IsKnownHere) {
  EXPECT_GT(usable_memory(), uint64_t{64} << 20);
  EXPECT_LE(usable_memory(), static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                                 static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)));
}

}  // namespace
}  // namespace atelier::run
