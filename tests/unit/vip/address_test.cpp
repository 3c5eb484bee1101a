#include "vip/address.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "vip/virtual_address.hpp"

namespace litecluster::vip {
namespace {

std::string hex(base::ByteView bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

constexpr HardwareAddress hardware{std::byte{0x02}, std::byte{0x11}, std::byte{0x22},
                                   std::byte{0x33}, std::byte{0x44}, std::byte{0x55}};

TEST(Address, IsReadAndWritten) {
  for (const char* text : {"10.0.0.5/24", "192.168.7.1/32", "fd00::5/64", "2001:db8::1/128"}) {
    const auto address = parse_address(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(to_string(*address), text);
  }
  EXPECT_EQ(to_string(*parse_address("10.0.0.5")), "10.0.0.5/32");
  EXPECT_EQ(to_string(*parse_address("fd00::5")), "fd00::5/128");
}

TEST(Address, RefusesWhatNoHostCanHave) {
  for (const char* text :
       {"", "10.0.0", "10.0.0.5/33", "10.0.0.5/", "10.0.0.5/x", "10.0.0.5/-1", "0.0.0.0", "::", "224.0.0.1",
        "255.255.255.255", "ff02::1", "fd00::5/129", "host", "10.0.0.5/24/8"}) {
    EXPECT_FALSE(parse_address(text)) << text;
  }
}

// RFC 5227, section 2.1.1, and RFC 4862, section 5.4.2.
TEST(AddressProbe, AsksWithoutClaimingTheAddress) {
  EXPECT_EQ(hex(address_probe(*parse_address("10.0.0.5/24"), hardware)),
            "ffffffffffff0211223344550806"
            "0001080006040001"
            "021122334455"
            "00000000"
            "000000000000"
            "0a000005");
  const std::string solicitation = hex(address_probe(*parse_address("fd00::5/64"), hardware));
  EXPECT_EQ(solicitation.substr(0, 28), "3333ff00000502112233445586dd");
  EXPECT_EQ(solicitation.substr(28, 16), "6000000000183aff");
  EXPECT_EQ(solicitation.substr(44, 32), std::string(32, '0'));
  EXPECT_EQ(solicitation.substr(76, 32), "ff0200000000000000000001ff000005");
  EXPECT_EQ(solicitation.substr(108, 4), "8700");
  EXPECT_EQ(solicitation.substr(116), "00000000fd000000000000000000000000000005");
}

TEST(GratuitousArp, IsTheFrameOfTheRfc) {
  const Address address = *parse_address("10.0.0.5/24");
  EXPECT_EQ(hex(gratuitous_arp(address, hardware, ArpForm::request)),
            "ffffffffffff021122334455080600010800060400010211223344550a0000050000000000000a000005");
  EXPECT_EQ(hex(gratuitous_arp(address, hardware, ArpForm::reply)),
            "ffffffffffff021122334455080600010800060400020211223344550a000005ffffffffffff0a000005");
}

TEST(NeighbourAdvertisement, HasTheOverrideFlagHopLimitAndAValidChecksum) {
  const Address address = *parse_address("fd00::5/64");
  const base::Bytes frame = neighbour_advertisement(address, hardware);
  ASSERT_EQ(frame.size(), 14U + 40 + 32);
  EXPECT_EQ(hex({frame.data(), 14}), "33330000000102112233445586dd");
  EXPECT_EQ(hex({frame.data() + 14, 8}), "6000000000203aff");
  EXPECT_EQ(hex({frame.data() + 58, 20}), "20000000fd000000000000000000000000000005");
  // The sum over pseudo header and message, the checksum included, is all ones.
  std::uint32_t sum = 32 + 58;
  for (std::size_t index = 22; index < frame.size(); index += 2) {
    sum += base::load_big_endian<std::uint16_t>(frame.data() + index);
  }
  while (sum > 0xFFFF) sum = (sum & 0xFFFF) + (sum >> 16U);
  EXPECT_EQ(sum, 0xFFFFU);
}

TEST(Announcement, IsRepeatedSoonAndThenForEver) {
  std::chrono::milliseconds total(0);
  for (std::size_t count = 0; count < 5; ++count) total += announcement_pause(count);
  EXPECT_LE(total, std::chrono::seconds(3));
  EXPECT_EQ(announcement_pause(1000), std::chrono::seconds(10));
}

}  // namespace
}  // namespace litecluster::vip
