// SPDX-License-Identifier: Apache-2.0
#include "store/location.h"

#include <algorithm>
#include <optional>
#include <system_error>

#include "store/names.h"

namespace atelier {
namespace {

namespace fs = std::filesystem;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool is_letter(char c) { return lower(c) >= 'a' && lower(c) <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The scheme in lower case if the text is "scheme://..." or "file:...". Anything else is a path:
// "a:b.mp4" is a good file name.
std::optional<std::string> scheme_of(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0 || !is_letter(text[0])) return std::nullopt;
  std::string scheme(text.substr(0, colon));
  std::transform(scheme.begin(), scheme.end(), scheme.begin(), lower);
  const bool good = std::all_of(scheme.begin(), scheme.end(), [](char c) {
    return is_letter(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
  });
  if (!good) return std::nullopt;
  if (scheme == "file" || text.substr(colon).starts_with("://")) return scheme;
  return std::nullopt;
}

// `rest` is what follows "file:" (RFC 8089, section 2).
Result<std::string> path_of_file_url(std::string_view rest) {
  if (rest.starts_with("//")) {
    rest.remove_prefix(2);
    const size_t slash = std::min(rest.find('/'), rest.size());
    std::string host(rest.substr(0, slash));
    std::transform(host.begin(), host.end(), host.begin(), lower);
    if (!host.empty() && host != "localhost") {
      return make_error(Code::invalid_argument,
                        "The file: URL names the host '{}', but only files of this machine can be "
                        "opened; write file:///path.",
                        percent_encode(host));
    }
    rest.remove_prefix(slash);
  }
  if (!rest.starts_with('/')) {
    return Error{Code::invalid_argument,
                 "A file: URL needs an absolute path; write file:///path, or the path alone."};
  }
  if (rest.find_first_of("?#") != std::string_view::npos) {
    return Error{Code::invalid_argument,
                 "A file: URL has no query or fragment; write '?' as %3F and '#' as %23, or the "
                 "path alone."};
  }
  std::optional<std::string> path = percent_decode(rest);
  if (!path) {
    return Error{Code::invalid_argument,
                 "The file: URL has a '%' that is not followed by two hex digits; write '%' as "
                 "%25, or the path alone."};
  }
  return *std::move(path);
}

Result<fs::path> absolute_path(std::string path) {
  if (path.find('\0') != std::string::npos) {
    return Error{Code::invalid_argument, "A path cannot hold a NUL byte; give another one."};
  }
  fs::path result(std::move(path));
  if (result.is_relative()) {
    std::error_code error;
    const fs::path here = fs::current_path(error);
    if (error) {
      return make_error(Code::invalid_argument,
                        "Cannot tell what the relative path '{}' means, because the current "
                        "folder is gone ({}); give an absolute path.",
                        percent_encode(result.native()), error.message());
    }
    result = here / result;
  }
  result = result.lexically_normal();
  // "//a" is the same file as "/a" here, and so is "/a/".
  std::string text = result.native();
  text.erase(0, std::min(text.find_first_not_of('/'), text.size()));
  while (text.ends_with('/')) text.pop_back();
  return fs::path("/" + text);
}

bool are_all(std::string_view text, std::string_view others) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return is_letter(c) || is_digit(c) || others.find(c) != std::string_view::npos;
  });
}

// "account/container/key" or "bucket/key", decoded where that is said.
Result<Location> object_location(Location::Scheme scheme, std::string_view rest) {
  const bool azure = scheme == Location::Scheme::azure;
  const char* form = azure ? "az://account/container/path" : "s3://bucket/path";
  if (rest.find_first_of("?#") != std::string_view::npos) {
    return make_error(Code::invalid_argument,
                      "A location is written {} and nothing behind it: a token belongs into the "
                      "environment or a file of credentials, and '?' and '#' of a name are written "
                      "%3F and %23.",
                      form);
  }
  Location location;
  location.scheme = scheme;
  const auto next_part = [&rest] {
    const size_t slash = std::min(rest.find('/'), rest.size());
    std::string part(rest.substr(0, slash));
    rest.remove_prefix(std::min(slash + 1, rest.size()));
    return part;
  };
  if (azure) location.account = next_part();
  location.container = next_part();
  const bool good_names =
      (!azure || (!location.account.empty() && are_all(location.account, "-"))) &&
      !location.container.empty() && are_all(location.container, "-._$");
  auto key = percent_decode(rest.substr(0, rest.find_last_not_of('/') + 1));
  if (!good_names || !key || (!key->empty() && !check_key(*key).ok())) {
    return make_error(Code::invalid_argument,
                      "'{}' is not a location of the form {}, with '%' written %25 and without "
                      "empty, '.' or '..' parts.",
                      percent_encode(rest.substr(0, 200)), form);
  }
  location.key = *std::move(key);
  return location;
}

}  // namespace

std::string Location::name() const {
  return is_file() ? path.filename().string() : key.substr(key.rfind('/') + 1);
}

Location Location::folder() const {
  Location folder = *this;
  folder.path = path.parent_path();
  folder.key.resize(key.find('/') == std::string::npos ? 0 : key.rfind('/'));
  return folder;
}

Location Location::child(const std::string& name) const {
  Location child = *this;
  if (is_file()) {
    child.path /= name;
  } else {
    child.key += (key.empty() ? "" : "/") + name;
  }
  return child;
}

std::string Location::url() const {
  if (is_file()) return "file://" + percent_encode(path.native());
  // Accounts and containers are not decoded, so that the '$' of Azure's "$web" has to stay.
  const std::string place =
      (scheme == Scheme::azure ? "az://" + account + "/" : "s3://") + container;
  return place + (key.empty() ? "" : "/" + percent_encode(key));
}

Result<Location> parse_location(std::string_view text) {
  if (text.empty()) {
    return Error{Code::invalid_argument, "The location is empty; give a path or a URL."};
  }
  const std::optional<std::string> scheme = scheme_of(text);
  Location location;
  if (!scheme) {
    location.path = TRY(absolute_path(std::string(text)));
    return location;
  }
  if (*scheme == "file") {
    std::string path = TRY(path_of_file_url(text.substr(scheme->size() + 1)));
    location.path = TRY(absolute_path(std::move(path)));
    return location;
  }
  const std::string_view rest = text.substr(std::min(scheme->size() + 3, text.size()));
  if (*scheme == "az") return object_location(Location::Scheme::azure, rest);
  if (*scheme == "s3") return object_location(Location::Scheme::s3, rest);
  // Only the scheme is repeated: the rest may hold a password.
  return make_error(Code::invalid_argument,
                    "Cannot use a {}:// location: Atelier reads and writes paths, file: URLs, "
                    "az://account/container/path and s3://bucket/path (a file of that name is "
                    "./{}://...).",
                    *scheme, *scheme);
}

}  // namespace atelier
