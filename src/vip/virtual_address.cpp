#include "vip/virtual_address.hpp"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/logging.hpp"
#include "vip/interface_addresses.hpp"
#include "vip/neighbours.hpp"

namespace litecluster::vip {

using base::MutexLock;

std::chrono::milliseconds announcement_pause(std::size_t count) {
  using std::chrono::milliseconds;
  static constexpr std::array pauses = {milliseconds(50),   milliseconds(150),   milliseconds(300),
                                        milliseconds(500),  milliseconds(1000),  milliseconds(2000),
                                        milliseconds(5000), milliseconds(10'000)};
  return pauses[std::min(count, pauses.size() - 1)];
}

pid_t AddressFence::drop() noexcept {
  // An error here has nobody to go to; the guard drops again at its next occasion.
  [[maybe_unused]] const Status ignored = remove_address(interface_, address_);
  return 0;
}

VirtualAddress::VirtualAddress(std::string interface, Address address, std::function<bool()> may_hold)
    : interface_(std::move(interface)), address_(address), may_hold_(std::move(may_hold)) {}

VirtualAddress::~VirtualAddress() {
  [[maybe_unused]] const Status ignored = release();
}

Result<bool> VirtualAddress::remove_leftover() {
  const auto found = find_address(interface_, address_);
  if (!found) return std::unexpected(found.error());
  if (!*found) return false;
  base::log_warning("removing an address left behind",
                    {{"address", to_string(address_)}, {"interface", interface_}});
  if (auto status = remove_address(interface_, address_); !status) return std::unexpected(status.error());
  return true;
}

Status VirtualAddress::put() {
  if (may_hold_ && !may_hold_()) {
    return failure(ErrorCode::not_leader, "add address", to_string(address_), "the lease is over");
  }
  if (auto status = add_address(interface_, address_); !status) return status;
  // Stopped between the check and the change: take it off again. What happens after this is up to the guard.
  if (may_hold_ && !may_hold_()) {
    [[maybe_unused]] const Status ignored = remove_address(interface_, address_);
    return failure(ErrorCode::not_leader, "add address", to_string(address_), "the lease is over");
  }
  return {};
}

Status VirtualAddress::acquire() {
  const MutexLock lock(mutex_);
  if (keeper_.joinable()) return {};
  acquired_ = true;
  if (auto status = put(); !status) return status;
  if (auto status = announce_address(interface_, address_); !status) {
    [[maybe_unused]] const Status ignored = remove_address(interface_, address_);
    return status;
  }
  base::log_info("address acquired", {{"address", to_string(address_)}, {"interface", interface_}});
  keeper_ = std::jthread([this](const std::stop_token& stop) { keep(stop); });
  return {};
}

Status VirtualAddress::release() {
  const MutexLock lock(mutex_);
  if (keeper_.joinable()) {
    keeper_.request_stop();
    keeper_.join();
  }
  set_problem({});
  if (!acquired_) return {};
  if (auto status = remove_address(interface_, address_); !status) return status;
  acquired_ = false;
  base::log_info("address released", {{"address", to_string(address_)}, {"interface", interface_}});
  return {};
}

std::string VirtualAddress::problem() const {
  const MutexLock lock(problem_mutex_);
  return problem_;
}

void VirtualAddress::set_problem(std::string problem) {
  const MutexLock lock(problem_mutex_);
  if (!problem.empty() && problem != problem_) {
    base::log_error("virtual address", {{"address", to_string(address_)}, {"reason", problem}});
  }
  problem_ = std::move(problem);
}

// Each round looks at what the neighbours said since the round before, and asks them again. An address that
// somebody else has as well is kept: who of the two is wrong cannot be told from here, and a leader that
// cannot be reached would be worse.
void VirtualAddress::keep(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  const auto neighbours = Neighbours::listen(interface_, address_);
  if (neighbours) static_cast<void>(neighbours->ask());
  for (std::size_t count = 0; !stop.stop_requested(); ++count) {
    std::unique_lock lock(mutex);
    if (stopped.wait_for(lock, stop, announcement_pause(count), [] { return false; }) ||
        stop.stop_requested()) {
      return;
    }
    lock.unlock();
    if (may_hold_ && !may_hold_()) continue;
    const auto found = find_address(interface_, address_);
    Status status = found ? Status() : Status(std::unexpected(found.error()));
    if (found && !*found) {
      base::log_warning("address was gone, putting it back", {{"address", to_string(address_)}});
      status = put();
    }
    std::string problem;
    if (const auto other = neighbours ? neighbours->other_holder() : std::nullopt) {
      problem = "another host, " + to_string(*other) + ", has it as well; one of the two has to let it go";
    }
    if (status) status = announce_address(interface_, address_);
    if (!status) problem = status.error().message();
    set_problem(std::move(problem));
    if (neighbours) static_cast<void>(neighbours->ask());
  }
}

}  // namespace litecluster::vip
