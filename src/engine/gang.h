// SPDX-License-Identifier: Apache-2.0
// A gang: ranks that start together, know of each other, and end together. What a rank may ask of
// the others is here, without a word of how it gets there; over Open MPI it does by mpi/mpi_gang.h.
#pragma once

#include <functional>
#include <span>
#include <stop_token>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace atelier::engine {

// Every rank makes the same calls in the same order, from one thread. Each waits until the others
// have come so far. After an error a gang is of no use. Errors: cancelled, if `stop` is asked for
// meanwhile; unavailable where another rank is gone.
class Gang {
 public:
  virtual ~Gang() = default;
  virtual int rank() const = 0;        // from 0
  virtual int size() const = 0;        // ranks of all hosts
  virtual int local_size() const = 0;  // ranks of this host
  virtual Result<void> meet(std::stop_token stop) = 0;
  // The bytes that rank 0 gave, whatever the others did.
  virtual Result<std::vector<std::byte>> broadcast(std::vector<std::byte> bytes,
                                                   std::stop_token stop) = 0;
  // For each of the values, of which all ranks give as many, in place. At rank 0; elsewhere they
  // become anything.
  virtual Result<void> sum(std::span<double> values, std::stop_token stop) = 0;
  virtual Result<void> largest(std::span<double> values, std::stop_token stop) = 0;
};

// A gang of one.
class SoloGang final : public Gang {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int local_size() const override { return 1; }
  Result<void> meet(std::stop_token) override { return {}; }
  Result<std::vector<std::byte>> broadcast(std::vector<std::byte> bytes, std::stop_token) override {
    return bytes;
  }
  Result<void> sum(std::span<double>, std::stop_token) override { return {}; }
  Result<void> largest(std::span<double>, std::stop_token) override { return {}; }
};

// What `read` answers at rank 0, the only one that calls it, at all ranks; each compares what came
// with the hash (SHA-256) of what was sent. Errors: those of `read`, at rank 0 alone; corrupt;
// those of the gang.
Result<std::vector<std::byte>> read_once(
    Gang& gang, const std::function<Result<std::vector<std::byte>>()>& read, std::stop_token stop);

}  // namespace atelier::engine
