// SPDX-License-Identifier: Apache-2.0
#include "store/s3/s3_store.h"

#include <algorithm>

#include "store/http/object_headers.h"
#include "store/names.h"
#include "store/remote_key.h"
#include "store/remote_store.h"
#include "store/s3/etag_check.h"
#include "store/s3/s3_conditions.h"
#include "store/s3/s3_list.h"
#include "store/s3/s3_objects.h"
#include "store/s3/s3_upload.h"

namespace atelier::s3 {
namespace {

constexpr size_t kMostPerPage = 1000;  // of the protocol

class S3Store final : public RemoteStore {
 public:
  S3Store(std::unique_ptr<Service> service, Options options)
      : service_(std::move(service)),
        prefix_(std::move(options.prefix)),
        conditions_(*service_, std::move(options.note)) {}

  Result<std::optional<ObjectInfo>> head(std::string_view key) override;
  Result<std::unique_ptr<Upload>> begin_upload(std::string_view key) override;
  Result<ListPage> list(std::string_view prefix, std::string_view after, size_t limit) override;
  Result<bool> remove(std::string_view key) override;
  Result<bool> decides_conditions(std::string_view key) override;
  std::string url(std::string_view key) const override {
    return service_->url(prefix_ + std::string(key));
  }

 protected:
  Result<FetchedPiece> fetch(std::string_view key, uint64_t offset, uint64_t length,
                             const std::string& if_match) override;
  Result<PutOutcome> put_piece(std::string_view key, std::span<const std::byte> bytes,
                               const Condition& condition) override;

