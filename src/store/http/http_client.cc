// SPDX-License-Identifier: Apache-2.0
#include "store/http/http_client.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <ctime>

#include "base/mutex.h"

namespace atelier::http {
namespace {

// A body that says what went wrong may be longer than what was asked for.
constexpr uint64_t kErrorBytes = uint64_t{64} << 10;
constexpr size_t kMostHeaders = 1000, kMostHeaderBytes = size_t{256} << 10;

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(a, b, [&](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// What libcurl's callbacks work on.
struct Exchange {
  explicit Exchange(const Request& of) : request(of) {}
  const Request& request;
  Response response;
  size_t header_bytes = 0;
  size_t sent = 0;
  bool too_much = false;
  int tries = 0;
  // With may_trickle: how much had moved when it was looked at last, and since when no more has.
  size_t moved = 0;
  std::chrono::steady_clock::time_point moved_at = std::chrono::steady_clock::now();
  std::chrono::seconds stall_timeout{};
  bool stalled = false;
};

size_t take_header(char* text, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view line(text, size * count);
  // The status line of another response: what went before was only "100 Continue".
  if (line.starts_with("HTTP/")) exchange.response.headers.clear();
  exchange.header_bytes += line.size();
  if (exchange.response.headers.size() >= kMostHeaders ||
      exchange.header_bytes > kMostHeaderBytes) {
    exchange.too_much = true;
    return 0;
  }
  const size_t colon = line.find(':');
  if (colon != std::string_view::npos) {
    exchange.response.headers.push_back({std::string(trimmed(line.substr(0, colon))),
                                         std::string(trimmed(line.substr(colon + 1)))});
  }
  return line.size();
}

size_t take_body(char* bytes, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  std::vector<std::byte>& body = exchange.response.body;
  const size_t length = size * count;
  if (length > std::max(exchange.request.most_bytes, kErrorBytes) - body.size()) {
    exchange.too_much = true;
    return 0;
  }
  const auto* from = reinterpret_cast<const std::byte*>(bytes);
  body.insert(body.end(), from, from + length);
  return length;
}

size_t give_body(char* into, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const size_t left = exchange.request.body.size() - exchange.sent;
  const size_t length = std::min(left, size * count);
  if (length > 0) std::memcpy(into, exchange.request.body.data() + exchange.sent, length);
  exchange.sent += length;
  return length;
}

// libcurl rewinds when a kept connection turns out to be closed.
int seek_body(void* user, curl_off_t offset, int origin) {
  auto& exchange = *static_cast<Exchange*>(user);
  if (origin != SEEK_SET || offset < 0 ||
      static_cast<uint64_t>(offset) > exchange.request.body.size()) {
    return CURL_SEEKFUNC_FAIL;
  }
  exchange.sent = static_cast<size_t>(offset);
  return CURL_SEEKFUNC_OK;
}

// libcurl sends a request again by itself when it went out on a kept connection that then closed
// without a word. A write may have taken effect by then, and its second would meet the first as a
// conflict: who repeats it must know.
int before_request(void* user, char*, char*, int, int) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string& method = exchange.request.method;
  const bool reads = method == "GET" || method == "HEAD";
  return ++exchange.tries == 1 || reads ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

// libcurl calls it about once a second. The limit on its own is an average of whole bytes a second,
// which a byte every few seconds is below.
int look_for_stall(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto& exchange = *static_cast<Exchange*>(user);
  const size_t moved = exchange.header_bytes + exchange.response.body.size() + exchange.sent;
  const auto now = std::chrono::steady_clock::now();
  if (moved != exchange.moved) {
    exchange.moved = moved;
    exchange.moved_at = now;
  }
  exchange.stalled = now - exchange.moved_at > exchange.stall_timeout;
  return exchange.stalled ? 1 : 0;
}

struct StringList {
  curl_slist* first = nullptr;
  ~StringList() { curl_slist_free_all(first); }
  void add(const std::string& line) { first = curl_slist_append(first, line.c_str()); }
};

void set_method(CURL* easy, const Request& request) {
  if (request.method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (request.method == "PUT" || request.method == "POST") {
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    if (request.method == "POST") curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "POST");
  } else {
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
}

// What is the same for every request of a client.
void set_options(CURL* easy, const ClientOptions& options) {
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  // Nothing that has no scheme goes out in clear.
  curl_easy_setopt(easy, CURLOPT_DEFAULT_PROTOCOL, "https");
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  // The path is signed as it stands.
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "atelier/0.1");
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(options.connect_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, options.slow_bytes);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.stall_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 512L << 10);
  curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 512L << 10);
  if (options.direct) curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  if (!options.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, options.ca_file.c_str());
}

// `exchange` must outlive the request.
void let_trickle(CURL* easy, Exchange& exchange, const ClientOptions& options) {
  exchange.stall_timeout = options.stall_timeout;
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, 0L);
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, look_for_stall);
  curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &exchange);
}

