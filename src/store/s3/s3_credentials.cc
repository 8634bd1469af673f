// SPDX-License-Identifier: Apache-2.0
#include "store/s3/s3_credentials.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <vector>

#include "base/bytes.h"
#include "base/file.h"
#include "store/ini.h"
#include "store/names.h"
#include "store/secret.h"

namespace atelier::s3 {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostConfig = uint64_t{1} << 20;

std::string quoted(const fs::path& path) { return "'" + path.string() + "'"; }

std::string first_of(std::initializer_list<std::string> values) {
  for (const std::string& value : values) {
    if (!value.empty()) return value;
  }
  return {};
}

std::string value_of(const std::map<std::string, std::string>& values, const std::string& name) {
  const auto found = values.find(name);
  return found == values.end() ? std::string() : found->second;
}

// A file that AWS tools look for: `variable` names it, or it is in ~/.aws and may be absent.
struct UsualFile {
  fs::path path;
  bool wanted = false;  // somebody named it, or it is there
};

UsualFile usual_file(const Lookup& lookup, const char* variable, const char* name) {
  const std::string named = lookup(variable);
  if (!named.empty()) return {named, true};
  const std::string home = lookup("HOME");
  if (home.empty()) return {};
  UsualFile file{fs::path(home) / ".aws" / name, false};
  std::error_code error;
  const bool absent = fs::status(file.path, error).type() == fs::file_type::not_found;
  file.wanted = !absent;
  return file;
}

Result<std::optional<ProfileSettings>> read_profile(const UsualFile& file,
                                                    const std::string& profile) {
  if (!file.wanted) return std::optional<ProfileSettings>();
  const auto source = FileSource::open(file.path);
  if (!source.ok()) return Error{Code::invalid_argument, source.error().message};
  const auto bytes = read_all(**source, kMostConfig, quoted(file.path));
  if (!bytes.ok()) return Error{Code::invalid_argument, bytes.error().message};
  return parse_profile(as_text(*bytes), profile, quoted(file.path));
}

// Errors: those of read_secret_file and parse_ini.
Result<bool> has_section(const UsualFile& file, const std::string& profile) {
  if (!file.wanted) return false;
  const std::string text = TRY(read_secret_file(file.path));
  const auto sections = TRY(parse_ini(text, quoted(file.path)));
  return std::ranges::find(sections, profile, &IniSection::name) != sections.end();
}

Error foreign(const std::string& profile, const std::string& by) {
  return make_error(Code::invalid_argument,
                    "The profile '{}' gets its keys by {}, which is not known here; run \"aws "
                    "configure export-credentials --format env\" and set what it prints.",
                    percent_encode(profile), percent_encode(by));
}

Result<std::shared_ptr<KeySource>> usual_keys(const Lookup& lookup, const std::string& profile,
                                              const std::optional<ProfileSettings>& settings,
                                              Clock& clock) {
  const Keys set{lookup("AWS_ACCESS_KEY_ID"), lookup("AWS_SECRET_ACCESS_KEY"),
                 lookup("AWS_SESSION_TOKEN")};
  if (set.access_key.empty() != set.secret_key.empty()) {
    return Error{Code::invalid_argument,
                 "Only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set; set both."};
  }
  if (!set.access_key.empty()) return fixed_keys(set);
  const UsualFile file = usual_file(lookup, "AWS_SHARED_CREDENTIALS_FILE", "credentials");
  if (TRY(has_section(file, profile))) {
    auto keys = keys_of_profile(file.path, profile);
    TRY(keys->read());
    return keys;
  }
  if (settings && !settings->foreign_keys.empty()) return foreign(profile, settings->foreign_keys);
  if (!lookup("AWS_PROFILE").empty()) {
    return make_error(Code::invalid_argument,
                      "The profile '{}' that AWS_PROFILE names has no keys in {}; put them there, "
                      "or name another one.",
                      percent_encode(profile),
                      file.path.empty() ? "~/.aws/credentials" : quoted(file.path));
  }
  if (lookup("AWS_EC2_METADATA_DISABLED") == "true") return std::shared_ptr<KeySource>();
  return metadata_keys(
      first_of({lookup("AWS_EC2_METADATA_SERVICE_ENDPOINT"), "http://169.254.169.254"}), clock);
}

}  // namespace

Result<std::optional<ProfileSettings>> parse_profile(std::string_view text,
                                                     const std::string& profile,
                                                     std::string_view what) {
  const std::vector<IniSection> sections = TRY(parse_ini(text, what));
  const auto named = [&](const std::string& name) {
    return std::ranges::find(sections, name, &IniSection::name);
  };
  auto section = named("profile " + profile);
  if (section == sections.end() && profile == "default") section = named("default");
  if (section == sections.end()) return std::optional<ProfileSettings>();
  const auto value = [&](const char* name) { return value_of(section->values, name); };
  ProfileSettings settings;
  settings.region = value("region");
  settings.ca_file = value("ca_bundle");
  settings.addressing_style = value("s3.addressing_style");
  const auto services = named("services " + value("services"));
  const std::string of_service =
      services == sections.end() ? "" : value_of(services->values, "s3.endpoint_url");
  settings.endpoint = first_of({of_service, value("endpoint_url")});
  for (const char* name : {"role_arn", "sso_session", "sso_start_url", "credential_process",
                           "web_identity_token_file"}) {
    if (settings.foreign_keys.empty() && !value(name).empty()) settings.foreign_keys = name;
  }
  return std::optional(std::move(settings));
}

Result<Settings> usual_settings(const Lookup& lookup, Clock& clock,
                                std::shared_ptr<KeySource> own) {
  const std::string profile = first_of({lookup("AWS_PROFILE"), "default"});
  const auto from_profile =
      TRY(read_profile(usual_file(lookup, "AWS_CONFIG_FILE", "config"), profile));
  const ProfileSettings said = from_profile.value_or(ProfileSettings());
  Settings settings;
  settings.keys = own ? std::move(own) : TRY(usual_keys(lookup, profile, from_profile, clock));
  settings.region = first_of({lookup("AWS_REGION"), lookup("AWS_DEFAULT_REGION"), said.region});
  settings.endpoint =
      first_of({lookup("AWS_ENDPOINT_URL_S3"), lookup("AWS_ENDPOINT_URL"), said.endpoint});
  settings.ca_file = first_of({lookup("AWS_CA_BUNDLE"), said.ca_file});
  if (said.addressing_style == "virtual") settings.host_style = true;
  if (said.addressing_style == "path") settings.host_style = false;
  return settings;
}

}  // namespace atelier::s3
