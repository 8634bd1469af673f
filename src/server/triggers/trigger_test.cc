// SPDX-License-Identifier: Apache-2.0
#include "server/triggers/trigger.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace atelier::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kWhole = R"(
name = "incoming"
kind = "watch"
location = "/srv/media/in"
prefix = "today/"
suffix = [".mp4", ".MOV"]
min_bytes = 10
max_bytes = 1000
every = "2m"
settle = "250ms"
pipeline = "paint"
owner = "Studio.a"
[parameters]
input = "{url}"
output = "/srv/media/out/{stem}-painted.mp4"
width = 1280
strength = 0.5
fast = true
[parameters.style]
from = "{folder}"
map = { monet = "starry-night", klee = "candy" }
default = "plain"
)";

Trigger parsed(const std::string& toml) {
  Result<Trigger> trigger = parse_trigger(toml);
  EXPECT_TRUE(trigger.ok()) << (trigger.ok() ? "" : trigger.error().message);
  return trigger.ok() ? *std::move(trigger) : Trigger{};
}

std::string refusal(const std::string& toml) {
  const Result<Trigger> trigger = parse_trigger(toml);
  if (trigger.ok()) return "taken";
  EXPECT_EQ(trigger.error().code, Code::invalid_argument);
  return trigger.error().message;
}

// A good trigger with one parameter.
Trigger with(const std::string& parameter, const std::string& location = "/in") {
  return parsed("name='t'\nkind='poll'\nlocation='" + location +
                "'\npipeline='p'\n[parameters]\nx = " + parameter + "\n");
}

Blob blob_of(const Trigger& trigger, const std::string& path) {
  return Blob{place_below(trigger, path), path, 100, "e1", {}};
}

// What x becomes; "REFUSED" if it is.
std::string mapped(const Trigger& trigger, const Blob& blob) {
  const Result<std::string> json = map_blob(trigger, blob);
  if (!json.ok()) {
    EXPECT_EQ(json.error().code, Code::invalid_input);
    return "REFUSED";
  }
  return nlohmann::json::parse(*json).at("x").get<std::string>();
}

TEST(Trigger, AWholeOneIsRead) {
  const Trigger trigger = parsed(kWhole);
  EXPECT_EQ(trigger.name, "incoming");
  EXPECT_EQ(trigger.kind, Trigger::Kind::watch);
  EXPECT_EQ(trigger.location.path, "/srv/media/in");
  EXPECT_EQ(trigger.every, seconds(120));
  EXPECT_EQ(trigger.settle, milliseconds(250));
  EXPECT_EQ(trigger.pipeline, "paint");
  EXPECT_EQ(trigger.owner, "Studio.a");
  EXPECT_EQ(trigger.min_bytes, 10U);
  EXPECT_EQ(trigger.max_bytes, 1000U);
  const auto json = map_blob(trigger, blob_of(trigger, "today/monet/a b.mp4"));
  ASSERT_TRUE(json.ok()) << json.error().message;
  EXPECT_EQ(*json, R"({"fast":true,"input":"file:///srv/media/in/today/monet/a%20b.mp4",)"
                   R"("output":"file:///srv/media/out/a%20b-painted.mp4","strength":0.5,)"
                   R"("style":"starry-night","width":1280})");
}

TEST(Trigger, WhatIsAbsentHasItsDefault) {
  const Trigger folder = parsed("name='t'\nkind='watch'\nlocation='/in'\npipeline='p'");
  EXPECT_EQ(folder.owner, "t");
  EXPECT_EQ(folder.settle, seconds(5));
  EXPECT_EQ(folder.every, seconds(60));
  EXPECT_EQ(folder.min_bytes, 1U);
  const Trigger bucket = parsed("name='t'\nkind='poll'\nlocation='s3://b/in'\npipeline='p'");
  EXPECT_EQ(bucket.settle, seconds(0));
  EXPECT_EQ(bucket.every, seconds(30));
  const Trigger event = parsed("name='t'\nkind='event'\nlocation='az://a/c'\npipeline='p'");
  EXPECT_EQ(event.every, seconds(0));
}

