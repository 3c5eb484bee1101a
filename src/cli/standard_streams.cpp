#include "cli/standard_streams.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

namespace litecluster::cli {

bool open_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest free number is this one: those below are open by now. Not close-on-exec: a child needs them
    // as well.
    if (::open("/dev/null", O_RDWR) != descriptor) return false;
  }
  return true;
}

bool finish_standard_output() {
  errno = 0;
  const bool flushed = std::fflush(stdout) == 0;
  if (flushed && std::ferror(stdout) == 0) return true;
  const char* reason = errno != 0 ? std::strerror(errno) : "a write failed";
  std::fprintf(stderr, "litecluster: write standard output: %s; what was printed is not complete\n", reason);
  return false;
}

}  // namespace litecluster::cli
