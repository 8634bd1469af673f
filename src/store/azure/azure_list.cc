// SPDX-License-Identifier: Apache-2.0
#include "store/azure/azure_list.h"

#include <pugixml.hpp>

#include "store/http/object_headers.h"
#include "store/names.h"

namespace atelier::azure {
namespace {

// A name may be nothing but spaces.
constexpr unsigned kParse = pugi::parse_escapes | pugi::parse_cdata | pugi::parse_ws_pcdata_single;

Error no_list() {
  return Error{Code::unavailable,
               "The answer to a list of blobs cannot be read; check that the address is that of a "
               "blob store."};
}

Result<ObjectInfo> parse_blob(const pugi::xml_node& blob) {
  ObjectInfo info;
  const pugi::xml_node name = blob.child("Name"), properties = blob.child("Properties");
  info.key = name.child_value();
  // What XML cannot hold is percent-encoded.
  if (name.attribute("Encoded").as_bool()) {
    const auto decoded = percent_decode(info.key);
    if (!decoded) return no_list();
    info.key = *decoded;
  }
  const auto size = http::parse_number(properties.child_value("Content-Length"));
  const auto modified = http::parse_date(properties.child_value("Last-Modified"));
  if (info.key.empty() || !size || !modified) return no_list();
  info.size = *size;
  info.modified = *modified;
  info.etag = http::unquoted(properties.child_value("Etag"));
  return info;
}

}  // namespace

Result<BlobPage> parse_blob_page(std::string_view xml) {
  pugi::xml_document document;
  if (!document.load_buffer(xml.data(), xml.size(), kParse, pugi::encoding_utf8)) return no_list();
  const pugi::xml_node root = document.child("EnumerationResults");
  if (!root || !root.child("Blobs")) return no_list();
  BlobPage page;
  for (const pugi::xml_node& blob : root.child("Blobs").children("Blob")) {
    const char* type = blob.child("Properties").child_value("ResourceType");
    if (std::string_view(type) == "directory") continue;
    page.blobs.push_back(TRY(parse_blob(blob)));
  }
  page.next_marker = root.child_value("NextMarker");
  return page;
}

std::map<std::string, uint64_t> parse_waiting_blocks(std::string_view xml) {
  std::map<std::string, uint64_t> blocks;
  pugi::xml_document document;
  if (!document.load_buffer(xml.data(), xml.size(), kParse, pugi::encoding_utf8)) return blocks;
  const pugi::xml_node waiting = document.child("BlockList").child("UncommittedBlocks");
  for (const pugi::xml_node& block : waiting.children("Block")) {
    blocks[block.child_value("Name")] = block.child("Size").text().as_ullong();
  }
  return blocks;
}

}  // namespace atelier::azure
