// A TCP proxy on loopback that a test can make lose bytes, hold them back, or break connections.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "base/file_descriptor.hpp"

namespace litecluster::test {

/// Forwards 127.0.0.1:port() to 127.0.0.1:<target>. Thread-safe.
class TcpProxy {
 public:
  explicit TcpProxy(std::uint16_t target) : target_(target) {
    listener_ = base::FileDescriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof(address);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_.get(), generic, size) != 0 || ::listen(listener_.get(), 16) != 0 ||
        ::getsockname(listener_.get(), generic, &size) != 0) {
      std::abort();
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  }

  [[nodiscard]] std::string url() const { return "nats://127.0.0.1:" + std::to_string(port_); }

  /// What the server sends is read and thrown away, until the connections are broken.
  void lose_answers(bool lose) { lose_answers_ = lose; }
  /// Closes all connections, and refuses new ones while `refuse`.
  void cut(bool refuse = false) {
    refuse_ = refuse;
    cut_ = true;
    while (cut_) std::this_thread::yield();
  }
  void accept_again() { refuse_ = false; }
  /// Breaks all connections once this many bytes have gone to the server; 0: never.
  void cut_after(std::uint64_t bytes) { cut_after_ = bytes; }
  /// What the server sends arrives at this rate; 0: as fast as it can.
  void limit_bytes_per_second(std::uint64_t rate) { rate_ = rate; }
  [[nodiscard]] std::uint64_t bytes_to_server() const { return bytes_to_server_; }

 private:
  struct Pair {
    base::FileDescriptor client;
    base::FileDescriptor server;
  };

  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }

  static bool send_all(int descriptor, const char* data, std::size_t size) {
    while (size != 0) {
      const ssize_t sent = ::send(descriptor, data, size, MSG_NOSIGNAL);
      if (sent <= 0) return false;
      data += sent;
      size -= static_cast<std::size_t>(sent);
    }
    return true;
  }

  void accept_one() {
    base::FileDescriptor client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client || refuse_) return;
    base::FileDescriptor server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = loopback(target_);
    if (::connect(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return;
    pairs_.push_back({std::move(client), std::move(server)});
  }

  // False: the connection is over.
  bool forward(int from, int to, bool from_server) {
    std::array<char, 64 << 10> buffer;
    const ssize_t count = ::recv(from, buffer.data(), buffer.size(), 0);
    if (count <= 0) return false;
    if (from_server && lose_answers_) return true;
    if (const std::uint64_t rate = rate_; from_server && rate != 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(count * 1'000'000 / static_cast<ssize_t>(rate)));
    }
    auto size = static_cast<std::size_t>(count);
    bool last = false;
    if (!from_server) {
      const std::uint64_t limit = cut_after_;
      if (limit != 0 && bytes_to_server_ + size >= limit) {
        size = static_cast<std::size_t>(limit - std::min<std::uint64_t>(limit, bytes_to_server_));
        cut_after_ = 0;
        last = true;
      }
      bytes_to_server_ += size;
    }
    return send_all(to, buffer.data(), size) && !last;
  }

  void run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      if (cut_) {
        pairs_.clear();
        lose_answers_ = false;
        cut_ = false;
      }
      std::vector<pollfd> polled{{listener_.get(), POLLIN, 0}};
      for (const Pair& pair : pairs_) {
        polled.push_back({pair.client.get(), POLLIN, 0});
        polled.push_back({pair.server.get(), POLLIN, 0});
      }
      if (::poll(polled.data(), polled.size(), 2) <= 0) continue;
      std::size_t index = 1;
      for (auto pair = pairs_.begin(); pair != pairs_.end(); index += 2) {
        bool alive = true;
        if (polled[index].revents != 0) alive = forward(pair->client.get(), pair->server.get(), false);
        if (alive && polled[index + 1].revents != 0)
          alive = forward(pair->server.get(), pair->client.get(), true);
        pair = alive ? std::next(pair) : pairs_.erase(pair);
      }
      if ((polled[0].revents & POLLIN) != 0) accept_one();
    }
  }

  const std::uint16_t target_;
  std::uint16_t port_ = 0;
  base::FileDescriptor listener_;
  std::atomic<bool> lose_answers_{false};
  std::atomic<bool> refuse_{false};
  std::atomic<bool> cut_{false};
  std::atomic<std::uint64_t> cut_after_{0};
  std::atomic<std::uint64_t> rate_{0};
  std::atomic<std::uint64_t> bytes_to_server_{0};
  std::list<Pair> pairs_;
  std::jthread thread_;
};

}  // namespace litecluster::test
