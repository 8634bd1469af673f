// SPDX-License-Identifier: Apache-2.0
#include "store/contract_kinds.h"

#include <cstdlib>
#include <random>

#include "store/azure/azure_store.h"
#include "store/counting_store.h"
#include "store/encrypting_store.h"
#include "store/faulty_store.h"
#include "store/local_store.h"
#include "store/memory_store.h"
#include "store/prefix_store.h"
#include "store/retrying_store.h"
#include "store/s3/s3_store.h"

namespace atelier {
namespace {

void add_memory(Rig& rig) { rig.stores.push_back(make_memory_store()); }
void add_local(Rig& rig) {
  rig.stores.push_back(open_local_store(rig.folder.path() / "not yet" / "root").value());
}
// Each call goes to the next of several stores that show the same objects.
class AlternatingStore final : public ObjectStore {
 public:
  explicit AlternatingStore(std::vector<std::unique_ptr<ObjectStore>> stores)
      : stores_(std::move(stores)) {}
  Result<std::optional<ObjectInfo>> head(std::string_view key) override { return next().head(key); }
  Result<std::vector<std::byte>> get(std::string_view key, ByteRange range,
                                     std::string_view if_match) override {
    return next().get(key, range, if_match);
  }
  Result<PutOutcome> put(std::string_view key, std::span<const std::byte> bytes,
                         const Condition& condition) override {
    return next().put(key, bytes, condition);
  }
  Result<std::unique_ptr<Upload>> begin_upload(std::string_view key) override {
    return next().begin_upload(key);
  }
  Result<ListPage> list(std::string_view prefix, std::string_view after, size_t limit) override {
    return next().list(prefix, after, limit);
  }
  Result<bool> remove(std::string_view key) override { return next().remove(key); }
  Result<bool> decides_conditions(std::string_view key) override {
    return next().decides_conditions(key);
  }
  Result<std::unique_ptr<ByteSource>> open_source(std::string_view key,
                                                  std::string_view if_match) override {
    return next().open_source(key, if_match);
  }
  std::string url(std::string_view key) const override { return stores_[0]->url(key); }

 private:
  ObjectStore& next() { return *stores_[calls_++ % stores_.size()]; }
  const std::vector<std::unique_ptr<ObjectStore>> stores_;
  std::atomic<size_t> calls_{0};
};

void add_faulty(Rig& rig, FaultPlan plan) {
  rig.stores.push_back(std::make_unique<FaultyStore>(rig.top(), std::move(plan)));
}
void add_retrying(Rig& rig) {
  RetryPolicy policy;
  policy.attempts = 40;
  policy.budget = std::chrono::hours(1);
  rig.stores.push_back(std::make_unique<RetryingStore>(rig.top(), rig.clock, policy));
}
void add_encrypting(Rig& rig) {
  rig.etags_are_hashes = false;  // no two writings of the same bytes are stored alike
  MasterKey master(SecretKey(std::array<std::byte, SecretKey::kSize>{std::byte{1}}));
  rig.stores.push_back(open_encrypting_store(rig.top(), std::move(master)).value());
}

// A service or a mount that whoever started the tests has started, too (tests/net).
std::string service(const char* what) {
  const char* value = std::getenv((std::string("ATELIER_TEST_") + what).c_str());
  return value == nullptr ? "" : value;
}

// Every test has a folder of its own: nobody removes what it leaves.
std::string fresh_prefix() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}/", random(), random());
}

// A folder as the machines see it that share it.
Kind shared_folder(const char* name, std::vector<const char*> mounts) {
  return {name, [mounts = std::move(mounts)](Rig& rig) {
            const std::string folder = fresh_prefix();
            std::vector<std::unique_ptr<ObjectStore>> stores;
            for (const char* mount : mounts) {
              stores.push_back(open_local_store(service(mount) + "/" + folder).value());
            }
            rig.stores.push_back(std::make_unique<AlternatingStore>(std::move(stores)));
          }};
}

void add_azure(Rig& rig, azure::Credential::Kind kind, const char* secret) {
  azure::Account account;
  account.name = service("AZURE_ACCOUNT");
  account.endpoint = service("AZURE");
  account.http.ca_file = service("AZURE_CA");
  account.credential.kind = kind;
  account.credential.secret = Secret::text(service(secret));
  rig.stores.push_back(
      azure::open_azure_store(std::move(account), {"contract", fresh_prefix()}, rig.system_clock));
}

void add_s3(Rig& rig, s3::Options options) {
  options.note = [&rig](const std::string&) { rig.advisory = true; };
  rig.etags_are_hashes = true;
  rig.stores.push_back(s3::open_s3_store(std::move(options), rig.system_clock).value());
}

// S3's client over a server of ours that treats conditions as it is told.
Kind fake_s3(const char* name, s3::FakeS3::Conditions conditions, bool encrypted = false) {
  return {name, [conditions, encrypted](Rig& rig) {
            rig.fake_s3 = std::make_unique<s3::FakeS3>(conditions);
            rig.server =
                std::make_unique<TestServer>([&fake = *rig.fake_s3](const TestRequest& request) {
                  return fake.answer(request);
                });
            add_s3(rig, s3::options_for(*rig.server));
            if (encrypted) add_encrypting(rig);
          }};
}

