// SPDX-License-Identifier: Apache-2.0
#include "server/text_file.h"

#include "base/file.h"

namespace atelier::server {

Result<std::string> read_text_file(const std::filesystem::path& path, std::string_view what,
                                   uint64_t most) {
  const auto source = FileSource::open(path);
  if (!source.ok()) {
    return make_error(Code::invalid_argument, "{} '{}' cannot be read; name a file that can.", what,
                      path.string());
  }
  if ((*source)->size() > most) {
    return make_error(Code::invalid_argument, "{} '{}' has more than {} KiB; is it the right file?",
                      what, path.string(), most >> 10);
  }
  std::string text((*source)->size(), '\0');
  const size_t count =
      TRY((*source)->read_at(0, std::as_writable_bytes(std::span(text.data(), text.size()))));
  text.resize(count);
  return text;
}

}  // namespace atelier::server
