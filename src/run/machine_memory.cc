// SPDX-License-Identifier: Apache-2.0
// Control groups: proc(5) and cgroups(7) for /proc/self/cgroup, the kernel's
// admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst for the files of limits.
#include "run/machine_memory.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

namespace atelier::run {
namespace {

namespace fs = std::filesystem;

std::optional<uint64_t> number_at(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  // 0: a group from which everything was just moved away.
  return error == std::errc() && value > 0 ? std::optional(value) : std::nullopt;
}

class Least {
 public:
  void take(std::optional<uint64_t> value) {
    if (value) bytes_ = std::min(bytes_, *value);
  }
  uint64_t get() const { return bytes_ == UINT64_MAX ? 0 : bytes_; }

 private:
  uint64_t bytes_ = UINT64_MAX;
};

// "MemTotal:       24681900 kB"
std::optional<uint64_t> of_machine(const fs::path& root) {
  std::ifstream file(root / "proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("MemTotal:")) continue;
    const auto kibibytes = number_at(
        std::string_view(line).substr(std::min(line.find_first_of("0123456789"), line.size())));
    return kibibytes ? std::optional(*kibibytes << 10) : std::nullopt;
  }
  return std::nullopt;
}

// The limits of the group and of its parents. In a container the path may be one of the host's that
// is not to be seen here; the container's own limit is then at the top.
void take_limits(Least& least, const fs::path& top, std::string_view path, const char* name) {
  // Relative, since an absolute one would replace `top`.
  path.remove_prefix(std::min(path.find_first_not_of('/'), path.size()));
  for (fs::path group = fs::path(path);; group = group.parent_path()) {
    std::ifstream file(top / group / name);
    std::string text;
    if (std::getline(file, text)) least.take(number_at(text));  // "max": no number
    if (group.empty()) return;
  }
}

}  // namespace

uint64_t machine_memory(const fs::path& root) { return of_machine(root).value_or(0); }

uint64_t usable_memory(const fs::path& root) {
  Least least;
  least.take(of_machine(root));
  std::ifstream groups(root / "proc/self/cgroup");
  // "4:memory:/group" of v1, "0::/group" of v2
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string_view path = std::string_view(line).substr(second + 1);
    if (line.starts_with("0::")) take_limits(least, root / "sys/fs/cgroup", path, "memory.max");
    if (controllers.find(",memory,") != std::string::npos) {
      take_limits(least, root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes");
    }
  }
  return least.get();
}

}  // namespace atelier::run
