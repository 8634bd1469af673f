// SPDX-License-Identifier: Apache-2.0
// For tests: a Slurm that is a list of answers.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "engine/commands.h"

namespace atelier::engine {

class FakeSlurm final : public Commands {
 public:
  Result<Answer> run(const std::vector<std::string>& words, std::string_view input,
                     std::stop_token) override {
    std::string line;
    for (const std::string& word : words) line += (line.empty() ? "" : " ") + word;
    if (words[0] != "squeue" && words[0] != "scontrol") asked.push_back(line);
    if (words[0] == "sbatch") script = input;
    if (const auto error = errors.find(words[0]); error != errors.end()) return error->second;
    std::deque<Answer>& left = answers[words[0]];
    if (left.empty()) return Answer{};
    Answer next = left.front();
    if (left.size() > 1) left.pop_front();  // the last one stands
    return next;
  }
  void answer(const std::string& command, const std::string& out, int code = 0,
              const std::string& err = "") {
    answers[command].push_back({code, out, err});
  }

  std::map<std::string, std::deque<Answer>> answers;
  std::map<std::string, Error> errors;  // instead
  std::vector<std::string> asked;       // but for what only looks: squeue, scontrol
  std::string script;
};

}  // namespace atelier::engine
