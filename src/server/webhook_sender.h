// SPDX-License-Identifier: Apache-2.0
// One message to one webhook, signed as Standard Webhooks say (the symmetric scheme of
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), so
// that receivers check it with a library they have.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/address_guard.h"
#include "store/http/http_client.h"
#include "store/secret.h"

namespace atelier::server {

// Who wants to hear of what.
struct Webhook {
  std::string name;  // unique; what the database calls it
  std::string url;   // may hold a secret in its query
  // "whsec_<base64 of 24 to 64 bytes>", or several with white space between: each signs, so that
  // a receiver can change from one to the next.
  std::shared_ptr<Secret> secret;
  std::vector<std::string> kinds = {"finished", "failed", "set_aside"};  // of events
};

struct WebhookMessage {
  std::string id;         // the same each time it is sent
  int64_t timestamp = 0;  // seconds since 1970 of this attempt
  std::string body;       // JSON
};

// The value of webhook-signature: "v1,<base64 of the HMAC-SHA256 of id.timestamp.body>" for each
// key of `secret`. Errors, which do not repeat it: invalid_argument (it is none of the above form).
Result<std::string> sign_webhook(std::string_view secret, const WebhookMessage& message);

struct WebhookAnswer {
  int status = 0;
  std::chrono::milliseconds retry_after{0};  // what the receiver asked for; 0: nothing
};

// Safe from several threads.
class WebhookSender {
 public:
  virtual ~WebhookSender() = default;
  // `attempt` counts from 0. An answer is whatever the receiver said. Errors: none came, and the
  // message may have arrived or not.
  virtual Result<WebhookAnswer> send(const Webhook& webhook, const WebhookMessage& message,
                                     int attempt) = 0;
};

// By HTTP, to what the allow-list names alone (address_guard.h); each attempt looks the name up
// once and takes the next of its addresses. Redirects are answers like others. What is given must
// outlive it; a client that gives up soon (its stall_timeout) keeps shutting down short.
class HttpWebhookSender final : public WebhookSender {
 public:
  HttpWebhookSender(http::Client& client, Resolver& resolver, std::vector<AllowedTarget> allowed);
  // Errors: those of check_target, Secret::read, sign_webhook and Client::send.
  Result<WebhookAnswer> send(const Webhook& webhook, const WebhookMessage& message,
                             int attempt) override;

 private:
  http::Client& client_;
  Resolver& resolver_;
  const std::vector<AllowedTarget> allowed_;
};

}  // namespace atelier::server
