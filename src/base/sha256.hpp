// SHA-256 by OpenSSL, fed piece by piece.
#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include "base/bytes.hpp"

namespace litecluster::base {

using Sha256Digest = std::array<std::byte, 32>;

/// Not thread-safe. Running out of memory for the context aborts, as for any allocation.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();

  void update(ByteView bytes);
  /// The digest of all that was fed in; afterwards the object starts anew.
  [[nodiscard]] Sha256Digest finish();

 private:
  struct Deleter {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Deleter> context_;
};

[[nodiscard]] Sha256Digest sha256(ByteView bytes);

}  // namespace litecluster::base
