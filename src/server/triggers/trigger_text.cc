// SPDX-License-Identifier: Apache-2.0
#include "server/triggers/trigger_text.h"

#include <algorithm>
#include <array>

#include "server/text_values.h"
#include "store/names.h"

namespace atelier::server {
namespace {

constexpr size_t kLongestValue = 4096;

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return result;
}

bool is_metadata_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

// Below, not at, `folder`.
bool lies_below(const Location& place, const Location& folder) {
  if (place.scheme != folder.scheme || place.account != folder.account ||
      place.container != folder.container) {
    return false;
  }
  const std::string& whole = place.is_file() ? place.path.native() : place.key;
  const std::string& start = folder.is_file() ? folder.path.native() : folder.key;
  if (start.empty() || start == "/") return whole.size() > start.size();
  return whole.size() > start.size() + 1 && whole.starts_with(start) && whole[start.size()] == '/';
}

}  // namespace

Result<TriggerText::Piece> TriggerText::parse_field(std::string_view name) {
  constexpr std::string_view kMetadata = "meta.";
  static constexpr std::array<std::string_view, 6> kNames = {"",     "url",    "name",
                                                             "stem", "folder", "path"};
  if (name.starts_with(kMetadata)) {
    std::string key = lower(name.substr(kMetadata.size()));
    if (is_metadata_name(key)) return Piece{Field::metadata, std::move(key)};
  }
  const auto found = std::find(kNames.begin() + 1, kNames.end(), name);
  if (found == kNames.end()) {
    return make_error(Code::invalid_argument,
                      "'{{{}}}' is no field; there are {{url}}, {{name}}, {{stem}}, {{folder}}, "
                      "{{path}} and {{meta.KEY}}, and a brace is written twice.",
                      name.substr(0, 64));
  }
  return Piece{static_cast<Field>(found - kNames.begin()), {}};
}

Result<TriggerText> TriggerText::parse(std::string_view text) {
  TriggerText made;
  std::string constant;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool twice = i + 1 < text.size() && text[i + 1] == c;
    if ((c != '{' && c != '}') || twice) {
      constant += c;
      if (c == '{' || c == '}') ++i;
      continue;
    }
    const size_t end = text.find('}', i);
    if (c == '}' || end == std::string_view::npos) {
      return Error{Code::invalid_argument,
                   "a brace has no other one; a brace that is meant is written twice."};
    }
    if (!constant.empty()) made.pieces_.push_back({Field::constant, std::move(constant)});
    constant.clear();
    Piece piece = TRY(parse_field(text.substr(i + 1, end - i - 1)));
    made.pieces_.push_back(std::move(piece));
    i = end;
  }
  if (!constant.empty()) made.pieces_.push_back({Field::constant, std::move(constant)});
  TRY(made.find_form());
  return made;
}

Result<void> TriggerText::find_form() {
  const auto has = [&](Field field) {
    return std::any_of(pieces_.begin(), pieces_.end(),
                       [&](const Piece& piece) { return piece.field == field; });
  };
  if (has(Field::url)) {
    form_ = Form::blob;
    if (pieces_.size() == 1) return {};
    return Error{Code::invalid_argument,
                 "{url} stands alone; {path} or {name} behind a constant folder makes another "
                 "place."};
  }
  const bool constant_first = !pieces_.empty() && pieces_[0].field == Field::constant;
  const std::string head = constant_first ? pieces_[0].text : "";
  if (head.starts_with('/')) {
    form_ = Form::path;
  } else if (head.starts_with("file:") || head.find("://") != std::string::npos) {
    form_ = Form::url;
  } else if (has(Field::path)) {
    return Error{Code::invalid_argument,
                 "{path} is for places: write a constant folder before it."};
  } else {
    return {};
  }
  // A constant place is whole; otherwise the constant part must end in a folder that stands.
  folder_ = head.substr(0, head.rfind('/') + 1);
  const Result<Location> folder =
      parse_location(form_ == Form::path || pieces_.size() > 1 ? folder_ : head);
  if (folder.ok()) return {};
  return make_error(Code::invalid_argument, "before its first field it needs a constant folder: {}",
                    folder.error().message);
}

