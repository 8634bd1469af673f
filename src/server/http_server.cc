// SPDX-License-Identifier: Apache-2.0
#include "server/http_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <condition_variable>
#include <cstring>
#include <map>
#include <thread>

#include "base/file.h"
#include "base/mutex.h"
#include "server/http_target.h"
#include "server/text_file.h"

namespace atelier::server {
namespace {

using Time = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kWatchTick(200);  // of the watchdog
// Of those that were connected when a certificate was replaced: streams have no end.
constexpr std::chrono::hours kMostLeaving(1);

constexpr size_t kHeaderRoom = size_t{32} << 10;
constexpr size_t kPieceRoom = size_t{16} << 10;
constexpr uint64_t kMostPem = uint64_t{1} << 20;

// An address and the socket that listens on it.
struct Bound {
  Fd socket;
  int port = 0;
};

Result<Bound> bind_to(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  addrinfo* found = nullptr;
  const auto cannot = [&](const std::string& why) {
    return make_error(Code::invalid_argument,
                      "The service cannot listen on {}:{} ({}); give another address in its "
                      "configuration.",
                      host, port, why);
  };
  const int looked = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (looked != 0) return cannot(::gai_strerror(looked));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> address(found, &::freeaddrinfo);
  Fd socket(::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
      ::bind(socket.get(), address->ai_addr, address->ai_addrlen) != 0 ||
      ::listen(socket.get(), SOMAXCONN) != 0) {
    return cannot(describe_errno(errno));
  }
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own), &size);
  const in_port_t bound = own.ss_family == AF_INET6
                              ? reinterpret_cast<const sockaddr_in6&>(own).sin6_port
                              : reinterpret_cast<const sockaddr_in&>(own).sin_port;
  return Bound{std::move(socket), ntohs(bound)};
}

std::string address_of(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address == nullptr) return {};
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    ::inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
  } else if (address->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    ::inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
  }
  return text.data();
}

MHD_Result add_header(void* into, MHD_ValueKind, const char* name, const char* value) {
  std::string lower = name;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  static_cast<Call*>(into)->headers.emplace(std::move(lower), value == nullptr ? "" : value);
  return MHD_YES;
}

// One connection. Its socket is closed only after it was told of (MHD_OPTION_NOTIFY_CONNECTION).
struct Connected {
  int fd = -1;
  // Of the request's first line, from the connection's beginning or the end of the request before;
  // then of the whole request. Unset: a stream, or one that was cut off.
  std::optional<Time::time_point> deadline;
};

// One request of a connection, from its first line to the last byte of its answer.
struct Exchange {
  Call call;
  Connected* connected = nullptr;
  bool target_ok = true;
  bool begun = false;    // its headers were seen
  bool counted = false;  // among those under way
};

struct Stream {
  NextPiece next;
  std::string rest;
  std::atomic<bool>* stopping;
};

ssize_t read_stream(void* of, uint64_t, char* into, size_t room) {
  auto& stream = *static_cast<Stream*>(of);
  if (stream.rest.empty()) {
    if (*stream.stopping) return MHD_CONTENT_READER_END_OF_STREAM;
    try {
      std::optional<std::string> piece = stream.next();
      if (!piece || piece->empty()) return MHD_CONTENT_READER_END_OF_STREAM;
      stream.rest = std::move(*piece);
    } catch (const std::exception&) {
      return MHD_CONTENT_READER_END_WITH_ERROR;
    }
  }
  const size_t count = std::min(room, stream.rest.size());
  std::memcpy(into, stream.rest.data(), count);
  stream.rest.erase(0, count);
  return static_cast<ssize_t>(count);
}

void end_stream(void* of) { delete static_cast<Stream*>(of); }

struct StopDaemon {
  void operator()(MHD_Daemon* daemon) const { MHD_stop_daemon(daemon); }
};
using DaemonPtr = std::unique_ptr<MHD_Daemon, StopDaemon>;

class MicroListener final : public HttpListener {
 public:
  MicroListener(ListenerOptions options, std::function<StreamReply(const Call&)> answer)
      : options_(std::move(options)), answer_(std::move(answer)) {}
  ~MicroListener() override {
    MicroListener::stop();
    watchdog_.request_stop();
    reaper_.request_stop();
  }

  Result<void> start() {
    Bound bound = TRY(bind_to(options_.host, options_.port));
    socket_ = std::move(bound.socket);
    port_ = bound.port;
    daemon_ = TRY(start_daemon());
    current_ = daemon_.get();
    watchdog_ = std::jthread([this](const std::stop_token& stop) {
      for (; !stop.stop_requested(); wait_tick(stop)) cut_overdue();
    });
    // By itself, as the end of a daemon waits for the answers that it makes.
    reaper_ = std::jthread([this](const std::stop_token& stop) {
      for (; !stop.stop_requested(); wait_tick(stop)) end_left();
    });
    return {};
  }

