// SPDX-License-Identifier: Apache-2.0
// What opens a store, as users of clouds keep it: never on a command line, always in a file that
// nobody else can read or in the environment.
//
// The file is $ATELIER_CREDENTIALS, else $XDG_CONFIG_HOME/atelier/credentials (mode 0600). Each
// section is for the location that it names and all below it; where several are, the longer wins,
// key by key. So media and runs, in two containers, have credentials of their own:
//
//   [az://account]
//   endpoint = https://storage.internal/account      an emulator or a private cloud
//   ca_file = /etc/ssl/internal.pem                  whose authority signed its certificate
//   [az://account/media]
//   sas = sv=2021-12-02&sr=c&sp=rl&...               or sas_file, token_file, key, key_file, or
//   [az://account/runs]                              identity = metadata (with client_id)
//   sas_file = /run/secrets/runs.sas                 read again when it changes
//   [s3://bucket]
//   access_key_id, secret_access_key, session_token, or keys_file (with profile), a file like
//   ~/.aws/credentials that is read again when it changes; region, endpoint, ca_file, style = host
//   or path, and how the server encrypts: sse = AES256 or aws:kms, sse_kms_key_id, or
//   sse_customer_key_file
//
//   [file:///srv/runs]                               of any kind of store:
//   stall_timeout = 30                               seconds after which an exchange that moves
//                                                    less than 1 KiB a second has failed
//   give_up_after = 120                              seconds for which what is away is asked again
//   master_key_file = /run/secrets/runs.key          what lies below is encrypted
//   (encrypting_store.h);
//                                                    or master_key_command = a line for the shell
//
// Where the file says nothing of Azure: AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_KEY and
// AZURE_STORAGE_SERVICE_ENDPOINT, all three of the account AZURE_STORAGE_ACCOUNT alone; where one
// of them would count and that is not set, it is refused. What it does not say of S3 comes from the
// usual variables and files (s3/s3_credentials.h). ATELIER_CA_FILE is an authority for every store.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "store/azure/azure_service.h"
#include "store/ini.h"
#include "store/location.h"
#include "store/retry.h"
#include "store/s3/s3_service.h"

namespace atelier {

// The value of an environment variable; empty counts as none.
using Variables = std::function<std::optional<std::string>(const char* name)>;
Variables environment();

// Takes sentences of what works but is not wise.
using Notes = std::function<void(const std::string& note)>;

class Credentials {
 public:
  // None but what the environment says.
  Credentials() : variables_(environment()) {}
  // Errors: invalid_argument (the file cannot be read, others may read it, it is not of that form).
  static Result<Credentials> load(Variables variables);

  // Of an Azure location. Errors: invalid_argument (an unknown key, a value that cannot be).
  Result<azure::Account> azure(const Location& place, const Notes& notes) const;

  // Of an S3 location. Errors: as above, and those of s3::usual_settings.
  Result<s3::Bucket> s3(const Location& place, Clock& clock, const Notes& notes) const;

  // How long to wait for the service that a place lies in.
  struct Patience {
    std::chrono::seconds stall{30};
    std::chrono::seconds give_up{120};
    // For all that is asked of a service: again until then, however often that is.
    RetryPolicy retries() const;
  };
  // Errors: invalid_argument (not whole seconds from 1 to a day).
  Result<Patience> patience(const Location& place) const;

  // How what lies at a place is encrypted; nothing if it is not.
  struct Encryption {
    Location root;  // of the section that says so: what lies below has one key ring
    std::string key_file, key_command;  // one of them
  };
  // Errors: invalid_argument (both are given, or the section's name is no location).
  Result<std::optional<Encryption>> encryption(const Location& place) const;

  // What the file says of a place.
  std::map<std::string, std::string> values_for(const Location& place) const;
  // Whether there is a file and it says anything.
  bool has_file() const { return !sections_.empty(); }

 private:
  Variables variables_;
  std::vector<IniSection> sections_;  // from the shortest name to the longest
};

}  // namespace atelier
