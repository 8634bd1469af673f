// SPDX-License-Identifier: Apache-2.0
#include "arrows.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <sstream>

namespace atelier {
namespace {

using Names = std::vector<std::string_view>;

struct Folder {
  std::string_view name;
  Names may_include;  // besides itself; all of it, not only the next one down
};

const std::vector<Folder>& folders() {
  static const std::vector<Folder> table = {
      {"base", {}},
      {"store", {"base"}},
      {"media", {"base"}},
      {"model", {"base"}},
      {"run", {"base", "store", "media", "model"}},
      {"engine", {"base", "store", "media", "model", "run"}},
      {"server", {"base", "store", "media", "model", "run", "engine"}},
      {"train", {"base", "store", "media", "model"}},
      {"cli", {"base", "store", "media", "model", "run", "engine", "server", "train"}},
  };
  return table;
}

struct Foreign {
  std::string_view prefix;  // of the header's name
  Names folders;  // that may include it, or folders in them; the tests beside them may too
};

// fmt, the standard library, POSIX and GoogleTest are free for all.
const std::vector<Foreign>& foreign_headers() {
  static const std::vector<Foreign> table = {
      {"libavcodec/", {"media"}},
      {"libavfilter/", {"media"}},
      {"libavformat/", {"media"}},
      {"libavutil/", {"media"}},
      {"libswresample/", {"media"}},
      {"libswscale/", {"media"}},
      {"dnnl", {"model"}},
      {"oneapi/", {"model"}},
      {"onnx/", {"model"}},
      {"google/protobuf/", {"model"}},
      {"toml++/", {"model", "server"}},
      {"torch/", {"train"}},
      {"openssl/", {"base"}},
      {"spdlog/", {"base"}},
      {"nlohmann/", {"store", "run", "engine", "server", "cli"}},
      {"CLI/", {"cli"}},
      {"curl/", {"store"}},
      {"pugixml", {"store"}},
      {"microhttpd", {"server"}},
      {"sqlite3", {"server"}},
      {"prometheus/", {"server"}},
      {"mpi.h", {"engine/mpi"}},
      {"slurm/", {"engine"}},
      {"seccomp", {"run"}},
  };
  return table;
}

bool contains(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string folder_of(std::string_view path) {
  const size_t slash = path.find('/');
  return std::string(slash == std::string_view::npos ? "" : path.substr(0, slash));
}

// Why `from` may not include the header of ours; empty if it may.
std::string why_not_ours(std::string_view from, std::string_view header) {
  const std::string to = folder_of(header);
  if (to.empty() || header.starts_with('.')) return "must be named from src/, as \"folder/file.h\"";
  const auto rule = std::find_if(folders().begin(), folders().end(),
                                 [&](const Folder& folder) { return folder.name == from; });
  if (to == from || (rule != folders().end() && contains(rule->may_include, to))) return {};
  return fmt::format("{} may not use {}", from, to);
}

bool lies_in(std::string_view path, const Names& folders) {
  return std::any_of(folders.begin(), folders.end(), [&](std::string_view folder) {
    return path.starts_with(folder) && path.substr(folder.size()).starts_with('/');
  });
}

std::string why_not_foreign(std::string_view path, std::string_view header) {
  for (const Foreign& foreign : foreign_headers()) {
    if (header.starts_with(foreign.prefix) && !lies_in(path, foreign.folders)) {
      return fmt::format("{} belongs to {} alone", foreign.prefix,
                         fmt::join(foreign.folders, " and "));
    }
  }
  return {};
}

struct Include {
  std::string_view header;
  bool quoted;
};

// Takes `word` and the blanks before it off the front of `line`.
bool take(std::string_view& line, std::string_view word) {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  if (!line.starts_with(word)) return false;
  line.remove_prefix(word.size());
  return true;
}

std::optional<Include> parse_include(std::string_view line) {
  if (!take(line, "#") || !(take(line, "include") || take(line, "import"))) return std::nullopt;
  const bool quoted = take(line, "\"");
  if (!quoted && !take(line, "<")) return std::nullopt;
  return Include{line.substr(0, line.find(quoted ? '"' : '>')), quoted};
}

}  // namespace

std::vector<std::string> forbidden_includes(std::string_view path, std::string_view text) {
  const std::string from = folder_of(path);
  const bool known = std::any_of(folders().begin(), folders().end(),
                                 [&](const Folder& folder) { return folder.name == from; });
  std::vector<std::string> found;
  if (!known) found.push_back(fmt::format("{}: its folder is not in the table of arrows", path));
  std::istringstream lines{std::string(text)};
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const std::optional<Include> include = parse_include(line);
    if (!include) continue;
    const std::string_view header = include->header;
    // A foreign header in quotes is as foreign as one in angle brackets.
    std::string why = why_not_foreign(path, header);
    if (why.empty() && include->quoted) why = why_not_ours(from, header);
    if (!why.empty()) {
      found.push_back(fmt::format("{}:{}: {} is included, but {}", path, number, header, why));
    }
  }
  return found;
}

}  // namespace atelier
