// SPDX-License-Identifier: Apache-2.0
#include "server/pipeline_parameters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "server/pipeline_testing.h"

namespace atelier::server {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;

Parameter of(ParameterType type) {
  Parameter parameter;
  parameter.name = "x";
  parameter.type = type;
  return parameter;
}

// The canonical text, or "-".
std::string canonical(const Parameter& parameter, const RawValue& value) {
  return canonical_value(parameter, value).value_or("-");
}
std::string canonical(ParameterType type, const RawValue& value) {
  return canonical(of(type), value);
}

TEST(PipelineParameters, LocationsBecomeUrls) {
  for (const auto type : {ParameterType::input, ParameterType::output}) {
    EXPECT_EQ(canonical(type, "/m/a b.mp4"s), "file:///m/a%20b.mp4");
    EXPECT_EQ(canonical(type, "file:/m//a%20b.mp4"s), "file:///m/a%20b.mp4");
    EXPECT_EQ(canonical(type, "AZ://acct/media/a%2eb"s), "az://acct/media/a.b");
    EXPECT_EQ(canonical(type, "/m/%06d.png"s), "file:///m/%2506d.png");
    for (const std::string& bad : {""s, "a.mp4"s, "../a"s, "/m/../a"s, "/"s, "az://acct/media"s,
                                   "https://h/a"s, "-"s, "--force"s, "/m/a\nb"s, "/m/\xff"s,
                                   "az://acct/media/a?sig=x"s, "/" + std::string(5000, 'a')}) {
      EXPECT_EQ(canonical(type, bad), "-") << bad;
    }
    EXPECT_EQ(canonical(type, int64_t{5}), "-");
    EXPECT_EQ(canonical(type, true), "-");
  }
}

TEST(PipelineParameters, ModelsAreNamesOrLocations) {
  EXPECT_EQ(canonical(ParameterType::model, "starry-night"s), "starry-night");
  EXPECT_EQ(canonical(ParameterType::model, "/m/a.onnx"s), "file:///m/a.onnx");
  for (const std::string& bad : {""s, "a.onnx"s, "a/b"s, ".a"s, "-a"s, "--force"s, "file:a"s,
                                 "a b"s, "a:b"s, std::string(64, 'a')}) {
    EXPECT_EQ(canonical(ParameterType::model, bad), "-") << bad;
  }
}

TEST(PipelineParameters, TextsAreCleanAndBounded) {
  EXPECT_EQ(canonical(ParameterType::string, "Grüße {input} --force $(x)"s),
            "Grüße {input} --force $(x)");
  EXPECT_EQ(canonical(ParameterType::string, ""s), "");
  EXPECT_EQ(canonical(ParameterType::string, std::string(4096, 'x')).size(), 4096U);
  EXPECT_EQ(canonical(ParameterType::string, std::string(4097, 'x')), "-");
  EXPECT_EQ(canonical(ParameterType::string, "a\0b"s), "-");
  EXPECT_EQ(canonical(ParameterType::string, "a\nb"s), "-");
}

TEST(PipelineParameters, NumbersAreFiniteAndWithinBounds) {
  Parameter crf = of(ParameterType::integer);
  crf.least = 0;
  crf.most = 51;
  EXPECT_EQ(canonical(crf, int64_t{0}), "0");
  EXPECT_EQ(canonical(crf, int64_t{51}), "51");
  EXPECT_EQ(canonical(crf, int64_t{52}), "-");
  EXPECT_EQ(canonical(crf, int64_t{-1}), "-");
  EXPECT_EQ(canonical(crf, 5.0), "-");
  EXPECT_EQ(canonical(crf, "5"s), "-");
  EXPECT_EQ(canonical(crf, true), "-");
  EXPECT_EQ(canonical(ParameterType::integer, INT64_MAX), "-");
  EXPECT_EQ(canonical(ParameterType::integer, INT64_MIN), "-");
  EXPECT_EQ(canonical(ParameterType::number, 0.1), "0.1");
  EXPECT_EQ(canonical(ParameterType::number, -0.0), "0");
  EXPECT_EQ(canonical(ParameterType::number, int64_t{3}), canonical(ParameterType::number, 3.0));
  EXPECT_EQ(canonical(ParameterType::number, HUGE_VAL), "-");
  EXPECT_EQ(canonical(ParameterType::number, std::nan("")), "-");
  EXPECT_EQ(canonical(ParameterType::boolean, true), "true");
  EXPECT_EQ(canonical(ParameterType::boolean, "true"s), "-");
  EXPECT_EQ(canonical(ParameterType::boolean, int64_t{1}), "-");
}

TEST(PipelineParameters, EqualSizesAndTimesHaveEqualText) {
  EXPECT_EQ(canonical(ParameterType::size, "01280x0720"s), "1280x720");
  EXPECT_EQ(canonical(ParameterType::size, "0x720"s), "0x720");
  for (const std::string& bad : {""s, "x"s, "1x"s, "x1"s, "0x0"s, "1x1x1"s, "-1x1"s, "1x-0"s,
                                 "16385x1"s, "1X1"s, "1 x1"s, "99999999999x1"s}) {
    EXPECT_EQ(canonical(ParameterType::size, bad), "-") << bad;
  }
  EXPECT_EQ(canonical(ParameterType::time, "1:30"s), "90");
  EXPECT_EQ(canonical(ParameterType::time, "0:01:30.0"s), "90");
  EXPECT_EQ(canonical(ParameterType::time, int64_t{90}), "90");
  EXPECT_EQ(canonical(ParameterType::time, 90.0), "90");
  EXPECT_EQ(canonical(ParameterType::time, "1:2:3:4"s), "-");
  EXPECT_EQ(canonical(ParameterType::time, ""s), "-");
}

std::map<std::string, Parameter> paint() {
  return parse_pipeline(PipelineText().text()).value().parameters;
}

std::string error_of(const std::string& json) {
  const auto filled = fill_parameters(paint(), json);
  if (filled.ok()) return "";
  EXPECT_EQ(filled.error().code, Code::invalid_argument);
  EXPECT_THAT(filled.error().message, testing::EndsWith("."));
  EXPECT_EQ(filled.error().message.find('\n'), std::string::npos);
  return filled.error().message;
}

constexpr const char* kLeast = R"({"output":"/m/b.mp4","input":"/m/a.mp4"})";
constexpr const char* kFilled =
    R"({"codec":"libx264","crf":23,"from":null,"input":"file:///m/a.mp4",)"
    R"("output":"file:///m/b.mp4","size":null,"style":"starry-night","whole":false})";

TEST(PipelineParameters, DefaultsAreFilledIn) {
  const RunParameters filled = fill_parameters(paint(), kLeast).value();
  EXPECT_EQ(filled.json, kFilled);
  EXPECT_EQ(filled.values.at("crf"), "23");
  EXPECT_FALSE(filled.values.contains("from"));
}

TEST(PipelineParameters, EqualRunsHaveEqualText) {
  EXPECT_EQ(fill_parameters(paint(), kFilled).value().json, kFilled);
  EXPECT_EQ(fill_parameters(paint(), R"( {"whole" : false, "crf":23, "input":"file:///m/./a.mp4",
                                         "output":"/m//b.mp4", "size": null} )")
                .value()
                .json,
            kFilled);
  const auto filled = fill_parameters(
      paint(), R"({"input":"/m/\"ä\".mp4","output":"/m/b","from":"1:30","crf":0,"whole":true})");
  EXPECT_EQ(fill_parameters(paint(), filled.value().json).value().json, filled.value().json);
}

