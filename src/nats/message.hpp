// One message as received or as it is to be published.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"

namespace litecluster::nats {

struct Header {
  std::string name;
  std::string value;

  friend bool operator==(const Header&, const Header&) = default;
};
using Headers = std::vector<Header>;

/// A received message. Owns the bytes; views stay valid for its life, also after a move. Not thread-safe,
/// not even for reading: headers are parsed at the first look.
class Message {
 public:
  /// Takes over a `natsMsg*` of the client library, which nobody outside of this layer has.
  explicit Message(void* native);

  [[nodiscard]] std::string_view subject() const;
  [[nodiscard]] std::string_view reply() const;
  [[nodiscard]] base::ByteView data() const;
  [[nodiscard]] std::string_view text() const { return base::as_text(data()); }
  /// First value of the header; names are compared exactly. nullopt when there is none.
  [[nodiscard]] std::optional<std::string_view> header(const char* name) const;
  /// The header as an unsigned decimal number; nullopt when absent or anything else.
  [[nodiscard]] std::optional<std::uint64_t> header_number(const char* name) const;
  /// All headers, without the inline status; the order is not kept.
  [[nodiscard]] Headers headers() const;
  /// Inline status of a control message, such as 100, 404, 408, 503; 0 when it has none.
  [[nodiscard]] int status() const;
  /// Text that came with the status; may be empty.
  [[nodiscard]] std::string_view status_text() const;

 private:
  struct Deleter {
    void operator()(void* native) const;
  };
  std::unique_ptr<void, Deleter> native_;
};

}  // namespace litecluster::nats
