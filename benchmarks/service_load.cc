// SPDX-License-Identifier: Apache-2.0
// Asks a service for runs as fast as it can, or at a rate, and looks afterwards for each that the
// service took. Prints one JSON object; see service_load.py.
//
// The load is an open loop: request k is due at k / rate whatever became of those before it, any
// connection that is free takes the next one, and its latency counts from when it was due. So a
// service that stalls is charged for everything that waited meanwhile. Without a rate each
// connection sends its next request when it has the answer, and latency counts from sending.
//
// usage: bench_service_load load PORT CONNECTIONS SECONDS RATE INPUT OUTPUT-FOLDER FILE
//            names of runs that were accepted go into FILE, one a line
//        bench_service_load look PORT FILE
//            each name of FILE must be in the list of runs; times pages of 50 and of 1000
// environment: ATELIER_TOKEN
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <vector>

namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

struct Answer {
  int status = 0;
  bool says_when = false;  // has Retry-After
  std::string body;
};

// One connection that is kept, of one thread. After any failure it is closed and `ask` fails.
class Connection {
 public:
  explicit Connection(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int yes = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    const timeval patience{30, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) close();
  }
  ~Connection() { close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bool is_open() const { return fd_ >= 0; }

  std::optional<Answer> ask(std::string_view request) {
    auto answer = send(request) ? receive() : std::nullopt;
    if (!answer) close();
    return answer;
  }

 private:
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  bool send(std::string_view rest) const {
    while (!rest.empty()) {
      const ssize_t count = ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      rest.remove_prefix(static_cast<size_t>(count));
    }
    return true;
  }

  bool fill() {
    char piece[65536];
    const ssize_t count = ::recv(fd_, piece, sizeof piece, 0);
    if (count > 0) had_.append(piece, static_cast<size_t>(count));
    return count > 0;
  }

  // What the service sends: Content-Length, never chunks.
  std::optional<Answer> receive() {
    had_.clear();
    size_t end = 0;
    while ((end = had_.find("\r\n\r\n")) == std::string::npos) {
      if (!fill()) return std::nullopt;
    }
    end += 4;
    const std::string head = had_.substr(0, end);
    constexpr std::string_view kLength = "\r\nContent-Length: ";
    const size_t length = head.find(kLength);
    if (!head.starts_with("HTTP/1.1 ") || length == std::string::npos) return std::nullopt;
    const size_t size = std::strtoull(head.c_str() + length + kLength.size(), nullptr, 10);
    while (had_.size() < end + size) {
      if (!fill()) return std::nullopt;
    }
    return Answer{std::atoi(head.c_str() + 9), head.find("\r\nRetry-After: ") != std::string::npos,
                  had_.substr(end, size)};
  }

  int fd_;
  std::string had_;
};

std::string request_of(std::string_view method, std::string_view target, std::string_view body) {
  const char* token = std::getenv("ATELIER_TOKEN");
  std::string text(method);
  text.append(" ").append(target).append(" HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ");
  text.append(token == nullptr ? "" : token);
  if (!body.empty()) {
    text += "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size());
  }
  return text.append("\r\n\r\n").append(body);
}

struct Plan {
  int port = 0;
  size_t connections = 1;
  double seconds = 1;
  double rate = 0;  // of all connections together; 0: as fast as they can
  std::string input, output;
  std::string tag;  // makes the outputs of this load its own

  Clock::duration due(uint64_t number) const {
    if (rate <= 0) return Clock::duration::zero();
    return std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(static_cast<double>(number) / rate));
  }
};

// What one connection saw.
struct Seen {
  std::vector<std::string> accepted;
  std::vector<double> milliseconds;  // of all that were answered
  uint64_t sent = 0, refused = 0, errors = 0;
  std::string first_error;

  void count(const std::optional<Answer>& answer) {
    if (!answer) return fail("the connection was lost");
    const json said = json::parse(answer->body, nullptr, false);
    if (answer->status == 201 && said.is_object() && said.contains("id")) {
      accepted.push_back(said["id"].get<std::string>());
    } else if ((answer->status == 429 || answer->status == 503) && answer->says_when) {
      ++refused;
    } else {
      fail(std::to_string(answer->status) + " " + answer->body);
    }
  }

  void fail(const std::string& why) {
    if (errors++ == 0) first_error = why;
  }
};

std::string submission(const Plan& plan, uint64_t number) {
  const json body = {
      {"pipeline", "paint"},
      {"parameters",
       {{"input", plan.input},
        {"output", plan.output + "/" + plan.tag + std::to_string(number) + ".mp4"}}}};
  return request_of("POST", "/v1/runs", body.dump());
}

