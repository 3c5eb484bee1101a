#include "base/file_descriptor.hpp"

#include <unistd.h>

namespace litecluster::base {

void FileDescriptor::reset(int descriptor) {
  // close() is not retried on EINTR: on Linux the descriptor is gone in any case.
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = descriptor;
}

}  // namespace litecluster::base
