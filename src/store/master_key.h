// SPDX-License-Identifier: Apache-2.0
// The one secret of an encrypted store that comes from outside: 32 bytes in a file, or printed by a
// command. What was read is wiped, and no message holds any of it.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "base/aes_gcm.h"
#include "base/clock.h"

namespace atelier {

class MasterKey {
 public:
  explicit MasterKey(SecretKey key) : key_(std::move(key)) {}
  MasterKey copy() const { return MasterKey(key_.copy()); }
  const SecretKey& key() const { return key_; }
  // 32 hex digits that tell keys apart: half of SHA-256 over a label and the key.
  std::string fingerprint() const;

 private:
  SecretKey key_;
};

// 32 bytes; or 64 hex digits, or base64 (RFC 4648, with or without its '='), each with one line end
// at most. `where` names the place in messages. Errors: invalid_argument.
Result<MasterKey> parse_master_key(std::span<const std::byte> bytes, std::string_view where);

// Errors: invalid_argument, also if the file is not regular, belongs to another user than this one
// and root, or may be read or written by group or others.
Result<MasterKey> read_master_key_file(const std::filesystem::path& path);

// What `/bin/sh -c command` prints, with /dev/null as its input; its stderr is ours, so that the
// user sees why it failed. It runs in a process group of its own, which is killed when the time is
// up, so it cannot ask on the terminal. Errors: invalid_argument if it fails, prints no key or
// takes longer.
Result<MasterKey> master_key_of_command(const std::string& command,
                                        Clock::Duration most = std::chrono::seconds(30));

}  // namespace atelier
