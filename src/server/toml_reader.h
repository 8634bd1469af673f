// SPDX-License-Identifier: Apache-2.0
// TOML from people (https://toml.io/en/v1.0.0), read strictly: a key that nobody asked for and a
// value of another type are errors with their line. Before the library sees a text, one pass over
// it bounds what parsing may cost: its length, how deep it nests (also by dotted keys: the library
// recurses into both) and how many entries it has.
#pragma once

// The library asserts of hostile text what it checks in the next line ("[%]"); without NDEBUG that
// would end the process. Whoever parses TOML in this folder includes this header for it.
#ifndef TOML_ASSERT
#define TOML_ASSERT(expression) static_assert(true)
#endif
#include <toml++/toml.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace atelier::server {

struct TomlBounds {
  size_t bytes = 64 << 10;
  int depth = 8;          // of brackets and of the parts of one key, each
  size_t entries = 4096;  // keys and values of lists
};

// `what` begins the sentences: "The pipeline". Errors: invalid_argument (it is no TOML, or beyond
// the bounds).
Result<toml::table> parse_toml(std::string_view text, std::string_view what,
                               const TomlBounds& bounds = {});

// Reads one table by its keys; every key that was asked for counts as known. The table must live as
// long. One thread. Errors of all: invalid_argument, "WHAT, line N: 'key' must be ...".
class TomlReader {
 public:
  // `path` is what stands before the keys in messages: "limits.".
  TomlReader(const toml::table& table, std::string what, std::string path = "");

  // The value, or null. For kinds of values that are not below.
  const toml::node* find(std::string_view key);

  // Clean text (text_values.h) of at most 4 KiB; nothing if the key is not there.
  Result<std::optional<std::string>> text(std::string_view key);
  Result<std::string> needed_text(std::string_view key);
  // The same with line breaks and tabs, for people; "" if it is not there.
  Result<std::string> prose(std::string_view key);
  // A list of texts, at most `most`; empty if it is not there.
  Result<std::vector<std::string>> texts(std::string_view key, size_t most);
  // A name as is_name() has it. Must be there.
  Result<std::string> name(std::string_view key);
  Result<bool> boolean(std::string_view key, bool otherwise);
  Result<int64_t> integer(std::string_view key, int64_t least, int64_t most, int64_t otherwise);
  // Also a whole number.
  Result<double> number(std::string_view key, double least, double most, double otherwise);
  // As parse_duration() and parse_byte_size() read them, from 1 unless `least` says otherwise.
  Result<std::chrono::seconds> duration(std::string_view key, std::chrono::seconds otherwise,
                                        std::chrono::seconds least = std::chrono::seconds(1));
  Result<uint64_t> bytes(std::string_view key, uint64_t otherwise);
  // Null if it is not there.
  Result<const toml::table*> table(std::string_view key);
  // Of [[key]], at most `most`; empty if it is not there.
  Result<std::vector<const toml::table*>> tables(std::string_view key, size_t most);

  // After everything was asked for: whether there is anything else.
  Result<void> finish() const;

  // "WHAT, line N: 'path.key' must be WANTED."; the line is the key's or, if it is not there, the
  // table's.
  Error wrong(std::string_view key, std::string_view wanted) const;
  // "WHAT, line N: SENTENCE", for what is said of the key in other words.
  Error error_at(std::string_view key, std::string_view sentence) const;
  const std::string& what() const { return what_; }
  // The prefix of keys in a table below: "limits.owners.".
  std::string path_of(std::string_view key) const;

 private:
  const toml::table& table_;
  std::string what_;
  std::string path_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace atelier::server
