// SPDX-License-Identifier: Apache-2.0
#include "server/tokens.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "server/audit.h"
#include "server/operations_policy.h"
#include "store/location.h"

namespace atelier::server {
namespace {

using nlohmann::json;

constexpr size_t kSecretBytes = 32, kSecretText = 43, kIdBytes = 8;
constexpr size_t kMostScopes = 100, kMostScope = 1024, kMostName = 64, kMostKnown = 4096;
constexpr Millis kLongest = Millis{365} * 24 * 3600 * 1000;
constexpr Clock::Duration kStale = std::chrono::seconds(5);
constexpr const char* kColumns =
    "SELECT id, name, role, pipelines, prefixes, created_at, created_by, expires_at, revoked_at "
    "FROM tokens ";

template <size_t N>
Result<std::array<std::byte, N>> random_bytes() {
  static_assert(N <= 256, "more may come in pieces");
  std::array<std::byte, N> bytes{};
  for (;;) {
    const ssize_t count = ::getrandom(bytes.data(), bytes.size(), 0);
    if (count == static_cast<ssize_t>(N)) return bytes;
    if (count < 0 && errno == EINTR) continue;
    return Error{Code::internal, "The kernel gives no random numbers; report it."};
  }
}

bool is_url_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

// RFC 4648, section 5, without padding.
std::string to_base64url(std::span<const std::byte> bytes) {
  std::string text = to_base64(bytes);
  std::ranges::replace(text, '+', '-');
  std::ranges::replace(text, '/', '_');
  text.erase(text.find_last_not_of('=') + 1);
  return text;
}

Result<std::string> random_secret() {
  const auto bytes = TRY(random_bytes<kSecretBytes>());
  return std::string(kTokenPrefix) + to_base64url(bytes);
}

std::string hash_of(std::string_view secret) { return sha256_hex(as_bytes(secret)); }

bool is_secret(std::string_view text) {
  return text.size() == kTokenPrefix.size() + kSecretText && text.starts_with(kTokenPrefix) &&
         std::ranges::all_of(text.substr(kTokenPrefix.size()), is_url_letter);
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kMostName &&
         std::ranges::all_of(name, [](char c) { return is_url_letter(c) || c == '.' || c == '@'; });
}

// Empty: not a list of texts. A scope that cannot be read must not become "all".
std::optional<std::vector<std::string>> scopes_of(const std::string& text) {
  const json list = json::parse(text, nullptr, false);
  if (!list.is_array()) return std::nullopt;
  std::vector<std::string> scopes;
  for (const json& item : list) {
    if (!item.is_string()) return std::nullopt;
    scopes.push_back(item.get<std::string>());
  }
  return scopes;
}

Result<TokenInfo> token_of(const Rows& rows) {
  TokenInfo info;
  info.id = rows.text(0);
  info.principal.name = rows.text(1);
  const auto role = role_named(rows.text(2));
  auto pipelines = scopes_of(rows.text(3)), prefixes = scopes_of(rows.text(4));
  if (!role || !pipelines || !prefixes) {
    return make_error(
        Code::corrupt,
        "The token '{}' in the database cannot be read; restore a backup, or delete its row.",
        info.id);
  }
  info.principal.role = *role;
  info.principal.pipelines = *std::move(pipelines);
  info.principal.prefixes = *std::move(prefixes);
  info.created_at = rows.integer(5);
  info.created_by = rows.text(6);
  info.expires_at = rows.integer(7);
  if (!rows.is_null(8)) info.revoked_at = rows.integer(8);
  return info;
}

Result<std::vector<TokenInfo>> tokens_where(Connection& connection, const std::string& condition,
                                            const std::vector<Value>& values) {
  Rows rows = TRY(connection.query(kColumns + condition, values));
  std::vector<TokenInfo> tokens;
  while (TRY(rows.next())) tokens.push_back(TRY(token_of(rows)));
  return tokens;
}

bool is_good(const TokenInfo& token, Millis now) {
  return !token.revoked_at && token.expires_at > now;
}

Error wrong(std::string_view why) {
  return make_error(Code::invalid_argument, "The token cannot be made: {}.", why);
}

// Prefixes are kept in one spelling. A path stays where it is only if it is absolute.
Result<std::string> whole_prefix(const std::string& prefix) {
  if (prefix.size() > kMostScope) return wrong("a prefix is too long");
  Principal everywhere;
  everywhere.role = Role::admin;
  everywhere.prefixes = {prefix};
  if (!may_use_location(everywhere, prefix)) {
    return wrong(
        "a prefix must be a location such as az://account/container/folder, or an "
        "absolute path");
  }
  return TRY(parse_location(prefix)).url();
}

Result<TokenInfo> checked(const Principal& maker, const NewToken& wanted, Millis now) {
  if (!is_name(wanted.name)) return wrong("its name must be 1 to 64 letters, digits and '._-@'");
  if (wanted.role == Role::nobody) return wrong("it needs a role");
  if (wanted.lifetime <= 0 || wanted.lifetime > kLongest) {
    return wrong("it may live for at most 365 days");
  }
  if (std::max(wanted.pipelines.size(), wanted.prefixes.size()) > kMostScopes) {
    return wrong("it may have at most 100 pipelines and 100 prefixes");
  }
  TokenInfo info;
  info.principal = {wanted.name, wanted.role, wanted.pipelines, {}};
  for (const std::string& pipeline : wanted.pipelines) {
    if (!is_name(pipeline)) return wrong("a scope is not the name of a pipeline");
  }
  for (const std::string& prefix : wanted.prefixes) {
    info.principal.prefixes.push_back(TRY(whole_prefix(prefix)));
  }
  if (!covers(maker, info.principal)) {
    return wrong("nobody can give a role, pipelines or prefixes that they do not have");
  }
  info.id = to_hex(TRY(random_bytes<kIdBytes>()));
  info.created_at = now;
  info.created_by = maker.name;
  info.expires_at = now + wanted.lifetime;
  return info;
}

std::string detail_of(const TokenInfo& token) {
  return json{{"name", token.principal.name},
              {"role", name_of(token.principal.role)},
              {"pipelines", token.principal.pipelines},
              {"prefixes", token.principal.prefixes},
              {"expires_at", token.expires_at}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<void> insert(Connection& connection, const TokenInfo& token, const std::string& hash) {
  const auto list = [](const std::vector<std::string>& texts) {
    return json(texts).dump(-1, ' ', false, json::error_handler_t::replace);
  };
  TRY(connection.run(
      "INSERT INTO tokens (id, sha256, name, role, pipelines, prefixes, created_at, created_by, "
      "expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
      {token.id, hash, token.principal.name, std::string(name_of(token.principal.role)),
       list(token.principal.pipelines), list(token.principal.prefixes), token.created_at,
       token.created_by, token.expires_at}));
  return {};
}

// A name is an owner of runs: who could take any would see and cancel what others have.
Result<void> check_name_is_free(Connection& connection, const Principal& maker,
                                const std::string& name, Millis now) {
  for (const TokenInfo& other : TRY(tokens_where(connection, "WHERE name = ?", {name}))) {
    if (is_good(other, now) && !covers(maker, other.principal)) {
      return make_error(Code::conflict,
                        "The name '{}' is that of somebody whose tokens may more than you; choose "
                        "another one.",
                        name);
    }
  }
  return {};
}

}  // namespace

Tokens::Tokens(Database& database, const Clock& clock, const WallClock& wall)
    : database_(database), clock_(clock), wall_(wall) {}

Result<MadeToken> Tokens::create(const Call& call, const NewToken& wanted) {
  MadeToken made;
  made.info = TRY(checked(call.who, wanted, wall_.now()));
  made.secret = TRY(random_secret());
  const std::string hash = hash_of(made.secret);
  TRY(database_.write([&](Connection& connection) -> Result<void> {
    TRY(check_name_is_free(connection, call.who, wanted.name, wall_.now()));
    TRY(insert(connection, made.info, hash));
    return audit(connection, call, wall_, "createToken", made.info.id, detail_of(made.info));
  }));
  return made;
}

Result<bool> Tokens::revoke(const Call& call, const std::string& id) {
  bool revoked = false;
  TRY(database_.write([&](Connection& connection) -> Result<void> {
    revoked = false;
    const auto found = TRY(tokens_where(connection, "WHERE id = ? AND revoked_at IS NULL", {id}));
    if (found.empty() || !covers(call.who, found[0].principal)) return {};
    TRY(connection.run("UPDATE tokens SET revoked_at = ? WHERE id = ?", {wall_.now(), id}));
    revoked = true;
    return audit(connection, call, wall_, "revokeToken", id, detail_of(found[0]));
  }));
  forget_all();
  return revoked;
}

Result<std::vector<TokenInfo>> Tokens::list(const Principal& who) {
  std::vector<TokenInfo> tokens;
  TRY(database_.read([&](Connection& connection) -> Result<void> {
    tokens = TRY(tokens_where(connection, "ORDER BY created_at DESC, id", {}));
    return {};
  }));
  std::erase_if(tokens, [&](const TokenInfo& token) { return !covers(who, token.principal); });
  return tokens;
}

Result<std::optional<Principal>> Tokens::find(std::string_view secret) {
  const std::optional<Principal> nobody;
  if (!is_secret(secret)) return nobody;
  const std::string hash = hash_of(secret);
  std::optional<Known> known = remembered(hash);
  if (!known) {
    const uint64_t before = changes();
    const Clock::Duration read_at = clock_.now();
    std::vector<TokenInfo> found;
    TRY(database_.read([&](Connection& connection) -> Result<void> {
      found = TRY(tokens_where(connection, "WHERE sha256 = ? AND revoked_at IS NULL", {hash}));
      return {};
    }));
    if (found.empty()) return nobody;
    known = Known{found[0].principal, found[0].expires_at, read_at};
    remember(hash, *known, before);
  }
  if (known->expires_at <= wall_.now()) return nobody;
  return std::optional<Principal>(std::move(known->principal));
}

Result<bool> Tokens::make_first_admin_token(
    const std::function<Result<void>(const std::string&)>& keep) {
  Call call;
  call.who = {"atelier serve", Role::admin, {}, {}};
  bool needed = true;
  const Millis now = wall_.now();
  TRY(database_.read([&](Connection& connection) -> Result<void> {
    const auto admins = TRY(tokens_where(connection, "WHERE role = 'admin'", {}));
    needed = std::ranges::none_of(admins, [&](const TokenInfo& token) {
      return is_good(token, now) && covers(token.principal, call.who);
    });
    return {};
  }));
  if (!needed) return false;
  NewToken wanted;
  wanted.name = "admin";
  wanted.role = Role::admin;
  const TokenInfo info = TRY(checked(call.who, wanted, now));
  const std::string secret = TRY(random_secret());
  // The other way about, a crash in between would leave a token that nobody knows.
  TRY(keep(secret));
  const std::string hash = hash_of(secret);
  TRY(database_.write([&](Connection& connection) -> Result<void> {
    TRY(insert(connection, info, hash));
    return audit(connection, call, wall_, "createFirstToken", info.id, detail_of(info));
  }));
  return true;
}

std::optional<Tokens::Known> Tokens::remembered(const std::string& hash) {
  MutexLock lock(mutex_);
  const auto found = known_.find(hash);
  if (found == known_.end()) return std::nullopt;
  if (clock_.now() - found->second.read_at < kStale) return found->second;
  known_.erase(found);
  return std::nullopt;
}

// What was read before a revocation must not be remembered after it.
void Tokens::remember(const std::string& hash, const Known& known, uint64_t changes) {
  MutexLock lock(mutex_);
  if (changes_ != changes) return;
  if (known_.size() >= kMostKnown) known_.clear();
  known_[hash] = known;
}

void Tokens::forget_all() {
  MutexLock lock(mutex_);
  known_.clear();
  ++changes_;
}

uint64_t Tokens::changes() {
  MutexLock lock(mutex_);
  return changes_;
}

Result<void> write_secret_file(const std::filesystem::path& path, const std::string& secret) {
  const std::filesystem::path partial = path.string() + ".new";
  const auto failed = [&](int error) {
    ::unlink(partial.c_str());
    return make_error(code_of_errno(error, Code::invalid_argument),
                      "The secret cannot be written to '{}': {}; make its folder writable.",
                      path.string(), describe_errno(error));
  };
  ::unlink(partial.c_str());  // of a start that was cut short
  const Fd fd(::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return failed(errno);
  const std::string text = secret + "\n";
  errno = 0;
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return failed(errno != 0 ? errno : ENOSPC);  // short: there was no more room
  }
  // A umask may have taken rights away, and an ACL of the folder have given some.
  if (::fchmod(fd.get(), 0600) != 0 || ::fsync(fd.get()) != 0) return failed(errno);
  if (::rename(partial.c_str(), path.c_str()) != 0) return failed(errno);
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  const Fd opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened || ::fsync(opened.get()) != 0) return failed(errno);
  return {};
}

}  // namespace atelier::server