enum class Family { none, ipv4, ipv6 };

Family family_of(const std::string& address) {
  in6_addr ignored{};
  if (::inet_pton(AF_INET, address.c_str(), &ignored) == 1) return Family::ipv4;
  return ::inet_pton(AF_INET6, address.c_str(), &ignored) == 1 ? Family::ipv6 : Family::none;
}

// Whatever host and port, to that address and the port that was asked for. `into` must outlive the
// request.
void set_connect_to(CURL* easy, const std::string& address, StringList& into) {
  into.add(family_of(address) == Family::ipv6 ? "::[" + address + "]:" : "::" + address + ":");
  curl_easy_setopt(easy, CURLOPT_CONNECT_TO, into.first);
  curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
  curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
}

Error error_of(CURLcode code, const Exchange& exchange, const ClientOptions& options) {
  const std::string host = origin_of(exchange.request.url);
  if (exchange.too_much) {
    return make_error(Code::unavailable,
                      "{} sent a longer answer than was asked for; check that it is the store.",
                      host);
  }
  switch (exchange.stalled ? CURLE_OPERATION_TIMEDOUT : code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return make_error(Code::unavailable, "Cannot find the host of {}; check its name.", host);
    case CURLE_COULDNT_CONNECT:
      return make_error(Code::unavailable,
                        "Cannot connect to {}; check that it is there and can be reached.", host);
    case CURLE_OPERATION_TIMEDOUT:
      return make_error(Code::unavailable, "{} did not answer in time; try again later.", host);
    case CURLE_PEER_FAILED_VERIFICATION:
      return make_error(Code::invalid_argument,
                        "The certificate of {} is not to be trusted; if an authority of your own "
                        "signed it, name its file in ATELIER_CA_FILE.",
                        host);
    case CURLE_SSL_CACERT_BADFILE:
      return make_error(Code::invalid_argument,
                        "Cannot read certificates of authorities from '{}'; name a PEM file.",
                        options.ca_file);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return make_error(Code::invalid_argument,
                        "'{}' is not the address of a store; give https://host[:port][/path].",
                        host);
    case CURLE_ABORTED_BY_CALLBACK:
      return make_error(Code::unavailable, "{} closed the connection without an answer; try again.",
                        host);
    case CURLE_OUT_OF_MEMORY:
      return make_error(Code::internal, "No memory is left for a request to {}.", host);
    default:
      return make_error(Code::unavailable, "The connection to {} broke ({}); try again.", host,
                        curl_easy_strerror(code));
  }
}

