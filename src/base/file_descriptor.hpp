// Sole owner of a file descriptor.
#pragma once

#include <utility>

namespace litecluster::base {

/// Closes its descriptor when destroyed. Never hold a SQLite database file or its -wal in one beside a live
/// SQLite connection of the same process: closing any descriptor of a file drops all POSIX locks on it.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int descriptor) : descriptor_(descriptor) {}
  FileDescriptor(FileDescriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) reset(std::exchange(other.descriptor_, -1));
    return *this;
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() { reset(); }

  [[nodiscard]] int get() const { return descriptor_; }
  [[nodiscard]] explicit operator bool() const { return descriptor_ >= 0; }
  /// Gives the descriptor up without closing it.
  [[nodiscard]] int release() { return std::exchange(descriptor_, -1); }
  /// Closes what is held, then holds `descriptor`.
  void reset(int descriptor = -1);

 private:
  int descriptor_ = -1;
};

}  // namespace litecluster::base
