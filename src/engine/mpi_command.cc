// SPDX-License-Identifier: Apache-2.0
#include "engine/mpi_command.h"

#include <algorithm>
#include <charconv>
#include <sstream>

namespace atelier::engine {
namespace {

using Words = std::vector<std::string>;

void append(Words& words, std::initializer_list<std::string> more) {
  words.insert(words.end(), more);
}

// What is the same for every start.
Words beginning(const MpiSetup& setup) {
  // Which rank speaks; ranks share the processors of their host by themselves.
  Words words = {setup.mpirun, "--tag-output", "--bind-to", "none"};
  auto parameters = transport_parameters(setup.interface);
  parameters.insert(
      parameters.end(),
      {{"oob_tcp_if_include", setup.interface},
       // Without these a host that went silent is never noticed; so after four seconds.
       {"oob_tcp_keepalive_time", "2"},
       {"oob_tcp_keepalive_intvl", "1"},
       {"oob_tcp_keepalive_probes", "2"}});
  for (const auto& [name, value] : parameters) append(words, {"--mca", name, value});
  if (!setup.variables.empty()) {
    append(words,
           {"--mca", "mca_base_env_list", fmt::format("{}", fmt::join(setup.variables, ";"))});
  }
  return words;
}

void append_program(Words& words, const MpiSetup& setup, const Words& arguments) {
  words.push_back(setup.program);
  words.insert(words.end(), arguments.begin(), arguments.end());
}

Result<int> parse_slots(const std::string& word, const std::string& place) {
  int slots = 0;
  constexpr std::string_view kKey = "slots=";
  const char* const end = word.data() + word.size();
  if (word.starts_with(kKey)) {
    const auto parsed = std::from_chars(word.data() + kKey.size(), end, slots);
    if (parsed.ec == std::errc() && parsed.ptr == end && slots >= 1 && slots <= 1024) return slots;
  }
  return make_error(Code::invalid_argument,
                    "{} says '{}'; a host is followed by slots=N, from 1 to 1024, or by nothing.",
                    place, word);
}

// mpirun would read a list of hosts or an option in it.
bool is_host_name(std::string_view name) {
  return !name.starts_with('-') && name.find_first_of(":,") == std::string_view::npos;
}

}  // namespace

Result<std::vector<MpiHost>> parse_hosts(std::string_view text, const std::string& file,
                                         int ranks) {
  std::vector<MpiHost> hosts;
  std::istringstream lines{std::string(text)};
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const std::string place = fmt::format("Line {} of '{}'", number, file);
    std::istringstream words(line.substr(0, line.find('#')));
    MpiHost host;
    if (!(words >> host.name)) continue;
    if (!is_host_name(host.name)) {
      return make_error(Code::invalid_argument, "{} says '{}', which is no host's name.", place,
                        host.name);
    }
    for (std::string word; words >> word;) host.ranks = TRY(parse_slots(word, place));
    if (ranks > 0) host.ranks = ranks;
    if (std::any_of(hosts.begin(), hosts.end(),
                    [&](const MpiHost& other) { return other.name == host.name; })) {
      return make_error(Code::invalid_argument, "{} names host {} a second time.", place,
                        host.name);
    }
    hosts.push_back(std::move(host));
  }
  if (!hosts.empty()) return hosts;
  return make_error(Code::invalid_argument, "'{}' names no host; write one a line.", file);
}

std::vector<std::pair<std::string, std::string>> transport_parameters(
    const std::string& interface) {
  return {{"pml", "ob1"},
          {"btl", "self,vader,tcp"},
          {"btl_base_warn_component_unused", "0"},
          {"btl_tcp_if_include", interface}};
}

std::vector<std::string> gang_command(const MpiSetup& setup, const std::vector<MpiHost>& hosts,
                                      const std::vector<std::string>& arguments) {
  Words words = beginning(setup);
  for (const MpiHost& host : hosts) {
    // An application of its own for each host: mpirun would sort a list of them its own way.
    if (&host != hosts.data()) words.emplace_back(":");
    append(words, {"--host", fmt::format("{}:{}", host.name, host.ranks), "-n",
                   std::to_string(host.ranks)});
    append_program(words, setup, arguments);
  }
  return words;
}

std::vector<std::string> host_command(const MpiSetup& setup, const std::string& host,
                                      const std::vector<std::string>& arguments) {
  return gang_command(setup, {{host, 1}}, arguments);
}

std::vector<std::string> nodes_command(const MpiSetup& setup, int nodes,
                                       const std::vector<std::string>& arguments) {
  Words words = beginning(setup);
  append(words, {"--map-by", "ppr:1:node", "-n", std::to_string(nodes)});
  append_program(words, setup, arguments);
  return words;
}

std::string host_of_rank(const std::vector<MpiHost>& hosts, int rank) {
  for (const MpiHost& host : hosts) {
    if (rank < host.ranks) return host.name;
    rank -= host.ranks;
  }
  return {};
}

int ranks_of(const std::vector<MpiHost>& hosts) {
  int ranks = 0;
  for (const MpiHost& host : hosts) ranks += host.ranks;
  return ranks;
}

}  // namespace atelier::engine
