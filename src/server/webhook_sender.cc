// SPDX-License-Identifier: Apache-2.0
#include "server/webhook_sender.h"

#include <algorithm>

#include "base/base64.h"
#include "base/bytes.h"
#include "base/hash.h"

namespace atelier::server {
namespace {

constexpr std::string_view kKeyPrefix = "whsec_", kWhite = " \t\r\n";
constexpr size_t kLeastKey = 24, kMostKey = 64, kMostKeys = 4;
constexpr uint64_t kMostAnswer = uint64_t{64} << 10;

// Empty: no key.
std::vector<std::byte> key_of(std::string_view text) {
  if (text.starts_with(kKeyPrefix)) text.remove_prefix(kKeyPrefix.size());
  std::vector<std::byte> key = from_base64(text);
  const bool strict = to_base64(key) == text;
  if (!strict || key.size() < kLeastKey || key.size() > kMostKey) key.clear();
  return key;
}

}  // namespace

Result<std::string> sign_webhook(std::string_view secret, const WebhookMessage& message) {
  const Error wrong{Code::invalid_argument,
                    "The secret of a webhook must be whsec_ and the base64 of 24 to 64 bytes; make "
                    "one by: openssl rand -base64 32.",
                    {}};
  const std::string signed_text =
      fmt::format("{}.{}.{}", message.id, message.timestamp, message.body);
  std::string value;
  size_t keys = 0;
  for (size_t begin = secret.find_first_not_of(kWhite); begin != std::string_view::npos;) {
    const size_t end = std::min(secret.find_first_of(kWhite, begin), secret.size());
    const std::vector<std::byte> key = key_of(secret.substr(begin, end - begin));
    if (key.empty() || ++keys > kMostKeys) return wrong;
    value += (value.empty() ? "v1," : " v1,") + to_base64(hmac_sha256(key, signed_text));
    begin = secret.find_first_not_of(kWhite, end);
  }
  if (value.empty()) return wrong;
  return value;
}

HttpWebhookSender::HttpWebhookSender(http::Client& client, Resolver& resolver,
                                     std::vector<AllowedTarget> allowed)
    : client_(client), resolver_(resolver), allowed_(std::move(allowed)) {}

Result<WebhookAnswer> HttpWebhookSender::send(const Webhook& webhook, const WebhookMessage& message,
                                              int attempt) {
  const std::string secret = TRY(webhook.secret->read());
  const std::string signature = TRY(sign_webhook(secret, message));
  const ResolvedTarget target = TRY(check_target(webhook.url, allowed_, resolver_));
  http::Request request;
  request.method = "POST";
  request.url = target.url.url();
  request.connect_to =
      target.addresses[static_cast<size_t>(attempt) % target.addresses.size()].text();
  request.headers = {{"Content-Type", "application/json"},
                     {"webhook-id", message.id},
                     {"webhook-timestamp", std::to_string(message.timestamp)},
                     {"webhook-signature", signature}};
  request.body = as_bytes(message.body);
  request.most_bytes = kMostAnswer;
  const http::Response response = TRY(client_.send(request));
  return WebhookAnswer{response.status,
                       http::retry_after(response, std::chrono::system_clock::now())};
}

}  // namespace atelier::server
