// SPDX-License-Identifier: Apache-2.0
#include "engine/mpi/mpi_gang.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace atelier::engine {
namespace {

Result<void> checked(int code, const char* what) {
  if (code == MPI_SUCCESS) return {};
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  return make_error(Code::unavailable, "{} failed: {}.", what, text.data());
}

// Open MPI itself would spin; a rank that waits leaves the processor to those that score.
Result<void> wait_for(MPI_Request request, const std::stop_token& stop, const char* what) {
  constexpr std::chrono::microseconds kShortest(20);
  constexpr std::chrono::microseconds kLongest(2000);
  for (auto pause = kShortest;; pause = std::min(2 * pause, kLongest)) {
    int done = 0;
    TRY(checked(MPI_Test(&request, &done, MPI_STATUS_IGNORE), what));
    if (done != 0) return {};
    if (stop.stop_requested()) return make_error(Code::cancelled, "Interrupted.");
    std::this_thread::sleep_for(pause);
  }
}

Result<void> reduce(std::span<double> values, MPI_Op operation, const std::stop_token& stop) {
  std::vector<double> result(values.size());
  MPI_Request request = MPI_REQUEST_NULL;
  TRY(checked(MPI_Ireduce(values.data(), result.data(), static_cast<int>(values.size()), MPI_DOUBLE,
                          operation, 0, MPI_COMM_WORLD, &request),
              "MPI_Ireduce"));
  TRY(wait_for(request, stop, "MPI_Ireduce"));
  std::copy(result.begin(), result.end(), values.begin());
  return {};
}

Result<void> send_from_first(void* bytes, size_t count, const std::stop_token& stop) {
  MPI_Request request = MPI_REQUEST_NULL;
  TRY(checked(MPI_Ibcast(bytes, static_cast<int>(count), MPI_BYTE, 0, MPI_COMM_WORLD, &request),
              "MPI_Ibcast"));
  return wait_for(request, stop, "MPI_Ibcast");
}

}  // namespace

Result<void> MpiGang::noted(Result<void> result) {
  if (!result.ok() && result.error().code != Code::cancelled) broken_ = true;
  return result;
}

Result<std::unique_ptr<MpiGang>> MpiGang::join(std::stop_token stop) {
  int threads = MPI_THREAD_SINGLE;
  // Only the thread that joins calls MPI; others read, score and beat.
  TRY(checked(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &threads), "MPI_Init"));
  if (threads < MPI_THREAD_FUNNELED) {
    return make_error(Code::internal, "This MPI library allows no threads beside its own.");
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  std::unique_ptr<MpiGang> gang(new MpiGang);
  TRY(checked(MPI_Comm_rank(MPI_COMM_WORLD, &gang->rank_), "MPI_Comm_rank"));
  TRY(checked(MPI_Comm_size(MPI_COMM_WORLD, &gang->size_), "MPI_Comm_size"));
  MPI_Comm local = MPI_COMM_NULL;
  TRY(checked(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local),
              "MPI_Comm_split_type"));
  TRY(checked(MPI_Comm_size(local, &gang->local_size_), "MPI_Comm_size"));
  TRY(checked(MPI_Comm_free(&local), "MPI_Comm_free"));
  if (stop.stop_requested()) return make_error(Code::cancelled, "Interrupted.");
  return gang;
}

Result<void> MpiGang::meet(std::stop_token stop) {
  MPI_Request request = MPI_REQUEST_NULL;
  TRY(noted(checked(MPI_Ibarrier(MPI_COMM_WORLD, &request), "MPI_Ibarrier")));
  return noted(wait_for(request, stop, "MPI_Ibarrier"));
}

Result<std::vector<std::byte>> MpiGang::broadcast(std::vector<std::byte> bytes,
                                                  std::stop_token stop) {
  constexpr size_t kPiece = size_t{16} << 20;  // counts are ints
  uint64_t size = bytes.size();
  TRY(noted(send_from_first(&size, sizeof size, stop)));
  bytes.resize(size);
  for (size_t begin = 0; begin < size; begin += kPiece) {
    TRY(noted(send_from_first(bytes.data() + begin, std::min(kPiece, size - begin), stop)));
  }
  return bytes;
}

Result<void> MpiGang::sum(std::span<double> values, std::stop_token stop) {
  return noted(reduce(values, MPI_SUM, stop));
}

Result<void> MpiGang::largest(std::span<double> values, std::stop_token stop) {
  return noted(reduce(values, MPI_MAX, stop));
}

void MpiGang::end() { MPI_Finalize(); }

}  // namespace atelier::engine
