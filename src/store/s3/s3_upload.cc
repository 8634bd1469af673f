// SPDX-License-Identifier: Apache-2.0
#include "store/s3/s3_upload.h"

#include "store/remote_transfer.h"
#include "store/s3/s3_objects.h"

namespace atelier::s3 {
namespace {

class S3Upload final : public Upload {
 public:
  S3Upload(Service& service, ConditionalWrites& conditions, std::string key)
      : service_(service),
        conditions_(conditions),
        key_(std::move(key)),
        sender_([this](size_t number, const std::vector<std::byte>& bytes) {
          return send(number, bytes);
        }) {}

  ~S3Upload() override { abandon(); }

  Result<void> append(std::span<const std::byte> bytes) override {
    if (ended_) return ended_error();
    return sender_.append(bytes);
  }

  Result<PutOutcome> commit(const Condition& condition) override {
    if (ended_) return ended_error();
    ended_ = true;
    auto outcome = sender_.is_small() ? put_whole(condition) : complete(condition);
    if (outcome.ok() && outcome->written) forget();
    abandon();
    return outcome;
  }

  void abort() override { abandon(); }

 private:
  Result<PutOutcome> put_whole(const Condition& condition) {
    const std::vector<std::byte> bytes = sender_.take_small();
    return conditions_.write(key_, Way::put, condition, [&](const Condition& sent) {
      return put_object(service_, key_, bytes, sent);
    });
  }

  Result<PutOutcome> complete(const Condition& condition) {
    const std::vector<std::string> etags = TRY(sender_.finish());
    const std::string id = TRY(this->id());
    return conditions_.write(key_, Way::multipart, condition, [&](const Condition& sent) {
      return complete_multipart(service_, key_, id, etags, sent);
    });
  }

  Result<std::string> send(size_t number, const std::vector<std::byte>& bytes) {
    const std::string id = TRY(this->id());
    return send_part(service_, key_, id, number + 1, bytes);
  }

  // Of the upload at the server, which the first part begins.
  Result<std::string> id() {
    MutexLock lock(mutex_);
    if (id_.empty()) id_ = TRY(begin_multipart(service_, key_));
    return id_;
  }

  void forget() {
    MutexLock lock(mutex_);
    id_.clear();
  }

  // Leaves nothing at the server. After a lost answer the upload may have been completed, and then
  // there is nothing to abort.
  void abandon() {
    ended_ = true;
    sender_.stop();
    std::string id;
    {
      MutexLock lock(mutex_);
      id.swap(id_);
    }
    if (!id.empty()) static_cast<void>(abort_multipart(service_, key_, id));
  }

  Error ended_error() const {
    return make_error(Code::internal, "The upload of {} has already ended; begin another one.",
                      service_.url(key_));
  }

  Service& service_;
  ConditionalWrites& conditions_;
  const std::string key_;
  Mutex mutex_;
  std::string id_ GUARDED_BY(mutex_);
  bool ended_ = false;
  PartSender sender_;
};

}  // namespace

std::unique_ptr<Upload> make_s3_upload(Service& service, ConditionalWrites& conditions,
                                       std::string key) {
  return std::make_unique<S3Upload>(service, conditions, std::move(key));
}

}  // namespace atelier::s3
