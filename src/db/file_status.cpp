#include "db/file_status.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>

#include "base/file.hpp"

namespace litecluster::db {

Result<FileStatus> file_status(const std::filesystem::path& path) {
  struct statx status{};
  if (::statx(AT_FDCWD, path.c_str(), 0, STATX_BASIC_STATS | STATX_BTIME, &status) != 0) {
    return std::unexpected(base::errno_error(errno, "stat", path.string()));
  }
  const auto nanoseconds = [](const struct statx_timestamp& time) {
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
  };
  return FileStatus{
      .identity = {.device = makedev(status.stx_dev_major, status.stx_dev_minor), .inode = status.stx_ino},
      .stamp = {.size = status.stx_size, .modified_nanoseconds = nanoseconds(status.stx_mtime)},
      .born_nanoseconds = (status.stx_mask & STATX_BTIME) != 0 ? nanoseconds(status.stx_btime) : 0};
}

}  // namespace litecluster::db
