#include "ltx/page_order.hpp"

#include <fmt/format.h>

namespace litecluster::ltx {

PageNo PageOrder::expected() const {
  const PageNo next = last_.next();
  return next == lock_page_ ? next.next() : next;
}

std::optional<std::string> PageOrder::accept(PageNo number) {
  if (number.is_zero()) return "page number 0";
  if (number == lock_page_) return fmt::format("page {} is the lock page", number.value());
  if (number.value() > commit_) {
    return fmt::format("page {} is beyond the commit of {} pages", number.value(), commit_);
  }
  if (snapshot_ && number != expected()) {
    return fmt::format("nonsequential page numbers in a snapshot: {} after {}", number.value(),
                       last_.value());
  }
  if (number <= last_) {
    return fmt::format("page numbers out of order: {} after {}", number.value(), last_.value());
  }
  last_ = number;
  return std::nullopt;
}

std::optional<std::string> PageOrder::finish() const {
  if (!snapshot_ || last_.value() == commit_ || expected().value() > commit_) return std::nullopt;
  return fmt::format("the snapshot ends at page {} but its commit is {} pages", last_.value(), commit_);
}

}  // namespace litecluster::ltx
