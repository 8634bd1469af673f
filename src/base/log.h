// SPDX-License-Identifier: Apache-2.0
// Where library code says what a person should know. Libraries never print; src/cli decides where
// lines go.
#pragma once

#include <string_view>

namespace atelier {

enum class LogLevel { debug, info, warning };

// Safe from several threads.
class Log {
 public:
  virtual ~Log() = default;
  // One line without a newline.
  virtual void line(LogLevel level, std::string_view text) = 0;
};

class NullLog final : public Log {
 public:
  void line(LogLevel, std::string_view) override {}
};

}  // namespace atelier
