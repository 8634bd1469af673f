// SPDX-License-Identifier: Apache-2.0
#include "cli/serve_command.h"

#include <unistd.h>

#include <filesystem>

#include "cli/folders.h"
#include "cli/inputs.h"
#include "server/service.h"
#include "server/text_file.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;

Result<server::Config> read_config(const fs::path& path) {
  const std::string text =
      TRY(server::read_text_file(path, "The configuration", server::kLongestConfig));
  auto config = server::parse_config(text, fs::absolute(path).parent_path());
  if (config.ok()) return config;
  return make_error(config.error().code, "In '{}': {}", path.string(), config.error().message);
}

// What the service says goes to the console, line by line.
class ConsoleLog final : public Log {
 public:
  explicit ConsoleLog(Console& console) : console_(console) {}
  void line(LogLevel level, std::string_view text) override {
    if (level == LogLevel::debug) return;
    console_.say(level == LogLevel::warning ? fmt::format("warning: {}", text) : std::string(text));
  }

 private:
  Console& console_;
};

}  // namespace

Result<void> serve_command(const ServeOptions& options, Console& console, Interrupt& interrupt) {
  ConsoleLog log(console);
  // Until it can read it again there is nothing to read again.
  interrupt.on_hangup([] {});
  server::ServiceSetup setup;
  setup.config = TRY(read_config(options.config));
  setup.program = fs::read_symlink("/proc/self/exe").string();
  setup.version = ATELIER_VERSION;
  setup.open_store = [](const Location& place, bool brief) {
    return brief ? open_folder_briefly(place) : open_folder(place);
  };
  setup.log = &log;
  if (options.die_before_commit > 0) {
    setup.before_commit = [last = options.die_before_commit](uint64_t commit) {
      if (commit >= last) ::_exit(137);
    };
  }
  const auto service = TRY(server::Service::start(std::move(setup)));
  interrupt.on_hangup([&] {
    const auto config = read_config(options.config);
    const auto done = config.ok() ? service->reload(*config) : Result<void>(Error(config.error()));
    if (!done.ok()) log.line(LogLevel::warning, done.error().message);
  });
  // Whoever started it waits for this.
  console.object(fmt::format(R"({{"address":"{}","events_address":"{}"}})", service->address(),
                             service->events_address()));
  console.result(fmt::format("Serving at {}, event streams at {}.", service->address(),
                             service->events_address()));
  service->run(interrupt.token());
  interrupt.on_hangup([] {});
  console.say("Stopped.");
  return {};
}

}  // namespace atelier::cli
