// SPDX-License-Identifier: Apache-2.0
#include "server/audit.h"

#include <algorithm>
#include <limits>

#include "server/redact.h"

namespace atelier::server {
namespace {

constexpr size_t kMostText = 1024, kMostDetail = size_t{16} << 10;

// Whole characters of UTF-8, where it is UTF-8.
std::string cut(std::string text) {
  if (text.size() <= kMostText) return text;
  size_t end = kMostText;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

Result<std::string> safe_detail(std::string_view json) {
  auto detail = redacted_json(json);
  if (!detail) {
    return make_error(Code::internal, "The detail of an entry of the audit is no JSON; report it.");
  }
  if (detail->size() > kMostDetail)
    return fmt::format(R"({{"bytes_left_out":{}}})", detail->size());
  return detail;
}

}  // namespace

Result<void> audit(Connection& connection, const Call& call, const WallClock& clock,
                   std::string_view action, std::string_view subject,
                   std::string_view detail_json) {
  std::string detail = TRY(safe_detail(detail_json));
  TRY(
      connection.run("INSERT INTO audit (at, who, address, action, subject, detail) "
                     "VALUES (?, ?, ?, ?, ?, ?)",
                     {clock.now(), cut(call.who.name), cut(call.address), cut(std::string(action)),
                      cut(redacted(subject)), std::move(detail)}));
  return {};
}

Result<AuditPage> list_audit(Connection& connection, int64_t before, int most) {
  const int64_t end = before > 0 ? before : std::numeric_limits<int64_t>::max();
  const int64_t count = std::clamp(most, 1, 1000);
  Rows rows =
      TRY(connection.query("SELECT seq, at, who, address, action, subject, detail "
                           "FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?",
                           {end, count + 1}));
  AuditPage page;
  while (TRY(rows.next())) {
    if (static_cast<int64_t>(page.entries.size()) == count) {
      page.next = page.entries.back().seq;
      break;
    }
    page.entries.push_back({rows.integer(0), rows.integer(1), rows.text(2), rows.text(3),
                            rows.text(4), rows.text(5), rows.text(6)});
  }
  return page;
}

}  // namespace atelier::server
