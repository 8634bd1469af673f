// SPDX-License-Identifier: Apache-2.0
// Where the keys that sign requests come from. Temporary keys end while a job runs: every request
// asks for them anew, and a source finds newer ones by itself.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "store/http/http_client.h"
#include "store/s3/sigv4.h"

namespace atelier::s3 {

// Safe from several threads.
class KeySource {
 public:
  virtual ~KeySource() = default;
  // Cheap while the keys are good. Errors: invalid_argument (there are none, with what to do),
  // unavailable.
  virtual Result<Keys> read() = 0;
  // The store says that what read() gave last has expired.
  virtual void forget() {}
};

std::shared_ptr<KeySource> fixed_keys(Keys keys);

// Those of a profile in a file of credentials (secret.h says who may read it), which is read again
// whenever it changes.
std::shared_ptr<KeySource> keys_of_profile(const std::filesystem::path& file, std::string profile);

// aws_access_key_id, aws_secret_access_key and aws_session_token of the section [profile] in the
// text of a file of credentials. `what` names it in messages. Errors: invalid_argument (not INI, no
// such section, no keys in it).
Result<Keys> parse_keys(std::string_view text, const std::string& profile, std::string_view what);

// Those of the role of the machine that this runs on, by its instance metadata service, version 2
// ("Use the Instance Metadata Service to access instance metadata", Amazon EC2 User Guide). They
// are got again five minutes before they end; while the service does not answer, they are used to
// their end. `url` is "http://169.254.169.254" but in tests. The clock must outlive the source.
std::shared_ptr<KeySource> metadata_keys(std::string url, Clock& clock);

}  // namespace atelier::s3