TEST(Trigger, WhatIsWrongIsSaidWithItsLine) {
  const std::string good = "name='t'\nkind='poll'\nlocation='/in'\npipeline='p'\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {good + "colour='x'", "line 5: there is no key 'colour'"},
      {good + "every='30'", "line 5: 'every' must be a duration"},
      {good + "every='0s'", "line 5: 'every'"},
      {good + "every='99999999999999999999s'", "line 5: 'every'"},
      {good + "every='9223372036854775807h'", "line 5: 'every'"},
      {good + "every=30", "line 5: 'every' must be a text"},
      {good + "settle='2h'", "line 5: 'settle'"},
      {good + "suffix=[]", "line 5: 'suffix'"},
      {good + "suffix=['.a', 3]", "line 5: 'suffix'"},
      {good + "min_bytes=-1", "line 5: 'min_bytes'"},
      {good + "min_bytes=5\nmax_bytes=4", "'max_bytes' must not be less"},
      {good + "owner='a b'", "line 5: 'owner'"},
      {good + "[parameters]\nx='{what}'", "line 6: 'x': '{what}' is no field"},
      {good + "[parameters]\nx='a}b'", "line 6: 'x': a brace"},
      {good + "[parameters]\nx='{name'", "line 6: 'x': a brace"},
      {good + "[parameters]\nx='{url}.mp4'", "line 6: 'x': {url} stands alone"},
      {good + "[parameters]\nx='of {path}'", "line 6: 'x': {path} is for places"},
      {good + "[parameters]\nx='az://{name}/c/d'", "line 6: 'x': before its first field"},
      {good + "[parameters]\nx=inf", "line 6: 'x' must be finite"},
      {good + "[parameters]\nx=[1]", "line 6: 'x' must be a text"},
      {good + "[parameters]\n'x y'=1", "line 6: a parameter's name"},
      {good + "[parameters.x]\nfrom='{stem}'", "a choice needs 'from' and 'map'"},
      {good + "[parameters.x]\nfrom='{stem}'\nmap={a='b'}\nelse='c'", "a choice has no 'else'"},
      {"kind='poll'\nlocation='/in'\npipeline='p'", "has no 'name'"},
      {"name='T'\n", "line 1: 'name' must be"},
      {"name='-a'\n", "line 1: 'name' must be"},
      {"name='t'\nkind='look'\n", "line 2: 'kind' must be"},
      {"name='t'\nkind='watch'\nlocation='s3://b/in'\npipeline='p'", "line 2: only a folder"},
      {"name='t'\nkind='poll'\nlocation='in'\npipeline='p'", "line 3: 'location' must be an abs"},
      {"name='t'\nkind='poll'\nlocation='http://h/x'\npipeline='p'", "line 3: Cannot use a http"},
      {"name='t'\nname='u'", "line 2"},
      {"name='t'\nkind=", "line 2"},
      {std::string(64, '['), "nests deeper"},
  };
  for (const auto& [toml, says] : cases) {
    EXPECT_NE(refusal(toml).find(says), std::string::npos) << toml << "\n" << refusal(toml);
  }
}

TEST(Trigger, FieldsAreFilledIn) {
  const std::string path = "today/monet/b.c.mp4";
  const auto filled = [&](const std::string& text, const std::string& location = "/in") {
    const Trigger trigger = with(text, location);
    return mapped(trigger, blob_of(trigger, path));
  };
  EXPECT_EQ(filled("'{url}'"), "file:///in/today/monet/b.c.mp4");
  EXPECT_EQ(filled("'{url}'", "az://acc/cont/in"), "az://acc/cont/in/today/monet/b.c.mp4");
  EXPECT_EQ(filled("'{name}'"), "b.c.mp4");
  EXPECT_EQ(filled("'{stem}'"), "b.c");
  EXPECT_EQ(filled("'{folder}'"), "monet");
  EXPECT_EQ(filled("'{{{stem}}}'"), "{b.c}");
  EXPECT_EQ(filled("'/out/{path}'"), "file:///out/today/monet/b.c.mp4");
  EXPECT_EQ(filled("'s3://other/x-{folder}/{stem}.mkv'"), "s3://other/x-monet/b.c.mkv");
  EXPECT_EQ(filled("'plain'"), "plain");
}

TEST(Trigger, TheFolderOfWhatLiesAtTheRootIsItsLocation) {
  const auto folder_of = [](const std::string& location) {
    const Trigger trigger = with("'{folder}'", location);
    return mapped(trigger, blob_of(trigger, "a.mp4"));
  };
  EXPECT_EQ(folder_of("/srv/in"), "in");
  EXPECT_EQ(folder_of("az://acc/cont/in"), "in");
  EXPECT_EQ(folder_of("az://acc/cont"), "cont");
  EXPECT_EQ(folder_of("/"), "REFUSED");
}

