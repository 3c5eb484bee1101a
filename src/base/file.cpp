#include "base/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "base/random.hpp"

namespace litecluster::base {
namespace {

// Large enough that small files, and those that are never synced, are left alone.
constexpr std::uint64_t write_behind_size = std::uint64_t{4} << 20U;

// rename(2) that replaces nothing.
Status rename_new(const std::filesystem::path& from, const std::filesystem::path& to) {
  const auto refuse = [&](int error) -> Status {
    return std::unexpected(errno_error(error, "rename", from.string() + " to " + to.string()));
  };
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return {};
  // Not every file system can do that, nor every kernel.
  const bool unsupported = errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM;
  if (!unsupported) return refuse(errno);
  if (::link(from.c_str(), to.c_str()) == 0) {
    static_cast<void>(::unlink(from.c_str()));
    return {};
  }
  if (errno == EEXIST) return refuse(errno);
  // Nor hard links: a last look has to do.
  struct stat status{};
  if (::lstat(to.c_str(), &status) == 0) return refuse(EEXIST);
  if (::rename(from.c_str(), to.c_str()) != 0) return refuse(errno);
  return {};
}

}  // namespace

Error errno_error(int error_number, std::string operation, std::string subject) {
  ErrorCode code = ErrorCode::io;
  switch (error_number) {
    case ENOENT: code = ErrorCode::not_found; break;
    case EEXIST: code = ErrorCode::already_exists; break;
    case EACCES:
    case EPERM:
    case EROFS: code = ErrorCode::permission_denied; break;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE: code = ErrorCode::resource_exhausted; break;
    default: break;
  }
  return {code, std::move(operation), std::move(subject), std::generic_category().message(error_number)};
}

Result<FileDescriptor> open_file(const std::filesystem::path& path, int flags, unsigned mode) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (descriptor < 0) return std::unexpected(errno_error(errno, "open", path.string()));
  return FileDescriptor(descriptor);
}

Result<std::uint64_t> file_size(int descriptor, const std::filesystem::path& path) {
  struct stat status{};
  if (::fstat(descriptor, &status) != 0) {
    return std::unexpected(errno_error(errno, "stat", path.string()));
  }
  return static_cast<std::uint64_t>(status.st_size);
}

Result<std::size_t> read_at(int descriptor, std::span<std::byte> destination, std::uint64_t offset,
                            const std::filesystem::path& path) {
  std::size_t done = 0;
  while (done < destination.size()) {
    const ssize_t count = ::pread(descriptor, destination.data() + done, destination.size() - done,
                                  static_cast<off_t>(offset + done));
    if (count < 0) {
      if (errno == EINTR) continue;
      return std::unexpected(errno_error(errno, "read", path.string()));
    }
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  return done;
}

Status write_at(int descriptor, ByteView bytes, std::uint64_t offset, const std::filesystem::path& path) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count =
        ::pwrite(descriptor, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (count < 0) {
      if (errno == EINTR) continue;
      return std::unexpected(errno_error(errno, "write", path.string()));
    }
    done += static_cast<std::size_t>(count);
  }
  return {};
}

Result<Bytes> read_file(const std::filesystem::path& path, std::uint64_t size_max) {
  const auto descriptor = open_file(path, O_RDONLY);
  if (!descriptor) return std::unexpected(descriptor.error());
  const auto size = file_size(descriptor->get(), path);
  if (!size) return std::unexpected(size.error());
  if (*size > size_max) {
    return failure(ErrorCode::too_large, "read", path.string(),
                   std::to_string(*size) + " bytes, the limit is " + std::to_string(size_max));
  }
  Bytes bytes(*size);
  const auto count = read_at(descriptor->get(), bytes, 0, path);
  if (!count) return std::unexpected(count.error());
  bytes.resize(*count);
  return bytes;
}

Status fsync_file(int descriptor, const std::filesystem::path& path) {
  if (::fsync(descriptor) != 0) return std::unexpected(errno_error(errno, "fsync", path.string()));
  return {};
}