// One connection's share: until the time is up, or the service is gone.
void submit(const Plan& plan, Clock::time_point begin, std::atomic<uint64_t>& next, Seen& seen) {
  Connection connection(plan.port);
  const auto end = begin + std::chrono::duration_cast<Clock::duration>(
                               std::chrono::duration<double>(plan.seconds));
  std::this_thread::sleep_until(begin);
  while (connection.is_open()) {
    const uint64_t number = next++;
    auto due = begin + plan.due(number);
    if (plan.rate <= 0) due = Clock::now();
    if (due >= end) return;
    std::this_thread::sleep_until(due);
    const std::string request = submission(plan, number);
    ++seen.sent;
    const auto answer = connection.ask(request);
    seen.milliseconds.push_back(Milliseconds(Clock::now() - due).count());
    seen.count(answer);
  }
  if (seen.sent == 0) seen.fail("no connection");
}

double quantile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  const auto last = static_cast<double>(sorted.size() - 1);
  return sorted[static_cast<size_t>(share * last)];
}

int load(const Plan& plan, const char* file) {
  std::vector<Seen> seen(plan.connections);
  std::atomic<uint64_t> next = 0;
  const auto begin = Clock::now() + std::chrono::milliseconds(200);  // all are connected by then
  {
    std::vector<std::jthread> threads;
    for (Seen& one : seen) threads.emplace_back([&] { submit(plan, begin, next, one); });
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  Seen all;
  std::ofstream names(file, std::ios::app);
  for (const Seen& one : seen) {
    for (const std::string& name : one.accepted) names << name << '\n';
    all.accepted.insert(all.accepted.end(), one.accepted.begin(), one.accepted.end());
    all.milliseconds.insert(all.milliseconds.end(), one.milliseconds.begin(),
                            one.milliseconds.end());
    all.sent += one.sent;
    all.refused += one.refused;
    all.errors += one.errors;
    if (all.first_error.empty()) all.first_error = one.first_error;
  }
  std::ranges::sort(all.milliseconds);
  const json told{{"sent", all.sent},
                  {"accepted", all.accepted.size()},
                  {"refused", all.refused},
                  {"errors", all.errors},
                  {"first_error", all.first_error},
                  {"seconds", seconds},
                  {"p50_ms", quantile(all.milliseconds, 0.5)},
                  {"p99_ms", quantile(all.milliseconds, 0.99)},
                  {"max_ms", quantile(all.milliseconds, 1)}};
  std::puts(told.dump().c_str());
  return names.good() ? 0 : 1;
}

// A page, and how long it took; null where it is not one.
json page_of(Connection& connection, const std::string& query, double& milliseconds) {
  const auto begin = Clock::now();
  const auto answer = connection.ask(request_of("GET", "/v1/runs?" + query, ""));
  milliseconds = Milliseconds(Clock::now() - begin).count();
  if (!answer || answer->status != 200) return {};
  return json::parse(answer->body, nullptr, false);
}

// The worst of some.
double page_time(Connection& connection, const std::string& query) {
  double worst = 0;
  for (int round = 0; round < 20; ++round) {
    double taken = 0;
    if (!page_of(connection, query, taken).is_object()) return -1;
    worst = std::max(worst, taken);
  }
  return worst;
}

int look(int port, const char* file) {
  std::unordered_set<std::string> lost;
  std::ifstream names(file);
  for (std::string name; std::getline(names, name);) lost.insert(name);
  const size_t accepted = lost.size();
  Connection connection(port);
  uint64_t listed = 0;
  double worst = 0;
  for (std::string before; connection.is_open();) {
    double taken = 0;
    const json page = page_of(connection, "limit=1000" + before, taken);
    if (!page.is_object() || !page.contains("runs") || !page.contains("next")) {
      std::fputs("error: bench_service_load was not given a page of runs\n", stderr);
      return 1;
    }
    worst = std::max(worst, taken);
    for (const json& run : page["runs"]) lost.erase(run["id"].get<std::string>());
    listed += page["runs"].size();
    if (page["next"].is_null()) break;
    before = "&before=" + page["next"].dump();
  }
  const json told{{"accepted", accepted},
                  {"listed", listed},
                  {"lost", lost.size()},
                  {"worst_page_ms", worst},
                  {"page_50_ms", page_time(connection, "limit=50")},
                  {"page_50_queued_ms", page_time(connection, "limit=50&state=queued")},
                  {"page_1000_ms", page_time(connection, "limit=1000")},
                  {"page_1000_queued_ms", page_time(connection, "limit=1000&state=queued")}};
  std::puts(told.dump().c_str());
  return lost.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (what == "look" && argc == 4) return look(std::atoi(argv[2]), argv[3]);
  if (what == "load" && argc == 9) {
    Plan plan{std::atoi(argv[2]),
              std::strtoull(argv[3], nullptr, 10),
              std::atof(argv[4]),
              std::atof(argv[5]),
              argv[6],
              argv[7],
              std::to_string(::getpid()) + "-"};
    if (plan.connections >= 1 && plan.connections <= 1000 && plan.seconds > 0) {
      return load(plan, argv[8]);
    }
  }
  std::fputs(
      "usage: bench_service_load load PORT CONNECTIONS SECONDS RATE INPUT OUTPUT-FOLDER FILE\n"
      "       bench_service_load look PORT FILE\n",
      stderr);
  return 2;
}
