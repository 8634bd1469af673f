// SPDX-License-Identifier: Apache-2.0
#include "store/s3/fake_s3.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <ctime>

#include "base/base64.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "store/http/object_headers.h"
#include "store/names.h"

namespace atelier::s3 {
namespace {

std::string etag_of(std::string_view bytes) {
  return to_hex(from_base64(md5_base64(as_bytes(bytes))));
}

size_t number(std::string_view text) {
  size_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

std::string error_body(std::string_view code) {
  return fmt::format("<?xml version=\"1.0\"?><Error><Code>{}</Code><Message>m</Message></Error>",
                     code);
}

Options options_for(const TestServer& server) {
  Options options;
  options.bucket.name = "b";
  options.bucket.endpoint = server.url();
  options.bucket.keys = fixed_keys({"AKEXAMPLE", "hush-secret", ""});
  options.bucket.http.stall_timeout = std::chrono::seconds(1);
  return options;
}

TestAnswer FakeS3::answer(const TestRequest& request) {
  if (request.header("x-amz-content-sha256") != sha256_hex(as_bytes(request.body)) ||
      !request.header("Authorization").starts_with("AWS4-HMAC-SHA256 Credential=AKEXAMPLE/")) {
    return http_answer(403, error_body("SignatureDoesNotMatch"));
  }
  MutexLock lock(mutex_);
  return obey(request);
}

std::set<std::string> FakeS3::keys() const {
  MutexLock lock(mutex_);
  std::set<std::string> keys;
  for (const auto& [key, bytes] : objects_) keys.insert(key);
  return keys;
}

size_t FakeS3::uploads() const {
  MutexLock lock(mutex_);
  return uploads_.size();
}

TestAnswer FakeS3::obey(const TestRequest& request) {
  const std::string path = request.path(), &method = request.method, id = request.query("uploadId");
  const bool head = method == "HEAD";
  if (path == "/b" && !head && request.target.find("uploads=") != std::string::npos) {
    return list_uploads(request);
  }
  if (path == "/b") return head ? http_answer(200) : list(request);
  if (!path.starts_with("/b/")) return http_answer(404, error_body("NoSuchBucket"), {}, head);
  const std::string key = path.substr(3);
  if (method == "GET" || head) return read(request, key);
  if (method == "POST") return post(request, key);
  if (method == "DELETE") {
    if (id.empty()) objects_.erase(key);
    return http_answer(id.empty() || uploads_.erase(id) > 0 ? 204 : 404);
  }
  if (id.empty()) return write(request, key, request.body);
  if (!uploads_.contains(id)) return http_answer(404, error_body("NoSuchUpload"));
  uploads_[id].parts[static_cast<int>(number(request.query("partNumber")))] = request.body;
  return http_answer(200, {}, fmt::format("ETag: \"{}\"\r\n", etag_of(request.body)));
}

void FakeS3::begin_upload(const std::string& key, std::chrono::seconds ago) {
  MutexLock lock(mutex_);
  uploads_[std::to_string(++last_id_)] = {key, std::chrono::system_clock::now() - ago, {}};
}

// By key and id, ten at a time.
TestAnswer FakeS3::list_uploads(const TestRequest& request) {
  std::map<std::pair<std::string, std::string>, std::chrono::system_clock::time_point> all;
  for (const auto& [id, open] : uploads_) all[{open.key, id}] = open.begun;
  std::string xml = "<ListMultipartUploadsResult><EncodingType>url</EncodingType>";
  std::pair<std::string, std::string> last;
  const std::pair after(request.query("key-marker"), request.query("upload-id-marker"));
  size_t room = 10;
  for (const auto& [name, begun] : all) {
    if (name <= after || !name.first.starts_with(request.query("prefix"))) continue;
    if (room-- == 0) {
      xml += fmt::format(
          "<IsTruncated>true</IsTruncated><NextKeyMarker>{}</NextKeyMarker>"
          "<NextUploadIdMarker>{}</NextUploadIdMarker>",
          percent_encode(last.first), last.second);
      break;
    }
    last = name;
    const time_t seconds = std::chrono::system_clock::to_time_t(begun);
    std::array<char, 32> initiated{};
    tm utc{};
    std::strftime(initiated.data(), initiated.size(), "%Y-%m-%dT%H:%M:%S.000Z",
                  gmtime_r(&seconds, &utc));
    xml += fmt::format(
        "<Upload><Key>{}</Key><UploadId>{}</UploadId><Initiated>{}</Initiated></Upload>",
        percent_encode(name.first), name.second, initiated.data());
  }
  return http_answer(200, xml + "</ListMultipartUploadsResult>");
}

TestAnswer FakeS3::list(const TestRequest& request) {
  const std::string token = request.query("continuation-token");
  const std::string after = token.empty() ? request.query("start-after") : token.substr(2);
  std::string xml = "<ListBucketResult><EncodingType>url</EncodingType>", last;
  size_t room = number(request.query("max-keys"));
  bool more = false;
  for (const auto& [key, bytes] : objects_) {
    if (key <= after || !key.starts_with(request.query("prefix"))) continue;
    more = room == 0;
    if (more) break;
    --room;
    last = key;
    std::string shown = percent_encode(key);
    // As Amazon encodes.
    for (size_t at; (at = shown.find("%20")) != std::string::npos;) shown.replace(at, 3, "+");
    xml += fmt::format(
        "<Contents><Key>{}</Key><LastModified>2026-11-29T12:00:00.000Z</LastModified>"
        "<ETag>&quot;{}&quot;</ETag><Size>{}</Size></Contents>",
        shown, etag_of(bytes), bytes.size());
  }
  xml += fmt::format("<IsTruncated>{}</IsTruncated>", more);
  if (more) xml += "<NextContinuationToken>t-" + last + "</NextContinuationToken>";
  return http_answer(200, xml + "</ListBucketResult>");
}

TestAnswer FakeS3::read(const TestRequest& request, const std::string& key) {
  const bool head = request.method == "HEAD";
  const auto found = objects_.find(key);
  if (found == objects_.end()) return http_answer(404, error_body("NoSuchKey"), {}, head);
  const std::string& bytes = found->second;
  const std::string etag = etag_of(bytes);
  const std::string_view wanted = request.header("If-Match");
  if (!wanted.empty() && http::unquoted(wanted) != etag) return http_answer(412);
  std::string headers = fmt::format("ETag: \"{}\"\r\nLast-Modified: {}\r\n", etag,
                                    http::format_date(std::chrono::system_clock::now()));
  const std::string_view range = request.header("Range");
  if (range.empty()) return http_answer(200, bytes, headers, head);
  const size_t begin = number(range.substr(6)), last = number(range.substr(range.find('-') + 1));
  if (begin >= bytes.size()) return http_answer(416, error_body("InvalidRange"));
  const std::string part = bytes.substr(begin, last - begin + 1);
  headers += fmt::format("Content-Range: bytes {}-{}/{}\r\n", begin, begin + part.size() - 1,
                         bytes.size());
  return http_answer(206, part, headers);
}

TestAnswer FakeS3::write(const TestRequest& request, const std::string& key, std::string bytes) {
  const auto found = objects_.find(key);
  const std::string_view absent = request.header("If-None-Match"),
                         match = request.header("If-Match");
  if (conditions_ == Conditions::refused && !(absent.empty() && match.empty())) {
    return http_answer(501, error_body("NotImplemented"));
  }
  if (conditions_ == Conditions::obeyed) {
    if (!absent.empty() && found != objects_.end()) {
      return http_answer(412, error_body("PreconditionFailed"));
    }
    if (!match.empty() && found == objects_.end()) return http_answer(404, error_body("NoSuchKey"));
    if (!match.empty() && etag_of(found->second) != http::unquoted(match)) {
      return http_answer(412, error_body("PreconditionFailed"));
    }
  }
  const std::string etag = etag_of(bytes);
  objects_.insert_or_assign(key, std::move(bytes));
  const std::string body = "<CompleteMultipartUploadResult><ETag>&quot;" + etag +
                           "&quot;</ETag></CompleteMultipartUploadResult>";
  return http_answer(200, request.method == "POST" ? body : "", "ETag: \"" + etag + "\"\r\n");
}

TestAnswer FakeS3::post(const TestRequest& request, const std::string& key) {
  const std::string id = request.query("uploadId");
  if (id.empty()) {
    const std::string fresh = std::to_string(++last_id_);
    uploads_[fresh] = {key, std::chrono::system_clock::now(), {}};
    return http_answer(200, "<InitiateMultipartUploadResult><UploadId>" + fresh +
                                "</UploadId></InitiateMultipartUploadResult>");
  }
  if (!uploads_.contains(id)) return http_answer(404, error_body("NoSuchUpload"));
  std::string bytes, wanted;
  for (const auto& [part, of_part] : uploads_[id].parts) {
    wanted += fmt::format("<PartNumber>{}</PartNumber><ETag>&quot;{}&quot;</ETag>", part,
                          etag_of(of_part));
    bytes += of_part;
  }
  std::string told = request.body.substr(request.body.find("<Part>"));
  for (const char* mark : {"<Part>", "</Part>", "</CompleteMultipartUpload>"}) {
    for (size_t at; (at = told.find(mark)) != std::string::npos;) told.erase(at, std::strlen(mark));
  }
  if (told != wanted) return http_answer(400, error_body("InvalidPart"));
  const TestAnswer answer = write(request, key, std::move(bytes));
  if (answer.bytes.starts_with("HTTP/1.1 200")) uploads_.erase(id);
  return answer;
}

}  // namespace atelier::s3