  int port() const override { return port_; }

  Result<void> reload_certificate() override {
    if (options_.certificate.empty()) return {};
    MutexLock lock(daemon_mutex_);
    if (!daemon_) return {};  // it has stopped
    DaemonPtr fresh = TRY(start_daemon());
    Fd listened(MHD_quiesce_daemon(daemon_.get()));
    // Whoever is connected, be it in the middle of a handshake, gets an answer first.
    const auto now = Time::now();
    leaving_.push_back({std::move(listened), std::move(daemon_), now, now + kMostLeaving});
    daemon_ = std::move(fresh);
    current_ = daemon_.get();
    return {};
  }

  void stop() override {
    MutexLock lock(daemon_mutex_);
    if (!daemon_) return;
    const Fd listened(MHD_quiesce_daemon(daemon_.get()));
    stopping_ = true;
    if (options_.on_stop) options_.on_stop();
    wait_until_answered();
    daemon_.reset();
    leaving_.clear();
    socket_ = Fd();
  }

  ListenerCounts counts() const override {
    return {requests_.load(), refused_.load(), too_large_.load(), malformed_.load(),
            overdue_.load()};
  }

 private:
  // Over a socket of its own, since a daemon closes what it listens on.
  Result<DaemonPtr> start_daemon() {
    std::string certificate, key;
    // ITC: without it a daemon cannot be quiesced.
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                     MHD_USE_POLL | MHD_USE_ITC;
    std::vector<MHD_OptionItem> more;
    if (!options_.certificate.empty()) {
      certificate = TRY(read_text_file(options_.certificate, "The certificate", kMostPem));
      key = TRY(read_text_file(options_.key, "The key", kMostPem));
      flags |= MHD_USE_TLS;
      more.push_back({MHD_OPTION_HTTPS_MEM_CERT, 0, certificate.data()});
      more.push_back({MHD_OPTION_HTTPS_MEM_KEY, 0, key.data()});
      more.push_back({MHD_OPTION_HTTPS_PRIORITIES, 0, priorities_.data()});
    }
    more.push_back({MHD_OPTION_END, 0, nullptr});
    const int own = ::fcntl(socket_.get(), F_DUPFD_CLOEXEC, 0);
    MHD_Daemon* daemon = MHD_start_daemon(
        flags, 0, nullptr, nullptr, &MicroListener::take, this,                    //
        MHD_OPTION_LISTEN_SOCKET, static_cast<MHD_socket>(own),                    //
        MHD_OPTION_CONNECTION_LIMIT, static_cast<unsigned>(options_.connections),  //
        MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        static_cast<unsigned>(options_.connections_of_one_address),                   //
        MHD_OPTION_CONNECTION_TIMEOUT, static_cast<unsigned>(options_.idle.count()),  //
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, kHeaderRoom,                              //
        MHD_OPTION_THREAD_STACK_SIZE, size_t{512} << 10,                              //
        MHD_OPTION_STRICT_FOR_CLIENT, 1,                                              //
        MHD_OPTION_URI_LOG_CALLBACK, &MicroListener::begin, this,                     //
        MHD_OPTION_NOTIFY_CONNECTION, &MicroListener::connect, this,                  //
        MHD_OPTION_NOTIFY_COMPLETED, &MicroListener::complete, this,                  //
        MHD_OPTION_UNESCAPE_CALLBACK, &MicroListener::leave_escapes, nullptr,         //
        MHD_OPTION_ARRAY, more.data(), MHD_OPTION_END);
    if (daemon != nullptr) return DaemonPtr(daemon);
    ::close(own);
    if (options_.certificate.empty()) {
      return make_error(Code::invalid_argument, "The service cannot start to listen on {}:{}.",
                        options_.host, port_);
    }
    return make_error(Code::invalid_argument,
                      "The service cannot use the certificate '{}' with the key '{}'; they must be "
                      "PEM files that belong together.",
                      options_.certificate, options_.key);
  }

  // Escapes are undone by decode_percent, which knows of NUL and of broken ones.
  static size_t leave_escapes(void*, MHD_Connection*, char* text) { return std::strlen(text); }

  // The first line of a request.
  static void* begin(void* self, const char* target, MHD_Connection* connection) {
    return static_cast<MicroListener*>(self)->begin_exchange(target, connection);
  }

