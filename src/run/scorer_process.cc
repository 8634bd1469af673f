// SPDX-License-Identifier: Apache-2.0
#include "run/scorer_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/hash.h"
#include "run/run_folder.h"
#include "run/scorer_limits.h"
#include "run/scorer_program.h"
#include "run/tuning_cache.h"

namespace atelier::run {
namespace {

using nlohmann::json;

// Under the sanitizers what a scorer prints must be seen, and how it ends matters even after its
// work is done.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

Error cannot(const char* what) {
  return make_error(code_of_errno(errno, Code::internal), "Cannot {}: {}.", what,
                    describe_errno(errno));
}

Result<json> parse_head(const Message& message) {
  json head = json::parse(message.head, nullptr, false);
  if (!head.is_object()) return make_error(Code::corrupt, "The scorer talks nonsense.");
  return head;
}

// Everything in a message was said by a process that may have been taken over.
template <class F>
auto checked(F&& read) -> decltype(read()) {
  try {
    return read();
  } catch (const json::exception& e) {
    return make_error(Code::corrupt, "The scorer talks nonsense ({}).", e.what());
  }
}

Answer answer_with(const json& head, std::vector<std::byte> body = {}, Fd file = Fd()) {
  // Names need not be UTF-8.
  return {
      {head.dump(-1, ' ', false, json::error_handler_t::replace), std::move(body), std::move(file)},
      false};
}

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

// A copy out of the way of the numbers that the child expects.
Fd moved_up(int fd) { return Fd(::fcntl(fd, F_DUPFD_CLOEXEC, kScorerProgress + 1)); }

class FileActions {
 public:
  FileActions() { posix_spawn_file_actions_init(&actions_); }
  ~FileActions() { posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

// What a scorer says may be shown on a terminal.
std::string plain(std::string text) {
  constexpr size_t kLongest = 2000;
  if (text.size() > kLongest) text.resize(kLongest);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = ' ';
  }
  return text;
}

std::vector<std::string> plain(std::vector<std::string> texts) {
  constexpr size_t kMost = 1000;
  if (texts.size() > kMost) texts.resize(kMost);
  for (std::string& text : texts) text = plain(std::move(text));
  return texts;
}

// The program's own variables, the loader's and the sanitizers'. Tokens and keys stay here.
std::vector<std::string> environment_of_scorer() {
  std::vector<std::string> kept;
  for (const char* name : {"OMP_WAIT_POLICY", "SVT_LOG", "LANG", "LC_ALL", "LD_LIBRARY_PATH",
                           "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"}) {
    if (const char* value = std::getenv(name)) kept.push_back(fmt::format("{}={}", name, value));
  }
  return kept;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Counts while a call is answered.
class Busy {
 public:
  explicit Busy(std::atomic<int>& count) : count_(count) { ++count_; }
  ~Busy() { --count_; }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  std::atomic<int>& count_;
};

bool concerns_one_chunk(Code code) { return code == Code::corrupt || code == Code::internal; }

}  // namespace

Result<std::unique_ptr<ScorerProcess>> ScorerProcess::start(const std::string& program,
                                                            const ScorerTask& task,
                                                            SharedProgress& progress) {
  std::unique_ptr<ScorerProcess> process(new ScorerProcess(task, progress));
  TRY(process->spawn(program));
  return process;
}

Result<void> ScorerProcess::spawn(const std::string& program) {
  auto control = TRY(Channel::pair());
  auto results = TRY(Channel::pair());
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return cannot("make a pipe for a scorer's log");
  Fd log(pipe[0]);
  const Fd log_end(pipe[1]);
  const std::array<Fd, 4> given = {moved_up(control.second.socket().get()),
                                   moved_up(results.second.socket().get()),
                                   moved_up(progress_.memory().get()), moved_up(log_end.get())};
  for (const Fd& each : given) {
    if (!each) return cannot("give a scorer its files");
  }
  FileActions actions;
  posix_spawn_file_actions_addopen(actions.get(), 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(actions.get(), given[3].get(), 1);
  posix_spawn_file_actions_adddup2(actions.get(), given[3].get(), 2);
  posix_spawn_file_actions_adddup2(actions.get(), given[0].get(), kScorerControl);
  posix_spawn_file_actions_adddup2(actions.get(), given[1].get(), kScorerResults);
  posix_spawn_file_actions_adddup2(actions.get(), given[2].get(), kScorerProgress);
  std::vector<std::string> words = {"atelier", kScorerCommand, std::to_string(::getpid())};
  if (task_.sandbox) words.emplace_back(kScorerLocked);
  std::vector<std::string> variables = environment_of_scorer();
  errno = ::posix_spawn(&pid_, program.c_str(), actions.get(), nullptr, pointers_to(words).data(),
                        pointers_to(variables).data());
  if (errno != 0) {
    pid_ = -1;
    return cannot("start a scorer");
  }
  offer_to_the_kernel(pid_);
  limit_processor_time(pid_, Usage(), task_.limits.progress);
  if (task_.started) task_.started(pid_);
  control_ = std::move(control.first);
  results_ = std::move(results.first);
  listen(std::move(log));
  return {};
}

void ScorerProcess::listen(Fd log) {
  // A manifest of 400,000 chunks; a commit; a picture.
  constexpr size_t kLargestQuestion = size_t{64} << 20;
  constexpr size_t kLargestCommit = size_t{64} << 10;
  const size_t largest_result =
      task_.parameters.keep_frames.empty() && !task_.trace ? kLargestCommit : kLargestBody;
  control_thread_ = std::jthread([this] {
    const auto ended = answer_calls(
        *control_, [this](Message& m) { return answer_control(m); }, kLargestQuestion);
    ended_.request_stop();
    // It closes this end before it says why on the other; nonsense ends it.
    if (!ended.ok()) results_->shut_down();
  });
  result_thread_ = std::jthread([this, largest_result] {
    (void)answer_calls(
        *results_, [this](Message& m) { return answer_result(m); }, largest_result);
    ended_.request_stop();
    control_->shut_down();
    end_unfinished();
  });
  log_thread_ = std::jthread([this, log = std::move(log)] {
    constexpr size_t kLastWords = 200;
    std::array<char, 4096> text{};
    for (;;) {
      const ssize_t count = ::read(log.get(), text.data(), text.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return;
      const std::string_view said(text.data(), static_cast<size_t>(count));
      if (kSanitized) (void)!::write(STDERR_FILENO, said.data(), said.size());
      last_words_ += said;
      if (last_words_.size() > kLastWords) last_words_.erase(0, last_words_.size() - kLastWords);
      if (task_.log) task_.log(said);
    }
  });
}

ScorerProcess::~ScorerProcess() {
  if (pid_ > 0) finish_off();
}

void ScorerProcess::enter(State state) {
  MutexLock lock(mutex_);
  state_ = state;
  changed_.notify_all();
}

bool ScorerProcess::is_in(State state) {
  MutexLock lock(mutex_);
  return state_ == state;
}

Result<ChunkDesk*> ScorerProcess::desk() {
  MutexLock lock(mutex_);
  if (desk_ == nullptr) {
    return make_error(Code::corrupt, "The scorer asks or gives before it was told to.");
  }
  return desk_;
}

template <class T>
Result<T> ScorerProcess::noted(Result<T> result) {
  if (result.ok()) return result;
  const bool ended = result.error().code == Code::cancelled && ended_.stop_requested();
  MutexLock lock(mutex_);
  if (!ended && !desk_failure_) desk_failure_ = result.error();
  return result;
}

bool ScorerProcess::was_handed_out(int chunk) {
  MutexLock lock(mutex_);
  return at_work_.contains(chunk);
}

void ScorerProcess::end_unfinished() {
  MutexLock lock(mutex_);
  if (state_ != State::done && state_ != State::failed) state_ = State::gone;
  changed_.notify_all();
}

// Ticks are counted, not the clock: while the broker itself is stopped, nobody can ask it for
// anything.
ScorerProcess::State ScorerProcess::wait_while(State state, const std::stop_token& stop) {
  constexpr std::chrono::milliseconds kTick(250);
  const TimeLimits& limits = task_.limits;
  Idle idle;
  idle.tick = std::min({kTick, limits.start, limits.progress, limits.chunk});
  MutexLock lock(mutex_);
  for (;;) {
    const auto moved = [&] { return state_ != state; };
    if (changed_.wait_for(mutex_, stop, idle.tick, moved) || stop.stop_requested()) return state_;
    if (is_stuck(state, idle) || has_excess(idle)) return state_;
  }
}

// After each tick. Sets stuck_.
bool ScorerProcess::is_stuck(State state, Idle& idle) {
  const Progress& progress = progress_.get();
  const uint64_t steps =
      progress.prepared + progress.decoded + progress.scored + progress.encoded + calls_;
  const bool moved = std::exchange(idle.steps, steps) != steps;
  const bool committed = std::exchange(idle.commits, commits_.load()) != commits_;
  const bool waits = waits_ && !has_work();
  // What the broker takes long for is not the scorer's fault.
  const bool busy = answering_ > (waits_ ? 1 : 0);
  if (moved || waits || busy) idle.without_step = {};
  if (committed || waits) idle.without_commit = {};
  if (!waits && !busy) {
    if (!moved) idle.without_step += idle.tick;
    if (!committed) idle.without_commit += idle.tick;
  }
  const auto in_seconds = [](std::chrono::milliseconds time) {
    return std::chrono::duration<double>(time).count();
  };
  const TimeLimits& limits = task_.limits;
  const auto start =
      task_.parameters.norm == "shot" ? std::max(limits.start, limits.chunk) : limits.start;
  if (idle.without_step >= limits.progress) {
    stuck_ = fmt::format("made no progress for {:g} seconds", in_seconds(limits.progress));
  } else if (state == State::starting && idle.without_commit >= start) {
    stuck_ = fmt::format("was not ready after {:g} seconds", in_seconds(start));
  } else if (state == State::scoring && idle.without_commit >= limits.chunk) {
    stuck_ = fmt::format("finished no chunk for {:g} seconds", in_seconds(limits.chunk));
  }
  return !stuck_.empty();
}

// Likewise. Sees to the limit of processor time, too.
bool ScorerProcess::has_excess(const Idle& idle) {
  const auto usage = usage_of(pid_);
  if (!usage) return false;
  stuck_ = find_excess(*usage, task_.memory, most_threads(task_.threads));
  if (idle.without_step == idle.without_step.zero()) {
    limit_processor_time(pid_, *usage, task_.limits.progress);
  }
  return !stuck_.empty();
}

std::string ScorerProcess::finish_off() {
  ended_.request_stop();
  bool ends_itself = false;
  {
    MutexLock lock(mutex_);
    ends_itself = stuck_.empty() &&
                  (state_ == State::gone || state_ == State::done || state_ == State::failed);
  }
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  pollfd ended{process.get(), POLLIN, 0};
  if (!ends_itself || !process ||
      ::poll(&ended, 1, static_cast<int>(task_.end_timeout.count())) <= 0) {
    ::kill(pid_, SIGKILL);
  }
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  end_status_ = status;
  for (std::jthread* thread : {&control_thread_, &result_thread_, &log_thread_}) {
    if (thread->joinable()) thread->join();
  }
  return how_it_ended(status) +
         (last_words_.empty() ? "" : " with the last words '" + plain(last_words_) + "'");
}

std::string ScorerProcess::how_it_ended(int status) const {
  if (!stuck_.empty()) return stuck_;
  if (WIFSIGNALED(status)) {
    if (WTERMSIG(status) == SIGXCPU) return "took more processor time than it may";
    const char* name = ::sigabbrev_np(WTERMSIG(status));
    return fmt::format("was killed by signal {} ({})", WTERMSIG(status), name ? name : "?");
  }
  return fmt::format("ended by itself with code {}", WEXITSTATUS(status));
}

Result<Prepared> ScorerProcess::prepare(std::stop_token stop) {
  const State state = wait_while(State::starting, stop);
  if (state == State::ready) return prepared_;
  if (stop.stop_requested()) return make_error(Code::cancelled, "Interrupted.");
  if (state == State::failed) {
    MutexLock lock(mutex_);
    return failure_;
  }
  died_ = true;
  return make_error(Code::corrupt,
                    "The scorer {} while it looked at the model and at '{}'; one of them may be "
                    "damaged, or the memory too small.",
                    finish_off(), task_.shown_name);
}

Result<std::string> ScorerProcess::score(ChunkDesk& desk, std::stop_token stop) {
  {
    MutexLock lock(mutex_);
    // It may have died since it was ready.
    if (state_ == State::ready) state_ = State::scoring;
    desk_ = &desk;
    changed_.notify_all();
  }
  const State state = wait_while(State::scoring, stop);
  const bool stopped = stop.stop_requested() && state != State::done;
  const std::string end = finish_off();
  if (stopped) return make_error(Code::cancelled, "Interrupted.");
  if (state == State::done) {
    if (kSanitized && end_status_ != 0) {
      return make_error(Code::internal, "The scorer {} after its work.", end);
    }
    return std::string();
  }
  if (state != State::failed) return fmt::format("The scorer {}.", end);
  MutexLock lock(mutex_);
  if (desk_failure_) return *desk_failure_;
  if (!concerns_one_chunk(failure_.code)) return failure_;
  return failure_.message;
}

Result<Answer> ScorerProcess::answer_control(Message& message) {
  ++calls_;
  const Busy busy(answering_);
  const json head = TRY(parse_head(message));
  return checked([&]() -> Result<Answer> {
    const std::string what = head.at("do").get<std::string>();
    if (what == "read") return read(message);
    if (what == "next") return next();
    if (!is_in(State::starting)) {
      return make_error(Code::corrupt, "The scorer begins twice, or asks for something unknown.");
    }
    if (what == "task") return describe_task();
    if (what == "beside") return open_beside(message);
    if (what == "found") return found(message);
    if (what == "choices") return take_choices(message);
    if (what == "manifest") return take_manifest(message);
    if (what == "ready") return begin();
    return make_error(Code::corrupt, "The scorer asks for something unknown.");
  });
}

Result<Answer> ScorerProcess::describe_task() const {
  Manifest task;
  task.input = task_.identity;
  task.parameters = task_.parameters;
  const json answer = {{"name", task_.model->name},
                       {"toml", task_.model->toml ? json(*task_.model->toml) : json()},
                       {"onnx_size", task_.model->onnx->size()},
                       {"shown_name", task_.shown_name},
                       {"output_name", task_.output_name},
                       {"threads", task_.threads},
                       {"choices", task_.choices},
                       {"trace", task_.trace},
                       {"unpainted", task_.unpainted}};
  return answer_with(answer, bytes_of(to_json(task)));
}

Result<Answer> ScorerProcess::take_manifest(const Message& message) {
  if (!standing_) return make_error(Code::corrupt, "The scorer planned before it looked.");
  Manifest manifest = TRY(manifest_from_json(as_text(message.body)));
  // Of these it knows only what it was told.
  manifest.run_id = standing_->run_id;
  manifest.input = task_.identity;
  manifest.parameters = task_.parameters;
  manifest.model = model_;
  manifest.notes = plain(std::move(manifest.notes));
  standing_->manifest = TRY(task_.write_manifest(manifest));
  return answer_with(json::object(), bytes_of(to_json(*standing_->manifest)));
}

// Its worst is to make others slow: a choice that a layer does not have is ignored.
Result<Answer> ScorerProcess::take_choices(const Message& message) {
  const model::Choices measured = TRY(choices_from_json(as_text(message.body)));
  if (task_.keep_choices) task_.keep_choices(measured);
  return answer_with(json::object());
}

Result<Answer> ScorerProcess::begin() {
  if (!standing_ || !standing_->manifest) {
    return make_error(Code::corrupt, "The scorer is ready before it planned.");
  }
  prepared_.manifest = *standing_->manifest;
  beside_.clear();
  TRY(noted(limit_results(pid_, prepared_.manifest)));
  MutexLock lock(mutex_);
  // It may have died since it said so: that must not be forgotten.
  if (state_ != State::starting) return make_error(Code::corrupt, "The scorer has ended.");
  state_ = State::ready;
  changed_.notify_all();
  changed_.wait(mutex_, ended_.get_token(), [this] { return state_ != State::ready; });
  return answer_with(json::object());
}

Result<Answer> ScorerProcess::read(const Message& message) {
  constexpr uint64_t kMost = uint64_t{8} << 20;
  const json head = json::parse(message.head);
  const auto which = head.at("source").get<size_t>();
  ByteSource* source = nullptr;
  if (which == 0) source = task_.input;
  if (which == 1) source = task_.model->onnx.get();
  if (which >= 2 && which - 2 < beside_.size()) source = beside_[which - 2].get();
  if (source == nullptr) return make_error(Code::corrupt, "The scorer reads what is not there.");
  std::vector<std::byte> bytes(std::min(kMost, head.at("size").get<uint64_t>()));
  bytes.resize(TRY(source->read_at(head.at("offset").get<uint64_t>(), bytes)));
  return answer_with(json::object(), std::move(bytes));
}

Result<Answer> ScorerProcess::open_beside(const Message& message) {
  constexpr size_t kMostFiles = 4096;
  const json head = json::parse(message.head);
  if (beside_.size() >= kMostFiles) {
    return make_error(Code::invalid_argument, "The model keeps its weights in more than {} files.",
                      kMostFiles);
  }
  beside_.push_back(TRY(task_.model->open_beside(head.at("location").get<std::string>())));
  return answer_with({{"source", beside_.size() + 1}, {"size", beside_.back()->size()}});
}

Result<Answer> ScorerProcess::found(const Message& message) {
  const json head = json::parse(message.head);
  if (standing_) return make_error(Code::corrupt, "The scorer looked twice.");
  // What it says of the model's content is mixed with what was read here: one that was taken over
  // cannot write into the run of another model.
  const std::string said = head.at("sha256").get<std::string>();
  const std::string seen = TRY(sha256_hex(*task_.model->onnx));
  model_ = {head.at("name").get<std::string>(), sha256_hex(as_bytes(said + seen)),
            std::string(as_text(message.body)), task_.model->url};
  prepared_.guesses = plain(head.at("guesses").get<std::vector<std::string>>());
  prepared_.container_notes = plain(head.at("container_notes").get<std::vector<std::string>>());
  standing_ = TRY(task_.find_run(model_));
  const json answer = {{"run_id", standing_->run_id},
                       {"prepared", standing_->manifest.has_value()}};
  return answer_with(answer, standing_->manifest ? bytes_of(to_json(*standing_->manifest))
                                                 : std::vector<std::byte>());
}

Result<Answer> ScorerProcess::next() {
  ChunkDesk& from = *TRY(desk());
  waits_ = true;
  const auto answered = noted(from.next(ended_.get_token()));
  waits_ = false;
  const std::optional<ChunkPlan> chunk = TRY(answered);
  MutexLock lock(mutex_);
  if (chunk) at_work_.insert(chunk->index);
  return answer_with({{"chunk", chunk ? chunk->index : -1}});
}

Result<Answer> ScorerProcess::answer_result(Message& message) {
  ++calls_;
  const Busy busy(answering_);
  const json head = TRY(parse_head(message));
  return checked([&]() -> Result<Answer> {
    const std::string what = head.at("do").get<std::string>();
    if (what == "done" || what == "failed") return last_word(head, what == "done");
    if (what == "frame") return keep_frame(head, message);
    const int chunk = head.at("chunk").get<int>();
    TRY(desk());
    if (!was_handed_out(chunk)) {
      return make_error(Code::corrupt, "The scorer gives a chunk that it was not given.");
    }
    if (what == "result") return open_result(chunk);
    if (what == "commit") return commit(chunk, message);
    if (what == "trace") return keep_trace(chunk, message);
    return make_error(Code::corrupt, "The scorer gives something unknown.");
  });
}

Result<Answer> ScorerProcess::last_word(const nlohmann::json& head, bool done) {
  if (!done) {
    const int code = head.at("code").get<int>();
    const bool known = code >= 0 && code <= static_cast<int>(Code::internal);
    MutexLock lock(mutex_);
    failure_.code = known ? static_cast<Code>(code) : Code::internal;
    failure_.message = plain(head.at("message").get<std::string>());
  }
  enter(done ? State::done : State::failed);
  return Answer{{"{}", {}, Fd()}, true};
}

Result<Answer> ScorerProcess::keep_frame(const nlohmann::json& head, const Message& message) {
  ChunkDesk& to = *TRY(desk());
  const std::string& wanted = task_.parameters.keep_frames;
  if (wanted.empty() || head.at("extension").get<std::string>() != wanted) {
    return make_error(Code::corrupt, "The scorer gives a picture that nobody wants.");
  }
  TRY(noted(to.keep_frame(head.at("number").get<uint64_t>(), wanted, message.body)));
  return answer_with(json::object());
}

Result<Answer> ScorerProcess::keep_trace(int chunk, const Message& message) {
  ChunkDesk& to = *TRY(desk());
  constexpr size_t kLargestTrace = size_t{8} << 20;  // bytes; kMostSpans take less than half
  if (!task_.trace || message.body.size() > kLargestTrace) {
    return make_error(Code::corrupt, "The scorer gives a trace that nobody wants.");
  }
  TRY(noted(to.keep_trace(chunk, TRY(spans_from_json(as_text(message.body))))));
  return answer_with(json::object());
}

Result<Answer> ScorerProcess::open_result(int chunk) {
  ChunkDesk& from = *TRY(desk());
  const ChunkPlan& plan = prepared_.manifest.chunks.at(static_cast<size_t>(chunk));
  auto file = TRY(noted(from.open_result(plan)));
  Fd shared = TRY(noted(file->share()));
  open_[chunk] = std::move(file);
  return answer_with(json::object(), {}, std::move(shared));
}

Result<Answer> ScorerProcess::commit(int chunk, const Message& message) {
  ChunkDesk& to = *TRY(desk());
  const auto file = open_.find(chunk);
  if (file == open_.end()) return make_error(Code::corrupt, "The scorer gives a chunk unasked.");
  ChunkCommit record = TRY(commit_from_json(chunk, as_text(message.body)));
  const auto written = TRY(noted(file->second->open_shared()));
  if (written->size() != record.bytes || TRY(sha256_hex(*written)) != record.sha256) {
    return make_error(Code::corrupt, "The scorer gives other bytes than it says.");
  }
  // It may write on: then the join, which hashes what was put, refuses the chunk.
  TRY(noted(to.commit(std::move(record), *file->second)));
  ++commits_;
  open_.erase(file);
  MutexLock lock(mutex_);
  at_work_.erase(chunk);
  return answer_with(json::object());
}

}  // namespace atelier::run
