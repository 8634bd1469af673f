// SPDX-License-Identifier: Apache-2.0
#include "store/s3/s3_keys.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/mutex.h"
#include "store/ini.h"
#include "store/names.h"
#include "store/secret.h"

namespace atelier::s3 {
namespace {

class FixedKeys final : public KeySource {
 public:
  explicit FixedKeys(Keys keys) : keys_(std::move(keys)) {}
  Result<Keys> read() override { return keys_; }

 private:
  const Keys keys_;
};

class ProfileKeys final : public KeySource {
 public:
  ProfileKeys(const std::filesystem::path& file, std::string profile)
      : name_("'" + file.string() + "'"), profile_(std::move(profile)), text_(Secret::file(file)) {}

  Result<Keys> read() override {
    const std::string text = TRY(text_->read());
    return parse_keys(text, profile_, name_);
  }

 private:
  const std::string name_, profile_;
  const std::shared_ptr<Secret> text_;
};

// "2026-11-29T12:00:00Z", as the metadata service writes times.
std::optional<SystemTime> parse_iso_time(const std::string& text) {
  tm utc{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &utc);
  if (end == nullptr || *end != 'Z') return std::nullopt;
  return std::chrono::system_clock::from_time_t(::timegm(&utc));
}

class MetadataKeys final : public KeySource {
 public:
  MetadataKeys(std::string url, Clock& clock)
      : url_(std::move(url)), clock_(clock), client_(options()) {}

  Result<Keys> read() override {
    MutexLock lock(mutex_);
    const Clock::Duration now = clock_.now();
    if (!keys_.access_key.empty() && now < renew_at_) return keys_;
    const auto fetched = fetch();
    if (fetched.ok()) return keys_;
    if (keys_.access_key.empty() || now >= until_) return fetched.error();
    renew_at_ = now + std::chrono::seconds(30);  // not at every request
    return keys_;
  }

  void forget() override {
    MutexLock lock(mutex_);
    keys_ = {};
  }

 private:
  static http::ClientOptions options() {
    http::ClientOptions options;
    options.direct = true;
    // It is on the machine's own link, or nowhere.
    options.connect_timeout = std::chrono::seconds(2);
    options.stall_timeout = std::chrono::seconds(5);
    return options;
  }

  // The text of 200. A session token of the service's own goes with each request.
  Result<std::string> ask(const char* method, const std::string& path, http::Header header) {
    http::Request request;
    request.method = method;
    request.url = url_ + path;
    request.headers = {std::move(header)};
    request.most_bytes = 64 << 10;
    const auto response = client_.send(request);
    if (response.ok() && response->status == 200) {
      const std::string_view text = as_text(response->body);
      return std::string(text.substr(0, text.find_last_not_of(" \r\n") + 1));
    }
    const bool later = !response.ok() || response->status == 429 || response->status >= 500;
    return make_error(later ? Code::unavailable : Code::invalid_argument,
                      "There are no keys for S3: none are set, and the metadata service {} of this "
                      "machine gave none ({}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                      "name a profile in AWS_PROFILE, or give the machine a role.",
                      http::origin_of(url_),
                      response.ok() ? "status " + std::to_string(response->status) : "no answer");
  }

  Result<void> fetch() REQUIRES(mutex_) {
    const std::string path = "/latest/meta-data/iam/security-credentials/";
    const std::string token =
        TRY(ask("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds", "21600"}));
    const http::Header pass{"X-aws-ec2-metadata-token", token.substr(0, token.find('\n'))};
    std::string role = TRY(ask("GET", path, pass));
    role = role.substr(0, role.find_first_of("\r\n"));  // one a line
    const std::string text = TRY(ask("GET", path + percent_encode(role), pass));
    const auto json = nlohmann::json::parse(text, nullptr, false);
    const auto field = [&](const char* name) {
      const bool there = json.is_object() && json.contains(name) && json[name].is_string();
      return there ? json[name].get<std::string>() : std::string();
    };
    Keys keys{field("AccessKeyId"), field("SecretAccessKey"), field("Token")};
    if (keys.access_key.empty() || keys.secret_key.empty()) {
      return make_error(Code::invalid_argument,
                        "The metadata service {} gave no keys for the role '{}'; check the role "
                        "of this machine.",
                        http::origin_of(url_), percent_encode(role.substr(0, 80)));
    }
    keys_ = std::move(keys);
    const auto now = std::chrono::system_clock::now();
    const auto lasts = parse_iso_time(field("Expiration")).value_or(now) - now;
    until_ = clock_.now() +
             std::clamp<Clock::Duration>(lasts, std::chrono::seconds(0), std::chrono::hours(24));
    renew_at_ = until_ - std::chrono::minutes(5);
    return {};
  }

  const std::string url_;
  Clock& clock_;
  http::Client client_;
  Mutex mutex_;
  Keys keys_ GUARDED_BY(mutex_);
  Clock::Duration renew_at_ GUARDED_BY(mutex_){};
  Clock::Duration until_ GUARDED_BY(mutex_){};
};

}  // namespace

std::shared_ptr<KeySource> fixed_keys(Keys keys) {
  return std::make_shared<FixedKeys>(std::move(keys));
}

std::shared_ptr<KeySource> keys_of_profile(const std::filesystem::path& file, std::string profile) {
  return std::make_shared<ProfileKeys>(file, std::move(profile));
}

std::shared_ptr<KeySource> metadata_keys(std::string url, Clock& clock) {
  return std::make_shared<MetadataKeys>(std::move(url), clock);
}

Result<Keys> parse_keys(std::string_view text, const std::string& profile, std::string_view what) {
  const std::vector<IniSection> sections = TRY(parse_ini(text, what));
  const auto section = std::ranges::find(sections, profile, &IniSection::name);
  if (section == sections.end()) {
    return make_error(Code::invalid_argument,
                      "{} has no section [{}]; name another profile in AWS_PROFILE.", what,
                      percent_encode(profile));
  }
  const auto value = [&](const char* name) {
    const auto found = section->values.find(name);
    return found == section->values.end() ? std::string() : found->second;
  };
  Keys keys{value("aws_access_key_id"), value("aws_secret_access_key"), value("aws_session_token")};
  if (keys.access_key.empty() || keys.secret_key.empty()) {
    return make_error(Code::invalid_argument,
                      "The section [{}] of {} has no aws_access_key_id with its "
                      "aws_secret_access_key; give both.",
                      percent_encode(profile), what);
  }
  return keys;
}

}  // namespace atelier::s3