  Exchange* begin_exchange(const char* target, MHD_Connection* connection) {
    auto* exchange = new Exchange;
    exchange->target_ok = read_target(target, exchange->call);
    const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info != nullptr) exchange->call.address = address_of(info->client_addr);
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (info != nullptr) exchange->connected = static_cast<Connected*>(info->socket_context);
    set_deadline(exchange->connected, options_.request_deadline);
    return exchange;
  }

  static void complete(void* self, MHD_Connection*, void** of, MHD_RequestTerminationCode) {
    static_cast<MicroListener*>(self)->end_exchange(static_cast<Exchange*>(*of));
    *of = nullptr;
  }

  void end_exchange(Exchange* exchange) {
    if (exchange == nullptr) return;
    set_deadline(exchange->connected, options_.idle);
    MutexLock lock(mutex_);
    if (exchange->counted) --under_way_;
    delete exchange;
    changed_.notify_all();
  }

  static void connect(void* self, MHD_Connection* connection, void** of,
                      MHD_ConnectionNotificationCode what) {
    static_cast<MicroListener*>(self)->note_connection(connection, of, what);
  }

  void note_connection(MHD_Connection* connection, void** of, MHD_ConnectionNotificationCode what) {
    MutexLock lock(mutex_);
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
      connected_.erase(static_cast<Connected*>(*of));
      *of = nullptr;
      return;
    }
    auto made = std::make_unique<Connected>();
    const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info != nullptr) made->fd = info->connect_fd;
    made->deadline = Time::now() + options_.request_deadline;
    *of = made.get();
    connected_.emplace(made.get(), std::move(made));
  }

  void set_deadline(Connected* connected, Time::duration from_now) {
    if (connected == nullptr) return;
    MutexLock lock(mutex_);
    connected->deadline = Time::now() + from_now;
  }

  static MHD_Result take(void* self, MHD_Connection* connection, const char*, const char* method,
                         const char*, const char* upload, size_t* upload_size, void** of) {
    return static_cast<MicroListener*>(self)->take_part(
        connection, method, std::string_view(upload == nullptr ? "" : upload, *upload_size),
        upload_size, *static_cast<Exchange*>(*of));
  }

  // Called once when the headers are there, then for pieces of the body, then at its end.
  MHD_Result take_part(MHD_Connection* connection, const char* method, std::string_view piece,
                       size_t* upload_size, Exchange& exchange) {
    if (!exchange.begun) {
      exchange.begun = true;
      exchange.call.method = method;
      MHD_get_connection_values(connection, MHD_HEADER_KIND, &add_header, &exchange.call);
      ++requests_;
      if (const auto refusal = refuse(exchange)) return send(connection, exchange, {*refusal, {}});
      return MHD_YES;
    }
    if (!piece.empty()) {
      *upload_size = 0;
      if (exchange.call.body.size() + piece.size() > options_.most_body) {
        ++too_large_;
        return MHD_NO;  // closes the connection: a chunked body that does not end
      }
      exchange.call.body += piece;
      return MHD_YES;
    }
    if (!begin_answer(exchange.connected)) return send(connection, exchange, {busy(), {}});
    StreamReply reply = answer(exchange.call);
    set_deadline(exchange.connected, options_.request_deadline);
    {
      MutexLock lock(mutex_);
      --answering_;
    }
    return send(connection, exchange, std::move(reply));
  }

  // Takes one of the places of those that are answered at once. Who only sends its request, however
  // slowly, has none, since that takes no more than a connection. While the answer is made (a
  // backup takes as long as its disk does) nobody waits for the client: it has no deadline.
  bool begin_answer(Connected* connected) {
    MutexLock lock(mutex_);
    if (answering_ >= options_.at_once) {
      ++refused_;
      return false;
    }
    ++answering_;
    if (connected != nullptr) connected->deadline.reset();
    return true;
  }

  static Reply busy() {
    Reply reply = problem(503, "The service answers as many requests as it can; try again.");
    reply.headers["Retry-After"] = "1";
    return reply;
  }

  // A bug in one answer must not end the others: nothing of ours throws, but what we use can.
  StreamReply answer(const Call& call) const {
    try {
      return answer_(call);
    } catch (const std::exception& error) {
      return {
          problem(500, fmt::format("The service met a bug ({}); please report it.", error.what())),
          {}};
    }
  }

  // What is said to a request before its body is read.
  std::optional<Reply> refuse(Exchange& exchange) {
    if (!exchange.target_ok) {
      ++malformed_;
      return problem(400, "The request's target is not a path with well-formed escapes.");
    }
    const std::string length = exchange.call.header("content-length");
    if (!length.empty() && (length.size() > 12 || std::stoull("0" + length) > options_.most_body)) {
      ++too_large_;
      return problem(413, fmt::format("A body may have {} bytes here.", options_.most_body));
    }
    MutexLock lock(mutex_);
    ++under_way_;
    exchange.counted = true;
    return std::nullopt;
  }

  MHD_Result send(MHD_Connection* connection, Exchange& exchange, StreamReply said) {
    MHD_Response* response = nullptr;
    if (said.next) {
      {
        MutexLock lock(mutex_);
        if (exchange.connected != nullptr) exchange.connected->deadline.reset();
        if (std::exchange(exchange.counted, false)) --under_way_;
      }
      auto stream = std::make_unique<Stream>(Stream{std::move(said.next), {}, &stopping_});
      response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, kPieceRoom, &read_stream,
                                                   stream.release(), &end_stream);
    } else {
      response = MHD_create_response_from_buffer(said.reply.body.size(), said.reply.body.data(),
                                                 MHD_RESPMEM_MUST_COPY);
    }
    if (response == nullptr) return MHD_NO;
    add_headers(response, said.reply, goes_on(connection));
    const MHD_Result queued =
        MHD_queue_response(connection, static_cast<unsigned>(said.reply.status), response);
    MHD_destroy_response(response);
    return queued;
  }

  // Whether another request may come over it.
  bool goes_on(MHD_Connection* connection) const {
    const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_DAEMON);
    return !stopping_ && (info == nullptr || info->daemon == current_);
  }

  void add_headers(MHD_Response* response, const Reply& reply, bool goes_on) const {
    if (reply.status != 204) MHD_add_response_header(response, "Content-Type", reply.type.c_str());
    // What is served is data: nothing of it may be run, framed or guessed at by a browser.
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    if (!options_.certificate.empty()) {
      MHD_add_response_header(response, "Strict-Transport-Security", "max-age=31536000");
    }
    for (const auto& [name, value] : reply.headers) {
      if (name == "Cache-Control") MHD_del_response_header(response, "Cache-Control", "no-store");
      MHD_add_response_header(response, name.c_str(), value.c_str());
    }
    if (!goes_on) MHD_add_response_header(response, "Connection", "close");
  }

  void wait_until_answered() {
    const auto deadline = Time::now() + options_.request_deadline;
    MutexLock lock(mutex_);
    while (under_way_ > 0 && Time::now() < deadline) {
      changed_.wait_for(mutex_, std::chrono::milliseconds(50));
    }
  }

  // Ends daemons that were replaced, when their last connection has gone or has had its time.
  void end_left() {
    const auto now = Time::now();
    std::vector<Leaving> left;
    MutexLock lock(daemon_mutex_);
    std::erase_if(leaving_, [&](Leaving& one) {
      const auto* info = MHD_get_daemon_info(one.daemon.get(), MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
      // One that was accepted a moment ago may not be counted yet.
      const bool is_idle =
          info != nullptr && info->num_connections == 0 && now - one.since > kWatchTick;
      if (!is_idle && now < one.until) return false;
      left.push_back(std::move(one));
      return true;
    });
  }

  void wait_tick(const std::stop_token& stop) {
    MutexLock lock(mutex_);
    changed_.wait_for(mutex_, stop, kWatchTick, [] { return false; });
  }

  void cut_overdue() {
    MutexLock lock(mutex_);
    const auto now = Time::now();
    for (const auto& [key, connected] : connected_) {
      if (!connected->deadline || *connected->deadline > now) continue;
      connected->deadline.reset();
      ++overdue_;
      ::shutdown(connected->fd, SHUT_RDWR);
    }
  }

  const ListenerOptions options_;
  // Of GnuTLS: TLS 1.2 and 1.3 alone.
  std::string priorities_ = "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE";
  const std::function<StreamReply(const Call&)> answer_;
  Fd socket_;
  int port_ = 0;
  std::atomic<bool> stopping_ = false;
  std::atomic<uint64_t> requests_ = 0, refused_ = 0, too_large_ = 0, malformed_ = 0, overdue_ = 0;
  Mutex mutex_;
  std::condition_variable_any changed_;
  std::map<Connected*, std::unique_ptr<Connected>> connected_ GUARDED_BY(mutex_);
  int under_way_ GUARDED_BY(mutex_) = 0;  // requests from their headers to the answer's last byte
  int answering_ GUARDED_BY(mutex_) = 0;  // whose answers are being made
  Mutex daemon_mutex_;
  DaemonPtr daemon_ GUARDED_BY(daemon_mutex_);
  std::atomic<MHD_Daemon*> current_ = nullptr;  // daemon_
  // Replaced, and here for those that are connected, for so long.
  struct Leaving {
    Fd listened;  // closed after the daemon's end (MHD_quiesce_daemon)
    DaemonPtr daemon;
    Time::time_point since, until;
  };
  std::vector<Leaving> leaving_ GUARDED_BY(daemon_mutex_);
  std::jthread reaper_, watchdog_;  // last: they end first
};

}  // namespace

Result<std::unique_ptr<HttpListener>> HttpListener::open(
    const ListenerOptions& options, std::function<StreamReply(const Call&)> answer) {
  auto listener = std::make_unique<MicroListener>(options, std::move(answer));
  TRY(listener->start());
  return std::unique_ptr<HttpListener>(std::move(listener));
}

}  // namespace atelier::server
