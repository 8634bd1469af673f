// SPDX-License-Identifier: Apache-2.0
#include "store/azure/azure_store.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/base64.h"
#include "base/hash.h"
#include "base/md5.h"
#include "store/azure/azure_list.h"
#include "store/http/object_headers.h"
#include "store/names.h"
#include "store/remote_key.h"
#include "store/remote_store.h"
#include "store/remote_transfer.h"

namespace atelier::azure {
namespace {

constexpr uint64_t kLargestSummed = uint64_t{4} << 20;  // range of which the service tells the MD5
constexpr size_t kMostPerPage = 5000;                   // of the service
constexpr size_t kKeptMarkers = 64;                     // pages that somebody may yet read on from
class AzureStore final : public RemoteStore {
 public:
  AzureStore(Account account, Folder folder, Clock& clock)
      : service_(std::move(account), clock), folder_(std::move(folder)) {}

  Result<std::optional<ObjectInfo>> head(std::string_view key) override;
  Result<std::unique_ptr<Upload>> begin_upload(std::string_view key) override;
  Result<ListPage> list(std::string_view prefix, std::string_view after, size_t limit) override;
  Result<bool> remove(std::string_view key) override;
  Result<bool> decides_conditions(std::string_view /*key*/) override { return true; }
  std::string url(std::string_view key) const override {
    return "az://" + service_.account().name + "/" +
           percent_encode(folder_.container + "/" + folder_.prefix + std::string(key));
  }

  // What became of a conditional write. Conflicts look like 409 and 412, and like 404 where there
  // is nothing to match; a container that is absent or going away is none.
  Result<PutOutcome> outcome_of(const http::Response& response, std::string_view key,
                                const Condition& condition) const;
  std::string path_of(std::string_view key) const {
    return folder_.container + "/" + to_remote_key(folder_.prefix + std::string(key));
  }
  Service& service() { return service_; }

 protected:
  Result<FetchedPiece> fetch(std::string_view key, uint64_t offset, uint64_t length,
                             const std::string& if_match) override;
  // So that the service tells the sum of every part.
  uint64_t largest_fetch() const override { return kLargestSummed; }
  Result<PutOutcome> put_piece(std::string_view key, std::span<const std::byte> bytes,
                               const Condition& condition) override;

 private:
  Result<BlobPage> read_page(std::string_view prefix, const std::string& marker, size_t limit);
  std::string take_marker(const std::string& prefix, const std::string& after);
  void keep_marker(const std::string& prefix, const std::string& last, std::string marker);

