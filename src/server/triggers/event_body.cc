// SPDX-License-Identifier: Apache-2.0
#include "server/triggers/event_body.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace atelier::server {
namespace {

using nlohmann::json;

// Events nest four deep; "data" of others may be anything.
constexpr int kMaxNesting = 64;

constexpr std::string_view kValidation = "Microsoft.EventGrid.SubscriptionValidationEvent";
constexpr std::string_view kCreated = "Microsoft.Storage.BlobCreated";
constexpr std::string_view kRenamed = "Microsoft.Storage.BlobRenamed";

Error wrong(std::string_view what) {
  return make_error(Code::invalid_argument,
                    "The body is {}; send events of Azure Event Grid, CloudEvents 1.0 or S3 "
                    "notifications (also by SNS or EventBridge).",
                    what);
}

// The parser keeps its own stack, but what walks over the result need not.
bool nests_too_deep(std::string_view body) {
  int depth = 0;
  bool in_text = false;
  for (size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (in_text) {
      if (c == '\\') ++i;
      in_text = c != '"';
    } else if (c == '"') {
      in_text = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxNesting) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

// Null if there is none; `object` may be anything.
const json& member(const json& object, const char* name) {
  static const json kNone;
  if (!object.is_object()) return kNone;
  const auto found = object.find(name);
  return found == object.end() ? kNone : *found;
}

std::string text(const json& object, const char* name) {
  const json& value = member(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::string without_quotes(std::string_view etag) {
  const bool quoted = etag.size() > 1 && etag.front() == '"' && etag.back() == '"';
  return std::string(quoted ? etag.substr(1, etag.size() - 2) : etag);
}

void add(EventBody& body, const std::optional<Location>& place, const std::string& etag) {
  // What is no single object starts nothing.
  if (!place || place->name().empty()) {
    ++body.ignored;
  } else {
    body.blobs.push_back({*place, without_quotes(etag)});
  }
}

// Whether what Azure calls "created" is whole. A Data Lake account tells of the creation of an
// empty file, too, and of flushes; only the one that closes it counts.
bool is_whole(const std::string& api, std::string_view url) {
  if (url.find(".dfs.") != std::string_view::npos) return api == "FlushWithClose";
  for (const char* unfinished : {"CreateFile", "CreatePathFile", "SftpCreate", "AppendFile",
                                 "AppendBlock", "FlushFile", "CreateDirectory", "SftpMakeDir"}) {
    if (api == unfinished) return false;
  }
  return true;
}

// The "data" of one of Azure's events, which is alike in both schemas.
void read_azure(const std::string& type, const json& data, EventBody& body) {
  const std::string url = text(data, type == kRenamed ? "destinationUrl" : "url");
  const bool counts = type == kRenamed || (type == kCreated && is_whole(text(data, "api"), url));
  if (!counts) {
    ++body.ignored;
    return;
  }
  add(body, place_of_event_url(url), text(data, "eTag"));
}

// One of "Records". Removals, restorations and the like are no creations.
void read_s3_record(const json& record, EventBody& body) {
  const std::string name = text(record, "eventName");
  const json& object = member(member(record, "s3"), "object");
  const std::string key = text(object, "key");
  const bool created = name.starts_with("ObjectCreated:") || name.starts_with("s3:ObjectCreated:");
  if (!created || key.empty()) {
    ++body.ignored;
    return;
  }
  add(body, place_of_s3_event(text(member(member(record, "s3"), "bucket"), "name"), key),
      text(object, "eTag"));
}

Result<void> read_s3_records(const json& records, EventBody& body) {
  if (!records.is_array()) return wrong("no list of records");
  if (records.size() > kMostEvents) return wrong("a list of more than 1,000 events");
  for (const json& record : records) read_s3_record(record, body);
  return {};
}

// What EventBridge tells of S3: its "detail". Keys are not encoded there.
void read_bridge_event(const json& event, EventBody& body) {
  const json& detail = member(event, "detail");
  const std::string key = text(member(detail, "object"), "key");
  if (text(event, "source") != "aws.s3" || text(event, "detail-type") != "Object Created" ||
      key.empty()) {
    ++body.ignored;
    return;
  }
  add(body, place_of_object(text(member(detail, "bucket"), "name"), key),
      text(member(detail, "object"), "etag"));
}

Result<EventBody> read_object(const json& object, bool is_wrapped);

// What SNS sends: its "Message" is a text of what S3 or EventBridge told. A subscription is
// confirmed by whoever made it, since no URL of an event is fetched.
Result<EventBody> read_sns(const json& object) {
  EventBody body;
  if (text(object, "Type") != "Notification") {
    ++body.ignored;
    return body;
  }
  const std::string message = text(object, "Message");
  if (nests_too_deep(message)) return wrong("nested too deep");
  const json wrapped = json::parse(message, nullptr, false);
  if (!wrapped.is_object()) return wrong("a notification of SNS whose message is no event");
  return read_object(wrapped, true);
}

Result<void> read_cloud_data(const std::string& type, const json& data, EventBody& body) {
  if (type.starts_with("Microsoft.")) {
    if (type == kValidation) {
      body.validation_code = text(data, "validationCode");
    } else {
      read_azure(type, data, body);
    }
  } else if (member(data, "Records").is_array()) {
    return read_s3_records(member(data, "Records"), body);
  } else if (member(data, "s3").is_object()) {
    read_s3_record(data, body);
  } else {
    const std::string etag = text(data, "etag");
    add(body, place_of_event_url(text(data, "url")), etag.empty() ? text(data, "eTag") : etag);
  }
  return {};
}

Result<void> read_cloud_event(const json& event, EventBody& body) {
  if (text(event, "specversion") != "1.0" || text(event, "type").empty()) {
    return wrong("a CloudEvent of another version than 1.0, or without a type");
  }
  return read_cloud_data(text(event, "type"), member(event, "data"), body);
}

Result<void> read_grid_event(const json& event, EventBody& body) {
  const std::string type = text(event, "eventType");
  if (type.empty()) return wrong("a list of what are no events");
  if (type == kValidation) {
    body.validation_code = text(member(event, "data"), "validationCode");
  } else {
    read_azure(type, member(event, "data"), body);
  }
  return {};
}

Result<EventBody> read_list(const json& events) {
  if (events.size() > kMostEvents) return wrong("a list of more than 1,000 events");
  EventBody body;
  for (const json& event : events) {
    const bool is_cloud = member(event, "specversion").is_string();
    TRY(is_cloud ? read_cloud_event(event, body) : read_grid_event(event, body));
  }
  return body;
}

// `is_wrapped`: it was a message of SNS, and is none itself.
Result<EventBody> read_object(const json& object, bool is_wrapped) {
  EventBody body;
  if (!is_wrapped && !text(object, "TopicArn").empty()) return read_sns(object);
  if (member(object, "specversion").is_string()) {
    TRY(read_cloud_event(object, body));
  } else if (!member(object, "Records").is_null()) {
    TRY(read_s3_records(member(object, "Records"), body));
  } else if (text(object, "Event") == "s3:TestEvent") {
    ++body.ignored;
  } else if (!text(object, "detail-type").empty()) {
    read_bridge_event(object, body);
  } else if (!text(object, "eventType").empty()) {
    TRY(read_grid_event(object, body));
  } else {
    return wrong("an object that is no event");
  }
  return body;
}

std::string header(const std::map<std::string, std::string>& headers, const char* name) {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

}  // namespace

Result<EventBody> parse_event_body(const std::map<std::string, std::string>& headers,
                                   std::string_view body) {
  if (body.size() > kMostEventBytes) return wrong("larger than 1 MiB");
  if (nests_too_deep(body)) return wrong("nested too deep");
  const json parsed = json::parse(body, nullptr, false);
  if (parsed.is_discarded()) return wrong("no JSON");
  const std::string version = header(headers, "ce-specversion");
  if (!version.empty()) {
    EventBody found;
    if (version != "1.0" || header(headers, "ce-type").empty()) {
      return wrong("a CloudEvent of another version than 1.0, or without a type");
    }
    TRY(read_cloud_data(header(headers, "ce-type"), parsed, found));
    return found;
  }
  if (parsed.is_array()) return read_list(parsed);
  return read_object(parsed, false);
}

Result<std::map<std::string, std::string>> allow_event_origin(
    const std::map<std::string, std::string>& headers) {
  const std::string origin = header(headers, "webhook-request-origin");
  const bool is_name = std::all_of(origin.begin(), origin.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-._:/").find(c) != std::string_view::npos;
  });
  if (origin.empty() || origin.size() > 253 || !is_name) {
    return Error{Code::invalid_argument,
                 "The handshake needs a header WebHook-Request-Origin with the name of who will "
                 "send events."};
  }
  std::map<std::string, std::string> allowed = {{"Allow", "OPTIONS, POST"},
                                                {"WebHook-Allowed-Origin", origin}};
  if (headers.count("webhook-request-rate") != 0) allowed.emplace("WebHook-Allowed-Rate", "*");
  return allowed;
}

}  // namespace atelier::server
