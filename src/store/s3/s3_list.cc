// SPDX-License-Identifier: Apache-2.0
#include "store/s3/s3_list.h"

#include <algorithm>
#include <ctime>
#include <optional>
#include <pugixml.hpp>

#include "store/http/object_headers.h"
#include "store/names.h"

namespace atelier::s3 {
namespace {

// A key may be nothing but spaces, where the server does not encode them.
constexpr unsigned kParse = pugi::parse_escapes | pugi::parse_cdata | pugi::parse_ws_pcdata_single;

Error no_list() {
  return Error{Code::unavailable,
               "The answer to a list cannot be read; check that the address is that of "
               "an S3 server."};
}

// "2026-11-29T12:00:00.000Z"; fractions of a second are left out, as Last-Modified does.
std::optional<std::chrono::system_clock::time_point> parse_iso(const char* text) {
  tm utc{};
  const char* end = ::strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
  if (end == nullptr || (*end != '.' && *end != 'Z')) return std::nullopt;
  return std::chrono::system_clock::from_time_t(::timegm(&utc));
}

Result<std::string> key_of(std::string text, bool encoded) {
  if (!encoded) return text;
  // As in forms: '+' is a space, and a plus is %2B.
  std::ranges::replace(text, '+', ' ');
  auto key = percent_decode(text);
  if (!key) return no_list();
  return *std::move(key);
}

Result<ObjectInfo> parse_object(const pugi::xml_node& node, bool encoded) {
  ObjectInfo info;
  info.key = TRY(key_of(node.child_value("Key"), encoded));
  const auto size = http::parse_number(node.child_value("Size"));
  const auto modified = parse_iso(node.child_value("LastModified"));
  if (info.key.empty() || !size || !modified) return no_list();
  info.size = *size;
  info.modified = *modified;
  info.etag = http::unquoted(node.child_value("ETag"));
  return info;
}

}  // namespace

Result<KeyPage> parse_key_page(std::string_view xml) {
  pugi::xml_document document;
  if (!document.load_buffer(xml.data(), xml.size(), kParse, pugi::encoding_utf8)) return no_list();
  const pugi::xml_node root = document.child("ListBucketResult");
  if (!root) return no_list();
  const bool encoded = std::string_view(root.child_value("EncodingType")) == "url";
  KeyPage page;
  for (const pugi::xml_node& object : root.children("Contents")) {
    page.objects.push_back(TRY(parse_object(object, encoded)));
  }
  page.truncated = std::string_view(root.child_value("IsTruncated")) == "true";
  page.token = root.child_value("NextContinuationToken");
  return page;
}

Result<UploadPage> parse_upload_page(std::string_view xml) {
  pugi::xml_document document;
  if (!document.load_buffer(xml.data(), xml.size(), kParse, pugi::encoding_utf8)) return no_list();
  const pugi::xml_node root = document.child("ListMultipartUploadsResult");
  if (!root) return no_list();
  const bool encoded = std::string_view(root.child_value("EncodingType")) == "url";
  UploadPage page;
  for (const pugi::xml_node& upload : root.children("Upload")) {
    const auto begun = parse_iso(upload.child_value("Initiated"));
    OpenUpload open{TRY(key_of(upload.child_value("Key"), encoded)), upload.child_value("UploadId"),
                    begun.value_or(std::chrono::system_clock::time_point())};
    if (open.key.empty() || open.id.empty() || !begun) return no_list();
    page.uploads.push_back(std::move(open));
  }
  page.truncated = std::string_view(root.child_value("IsTruncated")) == "true";
  page.next_key = TRY(key_of(root.child_value("NextKeyMarker"), encoded));
  page.next_id = root.child_value("NextUploadIdMarker");
  return page;
}

}  // namespace atelier::s3
