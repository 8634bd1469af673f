// SPDX-License-Identifier: Apache-2.0
#include "store/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "store/test_folder.h"

namespace atelier {
namespace {

using azure::Credential;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Kind = Credential::Kind;

class CredentialsFile : public testing::Test {
 protected:
  std::string path() const { return (folder_.path() / "credentials").string(); }
  void write(std::string_view text, mode_t mode = 0600) {
    std::ofstream(path(), std::ios::binary) << text;
    EXPECT_EQ(::chmod(path().c_str(), mode), 0);
    variables_["ATELIER_CREDENTIALS"] = path();
  }
  void set(const std::string& name, const std::string& value) { variables_[name] = value; }
  Result<Credentials> load() {
    return Credentials::load([this](const char* name) -> std::optional<std::string> {
      const auto found = variables_.find(name);
      if (found == variables_.end() || found->second.empty()) return std::nullopt;
      return found->second;
    });
  }
  Result<azure::Account> azure(const char* place) {
    notes_.clear();
    return TRY(load()).azure(parse_location(place).value(), taking());
  }
  Result<s3::Bucket> s3(const char* place) {
    notes_.clear();
    return TRY(load()).s3(parse_location(place).value(), clock_, taking());
  }
  Result<std::optional<Credentials::Encryption>> encryption(const char* place) {
    return TRY(load()).encryption(parse_location(place).value());
  }
  std::string secret_of(const char* place) {
    const auto account = azure(place);
    if (!account.ok()) return account.error().message;
    return account->credential.secret ? account->credential.secret->read().value() : "none";
  }
  const std::vector<std::string>& notes() const { return notes_; }
  const std::filesystem::path& folder() const { return folder_.path(); }

 private:
  Notes taking() {
    return [this](const std::string& note) { notes_.push_back(note); };
  }

