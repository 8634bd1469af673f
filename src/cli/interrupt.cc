// SPDX-License-Identifier: Apache-2.0
#include "cli/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

namespace atelier::cli {
namespace {

sigset_t handled_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR2}) sigaddset(&set, signal);
  return set;
}

}  // namespace

void hold_signals() {
  const sigset_t set = handled_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  for (const int signal_number : {SIGPIPE, SIGXFSZ}) signal(signal_number, SIG_IGN);
}

Interrupt::Interrupt() {
  hold_signals();
  waiter_ = std::jthread([this] { wait(); });
}

Interrupt::~Interrupt() {
  // SIGUSR2 to itself is how the waiter is told that the program is done.
  pthread_kill(waiter_.native_handle(), SIGUSR2);
}

void Interrupt::on_hangup(std::function<void()> work) {
  MutexLock lock(mutex_);
  hangup_ = std::move(work);
}

bool Interrupt::hang_up() {
  MutexLock lock(mutex_);
  if (hangup_) hangup_();
  return static_cast<bool>(hangup_);
}

void Interrupt::wait() {
  const sigset_t set = handled_signals();
  for (;;) {
    int signal = 0;
    sigwait(&set, &signal);
    if (signal == SIGUSR2) return;
    if (signal == SIGHUP && hang_up()) continue;
    if (stop_.stop_requested()) _exit(130);
    stop_.request_stop();
  }
}

}  // namespace atelier::cli