bool TriggerText::uses_metadata() const {
  return std::any_of(pieces_.begin(), pieces_.end(),
                     [](const Piece& piece) { return piece.field == Field::metadata; });
}

Result<std::string> TriggerText::value_of(const Piece& piece, const Blob& blob) {
  const std::string name = blob.path.substr(blob.path.rfind('/') + 1);
  switch (piece.field) {
    case Field::constant: return piece.text;
    case Field::url: return blob.url();
    case Field::name: return name;
    case Field::stem: return name.substr(0, name.rfind('.'));
    case Field::folder: {
      const Location folder = blob.place.folder();
      // The root of a container has the container's name.
      return folder.is_file() || !folder.key.empty() ? folder.name() : folder.container;
    }
    case Field::path: return blob.path;
    case Field::metadata: {
      const auto found = blob.metadata.find(piece.text);
      if (found != blob.metadata.end()) return found->second;
      return make_error(Code::invalid_input, "It has no metadata '{}'; set it and put it again.",
                        piece.text);
    }
  }
  return std::string();
}

// Whatever a value is, it is one part of a path, or a path below the folder, and nothing else.
Result<std::string> TriggerText::checked_value(const Piece& piece, const Blob& blob) const {
  std::string value = TRY(value_of(piece, blob));
  const bool is_part = piece.field != Field::path && value.find('/') == std::string::npos;
  if (value.size() > kLongestValue || !check_key(value).ok() ||
      (piece.field != Field::path && !is_part)) {
    return make_error(Code::invalid_input,
                      "'{}' cannot be taken into a parameter, as it is empty, too long or would "
                      "lead to another folder; give it another name.",
                      percent_encode(value.substr(0, 200)));
  }
  if (form_ == Form::words && !is_clean_text(value)) {
    return make_error(Code::invalid_input,
                      "'{}' cannot be taken into a parameter, as it is no UTF-8 or has control "
                      "characters; give it another name.",
                      percent_encode(value.substr(0, 200)));
  }
  return form_ == Form::url ? percent_encode(value) : value;
}

Result<std::string> TriggerText::as_place(const std::string& filled, const Blob& blob) const {
  const Result<Location> place = parse_location(filled);
  const Result<Location> folder = parse_location(folder_);
  const bool constant = pieces_.size() == 1;
  const bool stays = place.ok() && (constant || (folder.ok() && lies_below(*place, *folder)));
  const std::string rest = filled.substr(std::min(folder_.size(), filled.size()));
  // Parts such as ".." are nobody's wish, even where they stay below the folder.
  const bool good_parts = constant || check_key(rest).ok();
  if (stays && good_parts) return place->url();
  return make_error(Code::invalid_input,
                    "What the name of {} makes does not stay below '{}'; give it another name.",
                    blob.url(), folder_);
}

Result<std::string> TriggerText::fill(const Blob& blob) const {
  if (form_ == Form::blob) return blob.url();
  std::string filled;
  for (const Piece& piece : pieces_) {
    filled += piece.field == Field::constant ? piece.text : TRY(checked_value(piece, blob));
  }
  if (form_ != Form::words) return as_place(filled, blob);
  const bool constant_first = pieces_.empty() || pieces_[0].field == Field::constant;
  const bool constant = constant_first && pieces_.size() < 2;
  // "-x" would be an option, and "file:x" or "~" another place, to whoever takes it for one.
  if ((!constant && lower(filled.substr(0, 5)) == "file:") ||
      (!constant_first && (filled.starts_with('-') || filled.starts_with('~')))) {
    return make_error(Code::invalid_input,
                      "'{}' cannot be a parameter, as it looks like an option or a place; give it "
                      "another name.",
                      percent_encode(filled.substr(0, 200)));
  }
  return filled;
}

}  // namespace atelier::server
