// SPDX-License-Identifier: Apache-2.0
#include "server/pipeline_commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/pipeline_testing.h"

namespace atelier::server {
namespace {

using namespace std::string_literals;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

Pipeline parsed(const PipelineText& text) {
  auto pipeline = parse_pipeline(text.text());
  EXPECT_TRUE(pipeline.ok()) << pipeline.error().message;
  return std::move(pipeline).value();
}

RunParameters filled(const Pipeline& pipeline, const std::string& json) {
  auto parameters = fill_parameters(pipeline.parameters, json);
  EXPECT_TRUE(parameters.ok()) << parameters.error().message;
  return std::move(parameters).value();
}

PipelineText two_steps() {
  PipelineText text;
  text.parameters +=
      "[parameters.second]\ntype = 'choice'\nchoices = ['wave', '/m/b.onnx']\n"
      "default = '/m/b.onnx'\n";
  text.prepare += "chunk-seconds = 2.5\nto = '1:30'\n";
  text.score += "[[steps]]\nkind = 'score'\nmodel = '{second}'\nmin-psnr = 30\n";
  text.finish += "preset = 'fast'\nencoder-opts = 'keyint=5{{:aq-mode={crf}'\n";
  return text;
}

constexpr const char* kRequest = R"({"input":"/m/a b.mp4","output":"/m/out.mp4","crf":5})";

TEST(PipelineCommands, OneScoreIsOneCommand) {
  const Pipeline pipeline = parsed({});
  const auto commands = commands_of(pipeline, filled(pipeline, kRequest), {}).value();
  ASSERT_EQ(commands.size(), 1U);
  EXPECT_THAT(commands[0].argv({"--runs=/r", "--json"}),
              ElementsAre("run", "--runs=/r", "--json", "--model=starry-night", "--precision=f32",
                          "--codec=libx264", "--crf=5", "--", "/m/a b.mp4", "/m/out.mp4"));
}

TEST(PipelineCommands, ValuesThatAreNotGivenLeaveTheirOptionOut) {
  const Pipeline pipeline = parsed({});
  const auto parameters =
      filled(pipeline,
             R"({"input":"/m/a","output":"/m/b.mp4","from":"1:30","size":"640x0","whole":true})");
  EXPECT_THAT(commands_of(pipeline, parameters, {}).value()[0].options,
              ElementsAre("--model=starry-night", "--from=90", "--deinterlace", "--size=640x0",
                          "--precision=f32", "--codec=libx264", "--crf=23"));
}

TEST(PipelineCommands, SeveralScoresAreAChain) {
  const Pipeline pipeline = parsed(two_steps());
  StepPlaces places;
  places.between = {"/scratch/1.mov"};
  const auto commands = commands_of(pipeline, filled(pipeline, kRequest), places).value();
  ASSERT_EQ(commands.size(), 2U);
  EXPECT_THAT(commands[0].argv(),
              ElementsAre("run", "--model=starry-night", "--to=1:30", "--chunk-seconds=2.5",
                          "--precision=f32", "--codec=ffv1", "--force", "--", "/m/a b.mp4",
                          "/scratch/1.mov"));
  EXPECT_THAT(
      commands[1].argv(),
      ElementsAre("run", "--model=file:///m/b.onnx", "--chunk-seconds=2.5", "--min-psnr=30",
                  "--codec=libx264", "--crf=5", "--preset=fast",
                  "--encoder-opts=keyint=5{:aq-mode=5", "--", "/scratch/1.mov", "/m/out.mp4"));
}

TEST(PipelineCommands, TheOutputIsReplacedOnlyWhereThatIsSaid) {
  const Pipeline pipeline = parsed({});
  StepPlaces places;
  places.replace_output = true;
  EXPECT_THAT(commands_of(pipeline, filled(pipeline, kRequest), places).value()[0].options,
              Contains("--force"));
}

TEST(PipelineCommands, ObjectsAreGivenAsUrls) {
  const Pipeline pipeline = parsed(two_steps());
  StepPlaces places;
  places.between = {"az://acct/runs/x y.mkv"};
  const auto parameters =
      filled(pipeline, R"({"input":"az://acct/in/a%20b.mp4","output":"s3://bucket/out.webm"})");
  const auto commands = commands_of(pipeline, parameters, places).value();
  EXPECT_EQ(commands[0].input, "az://acct/in/a%20b.mp4");
  EXPECT_EQ(commands[0].output, "az://acct/runs/x%20y.mkv");
  EXPECT_EQ(commands[1].input, commands[0].output);
  EXPECT_EQ(commands[1].output, "s3://bucket/out.webm");
}

TEST(PipelineCommands, PlacesBetweenStepsFitTheRun) {
  const Pipeline pipeline = parsed(two_steps());
  const RunParameters parameters = filled(pipeline, kRequest);
  for (const std::vector<std::string>& bad : std::vector<std::vector<std::string>>{
           {}, {"/a.mov", "/b.mov"}, {"/a.mkv"}, {"/.mov"}, {"/a.mov/"s + "x"}, {"a.mov"}, {""}}) {
    StepPlaces places;
    places.between = bad;
    EXPECT_FALSE(commands_of(pipeline, parameters, places).ok()) << testing::PrintToString(bad);
  }
  EXPECT_EQ(intermediate_extension("file:///a.MP4"), ".mov");
  EXPECT_EQ(intermediate_extension("a.m4v"), ".mov");
  EXPECT_EQ(intermediate_extension("a.webm"), ".mkv");
  EXPECT_EQ(intermediate_extension("%06d.png"), ".mkv");
}

// Whatever a caller writes stays behind a "=" or "--".
TEST(PipelineCommands, NoValueBecomesAnOption) {
  PipelineText text;
  text.parameters += "[parameters.opts]\ntype = 'string'\noptional = true\n";
  text.finish += "encoder-opts = '{opts}'\n";
  const Pipeline pipeline = parsed(text);
  for (const char* odd : {"--force", "-x", "--", "a=b", "{input}", "$(x)", "; x", "a b", "''"}) {
    const auto parameters =
        filled(pipeline, R"({"input":"/m/--force","output":"/m/-b.mp4","opts":")"s + odd + "\"}");
    const auto argv = commands_of(pipeline, parameters, {}).value()[0].argv();
    EXPECT_THAT(argv,
                ElementsAre("run", "--model=starry-night", "--precision=f32", "--codec=libx264",
                            "--crf=23", "--encoder-opts="s + odd, "--", "/m/--force", "/m/-b.mp4"));
  }
  // An empty word would take the next one for its value.
  const auto none = filled(pipeline, R"({"input":"/m/a","output":"/m/b.mp4","opts":""})");
  EXPECT_THAT(commands_of(pipeline, none, {}).value()[0].options,
              testing::Not(Contains(HasSubstr("encoder-opts"))));
}

TEST(PipelineCommands, LocationsAreThoseOfTheRun) {
  const Pipeline pipeline = parsed(two_steps());
  const RunLocations places = locations_of(pipeline, filled(pipeline, kRequest)).value();
  EXPECT_EQ(places.input, "file:///m/a%20b.mp4");
  EXPECT_EQ(places.output, "file:///m/out.mp4");
  EXPECT_TRUE(places.is_output_callers);
  EXPECT_THAT(places.models,
              ElementsAre(ModelUse{"starry-night", true}, ModelUse{"file:///m/b.onnx", true}));
}

TEST(PipelineCommands, WhatTheAuthorFixedIsNotTheCallers) {
  PipelineText text;
  text.parameters.erase(text.parameters.find("[parameters.output]"), 35);
  text.parameters.erase(text.parameters.find("[parameters.style]"), 58);
  text.score.replace(text.score.find("{style}"), 7, "wave");
  text.finish.replace(text.finish.find("{output}"), 8, "/m/fixed.mp4");
  const Pipeline pipeline = parsed(text);
  const auto places = locations_of(pipeline, filled(pipeline, R"({"input":"/m/a"})")).value();
  EXPECT_EQ(places.output, "file:///m/fixed.mp4");
  EXPECT_FALSE(places.is_output_callers);
  EXPECT_THAT(places.models, ElementsAre(ModelUse{"wave", false}));
}

// Where the output goes if its template is `output` and the caller's text is `name`; "-": nowhere.
std::string put_together(const std::string& output, const std::string& name) {
  PipelineText text;
  const bool has_output = output.find("{output}") != std::string::npos;
  if (!has_output) text.parameters.erase(text.parameters.find("[parameters.output]"), 35);
  text.parameters += "[parameters.name]\ntype = 'string'\n";
  text.finish.replace(text.finish.find("{output}"), 8, output);
  const Pipeline pipeline = parsed(text);
  const std::string base = has_output ? R"("output":"/m/o ut",)" : "";
  const auto parameters =
      filled(pipeline, R"({"input":"/m/a",)" + base + R"("name":")" + name + "\"}");
  const auto places = locations_of(pipeline, parameters);
  EXPECT_EQ(commands_of(pipeline, parameters, {}).ok(), places.ok());
  return places.ok() ? places->output : "-";
}

TEST(PipelineCommands, ATextIsOneNameInTheOutput) {
  for (const auto& [output, folder] : {std::pair("/m/out/{name}", "file:///m/out/"),
                                       std::pair("{output}/{name}", "file:///m/o%20ut/"),
                                       std::pair("az://acct/media/{name}", "az://acct/media/"),
                                       std::pair("file:///m/out/{name}", "file:///m/out/")}) {
    EXPECT_EQ(put_together(output, "a b%20.mp4"), folder + "a%20b%2520.mp4"s) << output;
    EXPECT_EQ(put_together(output, "-%2e%2e?#"), folder + "-%252e%252e%3F%23"s) << output;
    EXPECT_EQ(put_together(output, "{input}"), folder + "%7Binput%7D"s) << output;
    for (const char* bad : {"", ".", "..", "a/b", "/etc/passwd", "../a", ".atelier-tmp-1"}) {
      EXPECT_EQ(put_together(output, bad), "-") << output << " " << bad;
    }
  }
  EXPECT_EQ(put_together("/m/.{name}/x", "."), "-");
  EXPECT_EQ(put_together("/m/{name}/../x", "a"), "-");
  EXPECT_EQ(put_together("az://acct/{name}/x", "runs"), "az://acct/runs/x");
  EXPECT_EQ(put_together("{output}/{name}/%06d.png", "a"), "file:///m/o%20ut/a/%2506d.png");
}

TEST(PipelineCommands, ParametersOfAnotherPipelineAreAnError) {
  const Pipeline pipeline = parsed({});
  EXPECT_FALSE(locations_of(pipeline, {}).ok());
  EXPECT_FALSE(commands_of(pipeline, {}, {}).ok());
}

TEST(PipelineCommands, ThePoolMayBeAChoice) {
  PipelineText text;
  EXPECT_EQ(pool_of(parsed(text), filled(parsed(text), kRequest)), "local");
  text.head = "name = 'paint'\n";
  EXPECT_EQ(pool_of(parsed(text), filled(parsed(text), kRequest)), "");
  text.head += "pool = '{pool}'\n";
  text.parameters += "[parameters.pool]\ntype='choice'\nchoices=['small','big']\ndefault='big'\n";
  EXPECT_EQ(pool_of(parsed(text), filled(parsed(text), kRequest)), "big");
}

}  // namespace
}  // namespace atelier::server
