// SPDX-License-Identifier: Apache-2.0
// What this machine can do at most: multiply-adds of floats and of bytes, and bytes to and from
// memory, by one thread alone and by all at once. Prints one JSON object; see floor.py.
//
// usage: bench_floor THREADS
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace {

using Seconds = std::chrono::duration<double>;
using Clock = std::chrono::steady_clock;

constexpr int kRounds = 5;
constexpr int64_t kSteps = 30'000'000;
constexpr size_t kFloats = size_t{32} << 20;  // 128 MiB: more than any cache

// Keeps the compiler from leaving out what nobody looks at, or from doing it once for all steps.
#define ATELIER_TOUCH(value) asm volatile("" : "+x"(value))

// Chains enough to hide the latency (4 cycles) of two units: 10 of them and 2 operands fit into
// the 16 registers.
__attribute__((target("avx2,fma"))) double fma_avx2() {
  __m256 sum[10];
  for (auto& s : sum) s = _mm256_setzero_ps();
  __m256 a = _mm256_set1_ps(1e-3F);
  __m256 b = _mm256_set1_ps(0.5F);
  for (int64_t i = 0; i < kSteps; ++i) {
    ATELIER_TOUCH(a);
    ATELIER_TOUCH(b);
#pragma GCC unroll 10
    for (auto& s : sum) s = _mm256_fmadd_ps(a, b, s);
  }
  for (auto& s : sum) ATELIER_TOUCH(s);
  return 10.0 * 8 * 2 * kSteps;
}

__attribute__((target("avx512f"))) double fma_avx512() {
  __m512 sum[12];
  for (auto& s : sum) s = _mm512_setzero_ps();
  __m512 a = _mm512_set1_ps(1e-3F);
  __m512 b = _mm512_set1_ps(0.5F);
  for (int64_t i = 0; i < kSteps; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 12
    for (auto& s : sum) s = _mm512_fmadd_ps(a, b, s);
  }
  for (auto& s : sum) asm volatile("" : "+v"(s));
  return 12.0 * 16 * 2 * kSteps;
}

// Bytes without VNNI: the two multiplications (vpmaddubsw, vpmaddwd) that 32 products need. The
// addition behind them goes to other units, and is left out so that this is a bound for any order
// of the three.
__attribute__((target("avx2"))) double bytes_avx2() {
  const __m256i one = _mm256_set1_epi16(1);
  const __m256i weight = _mm256_set1_epi8(5);
  __m256i value = _mm256_set1_epi8(3);
  for (int64_t i = 0; i < kSteps / 2; ++i) {
#pragma GCC unroll 10
    for (int k = 0; k < 10; ++k) {
      ATELIER_TOUCH(value);
      __m256i products = _mm256_madd_epi16(_mm256_maddubs_epi16(value, weight), one);
      ATELIER_TOUCH(products);
    }
  }
  return 10.0 * 32 * 2 * (kSteps / 2);
}

__attribute__((target("avx512f,avx512vnni"))) double bytes_vnni() {
  __m512i sum[12];
  for (auto& s : sum) s = _mm512_setzero_si512();
  __m512i a = _mm512_set1_epi8(3);
  __m512i b = _mm512_set1_epi8(5);
  for (int64_t i = 0; i < kSteps; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 12
    for (auto& s : sum) {
      // GCC 12 would copy each sum before and after the intrinsic.
      asm volatile("vpdpbusd %2, %1, %0" : "+v"(s) : "v"(a), "v"(b));
    }
  }
  return 12.0 * 64 * 2 * kSteps;
}

// Palette 1, all tiles 16 rows of 64 bytes; as the processor reads it.
struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t zero[15] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Whether there is AMX, and the kernel lets this process use it.
bool may_use_amx() {
  constexpr unsigned kTiles = 1U << 24;
  constexpr unsigned kInt8 = 1U << 25;
  constexpr unsigned kBf16 = 1U << 22;
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XTILEDATA
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kTiles) != 0 && (d & kInt8) != 0 &&
         (d & kBf16) != 0 && ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// Of bytes or of bfloat16, half as many to a row. Four sums in turn: a tile can be added to again
// after 52 cycles, and takes 16.
template <bool kHalves>
__attribute__((target("amx-tile,amx-int8,amx-bf16"))) double multiply_amx() {
  static constexpr TileShapes kShapes;
  alignas(64) static constexpr int8_t kTile[1024] = {};
  asm volatile("ldtilecfg %0" : : "m"(kShapes));
  _tile_loadd(4, kTile, 64);
  _tile_loadd(5, kTile, 64);
  for (int64_t i = 0; i < kSteps / 4; ++i) {
    if constexpr (kHalves) {
      _tile_dpbf16ps(0, 4, 5);
      _tile_dpbf16ps(1, 4, 5);
      _tile_dpbf16ps(2, 4, 5);
      _tile_dpbf16ps(3, 4, 5);
    } else {
      _tile_dpbusd(0, 4, 5);
      _tile_dpbusd(1, 4, 5);
      _tile_dpbusd(2, 4, 5);
      _tile_dpbusd(3, 4, 5);
    }
  }
  asm volatile("tilerelease");
  return 16.0 * 16 * (kHalves ? 32 : 64) * 2 * kSteps;
}

__attribute__((target("avx2"))) double read_memory(const std::vector<float>& from) {
  __m256 sum[4];
  for (auto& s : sum) s = _mm256_setzero_ps();
  for (size_t i = 0; i < from.size(); i += 32) {
#pragma GCC unroll 4
    for (size_t k = 0; k < 4; ++k)
      sum[k] = _mm256_add_ps(sum[k], _mm256_loadu_ps(&from[i + 8 * k]));
  }
  for (auto& s : sum) ATELIER_TOUCH(s);
  return static_cast<double>(from.size() * sizeof(float));
}

// Stores that go past the caches: what is written is not read first.
__attribute__((target("avx2"))) double copy_memory(const std::vector<float>& from, float* to) {
  for (size_t i = 0; i < from.size(); i += 8) {
    _mm256_stream_ps(to + i, _mm256_loadu_ps(&from[i]));
  }
  _mm_sfence();
  return static_cast<double>(2 * from.size() * sizeof(float));
}

// The best of some rounds, of all threads together; work answers what it has done.
double rate(int threads, const std::function<double(size_t)>& work) {
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::barrier all(threads);
    std::vector<double> done(static_cast<size_t>(threads));
    std::vector<Clock::time_point> begin(done.size());
    std::vector<Clock::time_point> end(done.size());
    {
      std::vector<std::jthread> workers;
      for (size_t i = 0; i < done.size(); ++i) {
        workers.emplace_back([&, i] {
          all.arrive_and_wait();
          begin[i] = Clock::now();
          done[i] = work(i);
          end[i] = Clock::now();
        });
      }
    }
    const Seconds taken =
        *std::max_element(end.begin(), end.end()) - *std::min_element(begin.begin(), begin.end());
    best = std::max(best, std::accumulate(done.begin(), done.end(), 0.0) / taken.count());
  }
  return best;
}