TEST(Trigger, OddNamesComeThroughWhole) {
  const std::string name = "a?b#c%20 {url}\n\xff.mp4";
  const Trigger path = with("'/out/{stem}.mkv'");
  const std::string url = mapped(path, blob_of(path, name));
  EXPECT_EQ(url, "file:///out/a%3Fb%23c%2520%20%7Burl%7D%0A%FF.mkv");
  EXPECT_EQ(parse_location(url)->path, std::string("/out/a?b#c%20 {url}\n\xff.mkv"));
  const Trigger cloud = with("'s3://b/out/{stem}.mkv'");
  EXPECT_EQ(parse_location(mapped(cloud, blob_of(cloud, name)))->key,
            "out/a?b#c%20 {url}\n\xff.mkv");
  // Where it would be a word, it must be one.
  const Trigger word = with("'{stem}'");
  EXPECT_EQ(mapped(word, blob_of(word, name)), "REFUSED");
  EXPECT_EQ(mapped(word, blob_of(word, "Käse 日本.mp4")), "Käse 日本");
}

TEST(Trigger, NoFieldLeadsElsewhere) {
  const auto with_metadata = [](const std::string& text, const std::string& value) {
    const Trigger trigger = with(text);
    Blob blob = blob_of(trigger, "a.mp4");
    blob.metadata["k"] = value;
    return mapped(trigger, blob);
  };
  const std::vector<std::string> hostile = {"..",
                                            ".",
                                            "",
                                            "../x",
                                            "a/../../b",
                                            "/etc/passwd",
                                            "a/b",
                                            "s3://secret/x",
                                            "file:/etc/passwd",
                                            std::string("a\0b", 3),
                                            ".atelier-tmp-1",
                                            std::string(5000, 'a'),
                                            "a//b"};
  for (const std::string& value : hostile) {
    for (const char* text : {"'{meta.k}'", "'pre-{meta.k}'", "'/out/{meta.K}'", "'/out/{meta.k}/y'",
                             "'s3://b/o/{meta.k}'"}) {
      const std::string result = with_metadata(text, value);
      if (result == "REFUSED") continue;
      // What is taken is a name below the constant folder, or a word that is no place.
      if (std::string(text).find('/') != std::string::npos) {
        EXPECT_TRUE(result.starts_with("file:///out/") || result.starts_with("s3://b/o/"))
            << text << " " << value << " " << result;
        EXPECT_EQ(result.find("/.."), std::string::npos);
      } else {
        EXPECT_EQ(result.find('/'), std::string::npos) << text << " " << value;
      }
    }
  }
  EXPECT_EQ(with_metadata("'/out/{meta.k}'", ".."), "REFUSED");
  EXPECT_EQ(with_metadata("'/a/{meta.k}/b'", ".."), "REFUSED");
  EXPECT_EQ(with_metadata("'{meta.k}'", "-rf"), "REFUSED");
  EXPECT_EQ(with_metadata("'x{meta.k}'", "-rf"), "x-rf");
  EXPECT_EQ(with_metadata("'{meta.k}'", "FILE:x"), "REFUSED");
  EXPECT_EQ(with_metadata("'fi{meta.k}'", "le:x"), "REFUSED");
  EXPECT_EQ(with_metadata("'{meta.k}'", "~"), "REFUSED");
  EXPECT_EQ(with_metadata("'/out/{meta.k}..'", "."), "REFUSED");
  EXPECT_EQ(with_metadata("'{meta.k}'", "a\x01"), "REFUSED");
  EXPECT_EQ(with_metadata("'{meta.k}'", "\xed\xa0\x80"), "REFUSED");
  EXPECT_EQ(with_metadata("'{meta.k}'", "monet"), "monet");
}

TEST(Trigger, AChoiceTakesItsMapOrItsDefault) {
  const auto chosen = [](const std::string& choice, const std::string& path,
                         const std::map<std::string, std::string>& metadata = {}) {
    const Trigger trigger = with(choice);
    Blob blob = blob_of(trigger, path);
    blob.metadata = metadata;
    return mapped(trigger, blob);
  };
  const std::string open = "{from='{folder}', map={monet='m.onnx'}, default='d'}";
  EXPECT_EQ(chosen(open, "monet/a.mp4"), "m.onnx");
  EXPECT_EQ(chosen(open, "klee/a.mp4"), "d");
  EXPECT_EQ(chosen(open, "\xff/a.mp4"), "d");
  const std::string closed = "{from='{meta.style}', map={monet='m.onnx'}}";
  EXPECT_EQ(chosen(closed, "a.mp4", {{"style", "monet"}}), "m.onnx");
  EXPECT_EQ(chosen(closed, "a.mp4", {{"style", "klee"}}), "REFUSED");
  EXPECT_EQ(chosen(closed, "a.mp4"), "REFUSED");
  EXPECT_TRUE(with(closed).uses_metadata());
  EXPECT_FALSE(with(open).uses_metadata());
}

