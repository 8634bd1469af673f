// SPDX-License-Identifier: Apache-2.0
#include "store/credentials.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include "store/http/endpoint.h"
#include "store/names.h"
#include "store/s3/s3_credentials.h"
#include "store/secret.h"

namespace atelier {
namespace {

namespace fs = std::filesystem;
using azure::Credential;

// Which the user named, or the one by the XDG specification if it is there; empty: none.
fs::path file_of(const Variables& variables) {
  if (const auto named = variables("ATELIER_CREDENTIALS")) return *named;
  fs::path folder;
  if (const auto config = variables("XDG_CONFIG_HOME"); config && config->starts_with('/')) {
    folder = *config;
  } else if (const auto home = variables("HOME")) {
    folder = fs::path(*home) / ".config";
  }
  const fs::path usual = folder / "atelier" / "credentials";
  std::error_code ignored;
  return !folder.empty() && fs::exists(usual, ignored) ? usual : fs::path();
}

bool covers(std::string_view section, std::string_view url) {
  while (section.ends_with('/')) section.remove_suffix(1);
  return url.starts_with(section) && (url.size() == section.size() || url[section.size()] == '/');
}

struct Form {
  const char* key;
  Credential::Kind kind;
  bool in_file;
};
// Best first.
constexpr std::array kForms = {
    Form{"sas", Credential::Kind::sas, false},
    Form{"sas_file", Credential::Kind::sas, true},
    Form{"token_file", Credential::Kind::bearer, true},
    Form{"key", Credential::Kind::key, false},
    Form{"key_file", Credential::Kind::key, true},
};

Result<void> check_azure_keys(const std::map<std::string, std::string>& values,
                              const std::string& place) {
  constexpr std::array<std::string_view, 8> kOthers = {
      "endpoint",           "ca_file",       "identity",     "client_id", "master_key_file",
      "master_key_command", "stall_timeout", "give_up_after"};
  int given = values.contains("identity") ? 1 : 0;
  for (const auto& value : values) {
    const std::string& key = value.first;
    const bool form = std::ranges::any_of(kForms, [&](const Form& f) { return key == f.key; });
    given += form ? 1 : 0;
    if (form || std::ranges::find(kOthers, key) != kOthers.end()) continue;
    return make_error(
        Code::invalid_argument,
        "The credentials for {} have an unknown key '{}'; known are sas, sas_file, "
        "token_file, key, key_file, identity, client_id, endpoint, ca_file, stall_timeout "
        "and give_up_after.",
        place, percent_encode(key.substr(0, 40)));
  }
  if (given <= 1) return {};
  return make_error(Code::invalid_argument,
                    "The credentials for {} have {} of sas, token, identity and key; keep the one "
                    "that is to be used.",
                    place, given);
}

std::string without_slash(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  return url;
}

// The value of a variable of Azure's if it is meant for this account: nothing if it is another's.
// Without AZURE_STORAGE_ACCOUNT nobody knows whose it is, and a secret would go to whatever
// account, or to whatever server, a command line names.
Result<std::optional<std::string>> of_account(const Variables& variables, const char* name,
                                              const std::string& account) {
  const auto value = variables(name);
  const auto meant = variables("AZURE_STORAGE_ACCOUNT");
  if (!value || (meant && *meant != account)) return std::optional<std::string>();
  if (meant) return value;
  return make_error(Code::invalid_argument,
                    "{} is set and does not say of which account it is; set AZURE_STORAGE_ACCOUNT "
                    "as well, to '{}' if it is of that.",
                    name, percent_encode(account));
}

Result<Credential> azure_from(const Variables& variables, const std::string& account) {
  Credential credential;
  if (const auto sas = TRY(of_account(variables, "AZURE_STORAGE_SAS_TOKEN", account))) {
    credential.kind = Credential::Kind::sas;
    credential.secret = Secret::text(*sas);
  } else if (const auto key = TRY(of_account(variables, "AZURE_STORAGE_KEY", account))) {
    credential.kind = Credential::Kind::key;
    credential.secret = Secret::text(*key);
  }
  return credential;
}

Result<Credential> azure_credential(const std::map<std::string, std::string>& values,
                                    const std::string& place) {
  Credential credential;
  for (const Form& form : kForms) {
    const auto found = values.find(form.key);
    if (found == values.end()) continue;
    credential.kind = form.kind;
    credential.secret = form.in_file ? Secret::file(found->second) : Secret::text(found->second);
  }
  if (const auto found = values.find("identity"); found != values.end()) {
    if (found->second != "metadata") {
      return make_error(Code::invalid_argument,
                        "The credentials for {} have an identity that is not 'metadata'.", place);
    }
    credential.kind = Credential::Kind::metadata;
    const auto id = values.find("client_id");
    if (id != values.end()) credential.client_id = id->second;
  }
  return credential;
}

bool is_loopback(std::string_view url) {
  const std::string origin = http::origin_of(url);
  std::string_view host = std::string_view(origin).substr(std::string_view("http://").size());
  if (host == "[::1]" || host.starts_with("[::1]:")) return true;
  host = host.substr(0, host.find(':'));
  return host == "localhost" || (host.starts_with("127.") &&
                                 host.find_first_not_of("0123456789.") == std::string_view::npos);
}

void warn_of_plain_http(const std::string& endpoint, const Notes& notes) {
  if (!endpoint.starts_with("http://") || is_loopback(endpoint)) return;
  notes(fmt::format("{} is not encrypted: who listens may read all that goes there.",
                    http::origin_of(endpoint)));
}

Result<void> check_s3_keys(const std::map<std::string, std::string>& values,
                           const std::string& place) {
  constexpr std::array<std::string_view, 16> kKnown = {
      "keys_file",     "profile",       "master_key_file", "master_key_command",
      "stall_timeout", "give_up_after", "access_key_id",   "secret_access_key",
      "session_token", "region",        "endpoint",        "ca_file",
      "style",         "sse",           "sse_kms_key_id",  "sse_customer_key_file"};
  for (const auto& [key, value] : values) {
    const bool known = std::ranges::find(kKnown, key) != kKnown.end();
    if (known && (key != "style" || value == "host" || value == "path")) continue;
    return make_error(Code::invalid_argument,
                      "The credentials for {} have '{}', which is unknown or neither 'host' nor "
                      "'path'; see the list of keys in the documentation.",
                      place, percent_encode(key.substr(0, 40)));
  }
  for (const char* key : {"keys_file", "profile"}) {
    const auto found = values.find(key);
    if (found == values.end() || !found->second.empty()) continue;
    return make_error(Code::invalid_argument,
                      "The credentials for {} have a {} that is empty; give its value, or take the "
                      "line away.",
                      place, key);
  }
  if (values.contains("keys_file") && values.contains("access_key_id")) {
    return make_error(Code::invalid_argument,
                      "The credentials for {} have both access_key_id and keys_file; keep one.",
                      place);
  }
  if (values.contains("profile") && !values.contains("keys_file")) {
    return make_error(Code::invalid_argument,
                      "The credentials for {} have a profile and no keys_file that it is in; give "
                      "both, or name the profile in AWS_PROFILE.",
                      place);
  }
  const auto has = [&](const char* key) {
    const auto found = values.find(key);
    return found != values.end() && !found->second.empty();
  };
  const bool none = !values.contains("access_key_id") && !values.contains("secret_access_key");
  if (none || (has("access_key_id") && has("secret_access_key"))) return {};
  return make_error(Code::invalid_argument,
                    "The credentials for {} have one of access_key_id and secret_access_key; give "
                    "both or none.",
                    place);
}

// As URLs of places are written, so that one that means a place is found. One that means none would
// be ignored in silence: what it says is to be encrypted would not be.
Result<std::string> place_of_section(const IniSection& section, const std::string& file) {
  std::string_view name = section.name;
  while (name.size() > 1 && name.ends_with('/')) name.remove_suffix(1);
  // All of an account, which is no location.
  constexpr std::string_view kAzure = "az://";
  if (name.starts_with(kAzure) && name.find('/', kAzure.size()) == std::string_view::npos &&
      parse_location(std::string(name) + "/container").ok()) {
    return std::string(name);
  }
  const auto place = parse_location(name);
  if (place.ok() && (!place->is_file() || name.starts_with('/') || name.starts_with("file:"))) {
    return place->url();
  }
  return make_error(Code::invalid_argument,
                    "The section in line {} of '{}' names no place: write az://account, a location "
                    "or an absolute path.",
                    section.line, file);
}

}  // namespace

Variables environment() {
  return [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return std::string(value);
  };
}

Result<Credentials> Credentials::load(Variables variables) {
  Credentials credentials;
  credentials.variables_ = std::move(variables);
  const fs::path file = file_of(credentials.variables_);
  if (file.empty()) return credentials;
  const std::string text = TRY(read_secret_file(file));
  credentials.sections_ = TRY(parse_ini(text, "'" + file.string() + "'"));
  for (IniSection& section : credentials.sections_) {
    section.name = TRY(place_of_section(section, file.string()));
  }
  std::ranges::stable_sort(credentials.sections_, {},
                           [](const IniSection& section) { return section.name.size(); });
  return credentials;
}

std::map<std::string, std::string> Credentials::values_for(const Location& place) const {
  std::map<std::string, std::string> values;
  const std::string url = place.url();
  // A more special section that says how to prove who one is takes the place of what another said.
  const auto is_proof = [](const std::string& key) {
    constexpr std::array<std::string_view, 7> kOthers = {
        "identity",      "client_id", "access_key_id", "secret_access_key",
        "session_token", "keys_file", "profile"};
    return std::ranges::find(kOthers, key) != kOthers.end() ||
           std::ranges::any_of(kForms, [&](const Form& form) { return key == form.key; });
  };
  for (const IniSection& section : sections_) {
    if (!covers(section.name, url)) continue;
    if (std::ranges::any_of(section.values, [&](const auto& v) { return is_proof(v.first); })) {
      std::erase_if(values, [&](const auto& v) { return is_proof(v.first); });
    }
    for (const auto& [key, value] : section.values) values[key] = value;
  }
  return values;
}

Result<azure::Account> Credentials::azure(const Location& place, const Notes& notes) const {
  const auto values = values_for(place);
  const std::string shown = place.url();
  TRY(check_azure_keys(values, shown));
  const auto value = [&](const char* key) {
    const auto found = values.find(key);
    return found == values.end() ? std::string() : found->second;
  };
  azure::Account account;
  account.name = place.account;
  account.endpoint = value("endpoint");
  if (account.endpoint.empty()) {
    account.endpoint = TRY(of_account(variables_, "AZURE_STORAGE_SERVICE_ENDPOINT", place.account))
                           .value_or("https://" + place.account + ".blob.core.windows.net");
  }
  account.endpoint = TRY(http::parse_endpoint(account.endpoint, "a store of Azure's"));
  const Patience patience = TRY(this->patience(place));
  account.http.stall_timeout = patience.stall;
  account.retries = patience.retries();
  account.http.ca_file = value("ca_file");
  if (account.http.ca_file.empty()) {
    account.http.ca_file = variables_("ATELIER_CA_FILE").value_or("");
  }
  account.credential = TRY(azure_credential(values, shown));
  if (account.credential.kind == Credential::Kind::none) {
    account.credential = TRY(azure_from(variables_, place.account));
  }
  account.credential.metadata_url = without_slash(
      variables_("AZURE_POD_IDENTITY_AUTHORITY_HOST").value_or("http://169.254.169.254"));
  if (account.credential.kind == Credential::Kind::key) {
    notes(
        fmt::format("The key of account '{}' opens everything in it for ever; a SAS token of one "
                    "container does "
                    "with less.",
                    account.name));
  }
  if (account.credential.kind != Credential::Kind::none) {
    warn_of_plain_http(account.endpoint, notes);
  }
  return account;
}

Result<s3::Bucket> Credentials::s3(const Location& place, Clock& clock, const Notes& notes) const {
  const auto values = values_for(place);
  const std::string shown = place.url();
  TRY(check_s3_keys(values, shown));
  const auto value = [&](const char* key, const std::string& otherwise = {}) {
    const auto found = values.find(key);
    return found == values.end() ? otherwise : found->second;
  };
  // Keys of the file stand for those of the environment, and are enough: what is wrong with others
  // does not matter then.
  std::shared_ptr<s3::KeySource> own;
  if (values.contains("access_key_id")) {
    own = s3::fixed_keys(
        {value("access_key_id"), value("secret_access_key"), value("session_token")});
  } else if (values.contains("keys_file")) {
    own = s3::keys_of_profile(value("keys_file"), value("profile", "default"));
    TRY(own->read());  // what is wrong with it is told before anything is sent
  }
  const s3::Settings usual = TRY(s3::usual_settings(
      [&](const char* name) { return variables_(name).value_or(""); }, clock, std::move(own)));
  s3::Bucket bucket;
  bucket.name = place.container;
  bucket.region = value("region", usual.region.empty() ? bucket.region : usual.region);
  bucket.endpoint = value("endpoint", usual.endpoint);
  if (!bucket.endpoint.empty()) {
    bucket.endpoint = TRY(http::parse_endpoint(bucket.endpoint, "an S3 server"));
  }
  bucket.keys = usual.keys;
  using Style = s3::Bucket::Style;
  const std::string style = value("style");
  if (!style.empty()) {
    bucket.style = style == "host" ? Style::host : Style::path;
  } else if (usual.host_style) {
    bucket.style = *usual.host_style ? Style::host : Style::path;
  }
  bucket.encryption.algorithm = value("sse");
  bucket.encryption.kms_key_id = value("sse_kms_key_id");
  if (const std::string file = value("sse_customer_key_file"); !file.empty()) {
    bucket.encryption.customer_key = Secret::file(file);
  }
  const Patience patience = TRY(this->patience(place));
  bucket.http.stall_timeout = patience.stall;
  bucket.retries = patience.retries();
  bucket.http.ca_file = value("ca_file", usual.ca_file);
  if (bucket.http.ca_file.empty()) {
    bucket.http.ca_file = variables_("ATELIER_CA_FILE").value_or("");
  }
  if (bucket.keys) warn_of_plain_http(bucket.endpoint, notes);
  return bucket;
}

RetryPolicy Credentials::Patience::retries() const {
  RetryPolicy policy;
  policy.attempts = std::numeric_limits<int>::max();
  policy.first_delay = std::chrono::milliseconds(200);
  policy.max_delay = std::chrono::seconds(10);
  policy.budget = give_up;
  return policy;
}

Result<Credentials::Patience> Credentials::patience(const Location& place) const {
  constexpr int64_t kDay = 86400;
  const auto values = values_for(place);
  const auto read = [&](const char* key, std::chrono::seconds& seconds) -> Result<void> {
    const auto found = values.find(key);
    if (found == values.end()) return {};
    const std::string& text = found->second;
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 1 || value > kDay) {
      return make_error(Code::invalid_argument,
                        "The credentials for {} have a {} that is not whole seconds from 1 to {}.",
                        place.url(), key, kDay);
    }
    seconds = std::chrono::seconds(value);
    return {};
  };
  Patience patience;
  TRY(read("stall_timeout", patience.stall));
  TRY(read("give_up_after", patience.give_up));
  return patience;
}

Result<std::optional<Credentials::Encryption>> Credentials::encryption(
    const Location& place) const {
  std::optional<Encryption> found;
  const std::string url = place.url();
  for (const IniSection& section : sections_) {
    const auto file = section.values.find("master_key_file");
    const auto command = section.values.find("master_key_command");
    const bool has_file = file != section.values.end(),
               has_command = command != section.values.end();
    if (!covers(section.name, url) || (!has_file && !has_command)) continue;
    if (has_file && has_command) {
      return make_error(Code::invalid_argument,
                        "The credentials for {} have both master_key_file and master_key_command; "
                        "keep one.",
                        url);
    }
    Encryption encryption;
    encryption.root = TRY(parse_location(section.name));
    if (has_file) encryption.key_file = file->second;
    if (has_command) encryption.key_command = command->second;
    found = std::move(encryption);
  }
  return found;
}

}  // namespace atelier
