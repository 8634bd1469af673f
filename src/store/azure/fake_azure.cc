// SPDX-License-Identifier: Apache-2.0
#include "store/azure/fake_azure.h"

#include <algorithm>
#include <cstdlib>

#include "base/hash.h"

namespace atelier::azure {
namespace {

constexpr std::string_view kRoot = "/acct/box";

std::string etag_of(const std::string& bytes) {
  return "\"0x" + sha256_hex(as_bytes(bytes)).substr(0, 16) + "\"";
}

TestAnswer read(const TestRequest& request, const std::string& bytes, const std::string& etag) {
  const std::string range(request.header("x-ms-range"));
  const size_t dash = std::min(range.find('-'), range.size());
  const size_t begin = std::strtoull(range.c_str() + std::min<size_t>(6, dash), nullptr, 10);
  const size_t end = std::strtoull(range.c_str() + std::min(dash + 1, range.size()), nullptr, 10);
  if (!range.starts_with("bytes=") || begin >= bytes.size() || end < begin) {
    return failure(416, "InvalidRange");
  }
  const std::string part = bytes.substr(begin, end - begin + 1);
  std::string headers = fmt::format("ETag: {}\r\nContent-Range: bytes {}-{}/{}\r\n", etag, begin,
                                    begin + part.size() - 1, bytes.size());
  if (request.header("x-ms-range-get-content-md5") == "true") {
    if (end - begin >= size_t{4} << 20) return failure(400, "OutOfRangeInput");
    headers += "Content-MD5: " + md5_base64(as_bytes(part)) + "\r\n";
  }
  return http_answer(206, part, headers);
}

}  // namespace

std::string blob_xml(std::string_view name, std::string_view size) {
  return fmt::format(
      "<Blob><Name>{}</Name><Properties><Last-Modified>Sun, 06 Nov 1994 08:49:37 GMT"
      "</Last-Modified><Etag>0x8D</Etag><Content-Length>{}</Content-Length></Properties></Blob>",
      name, size);
}

std::string page_xml(std::string_view blobs, std::string_view marker) {
  return fmt::format(
      "\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>{}</Blobs>"
      "<NextMarker>{}</NextMarker></EnumerationResults>",
      blobs, marker);
}

TestAnswer failure(int status, std::string_view code, bool head, std::string_view headers) {
  return http_answer(status, fmt::format("<Error><Code>{}</Code></Error>", code),
                     fmt::format("x-ms-error-code: {}\r\n{}", code, headers), head);
}

TestAnswer FakeAzure::answer(const TestRequest& request) {
  MutexLock lock(mutex_);
  const std::string path = request.path();
  if (path == kRoot) return list(request);
  const std::string key = path.substr(std::min(path.size(), kRoot.size() + 1));
  if (request.method == "PUT") return write(request, key);
  if (request.query("comp") == "blocklist") return waiting();
  const auto found = blobs_.find(key);
  if (found == blobs_.end()) {
    return failure(404, "BlobNotFound", request.method == "HEAD");
  }
  if (request.method == "DELETE") {
    blobs_.erase(found);
    return http_answer(202);
  }
  const std::string etag = etag_of(found->second);
  const std::string_view wanted = request.header("If-Match");
  if (!wanted.empty() && wanted != etag) return failure(412, "ConditionNotMet");
  if (request.method == "HEAD") {
    return http_answer(200, found->second, "ETag: " + etag + "\r\n" + kLastModified, true);
  }
  return read(request, found->second, etag);
}

std::map<std::string, std::string> FakeAzure::blobs() const {
  MutexLock lock(mutex_);
  return blobs_;
}

size_t FakeAzure::writes() const {
  MutexLock lock(mutex_);
  return writes_;
}

std::vector<std::string> FakeAzure::committed() const {
  MutexLock lock(mutex_);
  return committed_;
}

std::optional<std::string> FakeAzure::join(const std::string& list) {
  std::string bytes;
  committed_.clear();
  for (size_t at = 0; (at = list.find("<Latest>", at)) != std::string::npos;) {
    at += 8;
    const std::string name = list.substr(at, list.find('<', at) - at);
    if (!blocks_.contains(name)) return std::nullopt;
    committed_.push_back(name);
    bytes += blocks_[name];
  }
  return bytes;
}

TestAnswer FakeAzure::write(const TestRequest& request, const std::string& key) {
  if (request.header("Content-MD5") != md5_base64(as_bytes(request.body))) {
    return failure(400, "Md5Mismatch");
  }
  if (request.query("comp") == "block") {
    blocks_[request.query("blockid")] = request.body;
    return http_answer(201);
  }
  std::string bytes = request.body;
  if (request.query("comp") == "blocklist") {
    const auto joined = join(request.body);
    if (!joined) return failure(400, "InvalidBlockList");
    bytes = *joined;
  }
  const auto found = blobs_.find(key);
  if (request.header("If-None-Match") == "*" && found != blobs_.end()) {
    return failure(409, "BlobAlreadyExists");
  }
  const std::string_view wanted = request.header("If-Match");
  if (!wanted.empty() && (found == blobs_.end() || etag_of(found->second) != wanted)) {
    return failure(412, "ConditionNotMet");
  }
  blobs_[key] = bytes;
  blocks_.clear();
  ++writes_;
  return http_answer(201, {}, "ETag: " + etag_of(bytes) + "\r\n");
}

TestAnswer FakeAzure::waiting() {
  std::string xml = "<BlockList><CommittedBlocks/><UncommittedBlocks>";
  for (const auto& [name, bytes] : blocks_) {
    xml += fmt::format("<Block><Name>{}</Name><Size>{}</Size></Block>", name, bytes.size());
  }
  return http_answer(200, xml + "</UncommittedBlocks></BlockList>");
}

// Markers are opaque: this one's say how many blobs have gone before.
TestAnswer FakeAzure::list(const TestRequest& request) {
  const size_t begin = std::strtoul(request.query("marker").substr(0, 9).c_str(), nullptr, 10);
  const size_t most = std::strtoul(request.query("maxresults").c_str(), nullptr, 10);
  std::string xml;
  size_t at = 0;
  for (const auto& [key, bytes] : blobs_) {
    if (!key.starts_with(request.query("prefix")) || at++ < begin) continue;
    if (at > begin + most) return http_answer(200, page_xml(xml, std::to_string(at - 1)));
    xml += blob_xml(key, std::to_string(bytes.size()));
  }
  return http_answer(200, page_xml(xml));
}

}  // namespace atelier::azure
