// SPDX-License-Identifier: Apache-2.0
// Text with fields in braces, as triggers map blobs to parameters with: "/out/{stem}-painted.mp4".
// "{{" and "}}" are braces. Pure.
//
// The idea: a field's value was chosen by a stranger and is data. What a parameter points at is
// decided by the constant part alone: a text that names a place needs a constant folder, below
// which it must stay, and every other text gets values that cannot look like a path, a URL or an
// option.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/location.h"

namespace atelier::server {

// What a trigger found: an object below its location.
struct Blob {
  Location place;
  std::string path;  // of the object, relative to the trigger's location; any bytes
  uint64_t size = 0;
  std::string etag;
  std::map<std::string, std::string> metadata;  // names in lower case

  std::string url() const { return place.url(); }
};

class TriggerText {
 public:
  // Errors: invalid_argument (an unknown field, a brace without its other one, {url} beside other
  // text, {path} outside of a place, a place whose constant part names no folder), sentences
  // without the place in the file.
  static Result<TriggerText> parse(std::string_view text);

  // A place comes as Location::url(), anything else as UTF-8 without control characters.
  // Errors: invalid_input: a value would change what the text means ("..", a slash, a leading
  // dash, no UTF-8), or the blob has no such metadata.
  Result<std::string> fill(const Blob& blob) const;

  // Whether fill() needs Blob::metadata.
  bool uses_metadata() const;
  bool operator==(const TriggerText&) const = default;

 private:
  enum class Form { words, path, url, blob };
  enum class Field { constant, url, name, stem, folder, path, metadata };
  struct Piece {
    Field field = Field::constant;
    std::string text;  // the constant, or the metadata's name
    bool operator==(const Piece&) const = default;
  };
  static Result<Piece> parse_field(std::string_view name);
  Result<void> find_form();
  static Result<std::string> value_of(const Piece& piece, const Blob& blob);
  Result<std::string> checked_value(const Piece& piece, const Blob& blob) const;
  Result<std::string> as_place(const std::string& filled, const Blob& blob) const;

  Form form_ = Form::words;
  std::vector<Piece> pieces_;
  std::string folder_;  // of a place: its constant part up to the last slash
};

}  // namespace atelier::server
