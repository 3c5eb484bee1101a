// Where LTX bytes come from and go to. The codec itself does no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include <litecluster/error.hpp>

#include "base/bytes.hpp"
#include "base/file.hpp"

namespace litecluster::ltx {

/// Takes bytes in order. A writer that fails half-way has written a useless beginning: publish what went into
/// a sink only after the writer reported success. Not thread-safe.
class Sink {
 public:
  virtual ~Sink() = default;
  /// Takes all of `bytes` or fails. An Error of it is handed through to the caller of the writer.
  [[nodiscard]] virtual Status write(base::ByteView bytes) = 0;
};

/// Appends to a buffer of the caller's, which outlives it.
class BytesSink final : public Sink {
 public:
  explicit BytesSink(base::Bytes& destination) : destination_(destination) {}
  [[nodiscard]] Status write(base::ByteView bytes) override;

 private:
  base::Bytes& destination_;
};

/// Collects writes in a buffer of 256 KiB and appends them to a file that the caller commits or abandons.
class FileSink final : public Sink {
 public:
  explicit FileSink(base::AtomicFile& file) : file_(file) {}
  [[nodiscard]] Status write(base::ByteView bytes) override;
  /// Hands what is still in the buffer to the file. Call it before AtomicFile::commit().
  [[nodiscard]] Status flush();

 private:
  base::AtomicFile& file_;
  base::Bytes buffer_;
};

/// Bytes read in order through a window, so that what lies in memory is never copied. Not thread-safe.
class Source {
 public:
  virtual ~Source() = default;
  /// At least `count` of the bytes not yet skipped; fewer only when the source ends before. The view is valid
  /// until the next call of peek() or skip(). No caller of ours asks for more than 128 KiB.
  [[nodiscard]] virtual Result<base::ByteView> peek(std::size_t count) = 0;
  /// Moves past `count` bytes, at most as many as the last peek() returned.
  virtual void skip(std::size_t count) = 0;
  /// Names the source in errors: a path, an object's key.
  [[nodiscard]] virtual std::string_view name() const = 0;
};

/// Over bytes of the caller's, which outlive it.
class MemorySource final : public Source {
 public:
  MemorySource(base::ByteView bytes, std::string name) : rest_(bytes), name_(std::move(name)) {}
  [[nodiscard]] Result<base::ByteView> peek(std::size_t count) override;
  void skip(std::size_t count) override { rest_ = rest_.subspan(count); }
  [[nodiscard]] std::string_view name() const override { return name_; }

 private:
  base::ByteView rest_;
  std::string name_;
};

/// Base for sources that have a read call: keeps the window, grows it to what is asked for and no further.
class BufferedSource : public Source {
 public:
  [[nodiscard]] Result<base::ByteView> peek(std::size_t count) final;
  void skip(std::size_t count) final;

 protected:
  /// Reads 1 to destination.size() bytes; 0 only at the end.
  [[nodiscard]] virtual Result<std::size_t> read(std::span<std::byte> destination) = 0;

 private:
  base::Bytes buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool ended_ = false;
};

/// Reads a file from start to end.
class FileSource final : public BufferedSource {
 public:
  [[nodiscard]] static Result<FileSource> open(const std::filesystem::path& path);
  [[nodiscard]] std::string_view name() const override { return name_; }

 protected:
  [[nodiscard]] Result<std::size_t> read(std::span<std::byte> destination) override;

 private:
  FileSource(std::string name, base::FileDescriptor descriptor)
      : name_(std::move(name)), descriptor_(std::move(descriptor)) {}
  std::string name_;
  base::FileDescriptor descriptor_;
  std::uint64_t offset_ = 0;
};

/// Bytes that can be read at any offset: a file, an object with range reads. Not thread-safe.
class RandomAccess {
 public:
  virtual ~RandomAccess() = default;
  /// Fills `destination` from `offset`; fewer bytes only when the end is reached.
  [[nodiscard]] virtual Result<std::size_t> read_at(std::span<std::byte> destination,
                                                    std::uint64_t offset) = 0;
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  [[nodiscard]] virtual std::string_view name() const = 0;
};

class MemoryRandomAccess final : public RandomAccess {
 public:
  MemoryRandomAccess(base::ByteView bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {}
  [[nodiscard]] Result<std::size_t> read_at(std::span<std::byte> destination, std::uint64_t offset) override;
  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }
  [[nodiscard]] std::string_view name() const override { return name_; }

 private:
  base::ByteView bytes_;
  std::string name_;
};

class FileRandomAccess final : public RandomAccess {
 public:
  [[nodiscard]] static Result<FileRandomAccess> open(const std::filesystem::path& path);
  [[nodiscard]] Result<std::size_t> read_at(std::span<std::byte> destination, std::uint64_t offset) override;
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] std::string_view name() const override { return name_; }

 private:
  FileRandomAccess(std::string name, base::FileDescriptor descriptor, std::uint64_t size)
      : name_(std::move(name)), descriptor_(std::move(descriptor)), size_(size) {}
  std::string name_;
  base::FileDescriptor descriptor_;
  std::uint64_t size_;
};

}  // namespace litecluster::ltx
