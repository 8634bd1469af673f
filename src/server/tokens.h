// SPDX-License-Identifier: Apache-2.0
// The tokens by which callers are known.
//
// The idea: a token is 256 random bits, so that its hash needs neither salt nor slowness, and a
// look-up by the hash tells nothing by the time it takes. The database holds hashes alone; the
// token itself is told once, to who made it. Cost of a look-up: a hash and a map for those that
// were used in the last seconds, else one row read by its index; never a write.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "server/call.h"
#include "server/database.h"
#include "server/wall_clock.h"

namespace atelier::server {

// What every token begins with, so that scanners for leaked secrets know one.
inline constexpr std::string_view kTokenPrefix = "atl_";

struct NewToken {
  // 1 to 64 letters, digits and "._-@": what runs and the audit table call its user. Several
  // tokens may share one, so that a token can be replaced before it expires.
  std::string name;
  Role role = Role::reader;
  std::vector<std::string> pipelines;  // as in Principal; at most 100 each
  std::vector<std::string> prefixes;   // locations (store/location.h); a path must be absolute
  Millis lifetime = Millis{90} * 24 * 3600 * 1000;  // at most 365 days
};

struct TokenInfo {
  std::string id;  // not secret
  Principal principal;
  Millis created_at = 0;
  std::string created_by;
  Millis expires_at = 0;
  std::optional<Millis> revoked_at;
};

struct MadeToken {
  TokenInfo info;
  std::string secret;  // "atl_" and 43 characters of base64url; nobody can tell it again
};

// Safe from several threads. What is given must outlive it.
class Tokens {
 public:
  // `clock` for how old what is remembered is, `wall` for when tokens expire.
  Tokens(Database& database, const Clock& clock, const WallClock& wall);

  // For `call.who`, who can give no more than they have, nor a name that somebody has whose
  // tokens may more than they. Audited. Errors: invalid_argument (a bad name, scope or lifetime;
  // more than the maker may), conflict (the name), those of Database::write.
  Result<MadeToken> create(const Call& call, const NewToken& wanted);

  // From the moment it returns the token is good for nothing. False: there is none of that id
  // that is not revoked, or it may more than `call.who`. Audited. Errors: those of
  // Database::write.
  Result<bool> revoke(const Call& call, const std::string& id);

  // The newest first, revoked and expired ones too; only those that may no more than `who`.
  // Errors: those of Database::read.
  Result<std::vector<TokenInfo>> list(const Principal& who);

  // Empty: not the text of a token, unknown, expired or revoked; which of these is told to
  // nobody. At most 5 s old if the database was changed past this object. Errors: those of
  // Database::read.
  Result<std::optional<Principal>> find(std::string_view secret);

  // If no admin without a scope has a token that is good (on the first start, or when the last one
  // expired or was revoked), makes one. `keep` gets its text before it is good for anything and
  // puts it where the operator finds it; if it fails, no token is made. False: there was one.
  // Errors: those of `keep` and of Database::write.
  Result<bool> make_first_admin_token(const std::function<Result<void>(const std::string&)>& keep);

 private:
  struct Known {
    Principal principal;
    Millis expires_at = 0;
    Clock::Duration read_at{};
  };
  std::optional<Known> remembered(const std::string& hash);
  void remember(const std::string& hash, const Known& known, uint64_t changes);
  void forget_all();
  uint64_t changes();

  Database& database_;
  const Clock& clock_;
  const WallClock& wall_;
  Mutex mutex_;
  std::unordered_map<std::string, Known> known_ GUARDED_BY(mutex_);  // by the hash
  uint64_t changes_ GUARDED_BY(mutex_) = 0;
};

// Puts `secret` and a newline into a file of mode 0600 that replaces whatever is there, so that
// read_secret_file (store/secret.h) takes it. Errors: invalid_argument (the folder is absent or not
// writable), no_space, unavailable.
Result<void> write_secret_file(const std::filesystem::path& path, const std::string& secret);

}  // namespace atelier::server
