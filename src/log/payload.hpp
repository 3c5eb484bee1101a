// The bytes of one LTX file on their way into the log: in memory, or, when there are many, in a file without
// a name that is read piece by piece as often as it takes. A database of any size is thus shipped in bounded
// memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "base/file_descriptor.hpp"
#include "base/sha256.hpp"
#include "log/byte_pipe.hpp"
#include "log/object_bucket.hpp"

namespace litecluster::log {

/// A file without a name in `directory`, which is created when missing: gone when closed, whatever happens.
/// Empty: in the temporary directory of the process. Never not_found, which is for objects.
[[nodiscard]] Result<base::FileDescriptor> open_spool_file(const std::filesystem::path& directory);

/// Cheap to copy: copies share the bytes. Reading is thread-safe.
class Payload {
 public:
  Payload() = default;
  Payload(base::Bytes bytes)  // NOLINT(google-explicit-constructor)
      : bytes_(std::make_shared<const base::Bytes>(std::move(bytes))), memory_(*bytes_) {}
  /// What `producer` writes, into a spool file.
  [[nodiscard]] static Result<Payload> spooled(const std::filesystem::path& directory,
                                               const ByteProducer& producer);
  /// A file that was written already.
  [[nodiscard]] static Payload of_file(base::FileDescriptor file, std::uint64_t size,
                                       std::filesystem::path name);

  [[nodiscard]] bool in_memory() const { return file_ == nullptr; }
  /// The bytes; empty when they are in a file.
  [[nodiscard]] base::ByteView memory() const { return memory_; }
  [[nodiscard]] std::uint64_t size() const { return file_ == nullptr ? memory_.size() : file_->size; }

  /// Fills `destination` from `offset`; fewer bytes only at the end.
  [[nodiscard]] Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> destination) const;
  [[nodiscard]] Result<base::Sha256Digest> digest() const;
  /// The file checksum in the trailer of the LTX file, unverified. invalid_argument: too short for one.
  [[nodiscard]] Result<Checksum> file_checksum() const;
  /// bucket.put() of it.
  [[nodiscard]] Result<Object> put(const Context& context, ObjectBucket& bucket,
                                   const NewObject& object) const;

 private:
  struct File {
    base::FileDescriptor descriptor;
    std::uint64_t size = 0;
    std::filesystem::path name;
  };

  std::shared_ptr<const base::Bytes> bytes_;
  base::ByteView memory_;
  std::shared_ptr<const File> file_;
};

}  // namespace litecluster::log
