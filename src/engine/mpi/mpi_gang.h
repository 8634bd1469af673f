// SPDX-License-Identifier: Apache-2.0
// A gang over Open MPI. Needs mpirun; the only folder that knows the MPI library, which is linked
// to atelier-rank alone.
#pragma once

#include <memory>

#include "engine/gang.h"

namespace atelier::engine {

class MpiGang final : public Gang {
 public:
  // MPI_Init: returns when all ranks have called it, which is for mpirun's caller to limit. Once a
  // process. A rank that ends without end() takes the gang with it. Errors: unavailable.
  static Result<std::unique_ptr<MpiGang>> join(std::stop_token stop);
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_size() const override { return local_size_; }
  Result<void> meet(std::stop_token stop) override;
  Result<std::vector<std::byte>> broadcast(std::vector<std::byte> bytes,
                                           std::stop_token stop) override;
  Result<void> sum(std::span<double> values, std::stop_token stop) override;
  Result<void> largest(std::span<double> values, std::stop_token stop) override;
  // A call of the library has failed, as it does when another rank is gone.
  bool is_broken() const { return broken_; }
  // MPI_Finalize: waits for the others.
  void end();

 private:
  MpiGang() = default;
  Result<void> noted(Result<void> result);

  int rank_ = 0;
  int size_ = 1;
  int local_size_ = 1;
  bool broken_ = false;
};

}  // namespace atelier::engine
