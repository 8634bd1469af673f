// SPDX-License-Identifier: Apache-2.0
// What was measured of the ways to compute convolutions (model/tuning.h), kept from run to run: an
// object for each kind of machine (processor, oneDNN, kernels), so that a folder may be shared by
// many. It can be deleted at any time.
#pragma once

#include "model/ways.h"
#include "store/object_store.h"

namespace atelier::run {

class TuningCache {
 public:
  // Of this machine. The store must outlive it.
  explicit TuningCache(ObjectStore& store);

  // Nothing where there is nothing, and where what is there cannot be read: it is then measured
  // again.
  model::Choices known();
  // Adds `measured`, which goes before what was known. Two that do so at once may lose what one of
  // them adds. Errors: those of the store.
  Result<void> keep(const model::Choices& measured);

 private:
  ObjectStore& store_;
  std::string key_;
};

// {"machine": ..., "choices": {key: way}}. Errors: corrupt; of hostile text, too: as from a scorer.
std::string choices_to_json(const model::Choices& choices);
Result<model::Choices> choices_from_json(std::string_view text);

}  // namespace atelier::run
