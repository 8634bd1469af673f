// SPDX-License-Identifier: Apache-2.0
#include "server/triggers/trigger_service.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

namespace atelier::server {
namespace {

// Half of what event services wait for an answer.
constexpr Clock::Duration kEventPatience = std::chrono::seconds(20);
constexpr Clock::Duration kLongestSleep = std::chrono::minutes(1);

int milliseconds_until(Clock::Duration due, Clock::Duration now) {
  const Clock::Duration wait = due <= now ? Clock::Duration(0) : std::min(due - now, kLongestSleep);
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(wait).count());
}

Reply json_reply(const nlohmann::json& body) {
  return Reply{200,
               "application/json",
               body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
               {}};
}

}  // namespace

// A runner and its thread.
class TriggerService::Worker {
 public:
  static Result<std::shared_ptr<Worker>> start(Trigger trigger, const TriggerParts& parts,
                                               Receipts& receipts) {
    Fd bell(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!bell) {
      return make_error(Code::unavailable,
                        "The trigger '{}' cannot run: {}; allow the service more open files.",
                        trigger.name, describe_errno(errno));
    }
    return std::shared_ptr<Worker>(
        new Worker(std::move(trigger), parts, receipts, std::move(bell)));
  }
  TriggerRunner& runner() { return runner_; }
  // There is something to start.
  void wake() {
    runner_.ask_to_start();
    ring();
  }
  void stop() { thread_.request_stop(); }
  bool has_ended() const { return ended_; }

 private:
  Worker(Trigger trigger, const TriggerParts& parts, Receipts& receipts, Fd bell)
      : clock_(parts.clock),
        bell_(std::move(bell)),
        runner_(std::move(trigger), parts.open, receipts, parts.clock, parts.wall_clock),
        thread_([this](const std::stop_token& stop) { run(stop); }) {}

  void ring() {
    const uint64_t one = 1;
    // It can only fail because it has been rung often enough.
    (void)!::write(bell_.get(), &one, sizeof(one));
  }
  void run(const std::stop_token& stop) {
    const std::stop_callback on_stop(stop, [this] { ring(); });
    const auto go_on = [&stop] { return !stop.stop_requested(); };
    while (go_on()) {
      runner_.step(go_on);
      if (go_on()) sleep();
    }
    ended_ = true;
  }
  void sleep() {
    std::array<pollfd, 2> fds{{{bell_.get(), POLLIN, 0}, {runner_.watch_fd(), POLLIN, 0}}};
    (void)::poll(fds.data(), fds.size(), milliseconds_until(runner_.next_due(), clock_.now()));
    uint64_t rung = 0;
    (void)!::read(bell_.get(), &rung, sizeof(rung));
  }

  const Clock& clock_;
  const Fd bell_;
  TriggerRunner runner_;
  std::atomic<bool> ended_ = false;
  std::jthread thread_;  // last: it ends before what it uses
};

TriggerService::TriggerService(TriggerParts parts)
    : parts_(std::move(parts)), receipts_(parts_.database, parts_.wall_clock, parts_.prepare) {}

TriggerService::~TriggerService() {
  MutexLock lock(mutex_);
  // All at once, so that their waits do not add up.
  for (const auto& [name, worker] : workers_) worker->stop();
  workers_.clear();
  leaving_.clear();
}

Result<void> TriggerService::replace(std::vector<Trigger> triggers) {
  MutexLock lock(mutex_);
  std::map<std::string, std::shared_ptr<Worker>> next;
  for (Trigger& trigger : triggers) {
    const auto running = workers_.find(trigger.name);
    const bool same = running != workers_.end() && running->second->runner().trigger() == trigger;
    const std::string name = trigger.name;
    next[name] = same ? running->second : TRY(Worker::start(std::move(trigger), parts_, receipts_));
  }
  for (auto& [name, worker] : workers_) {
    const auto kept = next.find(name);
    if (kept != next.end() && kept->second == worker) continue;
    worker->stop();
    leaving_.push_back(std::move(worker));
  }
  workers_ = std::move(next);
  std::erase_if(leaving_, [](const auto& worker) { return worker->has_ended(); });
  return {};
}

Result<std::vector<TriggerReport>> TriggerService::reports() {
  std::vector<std::shared_ptr<Worker>> workers;
  {
    MutexLock lock(mutex_);
    for (const auto& [name, worker] : workers_) workers.push_back(worker);
  }
  std::vector<TriggerReport> reports;
  for (const auto& worker : workers) {
    const ReceiptCounts counts = TRY(receipts_.counts(worker->runner().trigger().name));
    reports.push_back({worker->runner().trigger(), worker->runner().state(), counts});
  }
  return reports;
}

std::shared_ptr<TriggerService::Worker> TriggerService::find(const std::string& name) {
  MutexLock lock(mutex_);
  const auto found = workers_.find(name);
  return found == workers_.end() ? nullptr : found->second;
}

bool TriggerService::wake(const std::string& name) {
  const auto worker = find(name);
  if (worker) worker->wake();
  return worker != nullptr;
}

