#include "cli/standard_streams.hpp"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace litecluster::cli {
namespace {

// The first that went wrong with standard output: a later flush succeeds, with what was lost left out.
std::atomic<int> first_problem = 0;

void note_problem(int problem) {
  int none = 0;
  first_problem.compare_exchange_strong(none, problem != 0 ? problem : EIO);
}

}  // namespace

bool open_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest free number is this one: those below are open by now. Not close-on-exec: a child needs them
    // as well.
    if (::open("/dev/null", O_RDWR) != descriptor) return false;
  }
  return true;
}

void print(std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) note_problem(errno);
}

bool flush_standard_output() {
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) note_problem(errno);
  return first_problem == 0;
}

bool standard_output_closes_within(std::chrono::milliseconds limit) {
  // An error and a hang-up are told without being asked for.
  pollfd output{.fd = STDOUT_FILENO, .events = 0, .revents = 0};
  if (::poll(&output, 1, static_cast<int>(limit.count())) <= 0) return false;
  note_problem(EPIPE);
  return true;
}

bool finish_standard_output() {
  if (flush_standard_output()) return true;
  std::fprintf(stderr, "litecluster: write standard output: %s; what was printed is not complete\n",
               std::strerror(first_problem));
  return false;
}

}  // namespace litecluster::cli
