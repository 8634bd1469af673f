// SPDX-License-Identifier: Apache-2.0
#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>

#include "server/pipeline_commands.h"
#include "server/toml_reader.h"
#include "server/triggers/trigger.h"

namespace atelier::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kStores = "[stores]\nmedia = ['/srv/media']\n";

Config parsed(const std::string& text) {
  auto config = parse_config(text, "/etc/atelier");
  EXPECT_TRUE(config.ok()) << config.error().message;
  return std::move(config).value();
}

std::string error_of(const std::string& text) {
  const auto config = parse_config(text, "/etc/atelier");
  if (config.ok()) return "";
  EXPECT_EQ(config.error().code, Code::invalid_argument);
  EXPECT_THAT(config.error().message, testing::StartsWith("The configuration, line "));
  EXPECT_THAT(config.error().message, testing::EndsWith("."));
  EXPECT_EQ(config.error().message.find('\n'), std::string::npos);
  return config.error().message;
}

// Of a text whose top begins so.
std::string top(const std::string& lines) { return error_of(lines + "\n" + kStores); }
// Of a text with this behind [stores].
std::string tail(const std::string& lines) { return error_of(kStores + lines + "\n"); }

TEST(Config, TheSmallestHasItsDefaults) {
  const Config config = parsed(kStores);
  EXPECT_EQ(config.listen.text(), "127.0.0.1:8080");
  EXPECT_EQ(config.events_listen.text(), "127.0.0.1:8081");
  EXPECT_EQ(config.data, "/var/lib/atelier");
  EXPECT_EQ(config.stores.ops.url(), "file:///var/lib/atelier/runs");
  EXPECT_FALSE(config.tls);
  ASSERT_EQ(config.pools.size(), 1U);
  EXPECT_EQ(config.pools[0].name, "local");
  EXPECT_THAT(engine_arguments(config.pools[0]), ElementsAre("--engine=local"));
  EXPECT_EQ(config.limits.max_queued, 10000);
  EXPECT_EQ(config.limits.max_body_bytes, 1U << 20);
  EXPECT_EQ(config.retention.audit, std::chrono::hours(365 * 24));
  EXPECT_THAT(config.triggers, IsEmpty());
}

TEST(Config, ListenersAreAddresses) {
  EXPECT_EQ(parsed("listen = '[::1]:9000'\n" + std::string(kStores)).events_listen.text(),
            "[::1]:9001");
  EXPECT_EQ(top("listen = '127.0.0.1:1'\nevents_listen = '127.0.0.2:1'"), "");
  EXPECT_EQ(parsed("listen = '127.0.0.1:0'\n" + std::string(kStores)).events_listen.text(),
            "127.0.0.1:0");
  EXPECT_THAT(top("listen = '127.0.0.1'"), HasSubstr("line 1: 'listen' must be an address"));
  EXPECT_THAT(top("listen = 8080"), HasSubstr("'listen'"));
  EXPECT_THAT(top("listen = '127.0.0.1:65535'"), HasSubstr("'events_listen'"));
  EXPECT_THAT(top("listen = '127.0.0.1:5'\nevents_listen = '127.0.0.1:5'"),
              HasSubstr("'events_listen' must be another"));
}

TEST(Config, PlainHttpStaysOnThisMachine) {
  EXPECT_THAT(top("listen = '0.0.0.0:80'"), HasSubstr("sent in clear"));
  EXPECT_THAT(top("events_listen = '10.0.0.1:80'"), HasSubstr("sent in clear"));
  EXPECT_EQ(top("listen = '0.0.0.0:80'\nallow_plain_http = true"), "");
  EXPECT_EQ(error_of("listen = '0.0.0.0:80'\n[tls]\ncertificate='c.pem'\nkey='k.pem'\n" +
                     std::string(kStores)),
            "");
}

TEST(Config, TlsHasBothFiles) {
  const Config config = parsed(kStores + std::string("[tls]\ncertificate='c.pem'\nkey='../k'\n"));
  ASSERT_TRUE(config.tls);
  EXPECT_EQ(config.tls->certificate, "/etc/atelier/c.pem");
  EXPECT_EQ(config.tls->key, "/etc/k");
  EXPECT_THAT(private_files(config), ElementsAre("/etc/k"));
  EXPECT_THAT(tail("[tls]\ncertificate='c.pem'"), HasSubstr("'tls.key'"));
  EXPECT_THAT(tail("[tls]\nkey='c.pem'"), HasSubstr("'tls.certificate'"));
  EXPECT_THAT(tail("[tls]\ncertificate='c'\nkey='k'\nca='x'"), HasSubstr("no key 'tls.ca'"));
}

