// SPDX-License-Identifier: Apache-2.0
// atelier drill INPUT --model M: the same job undisturbed and then, once a seed, with workers that
// have accidents (run/drill.h). The result must be the same bits.
#include <charconv>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "cli/commands.h"
#include "cli/folders.h"
#include "cli/inputs.h"
#include "run/drill_worker.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;
using run::Accident;
using run::DrillEvent;
using run::DrillStep;

// With so many, each step must have been met.
constexpr uint64_t kManySeeds = 20;
// A worker's deaths; the engine gives up after 100 of all together.
constexpr int kMostDeaths = 80;
constexpr int kWorkers = 3;

struct Seeds {
  uint64_t first = 1;
  uint64_t last = 1;
  uint64_t count() const { return last - first + 1; }
};

Result<Seeds> parse_seeds(const std::string& text) {
  Seeds seeds;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, seeds.first);
  auto last = first;
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == '-') {
    last = std::from_chars(first.ptr + 1, end, seeds.last);
  } else {
    seeds.last = seeds.first;
  }
  constexpr uint64_t kMost = 1'000'000;
  if (last.ec != std::errc() || last.ptr != end || seeds.last < seeds.first ||
      seeds.last - seeds.first >= kMost) {
    return make_error(Code::invalid_argument,
                      "--seed takes a number, or A-B with at most a million of them, not '{}'.",
                      text);
  }
  return seeds;
}

// Removed with all that is in it, unless it is to be kept.
class DrillFolder {
 public:
  static Result<std::unique_ptr<DrillFolder>> create(const fs::path& parent, bool keep) {
    std::string name = (parent / "atelier-drill-XXXXXX").string();
    std::error_code error;
    fs::create_directories(parent, error);
    if (::mkdtemp(name.data()) == nullptr) {
      return make_error(
          Code::invalid_argument,
          "Cannot make a folder '{}' ({}); set TMPDIR, or with --engine slurm --runs, "
          "to a writable place.",
          name, describe_errno(errno));
    }
    return std::unique_ptr<DrillFolder>(new DrillFolder(name, keep));
  }
  ~DrillFolder() {
    if (!keep_) remove(path_);
  }
  DrillFolder(const DrillFolder&) = delete;
  DrillFolder& operator=(const DrillFolder&) = delete;
  const fs::path& path() const { return path_; }
  void done_with(const fs::path& part) const {
    if (!keep_) remove(part);
  }

 private:
  DrillFolder(fs::path path, bool keep) : path_(std::move(path)), keep_(keep) {}
  static void remove(const fs::path& path) {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  fs::path path_;
  bool keep_;
};

Result<std::string> hash_of(const fs::path& path) {
  return sha256_hex(*TRY(FileSource::open(path)));
}

// Asks to stop when somebody else does, or when the time is over.
class Limit {
 public:
  Limit(const std::stop_token& outer, double seconds)
      : outer_(outer, [this] { stop_.request_stop(); }),
        thread_([this, seconds](const std::stop_token& done) {
          Mutex mutex;
          std::condition_variable_any wake;
          mutex.lock();
          wake.wait_for(mutex, done, std::chrono::duration<double>(seconds), [] { return false; });
          mutex.unlock();
          if (done.stop_requested()) return;
          over_ = true;
          stop_.request_stop();
        }) {}
  std::stop_token token() const { return stop_.get_token(); }
  bool is_over() const { return over_; }

 private:
  std::stop_source stop_;
  std::atomic<bool> over_{false};
  std::stop_callback<std::function<void()>> outer_;
  std::jthread thread_;
};

// How often what happened at each step.
class Table {
 public:
  enum Column { broker_killed, scorer_killed, broker_frozen, scorer_frozen, faults, columns };

  static Column column_of(const DrillEvent& event) {
    if (event.accident == Accident::fault) return faults;
    if (event.accident == Accident::killed) return event.scorer ? scorer_killed : broker_killed;
    return event.scorer ? scorer_frozen : broker_frozen;
  }
  void add(const DrillEvent& event) {
    ++rows_[static_cast<size_t>(event.place.step)][column_of(event)];
  }
  size_t sum(Column column) const {
    size_t all = 0;
    for (const Row& row : rows_) all += row[column];
    return all;
  }
  // "3 kills, 2 freezes and 6 store faults"
  std::string total() const {
    return fmt::format("{} kills, {} freezes and {} store faults",
                       sum(broker_killed) + sum(scorer_killed),
                       sum(broker_frozen) + sum(scorer_frozen), sum(faults));
  }
  std::vector<std::string> never_met() const {
    std::vector<std::string> names;
    for (size_t i = 0; i < rows_.size(); ++i) {
      if (rows_[i] == Row{}) names.emplace_back(run::to_string(static_cast<DrillStep>(i)));
    }
    return names;
  }
  void say(Console& console) const {
    console.say(fmt::format("{:<18}{:>15}{:>15}{:>15}{:>15}{:>13}", "Step", "broker killed",
                            "scorer killed", "broker frozen", "scorer frozen", "store fault"));
    for (size_t i = 0; i < rows_.size(); ++i) {
      const Row& row = rows_[i];
      console.say(fmt::format("{:<18}{:>15}{:>15}{:>15}{:>15}{:>13}",
                              run::to_string(static_cast<DrillStep>(i)), row[broker_killed],
                              row[scorer_killed], row[broker_frozen], row[scorer_frozen],
                              row[faults]));
    }
  }
  nlohmann::json to_json() const {
    nlohmann::json steps = nlohmann::json::array();
    for (size_t i = 0; i < rows_.size(); ++i) {
      const Row& row = rows_[i];
      steps.push_back({{"step", run::to_string(static_cast<DrillStep>(i))},
                       {"broker_killed", row[broker_killed]},
                       {"scorer_killed", row[scorer_killed]},
                       {"broker_frozen", row[broker_frozen]},
                       {"scorer_frozen", row[scorer_frozen]},
                       {"store_faults", row[faults]}});
    }
    return steps;
  }