TEST(PipelineParameters, WrongOnesAreNamed) {
  EXPECT_THAT(error_of(R"({"output":"/m/b"})"), HasSubstr("'input' is lacking; it must be"));
  EXPECT_THAT(error_of(R"({"output":"/m/b","input":null})"), HasSubstr("'input' is lacking"));
  EXPECT_THAT(error_of(""), HasSubstr("'input' is lacking"));
  const auto with = [](const std::string& more) {
    return error_of(R"({"output":"/m/b","input":"/m/a",)" + more + "}");
  };
  EXPECT_EQ(with(R"("crf":51)"), "");
  EXPECT_THAT(with(R"("crf":52)"), HasSubstr("'crf' must be a whole number from 0 to 51"));
  EXPECT_THAT(with(R"("crf":"23")"), HasSubstr("'crf' must be"));
  EXPECT_THAT(with(R"("crf":1e1)"), HasSubstr("'crf' must be"));
  EXPECT_THAT(with(R"("crf":18446744073709551615)"), HasSubstr("'crf' must be"));
  EXPECT_THAT(with(R"("crf":{})"), HasSubstr("'crf' must be"));
  EXPECT_THAT(with(R"("codec":"x")"), HasSubstr("'codec' must be one of: libx264, libx265"));
  EXPECT_THAT(with(R"("nobody":1)"),
              HasSubstr("no parameter 'nobody'; this pipeline takes: codec"));
  EXPECT_THAT(with(R"("a\nb":1)"), HasSubstr("'a?b'"));
  EXPECT_THAT(with(R"("crf":1,"crf":2)"), HasSubstr("'crf' is given twice"));
  EXPECT_THAT(with(R"("whole":0)"), HasSubstr("'whole' must be true or false"));
  EXPECT_THAT(with(R"("size":"a\u0000")"), HasSubstr("'size' must be"));
}

TEST(PipelineParameters, WhatIsNoObjectIsRefused) {
  for (const std::string& bad :
       {"null"s, "[]"s, "1"s, "{"s, "{}x"s, "{'a':1}"s, "\"a\""s, "{\"a\":\"\xff\"}"s, " "s,
        R"({"input":[["/m/a"]]})"s, R"({"input":{"a":{"b":1}}})"s, std::string(60000, '['),
        R"({"crf":NaN})"s, R"({"crf":1,})"s}) {
    EXPECT_NE(error_of(bad), "") << bad.substr(0, 50);
  }
  EXPECT_THAT(error_of(std::string(kLongestParameters + 1, ' ')), HasSubstr("long"));
}

TEST(PipelineParameters, DamagedRequestsGiveASentence) {
  const auto parameters = paint();
  const std::string good =
      R"({"input":"/m/a b.mp4","output":"az://acct/media/b.mp4","from":"1:30","crf":3,)"
      R"("style":"wave","size":"640x0","whole":true,"codec":"libx265"})";
  std::mt19937_64 random(11);
  int still_good = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = good;
    for (size_t times = 1 + random() % 3; times > 0; --times) {
      const size_t at = random() % text.size();
      switch (random() % 3) {
        case 0: text.erase(at, 1 + random() % 10); break;
        case 1: text[at] = static_cast<char>(random()); break;
        default: text.insert(at, text.substr(random() % text.size(), random() % 20)); break;
      }
      if (text.empty()) text = "{";
    }
    const auto filled = fill_parameters(parameters, text);
    if (!filled.ok()) {
      EXPECT_EQ(filled.error().message.find('\n'), std::string::npos);
      continue;
    }
    ++still_good;
    EXPECT_EQ(fill_parameters(parameters, filled->json).value().json, filled->json);
  }
  EXPECT_GT(still_good, 100);
}

}  // namespace
}  // namespace atelier::server
