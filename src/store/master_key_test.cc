// SPDX-License-Identifier: Apache-2.0
#include "store/master_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "store/test_folder.h"

namespace atelier {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;
using testing::Not;

// Bytes 0xe0 to 0xff, in three notations.
const std::string kHex = "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
const std::string kBase64 = "4OHi4+Tl5ufo6err7O3u7/Dx8vP09fb3+Pn6+/z9/v8=";
std::string raw_key() {
  std::string raw;
  for (int i = 0xe0; i <= 0xff; ++i) raw += static_cast<char>(i);
  return raw;
}

bool is_the_key(const MasterKey& key) { return as_text(key.key().bytes()) == raw_key(); }

std::filesystem::path write_file(const TestFolder& folder, std::string_view text, mode_t mode) {
  std::filesystem::path path = folder.path() / "master.key";
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary) << text;
  EXPECT_EQ(::chmod(path.c_str(), mode), 0);
  return path;
}

TEST(MasterKey, IsReadInEachNotation) {
  std::string upper = kHex;
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  const std::string unpadded = kBase64.substr(0, 43);
  for (const std::string& text : {raw_key(), kHex, kHex + "\n", kHex + "\r\n", upper, kBase64,
                                  kBase64 + "\n", kBase64 + "\r\n", unpadded, unpadded + "\n"}) {
    const auto key = parse_master_key(as_bytes(text), "It");
    ASSERT_TRUE(key.ok()) << text;
    EXPECT_TRUE(is_the_key(*key)) << text;
  }
}

TEST(MasterKey, NothingElseIsTakenForOne) {
  for (const std::string& text :
       {""s, "\n"s, raw_key() + "\n", raw_key().substr(1), kHex.substr(1), kHex + "0", kHex + " ",
        " " + kHex, kHex + "\n\n", "g" + kHex.substr(1), kBase64 + "=", "-" + kBase64.substr(1),
        kBase64.substr(0, 42), kBase64.substr(0, 42) + "9=", std::string(1000, 'a')}) {
    const auto key = parse_master_key(as_bytes(text), "It");
    ASSERT_FALSE(key.ok()) << text;
    EXPECT_EQ(key.error().code, Code::invalid_argument);
    if (text.size() > 12) {
      EXPECT_THAT(key.error().message, Not(HasSubstr(text.substr(4, 8))));
    }
  }
}

TEST(MasterKey, AFingerprintTellsKeysApartAndIsNotTheKey) {
  const MasterKey key = parse_master_key(as_bytes(kHex), "It").value();
  EXPECT_EQ(key.fingerprint().size(), 32U);
  EXPECT_EQ(key.fingerprint(), key.copy().fingerprint());
  EXPECT_NE(key.fingerprint(), MasterKey(SecretKey::random().value()).fingerprint());
  EXPECT_THAT(kHex, Not(HasSubstr(key.fingerprint())));
}

TEST(MasterKeyFile, IsReadWhenItIsPrivate) {
  const TestFolder folder;
  for (const mode_t mode : {0600U, 0400U, 0700U}) {
    EXPECT_TRUE(is_the_key(read_master_key_file(write_file(folder, kHex + "\n", mode)).value()));
  }
  const std::filesystem::path link = folder.path() / "link";
  std::filesystem::create_symlink("master.key", link);
  EXPECT_TRUE(is_the_key(read_master_key_file(link).value()));
}

TEST(MasterKeyFile, IsRefusedWhenOthersCouldReadOrWriteIt) {
  const TestFolder folder;
  for (const mode_t mode : {0640U, 0620U, 0610U, 0604U, 0602U, 0601U, 0644U, 0660U}) {
    const auto key = read_master_key_file(write_file(folder, kHex, mode));
    ASSERT_FALSE(key.ok()) << mode;
    EXPECT_EQ(key.error().code, Code::invalid_argument);
    EXPECT_THAT(key.error().message, HasSubstr("chmod 600"));
  }
}

TEST(MasterKeyFile, OfAnotherUserIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  const TestFolder folder;
  const std::filesystem::path path = write_file(folder, kHex, 0600);
  ASSERT_EQ(::chown(path.c_str(), 12345, 0), 0);
  EXPECT_THAT(read_master_key_file(path).error().message, HasSubstr("another user"));
}

TEST(MasterKeyFile, MustBeARegularFileWithAKey) {
  const TestFolder folder;
  EXPECT_EQ(read_master_key_file(folder.path()).error().code, Code::invalid_argument);
  EXPECT_EQ(read_master_key_file(folder.path() / "none").error().code, Code::invalid_argument);
  const std::filesystem::path pipe = folder.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(read_master_key_file(pipe).error().message, HasSubstr("regular file"));
  for (const std::string& text : {""s, "secret words"s, kHex + kHex, std::string(100'000, 'f')}) {
    const auto key = read_master_key_file(write_file(folder, text, 0600));
    ASSERT_FALSE(key.ok());
    EXPECT_THAT(key.error().message, HasSubstr("master.key"));
    EXPECT_THAT(key.error().message, Not(HasSubstr("secret words")));
  }
}

TEST(MasterKeyCommand, ItsOutputIsTheKey) {
  EXPECT_TRUE(is_the_key(master_key_of_command("echo " + kHex).value()));
  EXPECT_TRUE(is_the_key(master_key_of_command("printf %s '" + kBase64 + "'; exit 0").value()));
  // In two writes, and reading what it is not given.
  EXPECT_TRUE(is_the_key(
      master_key_of_command("cat; printf " + kHex.substr(0, 10) + "; printf " + kHex.substr(10))
          .value()));
}

TEST(MasterKeyCommand, AFailureIsToldWithoutItsOutput) {
  const auto message = [](const std::string& command) {
    const auto key = master_key_of_command(command);
    EXPECT_EQ(key.error().code, Code::invalid_argument);
    EXPECT_THAT(key.error().message, Not(HasSubstr(kHex.substr(0, 8))));
    return key.error().message;
  };
  EXPECT_THAT(message("echo " + kHex + "; exit 3"), HasSubstr("exit code 3"));
  EXPECT_THAT(message("echo " + kHex + "; kill -TERM $$"), HasSubstr("signal 15"));
  EXPECT_THAT(message("exec no-such-program-at-all 2>&-"), HasSubstr("exit code 127"));
  EXPECT_THAT(message("echo " + kHex + " more"), HasSubstr("no master key"));
  EXPECT_THAT(message("true"), HasSubstr("no master key"));
  EXPECT_THAT(message("yes " + kHex), HasSubstr("more than a key"));
}

TEST(MasterKeyCommand, ItsTimeIsLimited) {
  for (const char* command : {"sleep 600", "sleep 600 & wait", "exec >&-; sleep 600"}) {
    const auto start = std::chrono::steady_clock::now();
    const auto key = master_key_of_command(command, std::chrono::milliseconds(50));
    EXPECT_THAT(key.error().message, HasSubstr("too long")) << command;
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
  }
}

}  // namespace
}  // namespace atelier