 private:
  using Row = std::array<size_t, columns>;
  std::array<Row, run::kDrillSteps> rows_{};
};

class DrillRuns {
 public:
  DrillRuns(const DrillOptions& options, const DrillFolder& folder, Console& console,
            std::stop_token stop)
      : options_(options), folder_(folder), console_(console), stop_(std::move(stop)) {}

  Result<void> undisturbed() {
    RunOptions options = options_.run;
    options.tune = "off";  // the plan must be that of the other runs
    options.engine = EngineOptions();
    options.workers = 1;
    options.runs = (folder_.path() / "undisturbed").string();
    options.output = wanted().string();
    const auto begin = clock_.now();
    Console quiet(false, true);
    TRY(run_command(options, quiet, stop_));
    const double seconds = seconds_since(begin);
    limit_ = options_.limit > 0 ? options_.limit : 60 + 50 * seconds;
    console_.say(fmt::format("Undisturbed, one worker: {:.1f} s, sha256 {}.", seconds,
                             TRY(hash_of(wanted())).substr(0, 16)));
    return {};
  }

  // What is wrong with the result of the seed; empty if nothing is. Errors: what the drill itself
  // cannot do; cancelled.
  Result<std::string> disturbed(uint64_t seed) {
    const fs::path place = folder_.path() / fmt::format("seed-{}", seed);
    std::error_code error;
    if (!fs::create_directory(place, error)) {
      return make_error(Code::internal, "Cannot make the folder '{}'.", place.string());
    }
    const auto begin = clock_.now();
    std::string wrong = TRY(run_with_accidents(seed, place));
    Table happened;
    const auto events = TRY(run::read_drill_log(place.string()));
    for (const DrillEvent& event : events) {
      table_.add(event);
      happened.add(event);
      // Clocks of other machines say nothing here.
      const std::string when =
          options_.run.engine.is_local()
              ? fmt::format("  {:7.3f} s", std::chrono::duration<double>(event.at - begin).count())
              : std::string();
      console_.say(fmt::format("{}  {}", when, run::describe(event)));
    }
    console_.say(fmt::format("Seed {}: {} after {} in {:.1f} s.", seed,
                             wrong.empty() ? "the same bits" : wrong, happened.total(),
                             seconds_since(begin)));
    seeds_.push_back({{"seed", seed},
                      {"accidents", events.size()},
                      {"seconds", seconds_since(begin)},
                      {"wrong", wrong}});
    folder_.done_with(place);
    return wrong;
  }

  const Table& table() const { return table_; }
  const nlohmann::json& seeds() const { return seeds_; }

 private:
  fs::path wanted() const { return folder_.path() / "undisturbed.mkv"; }
  double seconds_since(Clock::Duration begin) const {
    return std::chrono::duration<double>(clock_.now() - begin).count();
  }

  Result<Location> runs_of(const fs::path& place) const {
    if (options_.run.runs.empty() || !options_.run.engine.is_local()) {
      return parse_location((place / "runs").string());
    }
    // The folder's name is this drill's alone.
    const Location all = TRY(parse_location(options_.run.runs));
    return all.child(folder_.path().filename().string()).child(place.filename().string());
  }

  static Result<void> clear(const Location& runs) {
    const auto store = TRY(open_folder(runs));
    for (const ObjectInfo& object : TRY(list_all(*store, ""))) TRY(store->remove(object.key));
    return {};
  }