  TestFolder folder_;
  FakeClock clock_;
  std::map<std::string, std::string> variables_;
  std::vector<std::string> notes_;
};

template <class T>
void expect_refusal(const Result<T>& result, const char* of) {
  ASSERT_FALSE(result.ok()) << of;
  EXPECT_EQ(result.error().code, Code::invalid_argument) << of;
  EXPECT_THAT(result.error().message, AllOf(HasSubstr(of), Not(HasSubstr("hush"))));
}

TEST_F(CredentialsFile, TheLongestSectionWinsKeyByKey) {
  write(
      "[az://a/c/deep]\nsas = three\n[az://a]\nendpoint = https://h/a\nca_file = /one\nsas = one\n"
      "[az://a/c/]\nsas = two\nca_file = /two\n[az://a/co]\nsas = other\n");
  EXPECT_EQ(secret_of("az://a/b"), "one");
  EXPECT_EQ(secret_of("az://a/c"), "two");
  EXPECT_EQ(secret_of("az://a/c/x"), "two");
  EXPECT_EQ(secret_of("az://a/c/deep"), "three");
  EXPECT_EQ(secret_of("az://a/c/deep/er"), "three");
  EXPECT_EQ(secret_of("az://a/c/deeper"), "two") << "names end where a folder does";
  EXPECT_EQ(secret_of("az://a/co/x"), "other");
  EXPECT_EQ(secret_of("az://ab/c"), "none");
  const azure::Account account = azure("az://a/c/deep/x").value();
  EXPECT_EQ(account.http.ca_file, "/two");
  EXPECT_EQ(account.endpoint, "https://h/a");
}

TEST_F(CredentialsFile, AMoreSpecialProofTakesTheOthersPlace) {
  write(
      "[az://a]\nkey = a2V5\n[az://a/c]\nsas = two\n[az://a/m]\nidentity = metadata\n"
      "client_id = me\n");
  EXPECT_EQ(azure("az://a/x")->credential.kind, Kind::key);
  EXPECT_EQ(azure("az://a/c")->credential.kind, Kind::sas);
  EXPECT_THAT(notes(), IsEmpty());
  const azure::Account machine = azure("az://a/m").value();
  EXPECT_EQ(machine.credential.kind, Kind::metadata);
  EXPECT_EQ(machine.credential.client_id, "me");
  EXPECT_EQ(machine.credential.metadata_url, "http://169.254.169.254");
}

TEST_F(CredentialsFile, ProofsAreFilesOrTexts) {
  std::ofstream(folder() / "s") << "hush\n";
  ASSERT_EQ(::chmod((folder() / "s").c_str(), 0600), 0);
  for (const auto& [key, kind] :
       {std::pair("sas_file", Kind::sas), std::pair("token_file", Kind::bearer),
        std::pair("key_file", Kind::key)}) {
    write(fmt::format("[az://a]\n{} = {}\n", key, (folder() / "s").string()));
    EXPECT_EQ(secret_of("az://a/c"), "hush");
    EXPECT_EQ(azure("az://a/c")->credential.kind, kind);
  }
}

TEST_F(CredentialsFile, PatienceIsOfAPlace) {
  using std::chrono::seconds;
  write(
      "[az://a]\nstall_timeout = 5\n[az://a/c]\nsas = hush\ngive_up_after = 7\n[s3://b]\n"
      "access_key_id = k\nsecret_access_key = hush\nstall_timeout = 9\n");
  EXPECT_EQ(azure("az://a/c")->http.stall_timeout, seconds(5));
  EXPECT_EQ(azure("az://b/c")->http.stall_timeout, seconds(30));
  const Credentials credentials = load().value();
  EXPECT_EQ(credentials.patience(parse_location("az://a/c/x").value())->give_up, seconds(7));
  EXPECT_EQ(credentials.patience(parse_location("az://a/x").value())->give_up, seconds(120));
  EXPECT_EQ(credentials.patience(parse_location("s3://b/x").value())->stall, seconds(9));
  for (const char* wrong : {"0", "-1", "86401", "1.5", "hush", "5s", ""}) {
    write(fmt::format("[az://a]\nstall_timeout = {}\n", wrong));
    expect_refusal(azure("az://a/c"), "stall_timeout");
  }
}

TEST_F(CredentialsFile, MistakesAreNamed) {
  write("[az://a]\nsass = hush\n");
  expect_refusal(azure("az://a/c"), "'sass'");
  EXPECT_TRUE(azure("az://b/c").ok()) << "what is of another place does not matter";
  write("[az://a]\nsas = hush\nkey = hush\n");
  expect_refusal(azure("az://a/c"), "2 of");
  write("[az://a]\nsas = hush\nidentity = metadata\n");
  expect_refusal(azure("az://a/c"), "2 of");
  write("[az://a]\nidentity = hush\n");
  expect_refusal(azure("az://a/c"), "metadata");
  write("[az://a]\nsas = hush\nno equals sign hush\n");
  expect_refusal(load(), "credentials");
}

TEST_F(CredentialsFile, TheUsualVariables) {
  EXPECT_EQ(secret_of("az://a/c"), "none");
  set("AZURE_STORAGE_ACCOUNT", "a");
  set("AZURE_STORAGE_KEY", "a2V5");
  EXPECT_EQ(azure("az://a/c")->credential.kind, Kind::key);
  set("AZURE_STORAGE_SAS_TOKEN", "token");
  EXPECT_EQ(azure("az://a/c")->credential.kind, Kind::sas);
  EXPECT_EQ(secret_of("az://a/c"), "token");
  EXPECT_EQ(azure("az://a/c")->endpoint, "https://a.blob.core.windows.net");
  set("AZURE_STORAGE_SERVICE_ENDPOINT", "https://h:1/a//");
  EXPECT_EQ(azure("az://a/c")->endpoint, "https://h:1/a");
  set("ATELIER_CA_FILE", "/ca");
  EXPECT_EQ(azure("az://a/c")->http.ca_file, "/ca");
  set("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://h/");
  EXPECT_EQ(azure("az://a/c")->credential.metadata_url, "http://h");
  write("[az://a]\nsas = own\nendpoint = http://127.0.0.1:1/a/\nca_file = /own\n");
  EXPECT_EQ(secret_of("az://a/c"), "own");
  EXPECT_EQ(azure("az://a/c")->endpoint, "http://127.0.0.1:1/a");
  EXPECT_EQ(azure("az://a/c")->http.ca_file, "/own");
}

// A secret that is sent to another account, or to another's server, is given away.
TEST_F(CredentialsFile, TheUsualVariablesAreOfOneAccount) {
  set("AZURE_STORAGE_SAS_TOKEN", "hush");
  set("AZURE_STORAGE_SERVICE_ENDPOINT", "https://h:1/b");
  set("AZURE_STORAGE_ACCOUNT", "b");
  EXPECT_EQ(secret_of("az://a/c"), "none");
  EXPECT_EQ(azure("az://a/c")->endpoint, "https://a.blob.core.windows.net");
  EXPECT_EQ(secret_of("az://b/c"), "hush");
  EXPECT_EQ(azure("az://b/c")->endpoint, "https://h:1/b");
  write("[az://a]\nsas = own\n");
  EXPECT_EQ(azure("az://a/c")->endpoint, "https://a.blob.core.windows.net")
      << "nor is what the file has sent there";
}

TEST_F(CredentialsFile, VariablesOfNoAccountAreRefusedWhereTheyWouldCount) {
  for (const char* name :
       {"AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SERVICE_ENDPOINT"}) {
    set(name, "https://hush");
    expect_refusal(azure("az://a/c"), name);
    EXPECT_THAT(azure("az://a/c").error().message, HasSubstr("AZURE_STORAGE_ACCOUNT"));
    set(name, "");
  }
  set("AZURE_STORAGE_SAS_TOKEN", "hush");
  write("[az://a]\nsas = own\n");
  EXPECT_EQ(secret_of("az://a/c"), "own") << "the file says what is needed";
  set("AZURE_STORAGE_SERVICE_ENDPOINT", "https://h");
  write("[az://a]\nsas = own\nendpoint = https://mine/a\n");
  EXPECT_EQ(azure("az://a/c")->endpoint, "https://mine/a");
}

TEST_F(CredentialsFile, WhatIsNotWiseIsNoted) {
  write("[az://a]\nkey = hush\n");
  ASSERT_TRUE(azure("az://a/c").ok());
  EXPECT_THAT(notes(), ElementsAre(AllOf(HasSubstr("account 'a'"), Not(HasSubstr("hush")))));
  const auto notes_of = [&](const std::string& endpoint, const char* proof) {
    write(fmt::format("[az://a]\nendpoint = {}\n{}\n", endpoint, proof));
    EXPECT_TRUE(azure("az://a/c").ok());
    return notes();
  };
  for (const char* far : {"http://store.example/a", "http://10.0.0.1", "HTTP://store.example/a",
                          "http://127.0.0.1.example/a", "http://localhost.example"}) {
    EXPECT_THAT(notes_of(far, "sas = hush"), ElementsAre(HasSubstr("not encrypted"))) << far;
  }
  for (const char* near : {"http://127.0.0.1:10000/a", "http://localhost:1", "http://localhost/a",
                           "http://[::1]:1/a", "https://store.example"}) {
    EXPECT_THAT(notes_of(near, "sas = hush"), IsEmpty()) << near;
  }
  EXPECT_THAT(notes_of("http://store.example/a", ""), IsEmpty()) << "nothing secret goes there";
}

// What guesses a scheme guesses one without encryption.
TEST_F(CredentialsFile, AnAddressHasASchemeAndNobodysPassword) {
  set("AZURE_STORAGE_ACCOUNT", "a");
  set("AZURE_STORAGE_SAS_TOKEN", "sig=hush");
  set("AWS_ACCESS_KEY_ID", "AK");
  set("AWS_SECRET_ACCESS_KEY", "hush");
  for (const char* endpoint : {"h/a", "ftp://h", "https://u:hush@h", "https://h?sig=hush", "//h"}) {
    write(fmt::format("[az://a]\nendpoint = {0}\n[s3://b]\nendpoint = {0}\n", endpoint));
    expect_refusal(azure("az://a/c"), "is not the address of");
    expect_refusal(s3("s3://b"), "is not the address of");
    write("[az://other]\nca_file = /ca\n");
    set("AZURE_STORAGE_SERVICE_ENDPOINT", endpoint);
    set("AWS_ENDPOINT_URL", endpoint);
    expect_refusal(azure("az://a/c"), "is not the address of");
    expect_refusal(s3("s3://b"), "is not the address of");
  }
  set("AZURE_STORAGE_SERVICE_ENDPOINT", "HTTP://h");
  set("AWS_ENDPOINT_URL", "HTTP://h");
  EXPECT_EQ(azure("az://a/c")->endpoint, "http://h");
  EXPECT_THAT(notes(), ElementsAre(HasSubstr("not encrypted")));
  EXPECT_EQ(s3("s3://b")->endpoint, "http://h");
  EXPECT_THAT(notes(), ElementsAre(HasSubstr("not encrypted")));
}

TEST_F(CredentialsFile, ValuesOfS3) {
  set("AWS_SHARED_CREDENTIALS_FILE", (folder() / "absent").string());
  write(
      "[s3://b]\naccess_key_id = AK\nsecret_access_key = hush\nsession_token = token\n"
      "region = eu-1\nendpoint = http://store.example/\nca_file = /ca\nstyle = host\n"
      "sse = aws:kms\nsse_kms_key_id = kms\n[s3://b/runs]\nstyle = path\n");
  const s3::Bucket bucket = s3("s3://b/x").value();
  EXPECT_THAT(notes(), ElementsAre(HasSubstr("http://store.example is not encrypted")));
  EXPECT_EQ(bucket.name, "b");
  EXPECT_EQ(bucket.region, "eu-1");
  EXPECT_EQ(bucket.endpoint, "http://store.example");
  EXPECT_EQ(bucket.http.ca_file, "/ca");
  EXPECT_EQ(bucket.style, s3::Bucket::Style::host);
  EXPECT_EQ(bucket.encryption.algorithm, "aws:kms");
  EXPECT_EQ(bucket.encryption.kms_key_id, "kms");
  const s3::Keys keys = bucket.keys->read().value();
  EXPECT_EQ(keys.access_key, "AK");
  EXPECT_EQ(keys.secret_key, "hush");
  EXPECT_EQ(keys.session_token, "token");
  EXPECT_EQ(s3("s3://b/runs/1")->style, s3::Bucket::Style::path);
  EXPECT_EQ(s3("s3://b/runs/1")->region, "eu-1");
}

TEST_F(CredentialsFile, OtherKeysOfS3DoNotInheritAToken) {
  set("AWS_EC2_METADATA_DISABLED", "true");
  write(
      "[s3://b]\naccess_key_id = AK1\nsecret_access_key = hush1\nsession_token = token\n"
      "region = eu-1\n[s3://b/runs]\naccess_key_id = AK2\nsecret_access_key = hush2\n");
  const s3::Keys keys = s3("s3://b/runs")->keys->read().value();
  EXPECT_EQ(keys.access_key, "AK2");
  EXPECT_EQ(keys.secret_key, "hush2");
  EXPECT_EQ(keys.session_token, "");
  EXPECT_EQ(s3("s3://b/runs")->region, "eu-1");
}

TEST_F(CredentialsFile, KeysOfS3AreTakenWholeFromOnePlace) {
  set("AWS_EC2_METADATA_DISABLED", "true");
  set("AWS_ACCESS_KEY_ID", "AK-env");
  set("AWS_SECRET_ACCESS_KEY", "hush-env");
  set("AWS_SESSION_TOKEN", "token-env");
  write("[s3://b]\naccess_key_id = AK\nsecret_access_key = hush\n");
  const s3::Keys own = s3("s3://b")->keys->read().value();
  EXPECT_EQ(own.access_key, "AK");
  EXPECT_EQ(own.session_token, "");
  const s3::Keys usual = s3("s3://other")->keys->read().value();
  EXPECT_EQ(usual.access_key, "AK-env");
  EXPECT_EQ(usual.session_token, "token-env");
  write("[s3://b]\naccess_key_id = AK\n");
  expect_refusal(s3("s3://b"), "both or none");
  write("[s3://b]\nsecret_access_key = hush\n");
  expect_refusal(s3("s3://b"), "both or none");
  write("[s3://b]\nstyle = odd\n");
  expect_refusal(s3("s3://b"), "'style'");
  write("[s3://b]\nsas = hush\n");
  expect_refusal(s3("s3://b"), "'sas'");
}

// Temporary keys that something renews while a run goes on.
TEST_F(CredentialsFile, KeysOfS3InAFileAreReadAgainWhenItChanges) {
  const auto keep = [&](const std::string& text) {
    // As who renews keys does: in one step.
    const auto path = folder() / "keys", fresh = folder() / "fresh";
    std::ofstream(fresh) << text;
    ASSERT_EQ(::chmod(fresh.c_str(), 0600), 0);
    std::filesystem::rename(fresh, path);
  };
  const auto text = [](const char* profile, int n) {
    return fmt::format(
        "[{0}]\naws_access_key_id = AK{1}\naws_secret_access_key = hush{1}\n"
        "aws_session_token = t{1}\n",
        profile, n);
  };
  const std::string file = (folder() / "keys").string();
  set("AWS_ACCESS_KEY_ID", "AK-env");
  set("AWS_PROFILE", "absent");
  keep(text("default", 1) + text("runs", 2));
  write("[s3://b]\nkeys_file = " + file + "\n[s3://b/runs]\nkeys_file = " + file +
        "\nprofile = runs\n[s3://b/own]\naccess_key_id = AK\nsecret_access_key = hush\n");
  const auto whole = s3("s3://b/x").value().keys, runs = s3("s3://b/runs").value().keys;
  EXPECT_EQ(whole->read()->session_token, "t1");
  EXPECT_EQ(runs->read()->access_key, "AK2");
  EXPECT_EQ(s3("s3://b/own")->keys->read()->access_key, "AK");
  keep(text("default", 3) + text("runs", 4));
  EXPECT_EQ(whole->read()->access_key, "AK3");
  EXPECT_EQ(runs->read()->session_token, "t4");
  write("[s3://b]\nkeys_file = " + file + "\nprofile = none\n");
  expect_refusal(s3("s3://b"), "[none]");
  write("[s3://b]\nkeys_file = " + file + "\naccess_key_id = AK\nsecret_access_key = hush\n");
  expect_refusal(s3("s3://b"), "keys_file");
  write("[s3://b]\nprofile = runs\n");
  expect_refusal(s3("s3://b"), "profile");
  write("[s3://b]\nkeys_file =\n");
  expect_refusal(s3("s3://b"), "keys_file that is empty");
  write("[s3://b]\nkeys_file = " + file + "\nprofile =\n");
  expect_refusal(s3("s3://b"), "profile that is empty");
}

TEST_F(CredentialsFile, PlacesAreEncryptedFromTheirSectionOn) {
  write(
      "[file:///srv/runs]\nmaster_key_file = /keys/one\n"
      "[file:///srv/runs/a%20b/]\nmaster_key_command = print key\n"
      "[az://a/c]\nsas = hush\nmaster_key_file = /keys/two\n[az://a/c/x]\nca_file = /ca\n");
  EXPECT_FALSE(encryption("/srv").value());
  EXPECT_FALSE(encryption("/srv/runs2").value());
  const auto whole = encryption("/srv/runs/x/y").value().value();
  EXPECT_EQ(whole.root.url(), "file:///srv/runs");
  EXPECT_EQ(whole.key_file, "/keys/one");
  EXPECT_EQ(whole.key_command, "");
  const auto inner = encryption("/srv/runs/a b/c").value().value();
  EXPECT_EQ(inner.root.url(), "file:///srv/runs/a%20b");
  EXPECT_EQ(inner.key_file, "");
  EXPECT_EQ(inner.key_command, "print key");
  const auto blob = encryption("az://a/c/x/y").value().value();
  EXPECT_EQ(blob.root.url(), "az://a/c");
  EXPECT_EQ(blob.key_file, "/keys/two");
  EXPECT_TRUE(azure("az://a/c/x").ok()) << "such keys are known there";
}

TEST_F(CredentialsFile, EncryptionIsRefusedWhereItCannotBe) {
  write("[file:///srv]\nmaster_key_file = /one\nmaster_key_command = two\n");
  expect_refusal(encryption("/srv/x"), "both");
  EXPECT_FALSE(encryption("/other").value());
  // An account is no location: one key ring for all its containers has no place to be.
  write("[az://a]\nmaster_key_file = /one\n");
  expect_refusal(encryption("az://a/c"), "az://a");
}

TEST_F(CredentialsFile, SectionsNamePlacesAsPeopleWriteThem) {
  for (const char* name : {"/srv/my runs", "/srv/my runs/", "file:///srv/my runs",
                           "file:///srv/my%20runs/", "/srv/./x/../my runs"}) {
    write(fmt::format("[{}]\nmaster_key_file = /k\n", name));
    EXPECT_TRUE(encryption("/srv/my runs/a").value().has_value()) << name;
    EXPECT_FALSE(encryption("/srv/my").value().has_value()) << name;
  }
  write("[az://acct/a b/]\nsas = x\n");
  EXPECT_FALSE(load().ok());
  for (const char* name :
       {"srv/runs", "runs", "default", "az://", "s3://", "http://host", "az://a b"}) {
    write(fmt::format("[{}]\nmaster_key_file = /k\n", name));
    const auto loaded = load();
    ASSERT_FALSE(loaded.ok()) << name;
    EXPECT_THAT(loaded.error().message, HasSubstr("names no place"));
  }
}

TEST_F(CredentialsFile, OthersMayNotReadIt) {
  for (const mode_t mode : {0640, 0604, 0666}) {
    write("[az://a]\nsas = hush\n", mode);
    expect_refusal(load(), "chmod 600");
  }
}

TEST_F(CredentialsFile, ItNeedNotBeThere) {
  EXPECT_FALSE(load()->has_file());
  set("HOME", folder().string());
  EXPECT_FALSE(load()->has_file());
  set("XDG_CONFIG_HOME", folder().string());
  EXPECT_FALSE(load()->has_file());
  set("ATELIER_CREDENTIALS", (folder() / "absent").string());
  expect_refusal(load(), "absent");
}

TEST_F(CredentialsFile, ItIsWhereXdgSays) {
  const auto put = [&](const char* below, const char* sas) {
    std::filesystem::create_directories(folder() / below);
    std::filesystem::path file = folder() / below / "credentials";
    std::ofstream(file) << "[az://a]\nsas = " << sas << "\n";
    EXPECT_EQ(::chmod(file.c_str(), 0600), 0);
  };
  put(".config/atelier", "of home");
  put("xdg/atelier", "of xdg");
  set("HOME", folder().string());
  EXPECT_EQ(secret_of("az://a/c"), "of home");
  set("XDG_CONFIG_HOME", "xdg");
  EXPECT_EQ(secret_of("az://a/c"), "of home") << "the specification wants it to be absolute";
  set("XDG_CONFIG_HOME", (folder() / "xdg").string());
  EXPECT_EQ(secret_of("az://a/c"), "of xdg");
  EXPECT_TRUE(load()->has_file());
  write("[az://a]\nsas = named\n");
  EXPECT_EQ(secret_of("az://a/c"), "named");
}

}  // namespace
}  // namespace atelier
