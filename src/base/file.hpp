// Files: whole reads and writes, and the one way in which this project replaces a file:
// write a temporary file beside it, fsync, rename over the target, fsync the directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include <litecluster/error.hpp>

#include "base/bytes.hpp"
#include "base/file_descriptor.hpp"

namespace litecluster::base {

/// An Error from errno: ENOENT is not_found, EACCES/EPERM/EROFS permission_denied, ENOSPC/EDQUOT/EMFILE
/// resource_exhausted, EEXIST already_exists, all else io.
[[nodiscard]] Error errno_error(int error_number, std::string operation, std::string subject);

/// open(2) with O_CLOEXEC added.
[[nodiscard]] Result<FileDescriptor> open_file(const std::filesystem::path& path, int flags,
                                               unsigned mode = 0644);

/// Size in bytes of an open file.
[[nodiscard]] Result<std::uint64_t> file_size(int descriptor, const std::filesystem::path& path);

/// Reads until `destination` is full or the file ends; returns the number of bytes read.
[[nodiscard]] Result<std::size_t> read_at(int descriptor, std::span<std::byte> destination,
                                          std::uint64_t offset, const std::filesystem::path& path);

/// Writes all of `bytes` at `offset`.
[[nodiscard]] Status write_at(int descriptor, ByteView bytes, std::uint64_t offset,
                              const std::filesystem::path& path);

/// The whole file; too_large when it has more than `size_max` bytes.
[[nodiscard]] Result<Bytes> read_file(const std::filesystem::path& path, std::uint64_t size_max);

[[nodiscard]] Status fsync_file(int descriptor, const std::filesystem::path& path);
/// Makes names created, renamed or removed in `directory` durable.
[[nodiscard]] Status fsync_directory(const std::filesystem::path& directory);
/// rename(2), then fsync of the target's directory.
[[nodiscard]] Status rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

/// A file that appears under its name whole or not at all. Write through it, then commit(); without a
/// commit the destructor removes the temporary file and the target is never touched. Not thread-safe.
class AtomicFile {
 public:
  /// Creates `<target>.tmp-<random>` in the target's directory.
  [[nodiscard]] static Result<AtomicFile> create(std::filesystem::path target, unsigned mode = 0644);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  [[nodiscard]] int descriptor() const { return descriptor_.get(); }
  [[nodiscard]] const std::filesystem::path& temporary_path() const { return temporary_; }

  /// Appends at the end of what append() wrote so far.
  [[nodiscard]] Status append(ByteView bytes);
  /// Of what is written on and on, the system starts to write to the disk early: commit() waits for the rest.
  [[nodiscard]] Status write_at(ByteView bytes, std::uint64_t offset);

  /// fsync, rename over the target, fsync the directory. Afterwards the object is empty.
  [[nodiscard]] Status commit();
  /// As commit(), without any fsync. A process that is killed leaves the old content or the new; a power
  /// failure may also leave a torn file or none. For content that proves itself, by a checksum for example.
  [[nodiscard]] Status commit_unsynced();
  /// As commit(), but never over what is at the target: already_exists then, and nothing has changed.
  [[nodiscard]] Status commit_new();

 private:
  AtomicFile(std::filesystem::path target, std::filesystem::path temporary, FileDescriptor descriptor);
  void discard();

  std::filesystem::path target_;
  std::filesystem::path temporary_;
  FileDescriptor descriptor_;
  std::uint64_t appended_ = 0;
  // What was written without a gap and not yet given to the disk.
  std::uint64_t behind_begin_ = 0;
  std::uint64_t behind_end_ = 0;
};

/// AtomicFile with these bytes and nothing else.
[[nodiscard]] Status write_file_durably(const std::filesystem::path& path, ByteView bytes,
                                        unsigned mode = 0644);
/// The same with AtomicFile::commit_unsynced().
[[nodiscard]] Status write_file_unsynced(const std::filesystem::path& path, ByteView bytes);

/// unlink(2). That there is none is no error.
[[nodiscard]] Status remove_file(const std::filesystem::path& path);

}  // namespace litecluster::base
