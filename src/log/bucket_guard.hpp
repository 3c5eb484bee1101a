// Notices that a bucket is not the one that it was.
//
// JetStream can lose a stream, or a part of its end, when disks or majorities fail. A leader that went on
// writing into an empty bucket of the same name would bury the loss. So a node remembers, across restarts,
// when the stream was created and the highest sequence seen; a bucket that is missing, newer or shorter is an
// alarm that only the operator can clear. Sequences never go back by deleting or purging, only by loss.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <litecluster/error.hpp>

namespace litecluster::log {

/// What identifies a bucket's state.
struct BucketState {
  /// When the server created the stream: nanoseconds since 1970 UTC.
  std::int64_t created_ns = 0;
  /// The stream's last sequence.
  std::uint64_t last_sequence = 0;

  friend bool operator==(const BucketState&, const BucketState&) = default;
};

/// One line of text, for the caller's state file.
[[nodiscard]] std::string to_string(const BucketState& state);
[[nodiscard]] std::optional<BucketState> parse_bucket_state(std::string_view text);

enum class BucketVerdict {
  fine,
  absent,     ///< never seen and not there: it may be created
  vanished,   ///< alarm: seen before, not there now
  recreated,  ///< alarm: another stream stands under the name
  went_back,  ///< alarm: messages at the end are lost
};

/// Pure; not thread-safe. An alarm stays until accept().
class BucketGuard {
 public:
  /// `remembered`: what the caller stored; nothing when this node never saw the bucket.
  explicit BucketGuard(std::optional<BucketState> remembered) : remembered_(remembered) {}

  /// Compares; when fine, remembers the new state.
  BucketVerdict observe(std::optional<BucketState> now);
  /// A sequence of this bucket was seen (an acknowledgement, a message).
  void advance(std::uint64_t sequence);
  /// On the operator's word: what is there now is the bucket from here on.
  void accept(BucketState now);

  /// To be stored by the caller.
  [[nodiscard]] const std::optional<BucketState>& remembered() const { return remembered_; }
  /// Nothing wrong, or failed_precondition with the reason and what to do. `bucket` is for the message.
  [[nodiscard]] Status status(std::string_view bucket) const;

 private:
  std::optional<BucketState> remembered_;
  BucketVerdict verdict_ = BucketVerdict::fine;
};

}  // namespace litecluster::log
