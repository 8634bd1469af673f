// SPDX-License-Identifier: Apache-2.0
#include "run/shared_progress.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <new>

namespace atelier::run {
namespace {

static_assert(std::atomic<uint64_t>::is_always_lock_free);

Error cannot(const char* what) {
  return make_error(code_of_errno(errno, Code::internal), "Cannot {}: {}.", what,
                    describe_errno(errno));
}

}  // namespace

Result<std::unique_ptr<SharedProgress>> SharedProgress::create() {
  Fd memory(::memfd_create("progress", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  // Sealed: memory that a scorer made smaller would kill the broker that reads it.
  if (!memory || ::ftruncate(memory.get(), sizeof(Progress)) != 0 ||
      ::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return cannot("make memory for the progress");
  }
  auto shared = TRY(open(std::move(memory)));
  new (&shared->get()) Progress;
  return shared;
}

Result<std::unique_ptr<SharedProgress>> SharedProgress::open(Fd memory) {
  void* mapped =
      ::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (mapped == MAP_FAILED) return cannot("map the progress");
  return std::unique_ptr<SharedProgress>(
      new SharedProgress(std::move(memory), static_cast<Progress*>(mapped)));
}

SharedProgress::~SharedProgress() { ::munmap(progress_, sizeof(Progress)); }

}  // namespace atelier::run
