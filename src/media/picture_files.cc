// SPDX-License-Identifier: Apache-2.0
#include "media/picture_files.h"

#include <charconv>
#include <system_error>

#include "media/joiner.h"

namespace atelier::media {

bool is_pictures(Container container) {
  return container == Container::png || container == Container::jpeg;
}

std::string picture_name(const std::string& name, uint64_t number) {
  const size_t percent = name.find('%');
  const size_t letter = name.find('d', percent);
  if (percent == std::string::npos || letter == std::string::npos) return name;
  const std::string width = name.substr(percent + 1, letter - percent - 1);
  const std::string digits = std::to_string(number);
  const size_t wanted = width.empty() ? 0 : std::stoul(width);
  const std::string zeros(wanted > digits.size() ? wanted - digits.size() : 0, '0');
  return name.substr(0, percent) + zeros + digits + name.substr(letter + 1);
}

bool is_picture_name(const std::string& name, const std::string& file) {
  const size_t percent = name.find('%');
  const size_t letter = name.find('d', percent);
  if (percent == std::string::npos || letter == std::string::npos) return false;
  const size_t behind = name.size() - letter - 1;
  if (file.size() <= percent + behind) return false;
  const char* end = file.data() + file.size() - behind;
  uint64_t number = 0;
  const auto read = std::from_chars(file.data() + percent, end, number);
  return read.ec == std::errc() && number > 0 && picture_name(name, number) == file;
}

Result<void> for_each_picture(const MuxRequest& request, const TakePicture& take,
                              std::stop_token stop) {
  const auto joiner = TRY(Joiner::open(request, stop));
  const PacketPtr packet = make_packet();
  for (uint64_t number = 1; TRY(joiner->next(*packet)); ++number) {
    if (stop.stop_requested()) return make_error(Code::cancelled, "Publishing was interrupted.");
    TRY(take(number, {reinterpret_cast<const std::byte*>(packet->data),
                      static_cast<size_t>(packet->size)}));
  }
  return {};
}

}  // namespace atelier::media
