// SPDX-License-Identifier: Apache-2.0
// A request's body: what is submitted, then its parameters for a pipeline that has one of each
// type. Filling in what was filled in gives the same.
#include "fuzz.h"
#include "server/pipeline.h"
#include "server/pipeline_commands.h"
#include "server/submission.h"

namespace fuzz = atelier::fuzz;
using namespace atelier::server;

namespace {

constexpr const char* kPipeline = R"(
name = "paint"
[parameters]
input = {type = "input"}
output = {type = "output"}
style = {type = "model", default = "starry-night"}
label = {type = "string", default = "a"}
size = {type = "size", optional = true}
from = {type = "time", optional = true}
codec = {type = "choice", choices = ["libx264", "libx265"], default = "libx264"}
crf = {type = "integer", min = 0, max = 51, default = 23}
psnr = {type = "number", min = 10, max = 90, optional = true}
whole = {type = "boolean", default = false}
[[steps]]
kind = "prepare"
input = "{input}"
from = "{from}"
deinterlace = "{whole}"
[[steps]]
kind = "score"
model = "{style}"
size = "{size}"
min-psnr = "{psnr}"
[[steps]]
kind = "finish"
output = "{output}/{label}.mp4"
codec = "{codec}"
crf = "{crf}"
)";

void fill(const Pipeline& pipeline, std::string_view json) {
  const auto filled = fill_parameters(pipeline.parameters, json);
  if (!filled.ok()) return;
  const auto again = fill_parameters(pipeline.parameters, filled->json);
  fuzz::must(again.ok(), "what was filled in can be filled in again");
  fuzz::must(again->json == filled->json, "and gives the same");
  const auto places = locations_of(pipeline, *filled);
  if (!places.ok()) return;
  const auto commands = commands_of(pipeline, *filled, StepPlaces{});
  if (!commands.ok()) return;
  for (const StepCommand& command : *commands) {
    for (const std::string& word : command.argv({})) {
      fuzz::must(word.find('\0') == std::string::npos, "no word has a NUL");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Pipeline kParsed = [] {
    auto parsed = parse_pipeline(kPipeline);
    fuzz::must(parsed.ok(), parsed.ok() ? "" : parsed.error().message.c_str());
    return std::move(parsed).value();
  }();
  const std::string_view text = fuzz::text_of(data, size);
  fill(kParsed, text);
  const auto request = parse_submission(text);
  if (request.ok()) fill(kParsed, request->parameters);
  return 0;
}