Result<Response> perform(CURL* easy, const Request& request, const ClientOptions& options) {
  Exchange exchange(request);
  StringList headers, connect_to;
  // A header without a value takes the one away that libcurl would send.
  headers.add("Expect:");
  headers.add("Accept:");
  bool typed = false;
  for (const Header& header : request.headers) {
    headers.add(header.value.empty() ? header.name + ";" : header.name + ": " + header.value);
    typed = typed || same_name(header.name, "Content-Type");
  }
  if (!typed) headers.add("Content-Type:");
  curl_easy_reset(easy);
  set_options(easy, options);
  set_method(easy, request);
  if (!request.connect_to.empty()) set_connect_to(easy, request.connect_to, connect_to);
  if (request.may_trickle) let_trickle(easy, exchange, options);
  curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers.first);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body);
  curl_easy_setopt(easy, CURLOPT_READDATA, &exchange);
  curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, seek_body);
  curl_easy_setopt(easy, CURLOPT_SEEKDATA, &exchange);
  curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request);
  curl_easy_setopt(easy, CURLOPT_PREREQDATA, &exchange);
  const CURLcode code = curl_easy_perform(easy);
  if (code != CURLE_OK) return error_of(code, exchange, options);
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  exchange.response.status = static_cast<int>(status);
  return std::move(exchange.response);
}

}  // namespace

std::string_view Response::header(std::string_view name) const {
  for (const Header& header : headers) {
    if (same_name(header.name, name)) return header.value;
  }
  return {};
}

struct Client::Pool {
  ClientOptions options;
  Mutex mutex;
  std::vector<CURL*> idle GUARDED_BY(mutex);

  CURL* take() {
    MutexLock lock(mutex);
    if (idle.empty()) return curl_easy_init();
    CURL* easy = idle.back();
    idle.pop_back();
    return easy;
  }
  void give_back(CURL* easy) {
    MutexLock lock(mutex);
    idle.push_back(easy);
  }
  ~Pool() {
    for (CURL* easy : idle) curl_easy_cleanup(easy);
  }
};

Client::Client(ClientOptions options) : pool_(std::make_unique<Pool>()) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  static_cast<void>(initialised);
  pool_->options = std::move(options);
}

Client::~Client() = default;

Result<Response> Client::send(const Request& request) {
  if (!request.connect_to.empty() && family_of(request.connect_to) == Family::none) {
    return make_error(Code::invalid_argument,
                      "A request to {} is to go to what is no IP address; give one, or none.",
                      origin_of(request.url));
  }
  CURL* easy = pool_->take();
  if (easy == nullptr) return Error{Code::internal, "libcurl gives no handle; free some memory."};
  auto response = perform(easy, request, pool_->options);
  pool_->give_back(easy);
  return response;
}

std::string origin_of(std::string_view url) {
  const size_t scheme = url.find("://");
  const size_t begin = scheme == std::string_view::npos ? 0 : scheme + 3;
  const size_t end = std::min(url.find_first_of("/?#", begin), url.size());
  const size_t user = url.substr(0, end).rfind('@');
  const size_t host = user == std::string_view::npos || user < begin ? begin : user + 1;
  return std::string(url.substr(0, begin)) + std::string(url.substr(host, end - host));
}

std::chrono::milliseconds retry_after(const Response& response,
                                      std::chrono::system_clock::time_point now) {
  constexpr int64_t kMost = 3600;
  const std::string_view text = response.header("Retry-After");
  int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size()) {
    const auto date = parse_date(text);
    seconds = date ? std::chrono::ceil<std::chrono::seconds>(*date - now).count() : 0;
  }
  return std::chrono::seconds(std::clamp<int64_t>(seconds, 0, kMost));
}

std::string format_date(std::chrono::system_clock::time_point time) {
  constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const time_t seconds = std::chrono::system_clock::to_time_t(time);
  tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays.at(utc.tm_wday), utc.tm_mday,
                     kMonths.at(utc.tm_mon), utc.tm_year + 1900, utc.tm_hour, utc.tm_min,
                     utc.tm_sec);
}

std::optional<std::chrono::system_clock::time_point> parse_date(std::string_view text) {
  const time_t seconds = curl_getdate(std::string(text).c_str(), nullptr);
  if (seconds == -1) return std::nullopt;
  return std::chrono::system_clock::from_time_t(seconds);
}

}  // namespace atelier::http
