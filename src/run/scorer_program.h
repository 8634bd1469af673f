// SPDX-License-Identifier: Apache-2.0
// What a scorer's process does, from its first instruction to its last: asks its broker for the
// task, reads model and input through it, plans, scores and gives the chunks back. Where the broker
// wants it to stay (ScorerTask::stays), it asks for another task then, and keeps the model that it
// has loaded (run/model_keeper.h). It opens no file.
#pragma once

namespace atelier::run {

// How a broker starts it: `atelier scorer-process PARENT-PID [locked]` with these descriptors.
inline constexpr const char* kScorerCommand = "scorer-process";
inline constexpr const char* kScorerLocked = "locked";
inline constexpr int kScorerControl = 3;   // Channel: the task, reading, the next chunk
inline constexpr int kScorerResults = 4;   // Channel: chunks, and how it ended
inline constexpr int kScorerProgress = 5;  // SharedProgress

// `locked`: it gives up everything but what it needs (run/sandbox.h) before it asks for the task.
// Call it before there are other threads. The process's exit code: 0 if the broker was told how it
// went, whatever that was.
int run_scorer_program(int parent, bool locked);

}  // namespace atelier::run
