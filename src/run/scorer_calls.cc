// SPDX-License-Identifier: Apache-2.0
// What a scorer may ask and give, and how its broker answers. Everything that it says was said by a
// process that may have been taken over.
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "run/run_folder.h"
#include "run/scorer_limits.h"
#include "run/scorer_process.h"
#include "run/tuning_cache.h"

namespace atelier::run {
namespace {

using nlohmann::json;

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

}  // namespace

std::string ScorerProcess::plain(std::string text) {
  constexpr size_t kLongest = 2000;
  if (text.size() > kLongest) text.resize(kLongest);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = ' ';
  }
  return text;
}

std::vector<std::string> ScorerProcess::plain(std::vector<std::string> texts) {
  constexpr size_t kMost = 1000;
  if (texts.size() > kMost) texts.resize(kMost);
  for (std::string& text : texts) text = plain(std::move(text));
  return texts;
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
  const bool ended = result.error().code == Code::cancelled && end_source().stop_requested();
  MutexLock lock(mutex_);
  if (!ended && !desk_failure_) desk_failure_ = result.error();
  return result;
}

bool ScorerProcess::was_handed_out(int chunk) {
  MutexLock lock(mutex_);
  return at_work_.contains(chunk);
}

Result<Answer> ScorerProcess::answer_control(Message& message) {
  ++calls_;
  const Busy busy(answering_);
  const json head = TRY(parse_head(message));
  return checked([&]() -> Result<Answer> {
    const std::string what = head.at("do").get<std::string>();
    if (what == "task") return next_task();
    if (is_over()) return make_error(Code::corrupt, "The scorer goes on after its last word.");
    if (what == "read") return read(message);
    if (what == "next") return next();
    if (!is_in(State::starting)) {
      return make_error(Code::corrupt, "The scorer begins twice, or asks for something unknown.");
    }
    if (what == "beside") return open_beside(message);
    if (what == "found") return found(message);
    if (what == "known")
      return answer_with(json::object(), bytes_of(choices_to_json(task_->choices)));
    if (what == "choices") return take_choices(message);
    if (what == "manifest") return take_manifest(message);
    if (what == "ready") return begin();
    return make_error(Code::corrupt, "The scorer asks for something unknown.");
  });
}

// Waits until there is one.
Result<Answer> ScorerProcess::next_task() {
  {
    MutexLock lock(mutex_);
    if (state_ == State::done && task_->stays) {
      asks_for_task_ = true;
      changed_.notify_all();
      changed_.wait(mutex_, [this] { return ends_ || state_ == State::starting; });
      asks_for_task_ = false;
    }
    if (ends_) return make_error(Code::cancelled, "There is no other task.");
    if (state_ != State::starting) {
      return make_error(Code::corrupt, "The scorer begins twice, or asks for something unknown.");
    }
  }
  return describe_task();
}

Result<Answer> ScorerProcess::describe_task() const {
  Manifest task;
  task.input = task_->identity;
  task.parameters = task_->parameters;
  const json answer = {{"name", task_->model->name},
                       {"toml", task_->model->toml ? json(*task_->model->toml) : json()},
                       {"onnx_size", task_->model->onnx->size()},
                       {"shown_name", task_->shown_name},
                       {"output_name", task_->output_name},
                       {"threads", task_->threads},
                       {"trace", task_->trace},
                       {"stays", task_->stays},
                       {"unpainted", task_->unpainted}};
  return answer_with(answer, bytes_of(to_json(task)));
}

Result<Answer> ScorerProcess::take_manifest(const Message& message) {
  if (!standing_) return make_error(Code::corrupt, "The scorer planned before it looked.");
  Manifest manifest = TRY(manifest_from_json(as_text(message.body)));
  // Of these it knows only what it was told.
  manifest.run_id = standing_->run_id;
  manifest.input = task_->identity;
  manifest.parameters = task_->parameters;
  manifest.model = model_;
  manifest.notes = plain(std::move(manifest.notes));
  standing_->manifest = TRY(task_->write_manifest(manifest));
  return answer_with(json::object(), bytes_of(to_json(*standing_->manifest)));
}

// Its worst is to make others slow: a choice that a layer does not have is ignored.
Result<Answer> ScorerProcess::take_choices(const Message& message) {
  const model::Choices measured = TRY(choices_from_json(as_text(message.body)));
  if (task_->keep_choices) task_->keep_choices(measured);
  return answer_with(json::object());
}

Result<Answer> ScorerProcess::begin() {
  if (!standing_ || !standing_->manifest) {
    return make_error(Code::corrupt, "The scorer is ready before it planned.");
  }
  prepared_.manifest = *standing_->manifest;
  beside_.clear();
  TRY(noted(limit_results(pid_, prepared_.manifest, task_->stays)));
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
  if (which == 0) source = task_->input;
  if (which == 1) source = task_->model->onnx.get();
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
  beside_.push_back(TRY(task_->model->open_beside(head.at("location").get<std::string>())));
  return answer_with({{"source", beside_.size() + 1}, {"size", beside_.back()->size()}});
}

Result<Answer> ScorerProcess::found(const Message& message) {
  const json head = json::parse(message.head);
  if (standing_) return make_error(Code::corrupt, "The scorer looked twice.");
  // What it says of the model's content is mixed with what was read here: one that was taken over
  // cannot write into the run of another model.
  const std::string said = head.at("sha256").get<std::string>();
  const std::string seen = TRY(sha256_hex(*task_->model->onnx));
  model_ = {head.at("name").get<std::string>(), sha256_hex(as_bytes(said + seen)),
            std::string(as_text(message.body)), task_->model->url};
  prepared_.guesses = plain(head.at("guesses").get<std::vector<std::string>>());
  prepared_.container_notes = plain(head.at("container_notes").get<std::vector<std::string>>());
  standing_ = TRY(task_->find_run(model_));
  const json answer = {{"run_id", standing_->run_id},
                       {"prepared", standing_->manifest.has_value()}};
  return answer_with(answer, standing_->manifest ? bytes_of(to_json(*standing_->manifest))
                                                 : std::vector<std::byte>());
}

Result<Answer> ScorerProcess::next() {
  ChunkDesk& from = *TRY(desk());
  waits_ = true;
  const auto answered = noted(from.next(end_source().get_token()));
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
    if (is_over()) return make_error(Code::corrupt, "The scorer goes on after its last word.");
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
  const bool again = done && task_->stays;
  enter(done ? State::done : State::failed);
  return Answer{{again ? R"({"again":true})" : "{}", {}, Fd()}, !again};
}

Result<Answer> ScorerProcess::keep_frame(const nlohmann::json& head, const Message& message) {
  ChunkDesk& to = *TRY(desk());
  const std::string& wanted = task_->parameters.keep_frames;
  if (wanted.empty() || head.at("extension").get<std::string>() != wanted) {
    return make_error(Code::corrupt, "The scorer gives a picture that nobody wants.");
  }
  TRY(noted(to.keep_frame(head.at("number").get<uint64_t>(), wanted, message.body)));
  return answer_with(json::object());
}

Result<Answer> ScorerProcess::keep_trace(int chunk, const Message& message) {
  ChunkDesk& to = *TRY(desk());
  constexpr size_t kLargestTrace = size_t{8} << 20;  // bytes; kMostSpans take less than half
  if (!task_->trace || message.body.size() > kLargestTrace) {
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
