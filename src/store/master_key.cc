// SPDX-License-Identifier: Apache-2.0
#include "store/master_key.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "base/child_process.h"
#include "base/file.h"
#include "base/hash.h"
#include "store/secret.h"

namespace atelier {
namespace {

constexpr std::string_view kLabel = "atelier master key";

// More than any form of a key takes; wiped, whatever happens.
struct KeyText {
  std::array<std::byte, 128> bytes{};
  size_t size = 0;
  KeyText() = default;
  ~KeyText() { wipe(bytes); }
  KeyText(const KeyText&) = delete;
  KeyText& operator=(const KeyText&) = delete;
  std::span<std::byte> room() { return std::span(bytes).subspan(size); }
  std::span<const std::byte> text() const { return std::span(bytes).first(size); }
};

struct KeyBytes {
  std::array<std::byte, SecretKey::kSize> bytes{};
  KeyBytes() = default;
  ~KeyBytes() { wipe(bytes); }
  KeyBytes(const KeyBytes&) = delete;
  KeyBytes& operator=(const KeyBytes&) = delete;
};

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

int base64_digit_of(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

// Strict on purpose: a key in which characters are skipped would be another key.
// `bits` is 4 for hex and 6 for base64; left-over bits must be zero.
bool decode(std::string_view text, int bits, int (*digit)(char), std::span<std::byte> into) {
  unsigned held = 0;
  int count = 0;
  size_t done = 0;
  for (const char c : text) {
    const int value = digit(c);
    if (value < 0) return false;
    held = (held << bits | static_cast<unsigned>(value)) & 0xffff;
    count += bits;
    if (count < 8) continue;
    count -= 8;
    if (done == into.size()) return false;
    into[done++] = static_cast<std::byte>(held >> count & 0xff);
  }
  return done == into.size() && (held & ((1U << count) - 1)) == 0;
}

bool decode_key(std::span<const std::byte> bytes, std::span<std::byte> key) {
  if (bytes.size() == key.size()) {
    std::ranges::copy(bytes, key.begin());
    return true;
  }
  std::string_view text = as_text(bytes);
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (text.size() == 2 * key.size()) return decode(text, 4, digit_of, key);
  if (text.size() == 44 && text.ends_with('=')) text.remove_suffix(1);
  return text.size() == 43 && decode(text, 6, base64_digit_of, key);
}

// Until the end, or until `into` is full.
Result<void> read_file(const Fd& fd, const std::filesystem::path& path, KeyText& into) {
  while (!into.room().empty()) {
    const ssize_t count = ::read(fd.get(), into.room().data(), into.room().size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      return make_error(Code::invalid_argument, "Cannot read the master key in '{}': {}.",
                        path.native(), describe_errno(errno));
    }
    if (count == 0) return {};
    into.size += static_cast<size_t>(count);
  }
  return {};
}

Error command_error(std::string_view what) {
  return make_error(Code::invalid_argument,
                    "The command for the master key {}; run it by hand to see what it does.", what);
}

// A running shell in a process group of its own. Killed and waited for unless it has ended.
class Command {
 public:
  static Result<std::unique_ptr<Command>> start(const std::string& command) {
    Pipe pipe = TRY(Pipe::create());
    ChildSetup setup;
    setup.program = "/bin/sh";
    setup.words = {"sh", "-c", command};
    setup.out = pipe.writing.get();
    setup.with_descendants = true;
    setup.refused = [](int error) {
      return make_error(Code::internal, "Cannot start /bin/sh for the master key: {}.",
                        describe_errno(error));
    };
    auto shell = TRY(ChildProcess::start(setup));
    return std::unique_ptr<Command>(new Command(std::move(shell), std::move(pipe.reading)));
  }

  // All that it prints, unless it is more than `into` has room for.
  Result<void> read(KeyText& into, Clock::Duration deadline) {
    for (;;) {
      pollfd ready{output_.get(), POLLIN, 0};
      const int left = milliseconds_until(deadline);
      if (left <= 0) return command_error("took too long");
      if (::poll(&ready, 1, left) <= 0) continue;  // time is looked at above
      if (into.room().empty()) return command_error("printed more than a key");
      const ssize_t count = ::read(output_.get(), into.room().data(), into.room().size());
      if (count == 0) return {};
      if (count > 0) into.size += static_cast<size_t>(count);
      if (count < 0 && errno != EINTR) return cannot("read what /bin/sh prints");
    }
  }

  Result<void> wait(Clock::Duration deadline) {
    std::optional<int> ended;
    while (!(ended = shell_.ended())) {
      const int left = milliseconds_until(deadline);
      if (left <= 0) return command_error("took too long");
      pollfd end{shell_.handle(), POLLIN, 0};
      ::poll(&end, 1, std::min(left, 100));
    }
    const int status = *ended;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    if (WIFEXITED(status)) {
      return command_error(fmt::format("ended with exit code {}", WEXITSTATUS(status)));
    }
    return command_error(fmt::format("was ended by signal {}", WTERMSIG(status)));
  }

 private:
  Command(ChildProcess shell, Fd output) : shell_(std::move(shell)), output_(std::move(output)) {}

  static Error cannot(const char* what) {
    return make_error(Code::internal, "Cannot {} for the master key: {}.", what,
                      describe_errno(errno));
  }
  static int milliseconds_until(Clock::Duration deadline) {
    const auto left = deadline - SystemClock().now();
    return static_cast<int>(
        std::min<int64_t>(std::chrono::ceil<std::chrono::milliseconds>(left).count(), 1000));
  }

  ChildProcess shell_;
  Fd output_;
};

}  // namespace

std::string MasterKey::fingerprint() const {
  Sha256 hash;
  hash.update(as_bytes(kLabel));
  hash.update(key_.bytes());
  return hash.finish_hex().substr(0, 32);
}

Result<MasterKey> parse_master_key(std::span<const std::byte> bytes, std::string_view where) {
  KeyBytes key;
  if (decode_key(bytes, key.bytes)) return MasterKey(SecretKey(key.bytes));
  return make_error(Code::invalid_argument,
                    "{} holds no master key; it takes 32 random bytes, as they are, as 64 hex "
                    "digits or as base64, and nothing else: openssl rand -hex 32.",
                    where);
}

Result<MasterKey> read_master_key_file(const std::filesystem::path& path) {
  const Fd fd = TRY(open_private_file(path, "the master key"));
  KeyText text;
  TRY(read_file(fd, path, text));
  return parse_master_key(text.text(), fmt::format("The file '{}'", path.native()));
}

Result<MasterKey> master_key_of_command(const std::string& command, Clock::Duration most) {
  const Clock::Duration deadline = SystemClock().now() + most;
  const std::unique_ptr<Command> running = TRY(Command::start(command));
  KeyText text;
  TRY(running->read(text, deadline));
  TRY(running->wait(deadline));
  return parse_master_key(text.text(), "What the command for the master key prints");
}

}  // namespace atelier