TEST(Config, StoresLieApart) {
  const Config config = parsed(
      "data = 'd'\n[stores]\nmedia = ['m/', 'az://acct/media', 's3://b/x/']\n"
      "ops = 'az://acct/runs'\nmodels = ['az://acct/media/styles']\n");
  EXPECT_EQ(config.stores.media[0].url(), "file:///etc/atelier/m");
  EXPECT_EQ(config.stores.media[2].url(), "s3://b/x");
  EXPECT_EQ(config.stores.ops.url(), "az://acct/runs");
  EXPECT_EQ(config.data, "/etc/atelier/d");
  const LocationPolicy policy = policy_of(config);
  EXPECT_EQ(policy.closed.size(), 2U);
  for (const char* bad :
       {"", "[stores]\n", "[stores]\nmedia = []\n", "[stores]\nmedia = '/srv'\n",
        "[stores]\nmedia = ['/']\n", "[stores]\nmedia = ['/srv']\nops = '/srv/runs'\n",
        "[stores]\nmedia = ['/srv/runs/x']\nops = '/srv/runs'\n",
        "[stores]\nmedia = ['/srv']\nops = '/srv'\n", "[stores]\nmedia = ['/srv']\nops = ''\n",
        "[stores]\nmedia = ['/srv']\nops = 'https://x/y'\n",
        "[stores]\nmedia = ['/srv']\nmodels = ['/runs/m']\nops = '/runs'\n",
        "[stores]\nmedia = ['/var/lib']\n", "[stores]\nmedia = ['/var/lib/atelier/m']\n",
        "data = '/'\n[stores]\nmedia = ['/srv']\n", "data = ''\n[stores]\nmedia = ['/srv']\n",
        "data = 'az://a/b'\n[stores]\nmedia = ['/srv']\n", "[stores]\nmedia = ['/srv', '/srv']\n",
        "[stores]\nmedia = ['az://acct']\n", "[stores]\nmedia = ['/srv']\nextra = 1\n"}) {
    EXPECT_NE(error_of(bad), "") << bad;
  }
}

TEST(Config, SecretsDoNotLieWhereRunsRead) {
  EXPECT_THAT(tail("[tls]\ncertificate='c'\nkey='/srv/media/k'"),
              HasSubstr("may not lie in each other"));
  EXPECT_THAT(tail("[webhooks]\nallow=['h.example:443']\n[[webhook]]\nname='a'\n"
                   "url='https://h.example'\nsecret_file='/srv/media/s'"),
              HasSubstr("may not lie in each other"));
}

