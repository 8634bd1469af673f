// SPDX-License-Identifier: Apache-2.0
#include "cli/warm_runs.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>

#include "base/file.h"
#include "cli/console.h"
#include "engine/warm_protocol.h"
#include "engine/worker_process.h"

namespace atelier::cli {

int serve_runs(int socket, const std::stop_token& stop,
               const std::function<int(std::vector<std::string>)>& run,
               const std::function<void()>& look) {
  constexpr int kLook = 1000;  // milliseconds
  int kind = 0;
  socklen_t size_of_kind = sizeof(kind);
  if (::getsockopt(socket, SOL_SOCKET, SO_TYPE, &kind, &size_of_kind) != 0 ||
      kind != SOCK_SEQPACKET) {
    return report_error(make_error(Code::invalid_argument,
                                   "Commands cannot be read from stdin, which is no socket of "
                                   "packets; `atelier serve` starts this with one."),
                        false);
  }
  const std::stop_callback hang_up(stop, [socket] { ::shutdown(socket, SHUT_RD); });
  std::string packet(engine::kLargestWarmCommand, '\0');
  for (;;) {
    pollfd asked{socket, POLLIN, 0};
    if (::poll(&asked, 1, kLook) <= 0) {
      look();
      continue;
    }
    const ssize_t size = ::recv(socket, packet.data(), packet.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) {
      return report_error(make_error(Code::internal, "Commands cannot be read from stdin: {}.",
                                     describe_errno(errno)),
                          false);
    }
    if (size == 0) return stop.stop_requested() ? engine::kInterrupted : 0;
    auto words =
        engine::parse_warm_command(std::string_view(packet).substr(0, static_cast<size_t>(size)));
    if (words.empty()) {
      return report_error(make_error(Code::invalid_argument, "What came is no command."), false);
    }
    const int code = run(std::move(words));
    std::fflush(stdout);
    std::fflush(stderr);
    const std::string answer = std::to_string(code);
    if (::send(socket, answer.data(), answer.size(), MSG_NOSIGNAL) < 0 || code != 0) return code;
  }
}

}  // namespace atelier::cli
