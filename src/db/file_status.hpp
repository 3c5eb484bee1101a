// Which file lies under a name, and whether it was touched.
#pragma once

#include <cstdint>
#include <filesystem>

#include <litecluster/error.hpp>

namespace litecluster::db {

/// Which file a path names.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;

  friend constexpr bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// A file's size and time of modification, to see that nobody wrote to it meanwhile.
struct FileStamp {
  std::uint64_t size = 0;
  std::int64_t modified_nanoseconds = 0;

  friend constexpr bool operator==(const FileStamp&, const FileStamp&) = default;
};

struct FileStatus {
  FileIdentity identity;
  FileStamp stamp;
  /// When the file was made, nanoseconds since 1970: the number of a removed one is given away again. 0: the
  /// file system does not say.
  std::int64_t born_nanoseconds = 0;
};

/// statx(2). Errors: not_found when there is none; those of the file system.
[[nodiscard]] Result<FileStatus> file_status(const std::filesystem::path& path);

}  // namespace litecluster::db