  Result<std::string> run_with_accidents(uint64_t seed, const fs::path& place) {
    run::DrillOrders orders;
    orders.seed = seed;
    orders.chances = {options_.kill, options_.freeze, options_.store_faults};
    orders.claim_timeout =
        std::chrono::milliseconds(static_cast<int64_t>(options_.claim_timeout * 1000));
    orders.folder = place.string();
    std::map<int, int> lives;
    RunOptions options = options_.run;
    options.tune = "off";  // the plan must be that of the other runs
    if (options.engine.is_local() && options.workers == 0) options.workers = kWorkers;
    const Location runs = TRY(runs_of(place));
    options.runs = runs.url();
    options.output = (place / "out.mkv").string();
    options.worker_arguments = [&](int k) {
      if (k > 0) {  // else each finds out for itself
        orders.worker = k;
        orders.life = lives[k]++;
        orders.mortal = orders.life < kMostDeaths / options.workers;
      }
      return std::vector<std::string>{"--drill", run::to_json(orders)};
    };
    Console quiet(false, true);
    Limit limit(stop_, limit_);
    const auto ran = run_command(options, quiet, limit.token());
    if (!options_.run.runs.empty() && !options_.keep) TRY(clear(runs));
    if (stop_.stop_requested())
      return make_error(Code::cancelled, "Interrupted in the run with seed {}.", seed);
    if (!ran.ok() && limit.is_over()) {
      return fmt::format("the run did not end within {:.0f} s", limit_);
    }
    if (!ran.ok()) return fmt::format("the run failed ({})", ran.error().message);
    if (TRY(hash_of(options.output)) != TRY(hash_of(wanted()))) {
      return std::string("the bits differ");
    }
    return std::string();
  }

  const DrillOptions& options_;
  const DrillFolder& folder_;
  Console& console_;
  const std::stop_token stop_;
  SystemClock clock_;
  double limit_ = 0;
  Table table_;
  nlohmann::json seeds_ = nlohmann::json::array();
};

Result<void> check_chances(const DrillOptions& options) {
  if (options.kill + options.freeze + options.store_faults <= 1) return {};
  return make_error(Code::invalid_argument,
                    "--kill, --freeze and --store-faults are together more than 1.");
}

// Where all that the drill makes is to lie. What happens to a worker is written down by itself,
// so its node must see that place.
Result<fs::path> place_of(const DrillOptions& options) {
  const EngineOptions& engine = options.run.engine;
  const Location input = TRY(parse_location(options.run.input));
  // The undisturbed result lies there in plain.
  if (engine.is_local()) {
    return scratch_for({input, TRY(location_of_runs(options.run.runs))});
  }
  if (TRY(is_encrypted(input))) {
    return make_error(Code::invalid_argument,
                      "{} is encrypted, and with --engine {} the drill would leave what is made of "
                      "it in plain where all nodes see it; use --engine local.",
                      input.url(), engine.name);
  }
  if (engine.name != "slurm" || engine.gang) {
    return make_error(Code::invalid_argument,
                      "The drill is for workers that die one by one: --engine local, or slurm "
                      "without --gang.");
  }
  if (!options.run.runs.empty()) {
    const Location runs = TRY(parse_location(options.run.runs));
    if (runs.is_file()) return fs::path(runs.path);
  }
  return make_error(Code::invalid_argument,
                    "With --engine slurm the drill needs --runs FOLDER, which all nodes share.");
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

Result<void> drill_command(const DrillOptions& options, Console& console, std::stop_token stop) {
  TRY(check_chances(options));
  const Seeds seeds = TRY(parse_seeds(options.seeds));
  const fs::path place = TRY(place_of(options));
  TRY(check_engine(options.run.engine, options.run.workers, stop));
  const auto folder = TRY(DrillFolder::create(place, options.keep));
  if (options.keep)
    console.note(fmt::format("What the drill makes is kept in '{}'.", folder->path().string()));
  DrillRuns drill(options, *folder, console, stop);
  TRY(drill.undisturbed());
  size_t bad = 0;
  std::string first_wrong;
  for (uint64_t i = 0; i < seeds.count(); ++i) {
    const uint64_t seed = seeds.first + i;
    const std::string wrong = TRY(drill.disturbed(seed));
    if (wrong.empty()) continue;
    if (bad++ == 0) first_wrong = fmt::format("seed {}, {}", seed, wrong);
  }
  drill.table().say(console);
  if (bad > 0) {
    return make_error(Code::internal,
                      "{} of {} runs went wrong, the first with {}; --keep and that --seed alone "
                      "keep everything to look at.",
                      bad, seeds.count(), first_wrong);
  }
  const auto never = drill.table().never_met();
  if (!never.empty() && seeds.count() >= kManySeeds) {
    return make_error(Code::internal,
                      "Nothing happened in {} runs at these steps of the ledger, so they were not "
                      "tried: {}; raise the chances.",
                      seeds.count(), joined(never));
  }
  console.say(fmt::format("The same bits {} after {}.",
                          seeds.count() == 1 ? "once" : fmt::format("{} times", seeds.count()),
                          drill.table().total()));
  if (!never.empty()) console.say(fmt::format("Never met: {}.", joined(never)));
  const nlohmann::json report = {{"state", "done"},
                                 {"engine", options.run.engine.name},
                                 {"seeds", drill.seeds()},
                                 {"steps", drill.table().to_json()},
                                 {"never_met", never}};
  console.object(report.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  return {};
}

}  // namespace atelier::cli