Status fsync_directory(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory.empty() ? "." : directory;
  const auto descriptor = open_file(path, O_RDONLY | O_DIRECTORY);
  if (!descriptor) return std::unexpected(descriptor.error());
  return fsync_file(descriptor->get(), path);
}

Status rename_durably(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return std::unexpected(errno_error(errno, "rename", from.string() + " to " + to.string()));
  }
  return fsync_directory(to.parent_path());
}

AtomicFile::AtomicFile(std::filesystem::path target, std::filesystem::path temporary,
                       FileDescriptor descriptor)
    : target_(std::move(target)), temporary_(std::move(temporary)), descriptor_(std::move(descriptor)) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, {})),
      descriptor_(std::move(other.descriptor_)),
      appended_(other.appended_),
      behind_begin_(other.behind_begin_),
      behind_end_(other.behind_end_) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this != &other) {
    discard();
    target_ = std::move(other.target_);
    temporary_ = std::exchange(other.temporary_, {});
    descriptor_ = std::move(other.descriptor_);
    appended_ = other.appended_;
    behind_begin_ = other.behind_begin_;
    behind_end_ = other.behind_end_;
  }
  return *this;
}

AtomicFile::~AtomicFile() {
  discard();
}

void AtomicFile::discard() {
  descriptor_.reset();
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  temporary_.clear();
}

Result<AtomicFile> AtomicFile::create(std::filesystem::path target, unsigned mode) {
  std::filesystem::path temporary = target;
  temporary += ".tmp-" + random_hex(8);
  auto descriptor = open_file(temporary, O_RDWR | O_CREAT | O_EXCL, mode);
  if (!descriptor) return std::unexpected(descriptor.error());
  return AtomicFile(std::move(target), std::move(temporary), std::move(*descriptor));
}

Status AtomicFile::append(ByteView bytes) {
  const auto written = write_at(bytes, appended_);
  if (written) appended_ += bytes.size();
  return written;
}

Status AtomicFile::write_at(ByteView bytes, std::uint64_t offset) {
  if (auto written = base::write_at(descriptor_.get(), bytes, offset, temporary_); !written) return written;
  if (offset != behind_end_) behind_begin_ = offset;
  behind_end_ = offset + bytes.size();
  if (behind_end_ - behind_begin_ >= write_behind_size) {
    // Only starts it. That it worked is for fsync to tell.
    static_cast<void>(::sync_file_range(descriptor_.get(), static_cast<off64_t>(behind_begin_),
                                        static_cast<off64_t>(behind_end_ - behind_begin_),
                                        SYNC_FILE_RANGE_WRITE));
    behind_begin_ = behind_end_;
  }
  return {};
}

Status AtomicFile::commit() {
  if (auto synced = fsync_file(descriptor_.get(), temporary_); !synced) return synced;
  if (auto renamed = commit_unsynced(); !renamed) return renamed;
  return fsync_directory(target_.parent_path());
}

Status AtomicFile::commit_unsynced() {
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    return std::unexpected(errno_error(errno, "rename", temporary_.string() + " to " + target_.string()));
  }
  temporary_.clear();
  descriptor_.reset();
  return {};
}

Status AtomicFile::commit_new() {
  if (auto synced = fsync_file(descriptor_.get(), temporary_); !synced) return synced;
  if (auto renamed = rename_new(temporary_, target_); !renamed) return renamed;
  temporary_.clear();
  descriptor_.reset();
  return fsync_directory(target_.parent_path());
}

Status write_file_durably(const std::filesystem::path& path, ByteView bytes, unsigned mode) {
  auto file = AtomicFile::create(path, mode);
  if (!file) return std::unexpected(file.error());
  if (auto written = file->append(bytes); !written) return written;
  return file->commit();
}

Status write_file_unsynced(const std::filesystem::path& path, ByteView bytes) {
  auto file = AtomicFile::create(path);
  if (!file) return std::unexpected(file.error());
  if (auto written = file->append(bytes); !written) return written;
  return file->commit_unsynced();
}

Status remove_file(const std::filesystem::path& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return std::unexpected(errno_error(errno, "remove", path.string()));
}

}  // namespace litecluster::base