void add_real_s3(Rig& rig) {
  s3::Options options;
  options.bucket.name = service("S3_BUCKET");
  options.bucket.endpoint = service("S3_ENDPOINT");
  options.bucket.http.ca_file = service("S3_CA");
  options.bucket.keys = s3::fixed_keys({service("S3_KEY"), service("S3_SECRET"), ""});
  options.prefix = fresh_prefix();
  add_s3(rig, std::move(options));
}

void add_remote_kinds(std::vector<Kind>& kinds) {
  if (!service("SHARED_A").empty()) {
    kinds.push_back(shared_folder("shared_by_one", {"SHARED_A"}));
    kinds.push_back(shared_folder("shared_by_two", {"SHARED_A", "SHARED_B"}));
    kinds.push_back(shared_folder("shared_without_links", {"SHARED_PLAIN_A", "SHARED_PLAIN_B"}));
    kinds.push_back(shared_folder("shared_gone_stale", {"SHARED_STALE_A", "SHARED_STALE_B"}));
  }
  if (!service("S3_ENDPOINT").empty()) {
    kinds.push_back({"s3", add_real_s3});
    kinds.push_back({"encrypting_s3", [](Rig& rig) {
                       add_real_s3(rig);
                       add_encrypting(rig);
                     }});
  }
  if (service("AZURE").empty()) return;
  using Credential = azure::Credential::Kind;
  kinds.push_back({"azure_sas", [](Rig& rig) { add_azure(rig, Credential::sas, "AZURE_SAS"); }});
  kinds.push_back({"azure_key", [](Rig& rig) { add_azure(rig, Credential::key, "AZURE_KEY"); }});
  kinds.push_back(
      {"azure_bearer", [](Rig& rig) { add_azure(rig, Credential::bearer, "AZURE_BEARER"); }});
}

// Everything a retrying store promises to hide: all but a lost append, a commit that was never
// made, and whether it was we who removed an object.
FaultPlan hidden_faults() {
  std::array<FaultRates, kStoreVerbs> rates;
  rates.fill({0.2, 0.2});
  rates[static_cast<size_t>(StoreVerb::append)] = {};
  rates[static_cast<size_t>(StoreVerb::commit)] = {0, 0.5};
  rates[static_cast<size_t>(StoreVerb::remove)] = {0.4, 0};
  return seeded_faults(7, rates);
}

}  // namespace

std::vector<Kind> contract_kinds() {
  std::vector<Kind> all = {
      {"memory", add_memory},
      {"local", add_local},
      {"counting",
       [](Rig& rig) {
         add_memory(rig);
         rig.stores.push_back(std::make_unique<CountingStore>(rig.top()));
       }},
      {"faulty_without_faults",
       [](Rig& rig) {
         add_memory(rig);
         add_faulty(rig, scripted_faults({}));
       }},
      {"retrying",
       [](Rig& rig) {
         add_memory(rig);
         add_retrying(rig);
       }},
      {"retrying_over_faulty_memory",
       [](Rig& rig) {
         add_memory(rig);
         add_faulty(rig, hidden_faults());
         add_retrying(rig);
       }},
      {"retrying_over_faulty_local",
       [](Rig& rig) {
         add_local(rig);
         add_faulty(rig, hidden_faults());
         add_retrying(rig);
       }},
      {"below_a_prefix",
       [](Rig& rig) {
         auto whole = make_memory_store();
         for (const char* other : {"a", "a/b", "a/b!", "a/b0/c", "z"}) {
           whole->put(other, as_bytes("another's"), Condition::always()).value();
         }
         rig.stores.push_back(std::make_unique<PrefixStore>(std::move(whole), "a/b/"));
       }},
      {"encrypting_memory",
       [](Rig& rig) {
         add_memory(rig);
         add_encrypting(rig);
       }},
      {"encrypting_local",
       [](Rig& rig) {
         add_local(rig);
         add_encrypting(rig);
       }},
      {"encrypting_over_retrying_over_faulty_memory",
       [](Rig& rig) {
         add_memory(rig);
         add_faulty(rig, hidden_faults());
         add_retrying(rig);
         add_encrypting(rig);
       }},
      {"retrying_over_faulty_encrypting_local",
       [](Rig& rig) {
         add_local(rig);
         add_encrypting(rig);
         add_faulty(rig, hidden_faults());
         add_retrying(rig);
       }},
      fake_s3("s3_client", s3::FakeS3::Conditions::obeyed),
      fake_s3("s3_client_conditions_refused", s3::FakeS3::Conditions::refused),
      fake_s3("s3_client_conditions_ignored", s3::FakeS3::Conditions::ignored),
      fake_s3("encrypting_s3_client", s3::FakeS3::Conditions::obeyed, true),
      fake_s3("encrypting_s3_client_conditions_refused", s3::FakeS3::Conditions::refused, true),
      fake_s3("encrypting_s3_client_conditions_ignored", s3::FakeS3::Conditions::ignored, true),
  };
  add_remote_kinds(all);
  return all;
}

}  // namespace atelier
