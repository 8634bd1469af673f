// SPDX-License-Identifier: Apache-2.0
#include "store/s3/s3_objects.h"

#include <pugixml.hpp>

#include "base/bytes.h"
#include "store/http/object_headers.h"

namespace atelier::s3 {
namespace {

constexpr const char* kBytes = "application/octet-stream";

std::string unknown_of(const http::Response& response) {
  return fmt::format("{} {}", response.status, error_code(response));
}

Error unknown_error(const Service& service, const std::string& key, const std::string& unknown) {
  return make_error(Code::invalid_argument,
                    "The server of {} cannot do what a write asks of it ({}); use another one.",
                    service.url(key), unknown);
}

Result<PutOutcome> outcome_of(const Service& service, const std::string& key,
                              const TriedWrite& tried) {
  if (!tried.unknown.empty()) return unknown_error(service, key, tried.unknown);
  return tried.outcome;
}

// What became of a write that the server did not make.
Result<PutOutcome> not_written(const Service& service, const Call& call,
                               const http::Response& response, const Condition& condition) {
  using Kind = Condition::Kind;
  const std::string code = error_code(response);
  const bool upload_is_gone = code == "NoSuchUpload";
  const bool conflict =
      response.status == 412 || code == "PreconditionFailed" ||
      (condition.kind == Kind::if_absent && response.status == 409) ||
      (condition.kind == Kind::if_match && response.status == 404 && !upload_is_gone);
  if (conflict && condition.kind != Kind::always) return PutOutcome{};
  if (is_unknown_request(response)) return unknown_error(service, call.key, unknown_of(response));
  return make_error(Code::unavailable, "{} could not be written ({} {}); try again.",
                    service.url(call.key), response.status, code);
}

// The text of a child of an answer's root, which must have that name; empty if it is not there.
std::string answer_field(const http::Response& response, const char* root, const char* field) {
  pugi::xml_document document;
  if (!document.load_buffer(response.body.data(), response.body.size())) return {};
  return document.child(root).child_value(field);
}

// An etag comes back inside XML that we write.
bool is_plain(std::string_view text) {
  return !text.empty() && text.find_first_of("<>&\"'") == std::string_view::npos;
}

Error not_understood(const Service& service, const Call& call) {
  return make_error(Code::unavailable, "The answer about {} cannot be understood; try again.",
                    service.url(call.key));
}

}  // namespace

Result<std::optional<ObjectInfo>> head_object(Service& service, const std::string& key) {
  Call call;
  call.method = "HEAD";
  call.key = key;
  call.about = About::read;
  const http::Response response = TRY(service.call(call));
  if (response.status == 404) return std::optional<ObjectInfo>();
  auto info = http::info_of(response);
  if (!info) return not_understood(service, call);
  return info;
}

Result<PutOutcome> put_object(Service& service, const std::string& key,
                              std::span<const std::byte> bytes, const Condition& condition) {
  return outcome_of(service, key, TRY(try_put_object(service, key, bytes, condition)));
}

Result<TriedWrite> try_put_object(Service& service, const std::string& key,
                                  std::span<const std::byte> bytes, const Condition& condition) {
  Call call;
  call.method = "PUT";
  call.key = key;
  call.headers = {{"Content-Type", kBytes}};
  http::add_condition(condition, call.headers);
  call.body = bytes;
  call.about = About::write;
  const http::Response response = TRY(service.call(call));
  if (is_unknown_request(response)) return TriedWrite{{}, unknown_of(response)};
  if (response.status / 100 != 2) {
    return TriedWrite{TRY(not_written(service, call, response, condition)), {}};
  }
  PutOutcome outcome{true, http::unquoted(response.header("ETag"))};
  if (outcome.etag.empty()) return not_understood(service, call);
  return TriedWrite{std::move(outcome), {}};
}

Result<void> delete_object(Service& service, const std::string& key) {
  Call call;
  call.method = "DELETE";
  call.key = key;
  const http::Response response = TRY(service.call_repeated(call));
  if (response.status / 100 == 2 || response.status == 404) return {};
  return make_error(Code::unavailable, "{} could not be removed ({} {}); try again.",
                    service.url(key), response.status, error_code(response));
}

Result<std::string> begin_multipart(Service& service, const std::string& key) {
  Call call;
  call.method = "POST";
  call.key = key;
  call.query = {{"uploads", ""}};
  call.headers = {{"Content-Type", kBytes}};
  call.about = About::write;
  const http::Response response = TRY(service.call_repeated(call));
  if (response.status / 100 != 2) {
    return not_written(service, call, response, Condition::always()).error();
  }
  std::string id = answer_field(response, "InitiateMultipartUploadResult", "UploadId");
  if (id.empty()) return not_understood(service, call);
  return id;
}

Result<std::string> send_part(Service& service, const std::string& key, const std::string& id,
                              size_t number, std::span<const std::byte> bytes) {
  Call call;
  call.method = "PUT";
  call.key = key;
  call.query = {{"partNumber", std::to_string(number)}, {"uploadId", id}};
  call.headers = {{"Content-Type", kBytes}};
  call.body = bytes;
  call.about = About::part;
  const http::Response response = TRY(service.call_repeated(call));
  if (response.status / 100 != 2) {
    return not_written(service, call, response, Condition::always()).error();
  }
  std::string etag = http::unquoted(response.header("ETag"));
  if (!is_plain(etag)) return not_understood(service, call);
  return etag;
}

Result<PutOutcome> complete_multipart(Service& service, const std::string& key,
                                      const std::string& id, const std::vector<std::string>& etags,
                                      const Condition& condition) {
  return outcome_of(service, key, TRY(try_complete_multipart(service, key, id, etags, condition)));
}

Result<TriedWrite> try_complete_multipart(Service& service, const std::string& key,
                                          const std::string& id,
                                          const std::vector<std::string>& etags,
                                          const Condition& condition) {
  std::string xml = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
  for (size_t i = 0; i < etags.size(); ++i) {
    xml += fmt::format("<Part><PartNumber>{}</PartNumber><ETag>&quot;{}&quot;</ETag></Part>", i + 1,
                       etags[i]);
  }
  xml += "</CompleteMultipartUpload>";
  Call call;
  call.method = "POST";
  call.key = key;
  call.query = {{"uploadId", id}};
  call.headers = {{"Content-Type", "application/xml"}};
  http::add_condition(condition, call.headers);
  call.body = as_bytes(xml);
  call.about = About::part;
  call.may_trickle = true;
  const http::Response response = TRY(service.call(call));
  if (is_unknown_request(response)) return TriedWrite{{}, unknown_of(response)};
  if (response.status / 100 != 2 || !error_code(response).empty()) {
    return TriedWrite{TRY(not_written(service, call, response, condition)), {}};
  }
  PutOutcome outcome{true, {}};
  outcome.etag = http::unquoted(answer_field(response, "CompleteMultipartUploadResult", "ETag"));
  if (outcome.etag.empty()) return not_understood(service, call);
  return TriedWrite{std::move(outcome), {}};
}

Result<void> abort_multipart(Service& service, const std::string& key, const std::string& id) {
  Call call;
  call.method = "DELETE";
  call.key = key;
  call.query = {{"uploadId", id}};
  // Seconds: who gives up a part has waited for the server already.
  const http::Response response =
      TRY(with_retries(RetryPolicy{}, service.clock(), [&] { return service.call(call); }));
  if (response.status / 100 == 2 || response.status == 404) return {};
  return make_error(Code::unavailable, "The upload of {} could not be aborted ({} {}); try again.",
                    service.url(key), response.status, error_code(response));
}

Result<OpenUploads> list_uploads(Service& service, const std::string& prefix) {
  OpenUploads all;
  for (std::string key, id;;) {
    Call call;
    call.method = "GET";
    call.query = {{"uploads", ""}, {"encoding-type", "url"}};
    if (!prefix.empty()) call.query.push_back({"prefix", prefix});
    if (!key.empty()) call.query.push_back({"key-marker", key});
    if (!id.empty()) call.query.push_back({"upload-id-marker", id});
    const http::Response response = TRY(service.call_repeated(call));
    if (response.status != 200) {
      return make_error(Code::invalid_argument, "The uploads to {} cannot be listed ({} {}).",
                        service.url(prefix), response.status, error_code(response));
    }
    all.now = http::parse_date(response.header("Date")).value_or(std::chrono::system_clock::now());
    UploadPage page = TRY(parse_upload_page(as_text(response.body)));
    for (OpenUpload& upload : page.uploads) {
      if (upload.key.starts_with(prefix)) all.uploads.push_back(std::move(upload));
    }
    const bool goes_on = page.next_key != key || page.next_id != id;
    if (!page.truncated || !goes_on) return all;
    key = std::move(page.next_key);
    id = std::move(page.next_id);
  }
}

}  // namespace atelier::s3
