// SPDX-License-Identifier: Apache-2.0
// What this processor is and can. Internal to src/model; no file is read, so that a scorer that may
// open none can ask.
#pragma once

#include <string>

#include "model/kernels/gemm.h"

namespace atelier::model {

// What our kernels may use here: never more than oneDNN is allowed to (ONEDNN_MAX_CPU_ISA). Found
// when the program is loaded.
kernels::Isa own_isa();

// "AMD EPYC 7763 64-Core Processor", as the processor itself says, in printable ASCII.
std::string processor_name();

}  // namespace atelier::model
