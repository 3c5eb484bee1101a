#include "db/file_status.hpp"

#include <sys/stat.h>

#include <cerrno>

#include "base/file.hpp"

namespace litecluster::db {

Result<FileStatus> file_status(const std::filesystem::path& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) {
    return std::unexpected(base::errno_error(errno, "stat", path.string()));
  }
  constexpr std::int64_t second = 1'000'000'000;
  return FileStatus{
      {status.st_dev, status.st_ino},
      {static_cast<std::uint64_t>(status.st_size), status.st_mtim.tv_sec * second + status.st_mtim.tv_nsec}};
}

}  // namespace litecluster::db
