#include "db/replacement_lock.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.hpp"
#include "base/file.hpp"

namespace litecluster::db {
namespace {

constexpr const char* operation = "replace database";

struct ByteRange {
  off_t start;
  off_t length;
};

// The bytes that SQLite locks, as its file os.h names them: pending, reserved and shared in the database;
// those of the wal-index and the one of its users in the -shm file.
constexpr ByteRange database_bytes{.start = 0x4000'0000, .length = 512};
constexpr ByteRange index_bytes{.start = 120, .length = 9};

struct flock exclusive(const ByteRange& bytes) {
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = bytes.start;
  lock.l_len = bytes.length;
  return lock;
}

// A holder in another container, or one that uses locks of open files, has no number here.
std::string name_of(pid_t process) {
  if (process <= 0) return "another program";
  std::string name = fmt::format("process {}", process);
  const std::string path = fmt::format("/proc/{}/comm", process);
  const auto file = base::open_file(path, O_RDONLY);
  if (!file) return name;
  std::array<std::byte, 64> command{};
  const auto size = base::read_at(file->get(), command, 0, path);
  if (!size) return name;
  const std::string_view text = base::as_text(std::span(command).first(*size));
  return fmt::format("{} ({})", name, text.substr(0, text.find('\n')));
}

std::unexpected<Error> in_use(const std::filesystem::path& database, pid_t holder) {
  return failure(ErrorCode::busy, operation, database.string(),
                 name_of(holder) + " has it open; stop every program that uses it first");
}

Status require_unlocked(int descriptor, const ByteRange& bytes, const std::filesystem::path& file,
                        const std::filesystem::path& database) {
  struct flock lock = exclusive(bytes);
  if (::fcntl(descriptor, F_GETLK, &lock) != 0) {
    return std::unexpected(base::errno_error(errno, "look for locks", file.string()));
  }
  if (lock.l_type == F_UNLCK) return {};
  return in_use(database, lock.l_pid);
}

}  // namespace

Result<ReplacementLock> ReplacementLock::take(const std::filesystem::path& database) {
  auto file = base::open_file(database, O_RDWR);
  if (!file && file.error().code() == ErrorCode::not_found) return ReplacementLock(base::FileDescriptor());
  if (!file) return std::unexpected(file.error());
  if (auto unused = require_unlocked(file->get(), database_bytes, database, database); !unused) {
    return std::unexpected(unused.error());
  }
  const struct flock wanted = exclusive(database_bytes);
  if (::fcntl(file->get(), F_SETLK, &wanted) != 0) {
    if (errno == EACCES || errno == EAGAIN) return in_use(database, 0);
    return std::unexpected(base::errno_error(errno, "lock", database.string()));
  }
  // A program that lost its database file to an earlier rename still holds this.
  const std::filesystem::path index_path = database.string() + "-shm";
  auto index = base::open_file(index_path, O_RDWR);
  if (index) {
    if (auto unused = require_unlocked(index->get(), index_bytes, index_path, database); !unused) {
      return std::unexpected(unused.error());
    }
  } else if (index.error().code() != ErrorCode::not_found) {
    return std::unexpected(index.error());
  }
  return ReplacementLock(std::move(*file));
}

}  // namespace litecluster::db
