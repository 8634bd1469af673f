// SPDX-License-Identifier: Apache-2.0
// encrypt_folder MASTER-KEY-FILE FROM TO: puts every file of the folder FROM, under its path there,
// into an encrypted store in the folder TO. For decrypt_object_test.py.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "store/encrypting_store.h"
#include "store/local_store.h"

namespace atelier {
namespace {

Result<void> encrypt_folder(const char* key_file, const char* from, const char* to) {
  MasterKey master = TRY(read_master_key_file(key_file));
  const std::unique_ptr<ObjectStore> source =
      TRY(open_local_store(std::filesystem::absolute(from)));
  const std::unique_ptr<ObjectStore> folder = TRY(open_local_store(std::filesystem::absolute(to)));
  const std::unique_ptr<ObjectStore> vault = TRY(open_encrypting_store(*folder, std::move(master)));
  for (const ObjectInfo& info : TRY(list_all(*source, {}))) {
    const std::unique_ptr<ByteSource> bytes = TRY(open_object(*source, info.key));
    TRY(put_source(*vault, info.key, *bytes, Condition::always()));
  }
  return {};
}

}  // namespace
}  // namespace atelier

int main(int count, char** words) {
  if (count != 4) {
    fmt::print(stderr, "encrypt_folder MASTER-KEY-FILE FROM TO\n");
    return 2;
  }
  const auto done = atelier::encrypt_folder(words[1], words[2], words[3]);
  if (done.ok()) return 0;
  fmt::print(stderr, "encrypt_folder: {}\n", done.error().message);
  return 1;
}
