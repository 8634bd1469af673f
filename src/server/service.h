// SPDX-License-Identifier: Apache-2.0
// The service as a whole: makes the parts of a configuration, joins them, and runs until it is
// asked to stop.
//
//   listener -> router -> operations -> database <- dispatcher -> `atelier run` processes
//   streams  -> router -> events        ^   ^   \-> webhooks
//                             triggers -/   housekeeping
//
// Whatever it must not lose is in the database when it is answered; whatever runs produce is in run
// folders. So it may be killed at any moment and started again.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "base/log.h"
#include "server/config.h"
#include "store/object_store.h"

namespace atelier::server {

struct ServiceSetup {
  Config config;
  std::string program;  // the path of `atelier`, which it starts
  std::string version;
  // Of a folder, a container or what lies below one; made by who has the credentials. `brief`: one
  // that gives up within seconds.
  std::function<Result<std::unique_ptr<ObjectStore>>(const Location&, bool brief)> open_store;
  Log* log = nullptr;  // must outlive it
  // For tests: see DatabaseOptions.
  std::function<void(uint64_t)> before_commit;
};

class Service {
 public:
  // Opens the database and the listeners: when it returns, requests are answered. On the very
  // first start the token of an admin is put into DATA/admin.token. Errors: those of the parts;
  // invalid_argument for a configuration that does not suit this machine.
  static Result<std::unique_ptr<Service>> start(ServiceSetup setup);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Where requests and streams are served: "http://127.0.0.1:8080".
  std::string address() const;
  std::string events_address() const;

  // Works until it is asked to stop; then answers what is under way, has processes leave and
  // returns. Called once.
  void run(const std::stop_token& stop);

  // Takes what can change while it runs from a configuration that was read again: triggers, and
  // certificates; the rest needs a new start, and is said. Any thread. Errors: those of the parts;
  // what was there before stays.
  Result<void> reload(const Config& config);

 private:
  struct Parts;
  explicit Service(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace atelier::server
