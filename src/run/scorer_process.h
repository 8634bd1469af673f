// SPDX-License-Identifier: Apache-2.0
// A scorer as a process of its own, as its broker sees it. Video and models come from strangers, so
// whatever parses them may crash, hang or turn against us: it runs in a child that has no store, no
// credentials and no name of a file, only the calls that are answered here. Whatever happens to it,
// the broker goes on.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "run/channel.h"
#include "run/manifest.h"
#include "run/model_files.h"
#include "run/scorer.h"

namespace atelier::run {

// Whatever has become of the file it was started from.
inline constexpr const char* kThisProgram = "/proc/self/exe";

// Progress that a scorer's process writes and its broker reads, in memory of both.
class SharedProgress {
 public:
  static Result<std::unique_ptr<SharedProgress>> create();
  // The other process's side. Errors: invalid_argument.
  static Result<std::unique_ptr<SharedProgress>> open(Fd memory);
  ~SharedProgress();
  SharedProgress(const SharedProgress&) = delete;
  SharedProgress& operator=(const SharedProgress&) = delete;
  Progress& get() { return *progress_; }
  const Fd& memory() const { return memory_; }

 private:
  SharedProgress(Fd memory, Progress* progress) : memory_(std::move(memory)), progress_(progress) {}
  Fd memory_;
  Progress* progress_;
};

// Where the run is, once the scorer has read the model.
struct Standing {
  std::string run_id;
  std::optional<Manifest> manifest;  // of a run that was prepared before
};

// What a scorer is to do. The references must outlive it; the functions are called from threads of
// the broker's: `log` from one, the others from another.
struct ScorerTask {
  ByteSource* input = nullptr;
  const ModelFiles* model = nullptr;
  InputIdentity identity;
  std::string shown_name;  // of the input, for messages
  Parameters parameters;
  // Its ending says which container must take the other streams; empty: none is asked.
  std::string output_name;
  int threads = 0;
  bool sandbox = true;  // run/sandbox.h
  bool trace = false;   // scorers say what they did when
  // One that neither asks for anything nor finishes a frame for so long is taken for stuck.
  std::chrono::milliseconds hang_timeout = std::chrono::minutes(30);
  // How long a process may take to end after its last word. The sanitizers look for leaks then.
#if defined(__SANITIZE_ADDRESS__)
  std::chrono::milliseconds end_timeout = std::chrono::minutes(1);
#else
  std::chrono::milliseconds end_timeout = std::chrono::seconds(2);
#endif
  std::function<Result<Standing>(const ModelIdentity&)> find_run;
  // Puts the manifest unless there is one; returns the one that stands.
  std::function<Result<Manifest>(const Manifest&)> write_manifest;
  // A process was started, from the thread that starts it; for drills.
  std::function<void(int pid)> started;
  // What the scorer prints on stdout and stderr, as it comes; it may be anything.
  std::function<void(std::string_view)> log;
};

// What a scorer found when it looked at model and input.
struct Prepared {
  Manifest manifest;
  std::vector<std::string> guesses;          // about a model without a toml
  std::vector<std::string> container_notes;  // media::ContainerFit
};

// Started, then prepare() once, then score() once. One thread.
class ScorerProcess {
 public:
  // Runs `program` (the path of this program) as a scorer. It dies with this object, and with the
  // thread that called this. Errors: internal, no_space.
  static Result<std::unique_ptr<ScorerProcess>> start(const std::string& program,
                                                      const ScorerTask& task,
                                                      SharedProgress& progress);
  ~ScorerProcess();

  // Errors: what the scorer says of model and input (those of load_model, probe, check_video,
  // fit_container and plan_run); corrupt if it dies or hangs; cancelled.
  Result<Prepared> prepare(std::stop_token stop);
  // Whether the error of prepare() was that.
  bool died() const { return died_; }

  // Lets it score what `desk` gives until there is no more. Empty when all is done, else how it
  // ended before: it died, or hung, or one chunk cannot be scored. Errors: cancelled; those of the
  // desk; what concerns more than a chunk (invalid_input, invalid_argument, unavailable, conflict,
  // no_space).
  Result<std::string> score(ChunkDesk& desk, std::stop_token stop);

  int pid() const { return pid_; }

 private:
  enum class State { starting, ready, scoring, done, failed, gone };

  ScorerProcess(const ScorerTask& task, SharedProgress& progress)
      : task_(task), progress_(progress) {}
  Result<void> spawn(const std::string& program);
  void listen(Fd log);
  Result<Answer> answer_control(Message& message);
  Result<Answer> answer_result(Message& message);
  Result<Answer> describe_task() const;
  Result<Answer> found(const Message& message);
  Result<Answer> take_manifest(const Message& message);
  Result<Answer> begin();
  Result<Answer> last_word(const nlohmann::json& head, bool done);
  Result<Answer> keep_frame(const nlohmann::json& head, const Message& message);
  Result<Answer> keep_trace(int chunk, const Message& message);
  Result<Answer> read(const Message& message);
  Result<Answer> open_beside(const Message& message);
  Result<Answer> next();
  Result<Answer> open_result(int chunk);
  Result<Answer> commit(int chunk, const Message& message);
  void enter(State state);
  bool is_in(State state);
  // The desk, once score() was called. Errors: corrupt.
  Result<ChunkDesk*> desk();
  // An error of the desk is not the scorer's fault, whatever the scorer says of it.
  template <class T>
  Result<T> noted(Result<T> result);
  bool was_handed_out(int chunk);
  void end_unfinished();
  bool has_work() REQUIRES(mutex_) { return !at_work_.empty(); }
  State wait_while(State state, const std::stop_token& stop);
  // Kills it if it still runs; how it ended, in words.
  std::string finish_off();
  std::string how_it_ended(int status) const;

  const ScorerTask& task_;
  SharedProgress& progress_;
  int pid_ = -1;
  int end_status_ = 0;              // of waitpid()
  std::optional<Channel> control_;  // the decoding side of the scorer, and its start
  std::optional<Channel> results_;  // the encoding side, and its end
  std::vector<std::unique_ptr<ByteSource>> beside_;  // opened for the model
  ModelIdentity model_;
  std::optional<Standing> standing_;
  Prepared prepared_;
  std::map<int, std::unique_ptr<ScratchFile>> open_;  // results on the way
  std::stop_source ended_;                            // the desk need not wait for chunks any more
  Mutex mutex_;
  std::condition_variable_any changed_;
  State state_ GUARDED_BY(mutex_) = State::starting;
  Error failure_ GUARDED_BY(mutex_);
  ChunkDesk* desk_ GUARDED_BY(mutex_) = nullptr;
  std::optional<Error> desk_failure_ GUARDED_BY(mutex_);
  std::set<int> at_work_ GUARDED_BY(mutex_);  // chunks handed out and not committed
  bool hung_ = false;
  bool died_ = false;
  std::string last_words_;  // of its log; once the process has ended
  std::atomic<uint64_t> calls_{0};
  std::atomic<int> answering_{0};
  std::atomic<bool> waits_{false};  // for a chunk that others may give back
  std::jthread control_thread_;
  std::jthread result_thread_;
  std::jthread log_thread_;
};

}  // namespace atelier::run