struct Aligned {
  explicit Aligned(size_t floats)
      : data(static_cast<float*>(std::aligned_alloc(64, floats * sizeof(float)))) {}
  ~Aligned() { std::free(data); }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  float* data;
};

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc == 2 ? std::atoi(argv[1]) : 0;
  if (threads < 1 || threads > 256 || !__builtin_cpu_supports("avx2") ||
      !__builtin_cpu_supports("fma")) {
    std::fputs("error: bench_floor needs a number of threads and a processor with AVX2\n", stderr);
    return 2;
  }
  const bool wide = __builtin_cpu_supports("avx512f") != 0;
  const bool vnni = wide && __builtin_cpu_supports("avx512vnni") != 0;
  const std::function<double(size_t)> floats = [&](size_t) {
    return wide ? fma_avx512() : fma_avx2();
  };
  const bool amx = vnni && may_use_amx();
  const std::function<double(size_t)> bytes = [&](size_t) {
    return amx ? multiply_amx<false>() : vnni ? bytes_vnni() : bytes_avx2();
  };
  std::vector<std::vector<float>> from(static_cast<size_t>(threads));
  std::vector<std::unique_ptr<Aligned>> to;
  for (auto& data : from) {
    data.assign(kFloats, 1.0F);
    to.push_back(std::make_unique<Aligned>(kFloats));
  }
  nlohmann::json told{{"threads", threads},
                      {"f32_instruction", wide ? "vfmadd 512 bit" : "vfmadd 256 bit"},
                      {"int8_instruction", amx    ? "tdpbusd"
                                           : vnni ? "vpdpbusd 512 bit"
                                                  : "vpmaddubsw + vpmaddwd 256 bit"}};
  for (const int n : {1, threads}) {
    const std::string who = n == threads ? "all" : "one";
    told[who] = {
        {"f32_gflops", rate(n, floats) / 1e9},
        {"int8_gops", rate(n, bytes) / 1e9},
        {"read_gbs", rate(n, [&](size_t i) { return read_memory(from[i]); }) / 1e9},
        // Without AMX nothing is planned in bfloat16.
        {"bf16_gflops", amx ? rate(n, [](size_t) { return multiply_amx<true>(); }) / 1e9 : 0.0},
        {"copy_gbs", rate(n, [&](size_t i) { return copy_memory(from[i], to[i]->data); }) / 1e9}};
  }
  if (threads == 1) told["one"] = told["all"];
  std::puts(told.dump().c_str());
  return 0;
}
