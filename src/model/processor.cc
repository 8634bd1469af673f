// SPDX-License-Identifier: Apache-2.0
#include "model/processor.h"

#include <cpuid.h>

#include <array>
#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>

#include "model/runner.h"

namespace atelier::model {
namespace {

bool has_avx512() {
  return dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core &&
         __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
}

bool has_vnni() {
  return has_avx512() && dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core_vnni &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}

}  // namespace

kernels::Isa own_isa() {
  return has_vnni()     ? kernels::Isa::avx512_vnni
         : has_avx512() ? kernels::Isa::avx512
                        : kernels::Isa::avx2;
}

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
