// SPDX-License-Identifier: Apache-2.0
#include "run/channel.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

namespace atelier::run {
namespace {

class ChannelTest : public testing::Test {
 protected:
  void raw(const std::vector<std::byte>& bytes) {
    ASSERT_EQ(::send(ends_.first.socket().get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
  }
  std::pair<Channel, Channel> ends_ = Channel::pair().value();
};

std::vector<std::byte> frame(uint32_t head, uint32_t body) {
  const std::array<uint32_t, 2> sizes = {head, body};
  const auto bytes = std::as_bytes(std::span(sizes));
  return {bytes.begin(), bytes.end()};
}

TEST_F(ChannelTest, AMessageArrivesWithItsBodyAndItsFile) {
  const auto scratch = ScratchFile::create(testing::TempDir()).value();
  std::vector<std::byte> body((size_t{20} << 20) + 7);
  body.back() = std::byte{9};
  std::jthread sender([&] {
    const Fd file = scratch->share().value();
    EXPECT_TRUE(ends_.first.send("{\"a\":1}", body, file.get()).ok());
  });
  auto message = ends_.second.receive().value();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->head, "{\"a\":1}");
  EXPECT_EQ(message->body, body);
  auto shared = ScratchFile::adopt(std::move(message->file)).value();
  ASSERT_TRUE(shared->write(as_bytes("by the other")).ok());
  const auto back = read_all(*scratch->open_shared().value(), 100, "it").value();
  EXPECT_EQ(as_text(back), "by the other");
}

TEST_F(ChannelTest, ACallIsAnsweredOrFailsAsTheAnswererSays) {
  std::jthread answerer([&] {
    const auto last = answer_calls(ends_.second, [](Message& m) -> Result<Answer> {
      if (m.head == "{\"no\":1}") return make_error(Code::no_space, "The disk is full.");
      return Answer{{"{\"yes\":1}", std::move(m.body), Fd()}, m.head == "{\"end\":1}"};
    });
    EXPECT_EQ(last.value(), true);
  });
  const auto refused = call(ends_.first, "{\"no\":1}");
  EXPECT_EQ(refused.error().code, Code::no_space);
  EXPECT_EQ(refused.error().message, "The disk is full.");
  const auto answer = call(ends_.first, "{\"end\":1}", as_bytes("body"));
  EXPECT_EQ(as_text(answer->body), "body");
}

TEST_F(ChannelTest, AnEndThatIsGoneIsSaidSo) {
  ends_.second.shut_down();
  EXPECT_EQ(call(ends_.first, "{}").error().code, Code::unavailable);
  EXPECT_EQ(ends_.first.receive().value().has_value(), false);
  const auto answered = answer_calls(ends_.first, [](Message&) -> Result<Answer> {
    return make_error(Code::internal, "Nobody asked.");
  });
  EXPECT_EQ(answered.value(), false);
}

TEST_F(ChannelTest, AMessageThatPromisesTooMuchIsRefusedBeforeMemoryIsTaken) {
  raw(frame(16, 0xffffffff));
  EXPECT_EQ(ends_.second.receive().error().code, Code::corrupt);
}

TEST_F(ChannelTest, AMessageThatEndsInTheMiddleIsAnError) {
  raw(frame(16, 4));
  ends_.first.shut_down();
  EXPECT_EQ(ends_.second.receive().error().code, Code::unavailable);
}

TEST_F(ChannelTest, TooLargeAMessageIsNotSent) {
  EXPECT_EQ(ends_.first.send(std::string(kLargestHead + 1, ' ')).error().code,
            Code::invalid_argument);
}

}  // namespace
}  // namespace atelier::run