TEST(Trigger, FiltersLookAtThePathAndTheSize) {
  const Trigger trigger = parsed(kWhole);
  EXPECT_TRUE(wants_path(trigger, "today/a.mp4"));
  EXPECT_TRUE(wants_path(trigger, "today/x/a.MoV"));
  EXPECT_FALSE(wants_path(trigger, "tomorrow/a.mp4"));
  EXPECT_FALSE(wants_path(trigger, "today/a.mkv"));
  EXPECT_FALSE(wants_size(trigger, 9));
  EXPECT_TRUE(wants_size(trigger, 10));
  EXPECT_TRUE(wants_size(trigger, 1000));
  EXPECT_FALSE(wants_size(trigger, 1001));
}

TEST(Trigger, HiddenAndUnfinishedFilesAreNoBlobs) {
  const Trigger trigger = with("'a'");
  for (const char* path : {".a.mp4", "x/.a.mp4", ".x/a.mp4", ".atelier-tmp-77", "a/.atelier-tmp-77",
                           ".atelier-keys/a", "../a.mp4", "a//b.mp4", "", "a/"}) {
    EXPECT_FALSE(wants_path(trigger, path)) << path;
  }
  EXPECT_TRUE(wants_path(trigger, "a.b/c"));
}

TEST(Trigger, PathsAreToldFromPlacesElsewhere) {
  const auto below = [](const std::string& location, const std::string& place) {
    return path_below(with("'a'", location), *parse_location(place)).value_or("NONE");
  };
  EXPECT_EQ(below("/in", "/in/a/b"), "a/b");
  EXPECT_EQ(below("/in", "/in2/a"), "NONE");
  EXPECT_EQ(below("/in", "/in"), "NONE");
  EXPECT_EQ(below("/in", "/in/../x"), "NONE");
  EXPECT_EQ(below("/", "/x"), "x");
  EXPECT_EQ(below("az://a/c", "az://a/c/d/e"), "d/e");
  EXPECT_EQ(below("az://a/c/d", "az://a/c/d/e"), "e");
  EXPECT_EQ(below("az://a/c/d", "az://b/c/d/e"), "NONE");
  EXPECT_EQ(below("az://a/c/d", "az://a/cc/d/e"), "NONE");
  EXPECT_EQ(below("s3://c/d", "az://a/c/d/e"), "NONE");
}

TEST(Trigger, AFileMayBeThePictureOfASequence) {
  const std::vector<std::string> urls = output_urls(*parse_location("/out/a1-007.png"));
  const auto has = [&](const std::string& url) {
    return std::find(urls.begin(), urls.end(), url) != urls.end();
  };
  EXPECT_TRUE(has("file:///out/a1-007.png"));
  EXPECT_TRUE(has("file:///out/a1-%2503d.png"));
  EXPECT_TRUE(has("file:///out/a%25d-007.png"));
  EXPECT_FALSE(has("file:///out/a1-%2502d.png"));
  const std::vector<std::string> more = output_urls(*parse_location("s3://b/1000.png"));
  EXPECT_NE(std::find(more.begin(), more.end(), "s3://b/%2503d.png"), more.end());
}

TEST(TriggerParse, WhatRunsAreSubmittedWith) {
  const std::string base = "name='t'\nkind='poll'\nlocation='s3://b/in'\npipeline='p'\n";
  EXPECT_EQ(parse_trigger(base)->asks, Trigger::Asks{});
  const auto all = parse_trigger(base +
                                 "version=3\npool='nights'\npriority=-5\nmax_cost=2\n"
                                 "max_seconds=90.5\nreplace_output=false\n");
  ASSERT_TRUE(all.ok()) << all.error().message;
  EXPECT_EQ(all->asks, (Trigger::Asks{3, "nights", -5, 2.0, 90.5, false}));
  for (const char* wrong : {"version=0", "version='3'", "pool=1", "pool=''", "priority=101",
                            "priority=0.5", "max_cost=0", "max_cost=-1", "max_seconds='9'",
                            "max_seconds=nan", "replace_output='yes'"}) {
    EXPECT_FALSE(parse_trigger(base + wrong).ok()) << wrong;
  }
}

}  // namespace
}  // namespace atelier::server
