// Real addresses on real interfaces, in network namespaces that each test makes for itself: a forked child
// with two ends of a veth pair, the far end in a namespace of its own so that frames cross a wire.
#include "vip/virtual_address.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

#include "support/child_process.hpp"
#include "vip/interface_addresses.hpp"

namespace litecluster::vip {
namespace {

using namespace std::chrono_literals;

constexpr int not_permitted = 77;

bool run(const std::string& command) {
  return std::system((command + " > /dev/null 2>&1").c_str()) == 0;  // NOLINT: fixed commands of this test
}

std::string output_of(const std::string& command) {
  std::string text;
  std::FILE* pipe = ::popen(command.c_str(), "r");  // NOLINT: fixed commands of this test
  std::array<char, 256> part{};
  while (pipe != nullptr && std::fgets(part.data(), part.size(), pipe) != nullptr) text += part.data();
  if (pipe != nullptr) ::pclose(pipe);
  return text;
}

bool has(const char* address) {
  return output_of("ip -o addr show dev near").find(" " + std::string(address) + " ") != std::string::npos;
}

/// Runs `body` in a new network namespace with the interface "near"; `far` is a socket that sees the frames
/// that come out of the other end. The body's result is empty or what went wrong.
void in_namespace(const std::function<std::string(int far)>& body) {
  auto child = test::ChildProcess::run([&] {
    if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return not_permitted;
    if (!run("ip link add near type veth peer name far") || !run("ip link set near up") ||
        !run("ip link set far up")) {
      return not_permitted;
    }
    const base::FileDescriptor far(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(::if_nametoindex("far"));
    if (::bind(far.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return not_permitted;
    const std::string problem = body(far.get());
    if (problem.empty()) return 0;
    std::fprintf(stderr, "%s\n", problem.c_str());
    return 1;
  });
  const std::string ended = child.wait();
  if (ended == std::to_string(not_permitted)) {
    GTEST_SKIP()
        << "network namespaces with veth interfaces cannot be made here (needs root or user namespaces)";
  }
  EXPECT_EQ(ended, "0");
}

/// Counts the frames with this Ethernet type that hold `needle`, until `wanted` have come or 10 s are over.
int frames_with(int far, std::uint16_t ether_type, base::ByteView needle, int wanted) {
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  int count = 0;
  while (count < wanted && std::chrono::steady_clock::now() < deadline) {
    pollfd source{.fd = far, .events = POLLIN, .revents = 0};
    if (::poll(&source, 1, 100) <= 0) continue;
    std::array<std::byte, 2048> frame{};
    const ssize_t size = ::recv(far, frame.data(), frame.size(), 0);
    if (size < 14 || base::load_big_endian<std::uint16_t>(frame.data() + 12) != ether_type) continue;
    // The sender's protocol address of ARP, the source address of IPv6.
    const std::size_t at = ether_type == 0x0806 ? 28 : 22;
    if (std::memcmp(frame.data() + at, needle.data(), needle.size()) == 0) ++count;
  }
  return count;
}

#define CHECK_THAT(condition) \
  if (!(condition)) return std::string(#condition)

TEST(VirtualAddress, IsPutOnTheInterfaceAndTakenOff) {
  in_namespace([](int) -> std::string {
    for (const char* text : {"10.9.8.7/24", "fd00::7/64"}) {
      VirtualAddress vip("near", *parse_address(text));
      CHECK_THAT(vip.acquire());
      CHECK_THAT(has(text));
      CHECK_THAT(vip.acquire());  // again: nothing happens
      CHECK_THAT(vip.release());
      CHECK_THAT(!has(text));
      CHECK_THAT(vip.release());
    }
    return {};
  });
}

TEST(VirtualAddress, AnnouncesItselfAgainAndAgain) {
  in_namespace([](int far) -> std::string {
    VirtualAddress vip4("near", *parse_address("10.9.8.7/24"));
    CHECK_THAT(vip4.acquire());
    // A request and a reply each time.
    CHECK_THAT(frames_with(far, 0x0806, vip4.address().view(), 6) == 6);
    VirtualAddress vip6("near", *parse_address("fd00::7/64"));
    CHECK_THAT(vip6.acquire());
    CHECK_THAT(frames_with(far, 0x86DD, vip6.address().view(), 3) == 3);
    return {};
  });
}

TEST(VirtualAddress, IsUsableAtOnceOnIpv6) {
  in_namespace([](int) -> std::string {
    VirtualAddress vip("near", *parse_address("fd00::7/64"));
    CHECK_THAT(vip.acquire());
    CHECK_THAT(output_of("ip -o addr show dev near").find("tentative") == std::string::npos ||
               output_of("ip -o addr show dev near | grep fd00").find("tentative") == std::string::npos);
    return {};
  });
}

TEST(VirtualAddress, IsNotMistakenForOneThatBeginsTheSame) {
  in_namespace([](int) -> std::string {
    CHECK_THAT(run("ip addr add 10.9.8.70/24 dev near"));
    CHECK_THAT(run("ip addr add 110.9.8.7/24 dev near"));
    VirtualAddress vip("near", *parse_address("10.9.8.7/24"));
    const auto leftover = vip.remove_leftover();
    CHECK_THAT(leftover && !*leftover);
    CHECK_THAT(vip.acquire());
    CHECK_THAT(vip.release());
    CHECK_THAT(has("10.9.8.70/24"));
    CHECK_THAT(has("110.9.8.7/24"));
    return {};
  });
}

TEST(VirtualAddress, RemovesWhatAnEarlierProcessLeftUnderAnyPrefix) {
  in_namespace([](int) -> std::string {
    CHECK_THAT(run("ip addr add 10.9.8.7/28 dev near"));
    CHECK_THAT(run("ip addr add fd00::7/96 dev near"));
    for (const char* text : {"10.9.8.7/24", "fd00::7/64"}) {
      VirtualAddress vip("near", *parse_address(text));
      const auto leftover = vip.remove_leftover();
      CHECK_THAT(leftover && *leftover);
      const auto again = vip.remove_leftover();
      CHECK_THAT(again && !*again);
    }
    CHECK_THAT(!has("10.9.8.7/28"));
    CHECK_THAT(!has("fd00::7/96"));
    return {};
  });
}

TEST(VirtualAddress, ComesBackWhenSomebodyTakesItOff) {
  in_namespace([](int) -> std::string {
    VirtualAddress vip("near", *parse_address("10.9.8.7/24"));
    CHECK_THAT(vip.acquire());
    CHECK_THAT(run("ip addr del 10.9.8.7/24 dev near"));
    for (int round = 0; round < 1000 && !has("10.9.8.7/24"); ++round) ::usleep(10'000);
    CHECK_THAT(has("10.9.8.7/24"));
    return {};
  });
}

TEST(VirtualAddress, StaysAwayOnceTheLeaseIsOver) {
  in_namespace([](int) -> std::string {
    std::atomic<bool> leads{true};
    VirtualAddress vip("near", *parse_address("10.9.8.7/24"), [&] { return leads.load(); });
    CHECK_THAT(vip.acquire());
    leads = false;
    AddressFence fence("near", *parse_address("10.9.8.7/24"));
    fence.drop();
    fence.drop();
    ::usleep(700'000);  // several rounds of announcements
    CHECK_THAT(!has("10.9.8.7/24"));
    CHECK_THAT(vip.release());
    const Status status = vip.acquire();
    CHECK_THAT(!status && status.error().code() == ErrorCode::not_leader);
    return {};
  });
}

TEST(VirtualAddress, SaysWhenAnotherHostAnswersForTheAddress) {
  in_namespace([](int far) -> std::string {
    constexpr HardwareAddress other{std::byte{0x02}, std::byte{0}, std::byte{0},
                                    std::byte{0},    std::byte{0}, std::byte{0x77}};
    for (const char* text : {"10.9.8.7/24", "fd00::7/64"}) {
      VirtualAddress vip("near", *parse_address(text));
      CHECK_THAT(vip.acquire());
      CHECK_THAT(vip.problem().empty());
      const base::Bytes claim = vip.address().family == Family::ipv4
                                    ? gratuitous_arp(vip.address(), other, ArpForm::reply)
                                    : neighbour_advertisement(vip.address(), other);
      sockaddr_ll to{};
      to.sll_family = AF_PACKET;
      to.sll_ifindex = static_cast<int>(::if_nametoindex("far"));
      for (int round = 0; round < 1000 && vip.problem().empty(); ++round) {
        ::sendto(far, claim.data(), claim.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
        ::usleep(10'000);
      }
      CHECK_THAT(vip.problem().find("02:00:00:00:00:77") != std::string::npos);
      // It is kept, and the problem is over when the other one falls silent.
      CHECK_THAT(has(text));
      for (int round = 0; round < 1000 && !vip.problem().empty(); ++round) ::usleep(10'000);
      CHECK_THAT(vip.problem().empty());
      CHECK_THAT(vip.release());
    }
    return {};
  });
}

TEST(VirtualAddress, IsFoundAmongThousands) {
  in_namespace([](int) -> std::string {
    CHECK_THAT(run(
        "for i in $(seq 1 8); do for j in $(seq 1 250); do echo addr add 10.1.$i.$j/32 dev near; done; done "
        "| ip -batch -"));
    VirtualAddress vip("near", *parse_address("10.9.8.7/24"));
    CHECK_THAT(vip.acquire());
    const auto found = find_address("near", vip.address());
    CHECK_THAT(found && *found == 24);
    CHECK_THAT(vip.release());
    return {};
  });
}

TEST(VirtualAddress, SaysThatTheInterfaceIsNotThere) {
  in_namespace([](int) -> std::string {
    VirtualAddress vip("nowhere0", *parse_address("10.9.8.7/24"));
    const Status status = vip.acquire();
    CHECK_THAT(!status && status.error().code() == ErrorCode::not_found);
    CHECK_THAT(!vip.remove_leftover());
    CHECK_THAT(vip.release());
    return {};
  });
}

}  // namespace
}  // namespace litecluster::vip
