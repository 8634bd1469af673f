// SPDX-License-Identifier: Apache-2.0
// For tests: a folder of its own that goes with the object.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

namespace atelier {

class TestFolder {
 public:
  TestFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "atelier-test-XXXXXX").string();
    path_ = ::mkdtemp(name.data()) == nullptr ? "/nonexistent" : name;
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace atelier
