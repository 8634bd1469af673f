// SPDX-License-Identifier: Apache-2.0
#include "cli/service_client.h"

#include <cstdlib>
#include <filesystem>

#include "server/text_values.h"
#include "store/names.h"
#include "store/secret.h"

namespace atelier::cli {
namespace {

using nlohmann::json;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::filesystem::path token_file() {
  const std::string config = variable("XDG_CONFIG_HOME");
  const std::filesystem::path base = config.empty()
                                         ? std::filesystem::path(variable("HOME")) / ".config"
                                         : std::filesystem::path(config);
  return base / "atelier" / "token";
}

Result<std::string> find_token() {
  if (std::string token = variable("ATELIER_TOKEN"); !token.empty()) return token;
  if (const std::string file = variable("ATELIER_TOKEN_FILE"); !file.empty()) {
    return read_secret_file(file);
  }
  const std::filesystem::path file = token_file();
  std::error_code ignored;
  if (std::filesystem::exists(file, ignored)) return read_secret_file(file);
  return make_error(Code::invalid_argument,
                    "There is no token for the service; put one into $ATELIER_TOKEN, or into the "
                    "file '{}' with mode 0600.",
                    file.string());
}

Code code_of(int status) {
  if (status == 422) return Code::invalid_input;
  if (status == 429 || status == 503 || status == 502 || status == 504) return Code::unavailable;
  return status >= 500 ? Code::internal : Code::invalid_argument;
}

// Of what follows "http://".
bool is_this_machine(const std::string& rest) {
  const std::string host = rest.substr(0, rest.find_first_of("/?#"));
  auto place = server::parse_address(host);
  if (!place) place = server::parse_address(host + ":80");
  return place && place->is_loopback();
}

}  // namespace

std::string encode_part(std::string_view text) {
  std::string made;
  for (const char c : percent_encode(text))
    made += c == '/' ? std::string("%2F") : std::string(1, c);
  return made;
}

Result<ServiceClient> ServiceClient::open(const std::string& given, std::chrono::seconds patience) {
  std::string address = !given.empty() ? given : variable("ATELIER_SERVICE");
  if (address.empty()) address = "http://127.0.0.1:8080";
  while (address.ends_with('/')) address.pop_back();
  if (!address.starts_with("http://") && !address.starts_with("https://")) {
    return make_error(Code::invalid_argument,
                      "'{}' is no address of a service; give one like https://atelier.example.com.",
                      address);
  }
  if (address.starts_with("http://") && !is_this_machine(address.substr(7))) {
    return make_error(Code::invalid_argument,
                      "'{}' would get the token in clear; give an https:// address, or reach the "
                      "service through a tunnel to this machine.",
                      address);
  }
  std::string token = TRY(find_token());
  http::ClientOptions options;
  options.ca_file = variable("ATELIER_CA_FILE");
  options.stall_timeout = patience;
  options.direct = address.starts_with("http://");  // no proxy hears the token in clear
  return ServiceClient(std::move(address), std::move(token),
                       std::make_unique<http::Client>(options));
}

Result<std::string> ServiceClient::text(const std::string& method, const std::string& path,
                                        const std::string& body, const std::string& type,
                                        const std::vector<http::Header>& headers) {
  http::Request request;
  request.method = method;
  request.url = address_ + path;
  request.headers = headers;
  request.headers.push_back({"Authorization", "Bearer " + token_});
  if (!body.empty()) request.headers.push_back({"Content-Type", type});
  request.body = as_bytes(body);
  const http::Response response = TRY(client_->send(request));
  std::string said(reinterpret_cast<const char*>(response.body.data()), response.body.size());
  if (response.status < 300) return said;
  const json problem = json::parse(said, nullptr, false);
  const std::string detail =
      problem.is_object() && problem.contains("detail") && problem["detail"].is_string()
          ? problem["detail"].get<std::string>()
          : fmt::format("The service answered with status {}.", response.status);
  return Error{code_of(response.status), detail, {}};
}

Result<json> ServiceClient::ask(const std::string& method, const std::string& path,
                                const std::string& body, const std::string& type,
                                const std::vector<http::Header>& headers) {
  const std::string said = TRY(text(method, path, body, type, headers));
  if (said.empty()) return json::object();
  json read = json::parse(said, nullptr, false);
  if (!read.is_discarded()) return read;
  return make_error(Code::unavailable, "What answers at {} is not the service.",
                    http::origin_of(address_));
}

}  // namespace atelier::cli
