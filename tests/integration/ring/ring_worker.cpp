// A node of a ring as a process of its own, for processes_test.cpp: ring_worker URL NODE PARTITIONS
// HEARTBEAT_MS LOG. Each line of the log is an event (own, release; lapse with partition 0), a partition and
// the time in nanoseconds of boot time, which all processes of the machine share. SIGTERM makes it leave; its
// death follows its parent's.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>
#include <tuple>

#include <fmt/format.h>

#include "integration/ring/ring_node.hpp"

namespace litecluster::test {
namespace {

volatile sig_atomic_t stop_requested = 0;

class Journal {
 public:
  explicit Journal(const char* path)
      : descriptor_(::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {}

  Status write(const char* event, std::span<const Partition> partitions) const {
    const auto now = base::BootClock::now().time_since_epoch().count();
    std::string lines;
    for (const Partition partition : partitions) {
      lines += fmt::format("{} {} {}\n", event, partition.value(), now);
    }
    if (::write(descriptor_, lines.data(), lines.size()) != static_cast<ssize_t>(lines.size())) std::abort();
    return {};
  }

 private:
  int descriptor_;
};

int run(char** arguments) {
  const Journal journal(arguments[5]);
  auto node = RingNode::start(
      client_options({arguments[1]}),
      {.node = arguments[2],
       .partitions = static_cast<std::uint32_t>(std::stoul(arguments[3])),
       .heartbeat = std::chrono::milliseconds(std::stoul(arguments[4])),
       .on_own = [&](Context&, std::span<const Partition> own) { return journal.write("own", own); },
       .on_release = [&](Context&, std::span<const Partition> own) { return journal.write("release", own); },
       .on_lapse = [&] { std::ignore = journal.write("lapse", std::array{Partition(0)}); }});
  if (!node) return 1;
  while (stop_requested == 0) ::usleep(5000);
  return (*node)->leave() ? 0 : 2;
}

}  // namespace
}  // namespace litecluster::test

int main(int count, char** arguments) {
  if (count != 6) return 64;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::signal(SIGTERM, [](int) { litecluster::test::stop_requested = 1; });
  return litecluster::test::run(arguments);
}