TEST(Config, LimitsOfAnOwnerReplaceThoseOfAll) {
  const Config config = parsed(kStores + std::string(R"([limits]
max_queued_per_owner = 7
max_queued_bytes_per_owner = "3GiB"
max_minutes = 5
max_body_bytes = "2MiB"
[limits.owners."big one"]
max_queued = 70
max_input_bytes = "1 TiB"
)"));
  OwnerLimits each;
  each.max_queued = 7;
  each.max_queued_bytes = uint64_t{3} << 30;
  each.max_minutes = 5;
  EXPECT_EQ(config.limits.of("anybody"), each);
  each.max_queued = 70;
  each.max_input_bytes = uint64_t{1} << 40;
  EXPECT_EQ(config.limits.of("big one"), each);
  EXPECT_EQ(config.limits.max_body_bytes, 2U << 20);
  for (const char* bad :
       {"max_queued = 0", "max_queued = 1.5", "max_running = 5", "max_body_bytes = '1GiB'",
        "max_body_bytes = '10B'", "max_body_bytes = 100000", "request_timeout = '11m'",
        "requests_per_second = 0", "requests_per_second = nan", "max_pixels = -1", "owners = 3",
        "owners.a = 3", "owners.a.max_body_bytes = '1MiB'", "owners.\"a\\n\".max_queued = 1"}) {
    EXPECT_THAT(tail("[limits]\n" + std::string(bad)), HasSubstr("line 4: ")) << bad;
  }
}

TEST(Config, PoolsSayWhatTheirEngineNeeds) {
  const Config config = parsed(kStores + std::string(R"([[pool]]
name = "here"
workers = 3
threads = 2
memory = "10G"
progress_timeout = "5m"
max = 2
min = 1
idle_timeout = "0s"
[[pool]]
name = "nights"
engine = "slurm"
max = 8
idle_timeout = "5m"
start_time = "90s"
price_per_node_hour = 0.5
preemptible = true
nodes = "1..8"
partition = "spot"
account = "team"
constraint = "[a&b]"
gres = "x:1"
time = "1:00:00"
gang = true
interface = "ib0"
[[pool]]
name = "ranks"
engine = "mpi"
hosts = "hosts"
interface = "eth1"
ranks_per_node = 2
)"));
  ASSERT_EQ(config.pools.size(), 3U);
  EXPECT_THAT(engine_arguments(config.pools[0]),
              ElementsAre("--engine=local", "--workers=3", "--threads=2", "--memory=10485760K",
                          "--progress-timeout=300"));
  EXPECT_EQ(config.pools[0].min, 1);
  EXPECT_EQ(config.pools[0].idle_timeout, std::chrono::seconds(0));
  const PoolConfig& nights = config.pools[1];
  EXPECT_EQ(nights.max, 8);
  EXPECT_EQ(nights.idle_timeout, std::chrono::minutes(5));
  EXPECT_EQ(nights.start_time, std::chrono::seconds(90));
  EXPECT_EQ(nights.price_per_node_hour, 0.5);
  EXPECT_TRUE(nights.preemptible);
  EXPECT_THAT(engine_arguments(nights),
              ElementsAre("--engine=slurm", "--nodes=1..8", "--partition=spot", "--account=team",
                          "--constraint=[a&b]", "--gres=x:1", "--time=1:00:00", "--interface=ib0",
                          "--gang"));
  EXPECT_THAT(engine_arguments(config.pools[2]),
              ElementsAre("--engine=mpi", "--ranks-per-node=2", "--interface=eth1",
                          "--hosts=/etc/atelier/hosts"));
}

TEST(Config, WrongPoolsAreRefused) {
  const auto pool = [](const std::string& lines) { return tail("[[pool]]\nname = 'a'\n" + lines); };
  EXPECT_EQ(pool(""), "");
  EXPECT_EQ(pool("engine = 'mpi'\nnodes = '4'\ninterface = 'eth1'"), "");
  for (const char* bad : {"name = 'a'",
                          "engine = 'ssh'",
                          "engine = 3",
                          "max = 0",
                          "min = 2",
                          "min = -1",
                          "engine = 'slurm'\nmin = 1",
                          "start_time = 'soon'",
                          "idle_timeout = 600",
                          "price_per_node_hour = -1",
                          "price_per_node_hour = inf",
                          "preemptible = 'yes'",
                          "workers = -1",
                          "nodes = '2'",
                          "partition = 'p'",
                          "hosts = 'h'",
                          "gang = true",
                          "ranks_per_node = 2",
                          "memory = 8",
                          "engine = 'slurm'\nworkers = 2",
                          "engine = 'slurm'\nnodes = '8..1'",
                          "engine = 'slurm'\nnodes = '0'",
                          "engine = 'slurm'\nnodes = '1..'",
                          "engine = 'slurm'\nnodes = '1..2..3'",
                          "engine = 'slurm'\nnodes = '1025'",
                          "engine = 'slurm'\npartition = ''",
                          "engine = 'slurm'\ninterface = 'eth1'",
                          "engine = 'mpi'\nhosts = 'h'",
                          "engine = 'mpi'\ninterface = 'e'",
                          "engine = 'mpi'\ninterface = 'e'\nhosts = 'h'\nnodes = '2'",
                          "engine = 'mpi'\ninterface = 'e'\nnodes = '1..2'",
                          "sandbox = 'off'"}) {
    EXPECT_NE(pool(bad), "") << bad;
  }
  EXPECT_THAT(tail("[[pool]]\nname='a'\n[[pool]]\nname='a'"), HasSubstr("line 6: 'pool.name'"));
  EXPECT_THAT(tail("[[pool]]\nengine = 'local'"), HasSubstr("'pool.name'"));
  EXPECT_THAT(tail("[pool]\nname = 'a'"), HasSubstr("begun by [[pool]]"));
}

std::string with_hook(const std::string& url, const std::string& more = "",
                      const std::string& head = "") {
  return error_of(head +
                  "\n[webhooks]\nallow = ['h.example:443', 'h.example:80', '127.0.0.1:99']\n"
                  "[[webhook]]\nname = 'a'\nsecret_file = 's'\nurl = '" +
                  url + "'\n" + more + "\n" + kStores);
}

TEST(Config, WebhooksReachOnlyWhatIsAllowed) {
  for (const char* good :
       {"https://h.example", "https://H.example:443/a/b?c=d", "http://127.0.0.1:99/x"}) {
    EXPECT_EQ(with_hook(good), "") << good;
  }
  for (const char* bad :
       {"", "h.example", "ftp://h.example", "https://", "https://h.example:444",
        "https://other.example", "https://h.example.evil.example", "https://u:p@h.example",
        "https://h.example@evil.example", "https://h.example\\@evil.example", "https://h.example:",
        "https://h.example#x", "https://h. example", "https://[::1]", "https://127.0.0.1:443",
        "https://2130706433:99", "http://127.1:99/x", "HTTPS://h.example", "http://h.example/"}) {
    EXPECT_NE(with_hook(bad), "") << bad;
  }
  EXPECT_EQ(with_hook("http://h.example/", "", "allow_plain_http = true"), "");
  EXPECT_THAT(with_hook("https://u:secret@h.example"), testing::Not(HasSubstr("secret@")));
}

TEST(Config, WebhooksChooseTheirEvents) {
  EXPECT_EQ(with_hook("https://h.example", "events = ['failed']"), "");
  for (const char* bad : {"events = []", "events = ['failed', 'queued']", "events = 'failed'",
                          "events = ['failed', 'failed']", "secret = 'x'"}) {
    EXPECT_NE(with_hook("https://h.example", bad), "") << bad;
  }
  const Config config = parsed(kStores + std::string(R"([webhooks]
allow = ["h.example:443"]
[[webhook]]
name = "a"
url = "https://h.example/x"
secret_file = "s"
events = ["set_aside"]
)"));
  EXPECT_FALSE(config.webhooks[0].on_finished);
  EXPECT_TRUE(config.webhooks[0].on_set_aside);
  EXPECT_EQ(config.webhooks[0].address.text(), "h.example:443");
  EXPECT_THAT(private_files(config), ElementsAre("/etc/atelier/s"));
  EXPECT_THAT(tail("[[webhook]]\nname='a'\nurl='https://h.example'\nsecret_file='s'"),
              HasSubstr("not among the addresses"));
  EXPECT_THAT(tail("[webhooks]\nallow = ['h.example']"), HasSubstr("'webhooks.allow'"));
}

TEST(Config, RetentionIsAtLeastAnHour) {
  const Config config = parsed(kStores + std::string("[retention]\nruns='36h'\nlogs='90m'\n"));
  EXPECT_EQ(config.retention.runs, std::chrono::hours(36));
  EXPECT_EQ(config.retention.logs, std::chrono::hours(1));
  EXPECT_EQ(config.retention.run_folders, std::chrono::hours(0)) << "for ever";
  EXPECT_EQ(parsed(kStores + std::string("[retention]\nbackups='2d'\n")).retention.backups,
            std::chrono::hours(48));
  EXPECT_THAT(tail("[retention]\nrun_folders = '23h'"), HasSubstr("at least a day"));
  EXPECT_THAT(tail("[retention]\nruns = '30s'"), HasSubstr("'retention.runs'"));
  EXPECT_THAT(tail("[retention]\nruns = 30"), HasSubstr("'retention.runs'"));
  EXPECT_THAT(tail("[retention]\nreceipts = '30d'"), HasSubstr("no key"));
}

TEST(Config, TriggersAreTextsOfTheirOwn) {
  const Config config = parsed(kStores + std::string(R"([[trigger]]
name = "landing"
kind = "watch"
size = 5
when = "a \"quoted\"\nline"
[trigger.parameters]
style = "{folder}"
[[trigger.rule]]
suffix = ".mp4"
[[trigger.rule]]
suffix = ".mov"
[[trigger]]
name = "other"
)"));
  ASSERT_EQ(config.triggers.size(), 2U);
  EXPECT_EQ(config.triggers[0].name, "landing");
  EXPECT_EQ(config.triggers[1].toml, "name = 'other'\n");
  // It reads back as what it was.
  const auto whole = parse_toml("[[trigger]]\n" + config.triggers[1].toml, "x");
  EXPECT_TRUE(whole.ok());
  const toml::table table = parse_toml(config.triggers[0].toml, "The trigger").value();
  EXPECT_EQ(table["kind"].value<std::string>(), "watch");
  EXPECT_EQ(table["when"].value<std::string>(), "a \"quoted\"\nline");
  EXPECT_EQ(table["parameters"]["style"].value<std::string>(), "{folder}");
  ASSERT_NE(table["rule"].as_array(), nullptr);
  EXPECT_EQ(table["rule"][1]["suffix"].value<std::string>(), ".mov");
  EXPECT_EQ(table.size(), 6U);
  EXPECT_THAT(tail("[[trigger]]\nname='a'\n[[trigger]]\nname='a'"), HasSubstr("'trigger.name'"));
  EXPECT_THAT(tail("[[trigger]]\nkind='watch'"), HasSubstr("'trigger.name'"));
}

TEST(Config, UnknownKeysAreNamed) {
  EXPECT_THAT(top("listne = '127.0.0.1:1'"), HasSubstr("line 1: there is no key 'listne'"));
  EXPECT_THAT(tail("[limit]\n"), HasSubstr("no key 'limit'"));
  EXPECT_THAT(top("pipelines = 'a.toml'"), HasSubstr("'pipelines'"));
}

std::string file(const std::string& name) {
  std::ostringstream text;
  text << std::ifstream(ATELIER_SOURCE_DIR "/deploy/service/" + name).rdbuf();
  return std::move(text).str();
}

// With what is off in it.
std::string all_of(const std::string& text) {
  std::istringstream lines(text);
  std::string all;
  for (std::string line; std::getline(lines, line); all += line + '\n') {
    if (line.size() > 1 && line[0] == '#' && line[1] != ' ') line.erase(0, 1);
  }
  return all;
}

TEST(Config, TheExampleIsOne) {
  const auto all = parse_config(all_of(file("atelier.toml")), "/etc/atelier");
  ASSERT_TRUE(all.ok()) << all.error().message;
  EXPECT_EQ(all->pools.size(), 3U);
  EXPECT_EQ(all->webhooks.size(), 1U);
  ASSERT_EQ(all->triggers.size(), 1U);
  EXPECT_TRUE(parse_trigger(all->triggers[0].toml).ok());
  EXPECT_TRUE(all->tls.has_value());
  const auto config = parse_config(file("atelier.toml"), "/etc/atelier");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->pools.size(), 1U);
  // Nothing that a machine would have to have first.
  EXPECT_TRUE(private_files(*config).empty());
  EXPECT_EQ(config->limits.of("nightly").max_queued, 5000);
  EXPECT_THAT(config->pipelines, ElementsAre("/etc/atelier/paint.toml"));
  // It says of each default what it is.
  const Config least = parsed(kStores);
  EXPECT_EQ(config->limits.each, least.limits.each);
  EXPECT_EQ(config->limits.max_queued, least.limits.max_queued);
  EXPECT_EQ(config->limits.request_timeout, least.limits.request_timeout);
  EXPECT_EQ(config->limits.max_streams, least.limits.max_streams);
  EXPECT_EQ(config->limits.max_streams_per_token, least.limits.max_streams_per_token);
  EXPECT_EQ(config->listen, least.listen);
  EXPECT_EQ(config->events_listen, least.events_listen);
  EXPECT_EQ(config->data, least.data);
  EXPECT_EQ(config->retention.runs, least.retention.runs);
  EXPECT_EQ(config->retention.logs, least.retention.logs);
}

TEST(Config, TheExamplesPipelineIsOne) {
  const auto pipeline = parse_pipeline(file("paint.toml"));
  ASSERT_TRUE(pipeline.ok()) << pipeline.error().message;
  const auto parameters = fill_parameters(
      pipeline->parameters, R"({"input":"/srv/media/a.mp4","output":"/srv/media/b.mp4"})");
  ASSERT_TRUE(parameters.ok()) << parameters.error().message;
  EXPECT_THAT(
      commands_of(*pipeline, *parameters, {}).value()[0].argv(),
      ElementsAre("run", "--model=starry-night", "--precision=auto", "--codec=libx264", "--crf=20",
                  "--preset=veryfast", "--", "/srv/media/a.mp4", "/srv/media/b.mp4"));
}

TEST(Config, DamagedTextsGiveASentence) {
  const std::string good = file("atelier.toml");
  std::mt19937_64 random(5);
  int still_good = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string text = good;
    const size_t at = random() % text.size();
    switch (random() % 4) {
      case 0: text.erase(at, 1 + random() % 30); break;
      case 1: text[at] = static_cast<char>(random()); break;
      case 2: text.insert(at, text.substr(random() % text.size(), random() % 60)); break;
      default: text.insert(at, 1, "[]{}\"'=.,#\n"[random() % 11]); break;
    }
    const auto config = parse_config(text, "/etc/atelier");
    if (config.ok()) {
      ++still_good;
      continue;
    }
    EXPECT_THAT(config.error().message, testing::EndsWith("."));
    EXPECT_EQ(config.error().message.find('\n'), std::string::npos);
  }
  EXPECT_GT(still_good, 100);
}

}  // namespace
}  // namespace atelier::server
