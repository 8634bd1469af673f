// SPDX-License-Identifier: Apache-2.0
// What webhooks of object stores tell, as values. Pure; hostile bodies are refused or ignored.
//
// Understood are
//   Azure Event Grid's schema: an array of events, with the validation handshake
//     (https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage,
//      https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema)
//   CloudEvents 1.0: one event, a batch, or one whose attributes are headers
//     (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md),
//     among them Azure's storage events and S3's records; of other types `data.url` is taken
//   S3 notifications and the words of servers that speak like it
//     (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html),
//     also as the message of one of SNS
//     (https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html)
//   S3's events as EventBridge sends them, one at a time
//     (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html)
//
// An event only says where there may be a blob: whoever acts on it asks the store for the rest, so
// that a forged one starts nothing that is not there. No URL of an event is ever fetched. Order
// and sequencers do not matter for the same reason.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/location.h"

namespace atelier::server {

inline constexpr size_t kMostEventBytes = size_t{1} << 20;
inline constexpr size_t kMostEvents = 1000;

struct BlobEvent {
  Location place;
  // As the store will say it too, without quotes; empty if the event does not say it. Only good to
  // see that nothing is new.
  std::string etag;
};

struct EventBody {
  std::vector<BlobEvent> blobs;
  size_t ignored = 0;  // events of other kinds, and those whose place cannot be one
  // A handshake's code, to be sent back: the body is {"validationResponse": code}.
  std::optional<std::string> validation_code;
};

// `headers` have names in lower case. Errors: invalid_argument (no JSON, none of these forms, too
// large, too many events, too deep).
Result<EventBody> parse_event_body(const std::map<std::string, std::string>& headers,
                                   std::string_view body);

// The place that the URL of an event means:
//   https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH, also .dfs. and other clouds' domains
//   http://HOST:PORT/ACCOUNT/CONTAINER/PATH, of emulators and private clouds
//   az://, s3:// and file:/// as they are
// Nothing if it is none of them; queries, fragments and user names are never part of one.
std::optional<Location> place_of_event_url(std::string_view url);
// `key` as S3 writes it in events: a blank is '+', other bytes are percent-encoded.
std::optional<Location> place_of_s3_event(const std::string& bucket, std::string_view key);
// The same of a key as it is.
std::optional<Location> place_of_object(const std::string& bucket, std::string_view key);

// The answer to the CloudEvents handshake, an OPTIONS request
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md): the headers that
// allow the origin which asks. Its callback is never called. Errors: invalid_argument (no origin,
// or one that is no name).
Result<std::map<std::string, std::string>> allow_event_origin(
    const std::map<std::string, std::string>& headers);

}  // namespace atelier::server
