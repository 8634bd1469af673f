// SPDX-License-Identifier: Apache-2.0
#include "run/channel.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

namespace atelier::run {
namespace {

using nlohmann::json;

// Both ends are the same program on the same machine: native byte order.
struct Frame {
  uint32_t head = 0;
  uint32_t body = 0;
};

Error gone() { return make_error(Code::unavailable, "The other process is gone."); }

union Control {
  std::array<char, CMSG_SPACE(sizeof(int))> bytes;
  cmsghdr align;
};

// All of `bytes`; the file goes with the first of them.
Result<void> send_all(int socket, std::span<const std::byte> bytes, int file) {
  while (!bytes.empty()) {
    iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    Control control{};
    if (file >= 0) {
      message.msg_control = control.bytes.data();
      message.msg_controllen = control.bytes.size();
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(header), &file, sizeof(int));
    }
    const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return gone();
    file = -1;
    bytes = bytes.subspan(static_cast<size_t>(sent));
  }
  return {};
}

// Takes over every file that came with a message, so that none stays open unknown.
void take_files(msghdr& message, Fd& file) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int received = -1;
      std::memcpy(&received, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      file = Fd(received);
    }
  }
}

// How much came: less than asked for only at the end.
Result<size_t> receive_all(int socket, std::span<std::byte> into, Fd& file) {
  size_t done = 0;
  while (done < into.size()) {
    iovec piece{into.data() + done, into.size() - done};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    Control control{};
    message.msg_control = control.bytes.data();
    message.msg_controllen = control.bytes.size();
    const ssize_t got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return gone();
    take_files(message, file);
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

json error_to_json(const Error& error) {
  return {{"error", {{"code", static_cast<int>(error.code)}, {"message", error.message}}}};
}

// The Error of an answer, if it is one.
std::optional<Error> error_of(const json& head) {
  if (!head.contains("error")) return std::nullopt;
  try {
    const json& error = head.at("error");
    const int code = error.at("code").get<int>();
    if (code < 0 || code > static_cast<int>(Code::internal)) return gone();
    return Error{static_cast<Code>(code), error.at("message").get<std::string>()};
  } catch (const json::exception&) {
    return gone();
  }
}

}  // namespace

Result<std::pair<Channel, Channel>> Channel::pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return make_error(Code::internal, "Cannot make a pair of sockets: {}.", describe_errno(errno));
  }
  return std::pair(Channel(Fd(ends[0])), Channel(Fd(ends[1])));
}

Result<void> Channel::send(std::string_view head, std::span<const std::byte> body, int file) {
  if (head.size() > kLargestHead || body.size() > kLargestBody) {
    return make_error(Code::invalid_argument, "A message of {} bytes is too large to send.",
                      head.size() + body.size());
  }
  const Frame frame{static_cast<uint32_t>(head.size()), static_cast<uint32_t>(body.size())};
  std::vector<std::byte> start(sizeof(Frame) + head.size());
  std::memcpy(start.data(), &frame, sizeof frame);
  std::memcpy(start.data() + sizeof frame, head.data(), head.size());
  TRY(send_all(socket_.get(), start, file));
  return send_all(socket_.get(), body, -1);
}

Result<std::optional<Message>> Channel::receive(size_t largest_body) {
  Message message;
  Frame frame;
  const size_t first =
      TRY(receive_all(socket_.get(), std::as_writable_bytes(std::span(&frame, 1)), message.file));
  if (first == 0) return std::optional<Message>();
  if (first < sizeof frame) return gone();
  if (frame.head > kLargestHead || frame.body > largest_body) {
    return make_error(Code::corrupt, "A message promises {} bytes, more than is allowed.",
                      uint64_t{frame.head} + frame.body);
  }
  message.head.resize(frame.head);
  const auto head = std::as_writable_bytes(std::span(message.head));
  if (TRY(receive_all(socket_.get(), head, message.file)) < head.size()) return gone();
  // Grows with what comes, not with what is promised.
  constexpr size_t kPiece = size_t{8} << 20;
  while (message.body.size() < frame.body) {
    const size_t begin = message.body.size();
    message.body.resize(std::min<size_t>(frame.body, begin + kPiece));
    const auto piece = std::span(message.body).subspan(begin);
    if (TRY(receive_all(socket_.get(), piece, message.file)) < piece.size()) return gone();
  }
  return std::optional(std::move(message));
}

void Channel::shut_down() { ::shutdown(socket_.get(), SHUT_RDWR); }

Result<Message> call(Channel& channel, std::string_view head, std::span<const std::byte> body) {
  TRY(channel.send(head, body));
  auto answer = TRY(channel.receive());
  if (!answer) return gone();
  const json parsed = json::parse(answer->head, nullptr, false);
  if (!parsed.is_object()) return gone();
  if (auto error = error_of(parsed)) return *std::move(error);
  return *std::move(answer);
}

namespace {

// Nothing that the other side says may end this process.
Result<Answer> answer_safely(const Answerer& answer, Message& message) {
  try {
    return answer(message);
  } catch (const std::exception& e) {
    return make_error(Code::corrupt, "A message cannot be answered ({}).", e.what());
  }
}

}  // namespace

Result<bool> answer_calls(Channel& channel, const Answerer& answer, size_t largest_body) {
  for (;;) {
    auto message = TRY(channel.receive(largest_body));
    if (!message) return false;
    const auto answered = answer_safely(answer, *message);
    // An end that closed before it read its answer is seen by the next receive.
    if (!answered.ok()) {
      const json error = error_to_json(answered.error());
      (void)channel.send(error.dump(-1, ' ', false, json::error_handler_t::replace));
      continue;
    }
    (void)channel.send(answered->message.head, answered->message.body,
                       answered->message.file.get());
    if (answered->last) return true;
  }
}

}  // namespace atelier::run
