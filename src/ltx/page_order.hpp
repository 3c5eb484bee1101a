// Which pages may follow each other in an LTX file: the same rule for who writes and who reads.
#pragma once

#include <optional>
#include <string>

#include <litecluster/types.hpp>

#include "ltx/header.hpp"

namespace litecluster::ltx {

/// Page numbers ascend, do not exceed the commit and leave out the lock page. A snapshot has all the others.
class PageOrder {
 public:
  PageOrder() = default;
  explicit PageOrder(const Header& header)
      : commit_(header.commit), lock_page_(lock_page(header.page_size)), snapshot_(header.is_snapshot()) {}

  /// Takes the next page, or says what is wrong with it.
  [[nodiscard]] std::optional<std::string> accept(PageNo number);
  /// What is missing when no page follows any more, if anything.
  [[nodiscard]] std::optional<std::string> finish() const;

 private:
  /// The page that a snapshot continues with after the last one.
  [[nodiscard]] PageNo expected() const;

  std::uint32_t commit_ = 0;
  PageNo lock_page_;
  PageNo last_;
  bool snapshot_ = false;
};

}  // namespace litecluster::ltx