 private:
  std::string stored(std::string_view key) const {
    return to_remote_key(prefix_ + std::string(key));
  }
  Result<KeyPage> read_page(const std::string& prefix, const std::string& after,
                            const std::string& token, size_t limit);
  const std::unique_ptr<Service> service_;
  const std::string prefix_;
  ConditionalWrites conditions_;
  EtagCheck etags_;
};

Result<std::optional<ObjectInfo>> S3Store::head(std::string_view key) {
  TRY(check_key(key));
  auto info = TRY(head_object(*service_, stored(key)));
  if (info) info->key = key;
  return info;
}

Result<FetchedPiece> S3Store::fetch(std::string_view key, uint64_t offset, uint64_t length,
                                    const std::string& if_match) {
  Call call;
  call.method = "GET";
  call.key = stored(key);
  call.headers = {{"Range", fmt::format("bytes={}-{}", offset, offset + length - 1)}};
  if (!if_match.empty()) call.headers.push_back({"If-Match", http::in_quotes(if_match)});
  call.most_bytes = length;
  call.about = About::read;
  http::Response response = TRY(service_->call(call));
  if (response.status == 404) return absent(key);
  if (response.status == 412) return changed(key);
  FetchedPiece piece;
  piece.etag = http::unquoted(response.header("ETag"));
  if (response.status == 416) return piece;  // the range begins at the end or past it
  const auto total = http::total_of(response, offset);
  const uint64_t expected = total && *total > offset ? std::min(length, *total - offset) : 0;
  const auto is_as_stored = [&] {
    return response.body.size() != *total ||
           etags_.is_believable(piece.etag, response.header("x-amz-server-side-encryption"),
                                response.header("x-amz-server-side-encryption-customer-algorithm"),
                                response.body);
  };
  if (!total || response.body.size() != expected || piece.etag.empty() || !is_as_stored()) {
    return make_error(Code::unavailable, "{} did not arrive as it is stored; read it again.",
                      url(key));
  }
  piece.total = *total;
  piece.bytes = std::move(response.body);
  return piece;
}

Result<PutOutcome> S3Store::put_piece(std::string_view key, std::span<const std::byte> bytes,
                                      const Condition& condition) {
  const std::string name = stored(key);
  return conditions_.write(name, Way::put, condition, [&](const Condition& sent) {
    return put_object(*service_, name, bytes, sent);
  });
}

Result<std::unique_ptr<Upload>> S3Store::begin_upload(std::string_view key) {
  TRY(check_key(key));
  return make_s3_upload(*service_, conditions_, stored(key));
}

Result<bool> S3Store::decides_conditions(std::string_view key) {
  TRY(check_key(key));
  return conditions_.decides(stored(key));
}

Result<KeyPage> S3Store::read_page(const std::string& prefix, const std::string& after,
                                   const std::string& token, size_t limit) {
  Call call;
  call.method = "GET";
  call.query = {{"list-type", "2"},
                {"encoding-type", "url"},
                {"max-keys", std::to_string(std::min(limit, kMostPerPage))}};
  if (!prefix.empty()) call.query.push_back({"prefix", prefix});
  if (!token.empty()) {
    call.query.push_back({"continuation-token", token});
  } else if (!after.empty()) {
    call.query.push_back({"start-after", after});
  }
  const http::Response response = TRY(service_->call(call));
  if (response.status == 200) return parse_key_page(as_text(response.body));
  const bool none = response.status == 404;
  return make_error(none ? Code::invalid_argument : Code::unavailable,
                    "{} cannot be listed ({} {}); check that it is a bucket of an S3 server.",
                    url(""), response.status, error_code(response));
}

Result<ListPage> S3Store::list(std::string_view prefix, std::string_view after, size_t limit) {
  if (limit == 0) return Error{Code::invalid_argument, "A list needs a limit of at least 1."};
  const std::string whole = prefix_ + std::string(prefix);
  const std::string shown = to_remote_key(whole.substr(0, whole_characters(whole)));
  std::string from = after.empty() ? std::string() : stored(after);
  ListPage page;
  UnnamedObjects unnamed;
  std::string last;  // of the page before, whatever became of it
  for (std::string token;;) {
    KeyPage keys = TRY(read_page(shown, from, token, limit - page.objects.size()));
    // A server that takes no notice of where to go on from sends one page for ever.
    const bool moves = keys.objects.empty() ? !keys.token.empty() && keys.token != token
                                            : keys.objects.back().key != last;
    if (!keys.objects.empty()) last = keys.objects.back().key;
    for (ObjectInfo& info : keys.objects) {
      // In the server's order, in which alone pages can follow one another.
      if (!from.empty() && info.key <= from) continue;
      from = info.key;
      const std::string key = from_remote_key(info.key);
      if (!key.starts_with(whole)) continue;
      info.key = key.substr(prefix_.size());
      if (!check_key(info.key).ok()) {
        unnamed.see(info.key, info.size);
        continue;
      }
      unnamed.tell(page);
      page.objects.push_back(std::move(info));
    }
    if (!keys.truncated) {
      unnamed.tell(page);
      return page;
    }
    if (page.objects.size() >= limit) {
      page.next = page.objects.back().key;
      return page;
    }
    if (!moves) {
      return make_error(Code::unavailable,
                        "{} says that its list goes on, and does not; try again later.", url(""));
    }
    token = keys.token;
  }
}

Result<bool> S3Store::remove(std::string_view key) {
  TRY(check_key(key));
  const std::string name = stored(key);
  if (!TRY(head_object(*service_, name))) return false;
  TRY(delete_object(*service_, name));
  return true;
}

bool is_prefix(std::string_view prefix) {
  return prefix.empty() ||
         (prefix.ends_with('/') && check_key(prefix.substr(0, prefix.size() - 1)).ok());
}

}  // namespace

Result<std::unique_ptr<ObjectStore>> open_s3_store(Options options, Clock& clock) {
  if (!is_prefix(options.prefix)) {
    return make_error(Code::invalid_argument,
                      "'{}' cannot be a folder of a bucket; give one such as a/b/.",
                      percent_encode(options.prefix.substr(0, 200)));
  }
  std::unique_ptr<Service> service = TRY(Service::create(std::move(options.bucket), clock));
  return std::unique_ptr<ObjectStore>(
      std::make_unique<S3Store>(std::move(service), std::move(options)));
}

}  // namespace atelier::s3
