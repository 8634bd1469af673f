// SPDX-License-Identifier: Apache-2.0
// For tests: enough of S3 behind a TestServer for one bucket in the path, "/b". It checks the hash
// of every body and no signature, and does with conditions what servers do. A real server has the
// last word (tests/net/swift.py); this one can be told to fail.
#pragma once

#include <map>
#include <set>
#include <string>

#include "base/mutex.h"
#include "store/s3/s3_store.h"
#include "store/test_server.h"

namespace atelier::s3 {

class FakeS3 {
 public:
  enum class Conditions { obeyed, refused, ignored };  // refused: 501
  explicit FakeS3(Conditions conditions = Conditions::obeyed) : conditions_(conditions) {}
  // Safe from several threads.
  TestAnswer answer(const TestRequest& request);
  // Keys and uploads that are there, also those that lists of ours hide.
  std::set<std::string> keys() const;
  size_t uploads() const;
  // Without parts, and as if that were so long ago.
  void begin_upload(const std::string& key, std::chrono::seconds ago);

 private:
  TestAnswer obey(const TestRequest& request) REQUIRES(mutex_);
  TestAnswer list(const TestRequest& request) REQUIRES(mutex_);
  TestAnswer list_uploads(const TestRequest& request) REQUIRES(mutex_);
  TestAnswer read(const TestRequest& request, const std::string& key) REQUIRES(mutex_);
  TestAnswer write(const TestRequest& request, const std::string& key, std::string bytes)
      REQUIRES(mutex_);
  TestAnswer post(const TestRequest& request, const std::string& key) REQUIRES(mutex_);

  const Conditions conditions_;
  mutable Mutex mutex_;
  std::map<std::string, std::string> objects_ GUARDED_BY(mutex_);
  struct Open {
    std::string key;
    std::chrono::system_clock::time_point begun;
    std::map<int, std::string> parts;
  };
  std::map<std::string, Open> uploads_ GUARDED_BY(mutex_);  // by id
  int last_id_ GUARDED_BY(mutex_) = 0;
};

// "<Error><Code>..", as S3 explains itself.
std::string error_body(std::string_view code);

// Of the bucket that `server` has, with keys that anybody may know.
Options options_for(const TestServer& server);

}  // namespace atelier::s3
