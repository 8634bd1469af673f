// SPDX-License-Identifier: Apache-2.0
#include "server/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "server/pipeline_commands.h"
#include "server/pipeline_options.h"
#include "server/pipeline_testing.h"

namespace atelier::server {
namespace {

using testing::HasSubstr;

// The sentence; "" if the text is a pipeline.
std::string error_of(const PipelineText& pipeline) {
  const auto parsed = parse_pipeline(pipeline.text());
  if (parsed.ok()) return "";
  EXPECT_EQ(parsed.error().code, Code::invalid_argument);
  EXPECT_THAT(parsed.error().message, testing::StartsWith("The pipeline, line "));
  EXPECT_THAT(parsed.error().message, testing::EndsWith("."));
  EXPECT_EQ(parsed.error().message.find('\n'), std::string::npos);
  return parsed.error().message;
}

std::string with_head(const std::string& text) {
  PipelineText pipeline;
  pipeline.head = text;
  return error_of(pipeline);
}

// With one more parameter of this body, which a further scoring step uses in this line.
std::string with_use(const std::string& body, const std::string& line) {
  PipelineText pipeline;
  pipeline.parameters += "[parameters.x]\n" + body + "\n";
  pipeline.score += "[[steps]]\nkind = \"score\"\nmodel = \"wave\"\n" + line + "\n";
  return error_of(pipeline);
}

std::string with_finish(const std::string& body, const std::string& lines) {
  PipelineText pipeline;
  pipeline.parameters += "[parameters.x]\n" + body + "\n";
  pipeline.finish += lines + "\n";
  return error_of(pipeline);
}

std::string with_output(const std::string& body, const std::string& output) {
  PipelineText pipeline;
  pipeline.parameters += "[parameters.x]\n" + body + "\n";
  pipeline.finish.replace(pipeline.finish.find("\"{output}\""), 10, output + "\npreset = \"fast\"");
  if (output.find("{output}") == std::string::npos) {
    pipeline.parameters.erase(pipeline.parameters.find("[parameters.output]"), 35);
  }
  return error_of(pipeline);
}

TEST(Pipeline, IsWhatItsTextSays) {
  const Pipeline pipeline = parse_pipeline(PipelineText().text()).value();
  EXPECT_EQ(pipeline.name, "paint");
  EXPECT_EQ(pipeline.description, "Paints a video.\nTwice.");
  EXPECT_EQ(pipeline.pool, (Template{{"local", false}}));
  EXPECT_EQ(pipeline.max_attempts, 4);
  EXPECT_EQ(pipeline.parameters.size(), 8U);
  EXPECT_EQ(pipeline.parameters.at("crf").default_value, "23");
  EXPECT_TRUE(pipeline.parameters.at("from").optional);
  EXPECT_EQ(pipeline.prepare.at("input"), (Template{{"input", true}}));
  ASSERT_EQ(pipeline.scores.size(), 1U);
  EXPECT_EQ(pipeline.scores[0].at("precision"), (Template{{"f32", false}}));
  EXPECT_EQ(pipeline.finish.size(), 3U);
}

TEST(Pipeline, TheHeadIsChecked) {
  EXPECT_EQ(with_head("name = 'a'\n"), "");
  EXPECT_THAT(with_head(""), HasSubstr("'name' must be"));
  EXPECT_THAT(with_head("name = 'A'\n"), HasSubstr("line 1: 'name' must be"));
  EXPECT_THAT(with_head("name = 1\n"), HasSubstr("'name'"));
  EXPECT_THAT(with_head("name = 'a'\nmax_attempts = 0\n"), HasSubstr("line 2: 'max_attempts'"));
  EXPECT_THAT(with_head("name = 'a'\nmax_attempts = '3'\n"), HasSubstr("'max_attempts'"));
  EXPECT_THAT(with_head("name = 'a'\nworkers = 3\n"), HasSubstr("no key 'workers'"));
  EXPECT_THAT(with_head("name = 'a'\ndescription = \"\\u0000\"\n"), HasSubstr("'description'"));
  EXPECT_THAT(with_head("name = 'a'\npool = 'A'\n"), HasSubstr("'pool'"));
  EXPECT_THAT(with_head("name = 'a'\npool = '{style}'\n"), HasSubstr("'pool'"));
  EXPECT_THAT(with_head("name = 'a'\npool = '{none}'\n"), HasSubstr("'pool'"));
  EXPECT_THAT(with_head("name = 'a'\npool = '{codec}'\n"), testing::IsEmpty());
  EXPECT_THAT(with_head("name = 'a'\nsteps = 1\n"), HasSubstr("line"));
}

TEST(Pipeline, StepsComeInTheirOrder) {
  const PipelineText good;
  const auto check = [&](std::string prepare, std::string score, std::string finish) {
    PipelineText pipeline;
    pipeline.prepare = std::move(prepare);
    pipeline.score = std::move(score);
    pipeline.finish = std::move(finish);
    return error_of(pipeline);
  };
  EXPECT_EQ(check(good.prepare, good.score + good.score, good.finish), "");
  EXPECT_NE(check("", "", ""), "");
  EXPECT_NE(check(good.prepare, "", good.finish), "");
  EXPECT_NE(check("", good.score, good.finish), "");
  EXPECT_NE(check(good.prepare, good.score, ""), "");
  EXPECT_NE(check(good.score, good.prepare, good.finish), "");
  EXPECT_NE(check(good.prepare + good.prepare, good.score, good.finish), "");
  EXPECT_NE(check(good.prepare, good.score, good.finish + good.finish), "");
  std::string many;
  for (int i = 0; i < 8; ++i) many += good.score;
  EXPECT_EQ(check(good.prepare, many, good.finish), "");
  EXPECT_NE(check(good.prepare, many + good.score, good.finish), "");
  EXPECT_THAT(check(good.prepare, "[[steps]]\nkind = 'paint'\n", good.finish),
              HasSubstr("here belongs \"score\""));
}

TEST(Pipeline, OptionsBelongToTheirStepAndNoneToTheMachine) {
  for (const char* line : {"workers = 2", "engine = 'slurm'", "runs = '/x'", "sandbox = 'off'",
                           "memory = '1G'", "force = true", "trace = '/x'", "keep-frames = 'png'",
                           "crf = 3", "input = '{input}'", "min_psnr = 30", "--force = 1"}) {
    EXPECT_THAT(with_use("type = 'integer'", std::string(line) + "\nmin-psnr = '{x}'"),
                HasSubstr("no key"))
        << line;
  }
  PipelineText pipeline;
  pipeline.prepare += "codec = 'ffv1'\n";
  EXPECT_THAT(error_of(pipeline), HasSubstr("no key 'steps[1].codec'"));
}

TEST(Pipeline, WhatAStepNeedsIsThere) {
  PipelineText pipeline;
  pipeline.score = "[[steps]]\nkind = 'score'\nsize = '{size}'\n";
  EXPECT_THAT(error_of(pipeline), HasSubstr("needs 'model'"));
  pipeline = {};
  pipeline.prepare = "[[steps]]\nkind = 'prepare'\n";
  EXPECT_THAT(error_of(pipeline), HasSubstr("needs 'input'"));
  pipeline = {};
  pipeline.finish = "[[steps]]\nkind = 'finish'\n";
  EXPECT_THAT(error_of(pipeline), HasSubstr("needs 'output'"));
}

TEST(Pipeline, ValuesAreThoseThatTheOptionTakes) {
  const char* integer = "type = 'integer'\nmin = 0\nmax = 100";
  const auto fits = [&](const std::string& line) {
    return with_use(integer, line + "\nmin-psnr = '{x}'").empty();
  };
  for (const char* good : {"precision = 'int8'", "norm = 'shot'", "size = '1280x0'",
                           "error-threshold = 5", "error-threshold = '5'"}) {
    EXPECT_TRUE(fits(good)) << good;
  }
  for (const char* bad : {"precision = 'int4'",
                          "precision = 'f32 bf16'",
                          "precision = ''",
                          "precision = 1",
                          "norm = '{codec}'",
                          "size = '0x0'",
                          "size = 1280",
                          "size = 'x'",
                          "size = '1x'",
                          "size = '99999x1'",
                          "size = '-1x5'",
                          "size = '{style}'",
                          "error-threshold = -1",
                          "error-threshold = 1.5",
                          "error-threshold = '1.5'",
                          "error-threshold = [1]",
                          "size = '{x}'",
                          "size = '{size}{size}'",
                          "size = '{nobody}'",
                          "size = '{size'",
                          "size = 'size}'",
                          "size = '{}'",
                          "size = '{{size}}'",
                          "size = \"a\\u0000\""}) {
    EXPECT_FALSE(fits(bad)) << bad;
  }
  EXPECT_EQ(with_use("type = 'choice'\nchoices = ['auto', 'f32']", "precision = '{x}'"), "");
  EXPECT_NE(with_use("type = 'choice'\nchoices = ['auto', 'f16']", "precision = '{x}'"), "");
  EXPECT_NE(with_use("type = 'string'", "precision = '{x}'"), "");
  EXPECT_EQ(with_use("type = 'choice'\nchoices = ['1x1', '0x720']", "size = '{x}'"), "");
  EXPECT_NE(with_use("type = 'choice'\nchoices = ['1x1', 'big']", "size = '{x}'"), "");
}

TEST(Pipeline, ModelsAreNamesOrLocations) {
  const auto with_model = [](const std::string& body, const std::string& value) {
    PipelineText pipeline;
    pipeline.parameters += "[parameters.x]\n" + body + "\n";
    pipeline.score += "[[steps]]\nkind = \"score\"\nmodel = \"" + value + "\"\nmin-psnr='{x}'\n";
    if (body.find("choice") != std::string::npos) {
      pipeline.score.erase(pipeline.score.find("min-psnr"));
    }
    return error_of(pipeline);
  };
  EXPECT_EQ(with_model("type = 'number'", "/srv/models/a.onnx"), "");
  EXPECT_EQ(with_model("type = 'number'", "az://acct/models/a.onnx"), "");
  EXPECT_NE(with_model("type = 'number'", "models/a.onnx"), "");
  EXPECT_NE(with_model("type = 'number'", "a.onnx"), "");
  EXPECT_NE(with_model("type = 'number'", "/srv/{style}"), "");
  EXPECT_NE(with_model("type = 'number'", "{input}"), "");
  EXPECT_EQ(with_model("type = 'choice'\nchoices = ['wave', 's3://b/m.onnx']", "{x}"), "");
  EXPECT_NE(with_model("type = 'choice'\nchoices = ['wave', '-x']", "{x}"), "");
  EXPECT_NE(with_model("optional = true\ntype = 'choice'\nchoices = ['wave']", "{x}"), "");
}

TEST(Pipeline, NumbersGetTheBoundsOfTheirOption) {
  PipelineText text;
  text.parameters += "[parameters.x]\ntype = 'integer'\noptional = true\n";
  text.score += "min-psnr = '{x}'\n";
  const Pipeline pipeline = parse_pipeline(text.text()).value();
  EXPECT_EQ(pipeline.parameters.at("x").least, 0);
  EXPECT_EQ(pipeline.parameters.at("x").most, 200);
  EXPECT_NE(with_use("type = 'number'\nmax = 201", "min-psnr = '{x}'"), "");
  EXPECT_NE(with_use("type = 'number'\nmin = -1", "min-psnr = '{x}'"), "");
  EXPECT_NE(with_use("type = 'number'\ndefault = 300", "min-psnr = '{x}'"), "");
  EXPECT_NE(with_use("type = 'number'\nmin = 300", "min-psnr = '{x}'"), "");
  EXPECT_NE(with_use("type = 'number'", "error-threshold = '{x}'"), "");
  EXPECT_EQ(with_use("type = 'integer'", "min-psnr = '{x}'\nerror-threshold = '{x}'"), "");
  // In another order the narrower bounds come second.
  EXPECT_NE(with_finish("type = 'integer'\nmax = 1000", "crf = '{x}'"), "");
}

TEST(Pipeline, EncoderOptionsTakeTextAroundPlainValues) {
  EXPECT_EQ(with_finish("type = 'integer'", "encoder-opts = 'keyint={x}:bframes=2'"), "");
  EXPECT_EQ(with_finish("type = 'boolean'", "encoder-opts = 'mbtree={x}'"), "");
  EXPECT_EQ(with_finish("type = 'choice'\nchoices = ['a', 'b']", "encoder-opts = 't={x}'"), "");
  EXPECT_EQ(with_finish("type = 'string'", "encoder-opts = '{x}'"), "");
  EXPECT_EQ(with_finish("type = 'string'\noptional = true", "encoder-opts = '{x}'"), "");
  EXPECT_NE(with_finish("type = 'string'", "encoder-opts = 'keyint={x}'"), "");
  EXPECT_NE(with_finish("type = 'input'", "encoder-opts = 'keyint={x}'"), "");
  EXPECT_NE(with_finish("type = 'integer'\noptional = true", "encoder-opts = 'keyint={x}'"), "");
  EXPECT_EQ(with_finish("type = 'integer'", "preset = '{x}'"), "");
  EXPECT_NE(with_finish("type = 'string'", "preset = '{x}'"), "");
}

TEST(Pipeline, OutputsBeginWhereTheAuthorSays) {
  const char* text = "type = 'string'";
  EXPECT_EQ(with_output(text, "'/srv/out/{x}.mp4'"), "");
  EXPECT_EQ(with_output(text, "'az://acct/media/{x}/{codec}.mp4'"), "");
  EXPECT_EQ(with_output(text, "'file:///srv/{x}.mp4'"), "");
  EXPECT_EQ(with_output(text, "'{output}/{x}.mp4'"), "");
  EXPECT_NE(with_output(text, "'{output}{x}.mp4'"), "");
  EXPECT_NE(with_output(text, "'{x}/a.mp4'"), "");
  EXPECT_NE(with_output(text, "'out/{x}.mp4'"), "");
  EXPECT_NE(with_output(text, "'http://a/{x}.mp4'"), "");
  EXPECT_NE(with_output(text, "'{x}'"), "");
  EXPECT_NE(with_output(text, "'/srv/{input}/{x}'"), "");
  EXPECT_NE(with_output(text, "'/srv/{output}/{x}'"), "");
  EXPECT_NE(with_output("type = 'string'\noptional = true", "'/srv/out/{x}.mp4'"), "");
}

TEST(Pipeline, EveryParameterIsUsedAndDeclared) {
  PipelineText pipeline;
  pipeline.parameters += "[parameters.idle]\ntype = 'string'\n";
  EXPECT_THAT(error_of(pipeline), HasSubstr("'idle' is used by no step"));
  pipeline = {};
  pipeline.finish += "preset = '{nobody}'\n";
  EXPECT_THAT(error_of(pipeline), HasSubstr("there is no parameter 'nobody'"));
}

TEST(Pipeline, ParametersAreDeclaredInFull) {
  const auto declared = [](const std::string& body) {
    return with_finish(body, "encoder-opts = 'k={x}'");
  };
  for (const char* good :
       {"type = 'integer'", "type = 'integer'\nmin = 3\nmax = 3", "type = 'number'\nmin = 0.5",
        "type = 'choice'\nchoices = ['a']\ndefault = 'a'", "type = 'boolean'\ndefault = true",
        "type = 'number'\ndefault = 3"}) {
    EXPECT_EQ(declared(good), "") << good;
  }
  for (const char* bad : {"",
                          "type = 1",
                          "type = 'integers'",
                          "type = 'integer'\nlargest = 3",
                          "type = 'integer'\nmin = 4\nmax = 3",
                          "type = 'integer'\nmin = 0.5",
                          "type = 'integer'\nmin = nan",
                          "type = 'integer'\ndefault = '3'",
                          "type = 'integer'\ndefault = 3.0",
                          "type = 'integer'\nmax = 2\ndefault = 3",
                          "type = 'integer'\ndefault = [3]",
                          "type = 'boolean'\nmin = 1",
                          "type = 'choice'",
                          "type = 'choice'\nchoices = []",
                          "type = 'choice'\nchoices = ['a', '']",
                          "type = 'choice'\nchoices = ['a', 'a']",
                          "type = 'choice'\nchoices = ['a']\ndefault = 'b'",
                          "type = 'integer'\nchoices = ['a']",
                          "type = 'integer'\ndefault = 1\noptional = true",
                          "type = 'integer'\ndescription = 1"}) {
    EXPECT_NE(declared(bad), "") << bad;
  }
  PipelineText odd;
  odd.parameters += "[parameters.\"A b\"]\ntype = 'string'\n";
  EXPECT_THAT(error_of(odd), HasSubstr("cannot name a parameter"));
  odd = {};
  odd.parameters = "parameters = 3\n";
  EXPECT_THAT(error_of(odd), HasSubstr("'parameters' must be a table"));
  odd.parameters = "parameters.input = 3\n";
  EXPECT_THAT(error_of(odd), HasSubstr("'parameters.input' must be a table"));
}

TEST(Pipeline, ALongTextIsRefused) {
  const std::string text = PipelineText().text();
  const std::string fill(kLongestPipeline - text.size() - 1, 'x');
  EXPECT_TRUE(parse_pipeline(text + "#" + fill).ok());
  EXPECT_FALSE(parse_pipeline(text + "#" + fill + "x").ok());
}

TEST(Pipeline, TemplatesHaveParametersInBraces) {
  EXPECT_EQ(parse_template("a{b}c{d}").value(),
            (Template{{"a", false}, {"b", true}, {"c", false}, {"d", true}}));
  EXPECT_EQ(parse_template("{{b}}").value(), (Template{{"{b}", false}}));
  EXPECT_EQ(parse_template("{{{b}}}").value(), (Template{{"{", false}, {"b", true}, {"}", false}}));
  EXPECT_EQ(parse_template("").value(), Template{});
  for (const char* bad : {"{", "}", "{a", "a}", "{}", "{a{b}}", "{a}}", "{{a}"}) {
    EXPECT_FALSE(parse_template(bad).ok()) << bad;
  }
}

// Cuts, doubles, swaps and replaces stretches of a text.
std::string damaged(std::string text, std::mt19937_64& random) {
  const auto below = [&](size_t n) {
    return static_cast<size_t>(random() % std::max<size_t>(n, 1));
  };
  const std::string odd = "[]{}\"'=.,#\n\\\0\xff\xc3(x019-_e:/";
  for (size_t times = 1 + below(2); times > 0; --times) {
    const size_t at = below(text.size());
    const size_t length = below(std::min<size_t>(text.size() - at, 40));
    switch (below(5)) {
      case 0: text.erase(at, length); break;
      case 1: text.insert(at, text.substr(below(text.size()), length)); break;
      case 2: text.insert(at, 1, odd[below(odd.size())]); break;
      case 3:
        if (at < text.size()) text[at] = static_cast<char>(random());
        break;
      default: text.resize(std::max<size_t>(at, 1)); break;
    }
  }
  return text;
}

TEST(Pipeline, DamagedTextsGiveASentence) {
  PipelineText good;
  good.score += "[[steps]]\nkind = 'score'\nmodel = '/m/a.onnx'\n";
  good.finish += "encoder-opts = 'keyint={crf}'\npreset = 'fast'\n";
  std::mt19937_64 random(7);
  int still_good = 0;
  for (int i = 0; i < 8000; ++i) {
    const auto parsed = parse_pipeline(damaged(good.text(), random));
    if (!parsed.ok()) {
      EXPECT_EQ(parsed.error().code, Code::invalid_argument);
      EXPECT_THAT(parsed.error().message, testing::EndsWith("."));
      EXPECT_EQ(parsed.error().message.find('\n'), std::string::npos) << parsed.error().message;
      continue;
    }
    ++still_good;
    const auto filled =
        fill_parameters(parsed->parameters, R"({"input":"/m/a.mp4","output":"/m/b.mp4"})");
    if (filled.ok()) {
      StepPlaces places;
      places.between.assign(parsed->scores.size() - 1, "/tmp/x.mov");
      (void)commands_of(*parsed, *filled, places).ok();
    }
  }
  EXPECT_GT(still_good, 100);
}

}  // namespace
}  // namespace atelier::server