  Service service_;
  const Folder folder_;
  Mutex mutex_;
  // By prefix and last key of the page before.
  std::map<std::pair<std::string, std::string>, std::string> markers_ GUARDED_BY(mutex_);
};

Result<std::optional<ObjectInfo>> AzureStore::head(std::string_view key) {
  TRY(check_key(key));
  Call call;
  call.method = "HEAD";
  call.path = path_of(key);
  const http::Response response = TRY(service_.call(call));
  if (response.status == 404) return std::optional<ObjectInfo>();
  auto info = http::info_of(response);
  // Of an account with a hierarchical namespace, whose folders look like empty blobs.
  if (info && info->metadata.contains("hdi_isfolder")) return std::optional<ObjectInfo>();
  if (!info) {
    return make_error(Code::unavailable, "The answer about {} cannot be understood; try again.",
                      url(key));
  }
  info->key = key;
  return info;
}

Result<FetchedPiece> AzureStore::fetch(std::string_view key, uint64_t offset, uint64_t length,
                                       const std::string& if_match) {
  Call call;
  call.method = "GET";
  call.path = path_of(key);
  call.headers.push_back({"x-ms-range", fmt::format("bytes={}-{}", offset, offset + length - 1)});
  if (length <= kLargestSummed) call.headers.push_back({"x-ms-range-get-content-md5", "true"});
  if (!if_match.empty()) call.headers.push_back({"If-Match", http::in_quotes(if_match)});
  call.most_bytes = length;
  http::Response response = TRY(service_.call(call));
  if (response.status == 404) return absent(key);
  if (response.status == 412) return changed(key);
  const std::string_view code = response.header("x-ms-error-code");
  if (code == "BlobArchived" || code == "BlobBeingRehydrated") {
    return make_error(Code::invalid_input,
                      "{} is archived ({}); restore it first, by setting its tier to hot or cool, "
                      "and run the same command again when that is done.",
                      url(key), code);
  }
  FetchedPiece piece;
  piece.etag = http::unquoted(response.header("ETag"));
  if (response.status == 416) return piece;  // the range begins at the end or past it
  const auto total = http::total_of(response, offset);
  // Without an etag, pieces of two versions could be taken for one.
  if (!total || piece.etag.empty()) {
    return make_error(Code::unavailable, "{} sent {} for a range; try again.", url(key),
                      response.status);
  }
  piece.bytes = std::move(response.body);
  piece.total = *total;
  const uint64_t expected = piece.total > offset ? std::min(length, piece.total - offset) : 0;
  // Of the range where that was asked for, else of the whole blob.
  std::string_view md5 = response.header("Content-MD5");
  if (md5.empty() && piece.bytes.size() == piece.total) {
    md5 = response.header("x-ms-blob-content-md5");
  }
  const bool damaged = !md5.empty() && md5 != md5_base64(piece.bytes);
  if (piece.bytes.size() != expected || damaged) {
    return make_error(Code::unavailable, "{} did not arrive as it is stored; read it again.",
                      url(key));
  }
  return piece;
}

Result<PutOutcome> AzureStore::outcome_of(const http::Response& response, std::string_view key,
                                          const Condition& condition) const {
  if (response.status == 201) return PutOutcome{true, http::unquoted(response.header("ETag"))};
  const std::string_view code = response.header("x-ms-error-code");
  if (code.starts_with("Container")) {
    return make_error(response.status == 404 ? Code::invalid_argument : Code::unavailable,
                      "The container of {} is not there ({}); make it first.", url(key),
                      percent_encode(code.substr(0, 80)));
  }
  using Kind = Condition::Kind;
  const bool conflict =
      (condition.kind == Kind::if_absent && (response.status == 409 || response.status == 412)) ||
      (condition.kind == Kind::if_match && (response.status == 412 || response.status == 404));
  if (conflict) return PutOutcome{};
  return make_error(Code::unavailable, "{} could not be written ({} {}); try again.", url(key),
                    response.status, percent_encode(code.substr(0, 80)));
}

Result<PutOutcome> AzureStore::put_piece(std::string_view key, std::span<const std::byte> bytes,
                                         const Condition& condition) {
  Call call;
  call.method = "PUT";
  call.path = path_of(key);
  call.headers = {{"x-ms-blob-type", "BlockBlob"},
                  {"Content-Type", "application/octet-stream"},
                  {"Content-MD5", md5_base64(bytes)}};
  http::add_condition(condition, call.headers);
  call.body = bytes;
  return outcome_of(TRY(service_.call(call)), key, condition);
}

Result<bool> AzureStore::remove(std::string_view key) {
  TRY(check_key(key));
  Call call;
  call.method = "DELETE";
  call.path = path_of(key);
  call.headers.push_back({"x-ms-delete-snapshots", "include"});
  const http::Response response = TRY(service_.call(call));
  if (response.status == 202) return true;
  if (response.status == 404) return false;
  return make_error(Code::unavailable, "{} could not be removed ({} {}); try again.", url(key),
                    response.status,
                    percent_encode(response.header("x-ms-error-code").substr(0, 80)));
}

std::string AzureStore::take_marker(const std::string& prefix, const std::string& after) {
  MutexLock lock(mutex_);
  const auto found = markers_.find({prefix, after});
  return found == markers_.end() ? std::string() : found->second;
}

void AzureStore::keep_marker(const std::string& prefix, const std::string& last,
                             std::string marker) {
  MutexLock lock(mutex_);
  if (markers_.size() >= kKeptMarkers) markers_.erase(markers_.begin());
  markers_[{prefix, last}] = std::move(marker);
}

Result<BlobPage> AzureStore::read_page(std::string_view prefix, const std::string& marker,
                                       size_t limit) {
  const std::string whole = folder_.prefix + std::string(prefix);
  Call call;
  call.method = "GET";
  call.path = folder_.container;
  call.query = {{"restype", "container"},
                {"comp", "list"},
                {"maxresults", std::to_string(std::min(limit, kMostPerPage))}};
  const std::string stored = to_remote_key(whole.substr(0, whole_characters(whole)));
  if (!stored.empty()) call.query.push_back({"prefix", stored});
  if (!marker.empty()) call.query.push_back({"marker", marker});
  const http::Response response = TRY(service_.call(call));
  if (response.status == 404) {
    return make_error(Code::invalid_argument, "There is no container at {}; make it first.",
                      url(""));
  }
  if (response.status != 200) {
    return make_error(Code::unavailable, "{} cannot be listed ({}); try again.", url(""),
                      response.status);
  }
  return parse_blob_page(as_text(response.body));
}

Result<ListPage> AzureStore::list(std::string_view prefix, std::string_view after, size_t limit) {
  if (limit == 0) return Error{Code::invalid_argument, "A list needs a limit of at least 1."};
  ListPage page;
  UnnamedObjects unnamed;
  std::string last;  // of the page before, whatever became of it
  const std::string kept = std::string(prefix);
  // In the server's order, in which alone pages can follow one another.
  const std::string from =
      after.empty() ? std::string() : to_remote_key(folder_.prefix + std::string(after));
  std::string marker = take_marker(kept, std::string(after));
  const bool goes_on = !marker.empty() || after.empty();
  for (;;) {
    // Without a marker to go on from, what comes before `after` is read, too.
    BlobPage blobs = TRY(read_page(prefix, marker, goes_on ? limit : kMostPerPage));
    // A server that takes no notice of where to go on from sends one page for ever.
    const bool moves =
        blobs.blobs.empty() ? blobs.next_marker != marker : blobs.blobs.back().key != last;
    if (!blobs.blobs.empty()) last = blobs.blobs.back().key;
    for (ObjectInfo& info : blobs.blobs) {
      if (!from.empty() && info.key <= from) continue;
      std::string key = from_remote_key(info.key);
      if (!key.starts_with(folder_.prefix)) continue;
      info.key = key.substr(folder_.prefix.size());
      if (!info.key.starts_with(prefix)) continue;
      if (!check_key(info.key).ok()) {
        unnamed.see(info.key, info.size);
        continue;
      }
      if (page.objects.size() == limit) {
        page.next = page.objects.back().key;
        return page;
      }
      unnamed.tell(page);
      page.objects.push_back(std::move(info));
    }
    if (blobs.next_marker.empty()) {
      unnamed.tell(page);
      return page;
    }
    if (!moves) {
      return make_error(Code::unavailable,
                        "{} says that its list goes on, and does not; try again later.", url(""));
    }
    marker = blobs.next_marker;
    if (page.objects.size() == limit) {
      unnamed.tell(page);
      page.next = page.objects.back().key;
      keep_marker(kept, page.next, marker);
      return page;
    }
  }
}

// Blocks of a blob that nobody can see before they are listed.
class AzureUpload final : public Upload {
 public:
  AzureUpload(AzureStore& store, std::string key)
      : store_(store), key_(std::move(key)), sender_([this](size_t number, auto bytes) {
          return send_block(number, std::move(bytes));
        }) {}

