// SPDX-License-Identifier: Apache-2.0
// Texts of triggers, as the configuration and PUT /v1/triggers/NAME take them.
#include "server/triggers/trigger.h"

#include "fuzz.h"

namespace fuzz = atelier::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  const auto trigger = atelier::server::parse_trigger(text);
  if (!trigger.ok()) {
    fuzz::must(!trigger.error().message.empty(), "an error has a sentence");
    return 0;
  }
  fuzz::must(!trigger->name.empty() && !trigger->pipeline.empty(), "it has a name and a pipeline");
  const auto again = atelier::server::parse_trigger(text);
  fuzz::must(again.ok() && *again == *trigger, "the same text is the same trigger");
  return 0;
}
