// SPDX-License-Identifier: Apache-2.0
// For tests: enough of Azure Blob Storage behind a TestServer for one container, "/acct/box". It
// checks the MD5 of every body and no credential, and obeys conditions. An emulator has the last
// word (contract_test.cc); this one can be told to fail.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "store/test_server.h"

namespace atelier::azure {

inline constexpr const char* kLastModified = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

// The answer to List Blobs, and a blob in it.
std::string page_xml(std::string_view blobs, std::string_view marker = {});
std::string blob_xml(std::string_view name, std::string_view size = "5");

// As the service explains itself.
TestAnswer failure(int status, std::string_view code, bool head = false,
                   std::string_view headers = {});

class FakeAzure {
 public:
  // Safe from several threads.
  TestAnswer answer(const TestRequest& request);
  std::map<std::string, std::string> blobs() const;
  // How many blobs were written.
  size_t writes() const;
  // The names of the blocks of the last list, as they were sent.
  std::vector<std::string> committed() const;

 private:
  TestAnswer write(const TestRequest& request, const std::string& key) REQUIRES(mutex_);
  TestAnswer waiting() REQUIRES(mutex_);
  TestAnswer list(const TestRequest& request) REQUIRES(mutex_);
  // The bytes of the blocks that a list names; nothing if one of them is not there.
  std::optional<std::string> join(const std::string& list) REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::map<std::string, std::string> blobs_ GUARDED_BY(mutex_);
  std::map<std::string, std::string> blocks_ GUARDED_BY(mutex_);
  std::vector<std::string> committed_ GUARDED_BY(mutex_);
  size_t writes_ GUARDED_BY(mutex_) = 0;
};

}  // namespace atelier::azure
