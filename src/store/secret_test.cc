// SPDX-License-Identifier: Apache-2.0
#include "store/secret.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "store/test_folder.h"

namespace atelier {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class SecretFile : public testing::Test {
 protected:
  std::filesystem::path path_of(const char* name) const { return folder_.path() / name; }
  std::filesystem::path write(const char* name, std::string_view text, mode_t mode = 0600) {
    std::ofstream(path_of(name), std::ios::binary) << text;
    EXPECT_EQ(::chmod(path_of(name).c_str(), mode), 0);
    return path_of(name);
  }
  // What is said of a file that cannot be taken.
  static std::string refusal(const std::filesystem::path& path) {
    const auto text = read_secret_file(path);
    if (text.ok()) return "taken";
    EXPECT_EQ(text.error().code, Code::invalid_argument);
    EXPECT_THAT(text.error().message, AllOf(HasSubstr(path.string()), Not(HasSubstr("hush"))));
    return text.error().message;
  }

 private:
  TestFolder folder_;
};

TEST_F(SecretFile, OnlyItsOwnerMayUseIt) {
  for (const mode_t mode : {0600, 0400, 0700}) {
    EXPECT_EQ(read_secret_file(write("s", "hush", mode)).value(), "hush");
  }
  for (const mode_t mode : {0640, 0604, 0620, 0602, 0610, 0601, 0666}) {
    EXPECT_THAT(refusal(write("s", "hush", mode)), HasSubstr("chmod 600")) << mode;
  }
}

TEST_F(SecretFile, ItIsOursOrRoots) {
  const auto path = write("s", "hush");
  constexpr uid_t kSomebody = 12345;
  if (::chown(path.c_str(), kSomebody, static_cast<gid_t>(-1)) != 0) {
    GTEST_SKIP() << "only root can give files away";
  }
  EXPECT_THAT(refusal(path), HasSubstr("another user"));
}

TEST_F(SecretFile, WhiteSpaceAtItsEndsIsNoPart) {
  EXPECT_EQ(read_secret_file(write("s", "\r\n \thu sh\t\n\r\n")).value(), "hu sh");
  EXPECT_EQ(read_secret_file(write("s", std::string("a\0b\n", 4))).value(), std::string("a\0b", 3));
}

TEST_F(SecretFile, EmptyAndTooLongOnesAreRefused) {
  EXPECT_THAT(refusal(write("s", "")), HasSubstr("empty"));
  EXPECT_THAT(refusal(write("s", " \r\n\t")), HasSubstr("empty"));
  const size_t most = size_t{64} << 10;
  EXPECT_EQ(read_secret_file(write("s", std::string(most, 'x'))).value().size(), most);
  EXPECT_THAT(refusal(write("s", "hush" + std::string(most - 3, 'x'))), HasSubstr("64 KiB"));
}

TEST_F(SecretFile, WhatIsNoRegularFileIsRefused) {
  EXPECT_THAT(refusal(path_of("absent")), HasSubstr("No such file"));
  std::filesystem::create_directory(path_of("folder"));
  EXPECT_THAT(refusal(path_of("folder")), HasSubstr("regular"));
  EXPECT_THAT(refusal("/dev/null"), HasSubstr("regular"));
  ASSERT_EQ(::mkfifo(path_of("pipe").c_str(), 0600), 0);
  EXPECT_THAT(refusal(path_of("pipe")), HasSubstr("regular")) << "and nobody waits for a writer";
}

TEST_F(SecretFile, ALinkIsAsGoodAsWhatItNames) {
  std::filesystem::create_symlink(write("s", "hush"), path_of("link"));
  EXPECT_EQ(read_secret_file(path_of("link")).value(), "hush");
  write("s", "hush", 0644);
  EXPECT_THAT(refusal(path_of("link")), HasSubstr("chmod 600"));
}

TEST_F(SecretFile, ATextIsWhatItIs) {
  EXPECT_EQ(Secret::text(" hush\n")->read().value(), " hush\n");
  EXPECT_EQ(Secret::text("")->read().value(), "");
}

TEST_F(SecretFile, ANewFileUnderItsNameIsReadAgain) {
  const auto secret = Secret::file(write("s", "first\n"));
  EXPECT_EQ(secret->read().value(), "first");
  EXPECT_EQ(secret->read().value(), "first");
  std::filesystem::rename(write("next", "second\n"), path_of("s"));
  EXPECT_EQ(secret->read().value(), "second");
}

TEST_F(SecretFile, AChangedFileIsReadAgain) {
  const auto secret = Secret::file(write("s", "first"));
  EXPECT_EQ(secret->read().value(), "first");
  write("s", "second");
  const timespec times[] = {{1000, 0}, {1000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path_of("s").c_str(), times, 0), 0);
  EXPECT_EQ(secret->read().value(), "second");
}

TEST_F(SecretFile, AFileThatGoesAndComesAgain) {
  const auto secret = Secret::file(write("s", "hush"));
  EXPECT_EQ(secret->read().value(), "hush");
  const auto next = write("next", "hush2", 0644);
  std::filesystem::remove(path_of("s"));
  EXPECT_EQ(secret->read().error().code, Code::invalid_argument);
  std::filesystem::rename(next, path_of("s"));
  EXPECT_THAT(secret->read().error().message, Not(HasSubstr("hush")));
  ASSERT_EQ(::chmod(path_of("s").c_str(), 0600), 0);
  EXPECT_EQ(secret->read().value(), "hush2");
}

}  // namespace
}  // namespace atelier
