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
#include "run/scorer_limits.h"
#include "run/shared_progress.h"

namespace atelier::run {

// Whatever has become of the file it was started from.
inline constexpr const char* kThisProgram = "/proc/self/exe";

// Where the run is, once the scorer has read the model.
struct Standing {
  std::string run_id;
  std::optional<Manifest> manifest;  // of a run that was prepared before
};

// For how long a scorer may do without what shows that it goes on; then it is taken for stuck, and
// its broker starts another one. Time that the broker takes, for its store say, does not count.
struct TimeLimits {
  // To read model and input, and to plan. Not less than `chunk` where planning decodes the whole
  // video (run/norm.h).
  std::chrono::milliseconds start = std::chrono::hours(1);
  // Without asking for anything or finishing a frame.
  std::chrono::milliseconds progress = std::chrono::minutes(30);
  std::chrono::milliseconds chunk = std::chrono::hours(12);  // from one commit to the next
};

// What a scorer is to do. The references must outlive its work on it; the functions are called from
// threads of the broker's: `log` from one, the others from another.
struct ScorerTask {
  ByteSource* input = nullptr;
  const ModelFiles* model = nullptr;
  InputIdentity identity;
  std::string shown_name;  // of the input, for messages
  Parameters parameters;
  // Its ending says which container must take the other streams; empty: none is asked.
  std::string output_name;
  int threads = 0;
  bool sandbox = true;     // run/sandbox.h
  bool trace = false;      // scorers say what they did when
  bool unpainted = false;  // the input's own pictures, as large as painted ones; see unpainted.h
  // After its work the process waits for another task, with the model in its memory. Only for tasks
  // of one user: what took the process over by one video would paint the next. Not with `trace` or
  // parameters.keep_frames.
  bool stays = false;
  TimeLimits limits;
  uint64_t memory = 0;  // bytes; a scorer that takes more is ended; 0: it may take any
  // How long a process may take to end after its last word. The sanitizers look for leaks then.
#if defined(__SANITIZE_ADDRESS__)
  std::chrono::milliseconds end_timeout = std::chrono::minutes(1);
#else
  std::chrono::milliseconds end_timeout = std::chrono::seconds(2);
#endif
  std::function<Result<Standing>(const ModelIdentity&)> find_run;
  // Puts the manifest unless there is one; returns the one that stands.
  std::function<Result<Manifest>(const Manifest&)> write_manifest;
  // What was measured before of the ways to compute convolutions, and who takes what is new.
  model::Choices choices;
  std::function<void(const model::Choices&)> keep_choices;
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

// Started, then prepare() once, then score() once; again after each give(). One thread.
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

  // Whether it has done its task, which said that it stays, and waits for another. It has nothing
  // of the task's any more, and calls none of its functions.
  bool rests();
  // Whether it also does nothing, for itself or for somebody who took it over: in small it takes
  // memory, threads and processor time all the same. To be asked now and then.
  bool rests_well();
  // Gives another task to one that rests; `sandbox` must be that of the first. False: it has died.
  bool give(const ScorerTask& task);

  int pid() const { return pid_; }

 private:
  enum class State { starting, ready, scoring, done, failed, gone, resting };
  // What was seen of it, and for how long it has been so.
  struct Idle {
    std::chrono::milliseconds tick{0};
    uint64_t steps = 0, commits = 0;
    std::chrono::milliseconds without_step{0}, without_commit{0};
  };

  ScorerProcess(const ScorerTask& task, SharedProgress& progress)
      : task_(&task), progress_(progress), log_(task.log) {}
  Result<void> spawn(const std::string& program);
  void listen(Fd log);
  Result<Answer> answer_control(Message& message);
  Result<Answer> answer_result(Message& message);
  Result<Answer> next_task();
  Result<Answer> describe_task() const;
  Result<Answer> found(const Message& message);
  Result<Answer> take_manifest(const Message& message);
  Result<Answer> take_choices(const Message& message);
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
  std::stop_source end_source();
  bool is_over();  // it has said its last word of a task
  // The desk, once score() was called. Errors: corrupt.
  Result<ChunkDesk*> desk();
  // An error of the desk is not the scorer's fault, whatever the scorer says of it.
  template <class T>
  Result<T> noted(Result<T> result);
  bool was_handed_out(int chunk);
  void end_unfinished();
  bool hear_log(int most_reads) REQUIRES(log_mutex_);
  bool take_rest();
  bool has_work() REQUIRES(mutex_) { return !at_work_.empty(); }
  State wait_while(State state, const std::stop_token& stop);
  bool is_stuck(State state, Idle& idle) REQUIRES(mutex_);
  bool has_excess(const Idle& idle);
  // Kills it if it still runs; how it ended, in words.
  std::string finish_off();
  std::string how_it_ended(int status) const;
  // What a scorer says may be shown on a terminal.
  static std::string plain(std::string text);
  static std::vector<std::string> plain(std::vector<std::string> texts);

  const ScorerTask* task_;  // whoever rests does not look at it
  SharedProgress& progress_;
  Fd log_pipe_;
  Mutex log_mutex_;
  std::function<void(std::string_view)> log_ GUARDED_BY(log_mutex_);  // of the task; empty at rest
  std::string last_words_ GUARDED_BY(log_mutex_);                     // of its log
  Usage at_rest_;                                                     // when it began to rest
  int pid_ = -1;
  int end_status_ = 0;              // of waitpid()
  std::optional<Channel> control_;  // the decoding side of the scorer, and its start
  std::optional<Channel> results_;  // the encoding side, and its end
  std::vector<std::unique_ptr<ByteSource>> beside_;  // opened for the model
  ModelIdentity model_;
  std::optional<Standing> standing_;
  Prepared prepared_;
  std::map<int, std::unique_ptr<ScratchFile>> open_;  // results on the way
  Mutex mutex_;
  std::condition_variable_any changed_;
  State state_ GUARDED_BY(mutex_) = State::starting;
  Error failure_ GUARDED_BY(mutex_);
  ChunkDesk* desk_ GUARDED_BY(mutex_) = nullptr;
  std::optional<Error> desk_failure_ GUARDED_BY(mutex_);
  std::set<int> at_work_ GUARDED_BY(mutex_);       // chunks handed out and not committed
  bool asks_for_task_ GUARDED_BY(mutex_) = false;  // another one, so that nothing else is answered
  bool ends_ GUARDED_BY(mutex_) = false;           // there will be none
  std::stop_source ended_ GUARDED_BY(mutex_);      // the desk need not wait for chunks any more
  std::string stuck_;  // or has too much of something, in words; empty: it is not
  bool died_ = false;
  std::atomic<uint64_t> calls_{0};
  std::atomic<uint64_t> commits_{0};
  std::atomic<int> answering_{0};
  std::atomic<bool> waits_{false};  // for a chunk that others may give back
  std::jthread control_thread_;
  std::jthread result_thread_;
  std::jthread log_thread_;
};

}  // namespace atelier::run
