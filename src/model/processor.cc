// SPDX-License-Identifier: Apache-2.0
#include "model/processor.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>

#include "model/runner.h"

namespace atelier::model {
namespace {

// Leaf 7: AMX's tiles and its products of bytes and of bfloat16, which the compiler cannot ask for.
bool cpuid_has_amx() {
  constexpr unsigned kAll = 1U << 24 | 1U << 25 | 1U << 22;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kAll) == kAll;
}

// The kernel gives a process room for its tiles when it is asked to (Documentation/x86/xstate of
// Linux).
bool request_amx() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XTILEDATA
  return cpuid_has_amx() && ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool has_avx512() {
  return dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core &&
         __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
}

bool has_vnni() {
  return has_avx512() && dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core_vnni &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}

// oneDNN asks the kernel itself when it is asked whether it may use AMX.
bool has_amx() {
  return has_vnni() && dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core_amx &&
         request_amx();
}

// When the program is loaded: a scorer that is locked in can ask for nothing any more.
const kernels::Isa isa = has_amx()      ? kernels::Isa::avx512_amx
                         : has_vnni()   ? kernels::Isa::avx512_vnni
                         : has_avx512() ? kernels::Isa::avx512
                                        : kernels::Isa::avx2;

}  // namespace

kernels::Isa own_isa() { return isa; }

std::string processor_name() {
  std::array<unsigned, 12> words{};
  for (unsigned i = 0; i < 3; i++) {
    unsigned* w = words.data() + size_t{4} * i;
    if (__get_cpuid(0x80000002U + i, w, w + 1, w + 2, w + 3) == 0) return "unknown";
  }
  std::string text(sizeof(words), '\0');
  std::memcpy(text.data(), words.data(), sizeof(words));
  text.resize(std::strlen(text.c_str()));
  for (char& c : text) {
    if (c < 32 || c > 126) c = ' ';
  }
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

std::string isa_name() { return has_avx512() ? "avx512_core" : "avx2"; }

}  // namespace atelier::model
