// SPDX-License-Identifier: Apache-2.0
// What a user types for a place: a path, a file: URL (RFC 8089), az://account/container/path or
// s3://bucket/path. Other schemes are refused with a sentence.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace atelier {

struct Location {
  enum class Scheme { file, azure, s3 };
  Scheme scheme = Scheme::file;
  // Of a file: absolute, lexically normal. May hold any bytes but NUL; it need not be UTF-8.
  std::filesystem::path path;
  // Of an object.
  std::string account;    // of Azure
  std::string container;  // of Azure; S3's bucket
  std::string key;        // "a/b.mp4"; empty: all of the container

  bool is_file() const { return scheme == Scheme::file; }
  // The last part: of the path or key; empty if there is none.
  std::string name() const;
  // Where that name lies.
  Location folder() const;
  // What lies there under a name.
  Location child(const std::string& name) const;
  // "file:///a%20b", "az://account/container/a%20b": reserved characters and every byte outside
  // printable ASCII are percent-encoded (RFC 3986), and parse_location reads them back.
  std::string url() const;
  bool operator==(const Location&) const = default;
};

// Escapes (%20) mean their byte in URLs and nothing in paths. Errors: invalid_argument (empty, an
// unknown scheme, a bad escape, a file: URL with a foreign host, a query: secrets do not belong on
// a command line).
Result<Location> parse_location(std::string_view text);

}  // namespace atelier
