// SPDX-License-Identifier: Apache-2.0
// What the usual variables and files say about S3 ("AWS SDKs and Tools Reference Guide"), so that
// what works for other programs works here.
//
// Keys, the first that there are: AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY (and
// AWS_SESSION_TOKEN); the profile AWS_PROFILE, or "default", of AWS_SHARED_CREDENTIALS_FILE, or
// ~/.aws/credentials, which nobody else may read; the role of the machine, unless
// AWS_EC2_METADATA_DISABLED is "true". Region: AWS_REGION, AWS_DEFAULT_REGION, then the profile's.
// Address: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, then the profile's. Certificates: AWS_CA_BUNDLE,
// then the profile's. The profile's come from AWS_CONFIG_FILE, or ~/.aws/config.
//
// Profiles that get their keys by a sign-on, another role or a program are refused with a sentence:
// "aws configure export-credentials --format env" makes variables of them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "store/s3/s3_keys.h"

namespace atelier::s3 {

// The value of an environment variable; empty if it is not set.
using Lookup = std::function<std::string(const char* name)>;

struct Settings {
  std::shared_ptr<KeySource> keys;  // null: there are none, so requests are not signed
  std::string region;               // empty: nobody says
  std::string endpoint;             // empty: Amazon's
  std::string ca_file;              // empty: the system's
  std::optional<bool> host_style;   // s3.addressing_style: "virtual" is true, "path" is false
};

// Reads files, asks no network. The clock must outlive the keys, which are not looked for if the
// caller has some: `own`. Errors: invalid_argument (half of the keys, a file that is wrong or that
// others may read, no such profile).
Result<Settings> usual_settings(const Lookup& lookup, Clock& clock,
                                std::shared_ptr<KeySource> own = nullptr);

// The settings of a profile in the text of a config file, [default] or [profile NAME]; nothing if
// it has no such section. `what` names the text in messages.
struct ProfileSettings {
  std::string region, endpoint, ca_file;
  std::string addressing_style;
  // The first key by which the profile gets its keys in a way that is not known here.
  std::string foreign_keys;
};
Result<std::optional<ProfileSettings>> parse_profile(std::string_view text,
                                                     const std::string& profile,
                                                     std::string_view what);

}  // namespace atelier::s3