  Result<void> append(std::span<const std::byte> bytes) override {
    if (ended_) return ended_error();
    md5_.update(bytes);
    return sender_.append(bytes);
  }

  Result<PutOutcome> commit(const Condition& condition) override {
    if (ended_) return ended_error();
    ended_ = true;
    if (sender_.is_small()) return store_.put(key_, sender_.take_small(), condition);
    const std::vector<std::string> names = TRY(sender_.finish());
    std::string list = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>";
    for (const std::string& name : names) list += "<Latest>" + name + "</Latest>";
    list += "</BlockList>";
    Call call;
    call.method = "PUT";
    call.path = store_.path_of(key_);
    call.query = {{"comp", "blocklist"}};
    call.headers = {{"Content-Type", "application/xml"},
                    {"x-ms-blob-content-type", "application/octet-stream"},
                    {"Content-MD5", md5_base64(as_bytes(list))}};
    // The service keeps it for whoever reads the whole, and does not check it.
    if (const std::string md5 = md5_.finish_base64(); !md5.empty()) {
      call.headers.push_back({"x-ms-blob-content-md5", md5});
    }
    http::add_condition(condition, call.headers);
    call.body = as_bytes(list);
    return store_.outcome_of(TRY(store_.service().call(call)), key_, condition);
  }

  void abort() override {
    ended_ = true;
    sender_.stop();
  }

 private:
  Result<std::string> send_block(size_t number, const std::vector<std::byte>& bytes) {
    // By content, so that what an upload that was cut short has sent is found again. All names of
    // one blob must be equally long before they are encoded, and at most 64 bytes.
    const std::string name =
        to_base64(as_bytes(fmt::format("{}-{:010}", sha256_hex(bytes).substr(0, 32), number)));
    if (is_waiting(name, bytes.size())) return name;
    Call call;
    call.method = "PUT";
    call.path = store_.path_of(key_);
    call.query = {{"comp", "block"}, {"blockid", name}};
    call.headers = {{"Content-Type", "application/octet-stream"},
                    {"Content-MD5", md5_base64(bytes)}};
    call.body = bytes;
    const http::Response response = TRY(store_.service().call_repeated(call));
    if (response.status == 201) return name;
    return store_.outcome_of(response, key_, Condition::always()).error();
  }

  // Whether that block is there already. It is asked once, and whoever may not know sends all.
  bool is_waiting(const std::string& name, uint64_t size) {
    MutexLock lock(mutex_);
    if (!waiting_) {
      Call call;
      call.method = "GET";
      call.path = store_.path_of(key_);
      call.query = {{"comp", "blocklist"}, {"blocklisttype", "uncommitted"}};
      const auto response = store_.service().call(call);
      const bool known = response.ok() && response->status == 200;
      waiting_ =
          known ? parse_waiting_blocks(as_text(response->body)) : std::map<std::string, uint64_t>();
    }
    const auto found = waiting_->find(name);
    return found != waiting_->end() && found->second == size;
  }

  Error ended_error() const {
    return make_error(Code::internal, "The upload of {} has already ended; begin another one.",
                      store_.url(key_));
  }

  AzureStore& store_;
  const std::string key_;
  bool ended_ = false;
  Md5 md5_;  // of all that was appended
  Mutex mutex_;
  std::optional<std::map<std::string, uint64_t>> waiting_ GUARDED_BY(mutex_);
  PartSender sender_;
};

Result<std::unique_ptr<Upload>> AzureStore::begin_upload(std::string_view key) {
  TRY(check_key(key));
  return std::unique_ptr<Upload>(std::make_unique<AzureUpload>(*this, std::string(key)));
}

}  // namespace

std::unique_ptr<ObjectStore> open_azure_store(Account account, Folder folder, Clock& clock) {
  return std::make_unique<AzureStore>(std::move(account), std::move(folder), clock);
}

}  // namespace atelier::azure
