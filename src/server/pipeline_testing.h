// SPDX-License-Identifier: Apache-2.0
// For tests: a pipeline in pieces, so that one of them can be another.
#pragma once

#include <string>

#include "server/pipeline.h"

namespace atelier::server {

struct PipelineText {
  std::string head = R"(name = "paint"
description = "Paints a video.\nTwice."
pool = "local"
max_attempts = 4
)";
  std::string parameters = R"([parameters.input]
type = "input"
description = "The video"
[parameters.output]
type = "output"
[parameters.style]
type = "model"
default = "starry-night"
[parameters.size]
type = "size"
optional = true
[parameters.from]
type = "time"
optional = true
[parameters.codec]
type = "choice"
choices = ["libx264", "libx265"]
default = "libx264"
[parameters.crf]
type = "integer"
min = 0
max = 51
default = 23
[parameters.whole]
type = "boolean"
default = false
)";
  std::string prepare = R"([[steps]]
kind = "prepare"
input = "{input}"
from = "{from}"
deinterlace = "{whole}"
)";
  std::string score = R"([[steps]]
kind = "score"
model = "{style}"
size = "{size}"
precision = "f32"
)";
  std::string finish = R"([[steps]]
kind = "finish"
output = "{output}"
codec = "{codec}"
crf = "{crf}"
)";

  std::string text() const { return head + parameters + prepare + score + finish; }
};

}  // namespace atelier::server
