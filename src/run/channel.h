// SPDX-License-Identifier: Apache-2.0
// What goes to and fro between a broker and its scorer: messages on a stream socket of
// socketpair(2), and open files (SCM_RIGHTS, unix(7)). A call is a message and its answer; the
// scorer calls, the broker answers, so that nothing the scorer says is acted upon unasked.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/file.h"

namespace atelier::run {

struct Message {
  std::string head;  // JSON, at most kLargestHead bytes
  std::vector<std::byte> body;
  Fd file;
};
inline constexpr size_t kLargestHead = size_t{1} << 20;
inline constexpr size_t kLargestBody = size_t{1} << 30;

// One end. Sending and receiving are safe from one thread each; shut_down() from any.
class Channel {
 public:
  static Result<std::pair<Channel, Channel>> pair();
  explicit Channel(Fd socket) : socket_(std::move(socket)) {}

  // Errors: unavailable (the other end is gone), invalid_argument (too large).
  Result<void> send(std::string_view head, std::span<const std::byte> body = {}, int file = -1);
  // Nothing if the other end was closed between two messages. Errors: unavailable (it was closed
  // inside one), corrupt (a message that is larger than allowed).
  Result<std::optional<Message>> receive(size_t largest_body = kLargestBody);
  // Ends both directions: whoever waits at either end wakes.
  void shut_down();
  const Fd& socket() const { return socket_; }

 private:
  Fd socket_;
};

// Sends a message and waits for the answer. An Error that the other side answered with is returned
// as it is; unavailable if it is gone.
Result<Message> call(Channel& channel, std::string_view head, std::span<const std::byte> body = {});

// Answers calls until the other end is closed, or `answer` says that this was the last. An Error is
// sent as such.
struct Answer {
  Message message;
  bool last = false;
};
using Answerer = std::function<Result<Answer>(Message&)>;
// True if `answer` said so; false if the other end was closed. Errors: those of receive(); corrupt
// if an answer is beyond this process' memory.
Result<bool> answer_calls(Channel& channel, const Answerer& answer,
                          size_t largest_body = kLargestBody);

}  // namespace atelier::run
