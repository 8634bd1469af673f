// SPDX-License-Identifier: Apache-2.0
// A trigger says which blobs start which pipeline: a TOML table.
//
//   name = "incoming"                 # [a-z0-9][a-z0-9-]{0,62}
//   kind = "watch"                    # a folder of this machine, told by the kernel
//                                     # "poll": any store, listed; "event": told by a webhook
//   location = "/srv/media/in"        # or az://account/container/path, s3://bucket/path
//   prefix = "today/"                 # of the path below the location; default ""
//   suffix = [".mp4", ".mov"]         # or one; whatever the case of ASCII letters; default: any
//   min_bytes = 1                     # default 1: an empty object is no video
//   max_bytes = 50_000_000_000
//   every = "30s"                     # poll: how often, default 30 s; watch: how often all is
//                                     # listed in case the kernel's word was lost, default 60 s;
//                                     # event: the same against lost events, default never
//   settle = "5s"                     # size and etag must be unchanged for so long before a file
//                                     # that is listed counts as whole. Default 5 s of files and 0
//                                     # of objects, which appear whole; a file that was renamed
//                                     # into its place and a blob of which an event told need none
//   pipeline = "paint"
//   owner = "studio-a"                # whose runs these are; default: the trigger's name
//   version = 3                       # of the pipeline; default: the newest
//   pool = "nights"                   # default: the pipeline's
//   priority = 10                     # -100 to 100, default 0
//   max_cost = 2.5                    # of each run, as `atelier submit` has them; default: none
//   max_seconds = 3600
//   replace_output = true             # whatever lies at the output; false: nothing ever. Default:
//                                     # what an earlier run made of the same URL, so that new
//                                     # content under an old name is painted again
//   [parameters]                      # of the pipeline; text may have fields (trigger_text.h):
//   input = "{url}"                   # {url} {name} {stem} {folder} {path} {meta.KEY}
//   output = "/srv/media/out/{stem}-painted.mp4"
//   width = 1280                      # numbers and true or false stay what they are
//   [parameters.style]                # a choice by a field
//   from = "{folder}"
//   map = { monet = "starry-night", klee = "candy" }
//   default = "starry-night"          # without it, anything else is refused
//
// Durations are a whole number and ms, s, m or h. All pure; tested by trigger_test.cc.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "server/triggers/trigger_text.h"
#include "store/location.h"

namespace atelier::server {

struct Trigger {
  enum class Kind { watch, poll, event };
  struct Parameter {
    std::variant<TriggerText, int64_t, double, bool> value;
    bool is_choice = false;
    std::map<std::string, std::string> choices;
    std::optional<std::string> otherwise;
    bool operator==(const Parameter&) const = default;
  };

  // What runs are submitted with, beside their parameters.
  struct Asks {
    std::optional<int64_t> version;
    std::string pool;  // empty: the pipeline's
    int64_t priority = 0;
    std::optional<double> max_cost, max_seconds;
    std::optional<bool> replace_output;
    bool operator==(const Asks&) const = default;
  };

  std::string name;
  Kind kind = Kind::poll;
  Location location;
  std::string prefix;
  std::vector<std::string> suffixes;  // in lower case
  uint64_t min_bytes = 1;
  uint64_t max_bytes = UINT64_MAX;
  std::chrono::milliseconds every{0};  // 0: never
  std::chrono::milliseconds settle{0};
  std::string pipeline;
  std::string owner;
  Asks asks;
  std::map<std::string, Parameter> parameters;

  bool uses_metadata() const;
  bool operator==(const Trigger&) const = default;
};

std::string_view kind_name(Trigger::Kind kind);

// Strict: an unknown key is an error. Errors: invalid_argument, a sentence with the line.
Result<Trigger> parse_trigger(std::string_view toml);

// Whether a path below the trigger's location may start it by its name: hidden files and folders
// (among them Atelier's own unfinished ones, store/names.h) never do.
bool wants_path(const Trigger& trigger, std::string_view path);
// The same of a size.
bool wants_size(const Trigger& trigger, uint64_t size);

// The path of `place` below the trigger's location; nothing if it lies elsewhere.
std::optional<std::string> path_below(const Trigger& trigger, const Location& place);
// The object of a path that check_key accepts.
Location place_below(const Trigger& trigger, const std::string& path);

// The pipeline's parameters as a JSON object. Errors: invalid_input (see TriggerText::fill; a
// choice that does not stand in its map).
Result<std::string> map_blob(const Trigger& trigger, const Blob& blob);

// URLs that a run's output may have if `place` is one of the files that it writes: its own, and
// those of picture sequences ("frames/%06d.png") that it may belong to.
std::vector<std::string> output_urls(const Location& place);

}  // namespace atelier::server