Reply TriggerService::handle_event(const std::string& name, const Call& call) {
  const std::shared_ptr<Worker> worker = find(name);
  if (!worker) return not_found("trigger of this name");
  if (worker->runner().trigger().kind != Trigger::Kind::event) {
    return problem(409, "The trigger takes no events; its kind is another one than \"event\".");
  }
  if (call.method == "OPTIONS") {
    const auto allowed = allow_event_origin(call.headers);
    return allowed.ok() ? Reply{200, "application/json", "{}", *allowed} : problem(allowed.error());
  }
  if (call.method == "POST") return take_events(*worker, call);
  Reply reply = problem(405, "Events are sent by POST.");
  reply.headers["Allow"] = "OPTIONS, POST";
  return reply;
}

Reply TriggerService::take_events(Worker& worker, const Call& call) {
  if (call.body.size() > kMostEventBytes) {
    return problem(413, "A body of events has at most 1 MiB; send fewer at once.");
  }
  const Result<EventBody> body = parse_event_body(call.headers, call.body);
  if (!body.ok()) return problem(body.error());
  if (body->validation_code) return json_reply({{"validationResponse", *body->validation_code}});
  const Result<Taken> taken = take_blobs(worker, body->blobs);
  if (!taken.ok()) return problem(taken.error());
  return json_reply({{"accepted", taken->accepted},
                     {"known", taken->known},
                     {"ignored", taken->ignored + static_cast<int64_t>(body->ignored)}});
}

// What was found before the store failed is recorded, so that a sender who repeats himself gets
// further each time.
Result<TriggerService::Taken> TriggerService::take_blobs(Worker& worker,
                                                         const std::vector<BlobEvent>& events) {
  const Trigger& trigger = worker.runner().trigger();
  std::vector<Blob> wanted = wanted_of(trigger, events);
  Taken taken;
  const size_t all = wanted.size();
  taken.ignored = static_cast<int64_t>(events.size() - all);
  // Events come twice as a rule; what the etag shows to be known costs no call of the store.
  wanted = TRY(receipts_.unknown(trigger, std::move(wanted)));
  const size_t asked = wanted.size();
  std::vector<Blob> found;
  const Result<void> answered = ask_store(worker, std::move(wanted), found);
  taken.accepted = TRY(receipts_.record_seen(trigger, found));
  if (taken.accepted > 0) worker.wake();
  if (!answered.ok()) return answered.error();
  taken.known = static_cast<int64_t>(all - asked + found.size()) - taken.accepted;
  taken.ignored += static_cast<int64_t>(asked - found.size());
  return taken;
}

// One of each path, as the trigger's filters want it.
std::vector<Blob> TriggerService::wanted_of(const Trigger& trigger,
                                            const std::vector<BlobEvent>& events) const {
  std::vector<Blob> wanted;
  std::set<std::pair<std::string, std::string>> seen;
  for (const BlobEvent& event : events) {
    std::optional<std::string> path = path_below(trigger, event.place);
    if (!path || !wants_path(trigger, *path)) continue;
    if (!seen.emplace(*path, event.etag).second) continue;
    wanted.push_back({event.place, *std::move(path), 0, event.etag, {}});
  }
  return wanted;
}

Result<void> TriggerService::ask_store(Worker& worker, std::vector<Blob> blobs,
                                       std::vector<Blob>& found) {
  const Trigger& trigger = worker.runner().trigger();
  const Clock::Duration end = parts_.clock.now() + kEventPatience;
  ObjectStore* store = TRY(worker.runner().store());
  for (Blob& blob : blobs) {
    if (parts_.clock.now() >= end) {
      return make_error(Code::unavailable,
                        "The store of the trigger '{}' answers too slowly for so many events; "
                        "send them again.",
                        trigger.name);
    }
    std::optional<ObjectInfo> info = TRY(store->head(blob.path));
    if (!info || !wants_size(trigger, info->size)) continue;
    blob.size = info->size;
    blob.etag = std::move(info->etag);
    blob.metadata = std::move(info->metadata);
    found.push_back(std::move(blob));
  }
  return {};
}

std::string to_json(const TriggerReport& report) {
  const Trigger& trigger = report.trigger;
  const TriggerState& state = report.state;
  const nlohmann::json json = {{"name", trigger.name},
                               {"kind", kind_name(trigger.kind)},
                               {"location", trigger.location.url()},
                               {"pipeline", trigger.pipeline},
                               {"owner", trigger.owner},
                               {"last_scan", state.last_scan},
                               {"last_error", state.last_error},
                               {"last_error_at", state.last_error_at},
                               {"listed", state.listed},
                               {"settling", state.settling},
                               {"waiting", report.receipts.seen},
                               {"started", report.receipts.submitted},
                               {"ignored", report.receipts.ignored}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string to_json(const Receipt& receipt) {
  const nlohmann::json json = {{"url", receipt.url},         {"etag", receipt.etag},
                               {"seen_at", receipt.seen_at}, {"state", receipt.state},
                               {"run", receipt.run_id},      {"reason", receipt.reason}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace atelier::server
