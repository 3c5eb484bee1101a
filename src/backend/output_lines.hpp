// Cuts a child's output into lines for our log.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace litecluster::backend {

/// Longer lines are cut into pieces of this size, so that a child without line ends cannot fill our memory.
inline constexpr std::size_t output_line_size_max = 8192;

/// Not thread-safe.
class OutputLines {
 public:
  template <typename Sink>
  void feed(std::string_view bytes, const Sink& sink) {
    while (!bytes.empty()) {
      const std::size_t end = bytes.find('\n');
      const std::size_t size = std::min(std::min(end, bytes.size()), output_line_size_max - pending_.size());
      pending_.append(bytes.substr(0, size));
      const bool complete = end != std::string_view::npos && size == end;
      if (complete || pending_.size() == output_line_size_max) flush(sink);
      bytes.remove_prefix(size + (complete ? 1 : 0));
    }
  }
  /// What is left without a line end.
  template <typename Sink>
  void flush(const Sink& sink) {
    if (!pending_.empty()) sink(std::string_view(pending_));
    pending_.clear();
  }

 private:
  std::string pending_;
};

}  // namespace litecluster::backend
