// SPDX-License-Identifier: Apache-2.0
// Puts and gets objects of 1 KiB and of 64 MiB, one call at a time, through the store that the
// program itself would open, and prints the seconds of each call as one JSON object; see stores.py.
// Every object is put under a name of its own, if absent, and what comes back is compared.
//
// usage: bench_store_rates LOCATION SMALL LARGE       how many of each size
// environment: ATELIER_CREDENTIALS
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "store/open_store.h"

namespace atelier {
namespace {

using Timer = std::chrono::steady_clock;

double seconds_since(Timer::time_point begin) {
  return std::chrono::duration<double>(Timer::now() - begin).count();
}

// Nothing that any layer could make smaller.
std::vector<std::byte> noise(size_t size) {
  std::vector<std::byte> bytes(size);
  std::mt19937 random;
  std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::byte>(random()); });
  return bytes;
}

// Seconds of `count` puts and gets, after one of each that opens the connections.
Result<nlohmann::json> measure(ObjectStore& store, size_t size, int count) {
  const std::vector<std::byte> bytes = noise(size);
  std::vector<double> put, get;
  for (int i = 0; i <= count; ++i) {
    const std::string key = std::to_string(size) + "/" + std::to_string(i);
    auto begin = Timer::now();
    const PutOutcome outcome = TRY(store.put(key, bytes, Condition::if_absent()));
    if (i > 0) put.push_back(seconds_since(begin));
    if (!outcome.written) return make_error(Code::invalid_argument, "{} exists.", store.url(key));
    begin = Timer::now();
    const std::vector<std::byte> back = TRY(store.get(key));
    if (i > 0) get.push_back(seconds_since(begin));
    if (back != bytes) return make_error(Code::corrupt, "{} came back changed.", store.url(key));
    TRY(store.remove(key));
  }
  return nlohmann::json{{"put", put}, {"get", get}};
}

Result<nlohmann::json> measure_all(const std::string& place, int small, int large) {
  const Location location = TRY(parse_location(place));
  const Credentials credentials = TRY(Credentials::load(environment()));
  const auto store = TRY(open_store(location, credentials, system_clock(), [](const auto&) {}));
  nlohmann::json found;
  found["small"] = TRY(measure(*store, size_t{1} << 10, small));
  found["large"] = TRY(measure(*store, size_t{64} << 20, large));
  return found;
}

}  // namespace
}  // namespace atelier

int main(int argc, char** argv) {
  const int small = argc == 4 ? std::atoi(argv[2]) : 0;
  const int large = argc == 4 ? std::atoi(argv[3]) : 0;
  if (small < 1 || large < 1) {
    std::fputs("usage: bench_store_rates LOCATION SMALL LARGE\n", stderr);
    return 2;
  }
  const auto found = atelier::measure_all(argv[1], small, large);
  if (!found.ok()) {
    std::fprintf(stderr, "error: %s\n", found.error().message.c_str());
    return 1;
  }
  std::puts(found.value().dump().c_str());
  return 0;
}
