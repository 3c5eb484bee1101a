// Errors are values. Every fallible call of the public API returns Result<T> or Status; nothing throws.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace litecluster {

/// What kind of failure an Error is. Callers branch on this; people read Error::message().
enum class ErrorCode {
  cancelled,            ///< the Context was cancelled
  deadline_exceeded,    ///< the Context's deadline passed before an answer came
  invalid_argument,     ///< the caller's input can never work
  not_found,            ///< no such key, object, bucket, file or process
  already_exists,       ///< a create-only operation found its name taken
  conflict,             ///< a compare-and-swap saw another revision than expected
  deposed,              ///< a newer epoch owns the log; this writer must stop
  not_leader,           ///< the operation needs leadership, which this node does not hold
  corrupt,              ///< bytes failed verification (checksum, digest, format)
  gap,                  ///< history is not contiguous where it has to be
  unsupported,          ///< valid, but outside of what this build or this database can do
  permission_denied,    ///< credentials or file permissions
  unavailable,          ///< a server or quorum cannot be reached now; trying again may help
  resource_exhausted,   ///< disk full, bucket full, queue at its limit
  too_large,            ///< a value above a stated limit
  busy,                 ///< a lock is held by somebody else
  failed_precondition,  ///< the state of the system does not allow it now
  io,                   ///< the operating system refused a read, write or rename
  internal,             ///< a broken invariant of ours
};

/// Stable lower-case name of a code, as printed in logs and `--json`.
std::string_view to_string(ErrorCode code);

/// One failure: a code, what was tried, on what, and why it failed. A value type; cheap to move.
class Error {
 public:
  Error(ErrorCode code, std::string operation, std::string subject, std::string reason)
      : code_(code),
        operation_(std::move(operation)),
        subject_(std::move(subject)),
        reason_(std::move(reason)) {}

  [[nodiscard]] ErrorCode code() const { return code_; }
  /// What was tried, as a verb phrase: "append L0 object".
  [[nodiscard]] const std::string& operation() const { return operation_; }
  /// On what: a path, key, bucket, URL. May be empty.
  [[nodiscard]] const std::string& subject() const { return subject_; }
  /// Why it failed and, where one is known, what to do about it.
  [[nodiscard]] const std::string& reason() const { return reason_; }
  /// "operation subject: reason", for people.
  [[nodiscard]] std::string message() const;

  /// The same failure seen from one level up: keeps the code, and the old message becomes the reason.
  [[nodiscard]] Error within(std::string operation, std::string subject = {}) const;

  friend bool operator==(const Error&, const Error&) = default;

 private:
  ErrorCode code_;
  std::string operation_;
  std::string subject_;
  std::string reason_;
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = std::expected<void, Error>;

/// Shorthand for `std::unexpected(Error(...))`.
[[nodiscard]] inline std::unexpected<Error> failure(ErrorCode code, std::string operation,
                                                    std::string subject, std::string reason) {
  return std::unexpected<Error>(std::in_place, code, std::move(operation), std::move(subject),
                                std::move(reason));
}

}  // namespace litecluster
