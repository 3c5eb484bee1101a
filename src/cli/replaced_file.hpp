// A file that a command may replace, which may be a database that somebody uses.
#pragma once

#include <filesystem>
#include <optional>
#include <utility>

#include <litecluster/error.hpp>

#include "db/replacement_lock.hpp"

namespace litecluster::cli {

class ReplacedFile {
 public:
  /// `allowed`: whether a file that exists may be replaced at all; otherwise it is left to others to refuse.
  ReplacedFile(std::filesystem::path path, bool allowed) : path_(std::move(path)), allowed_(allowed) {}

  /// Before the work begins, so that it is not done for nothing. Error: busy.
  [[nodiscard]] Status require_unused() const {
    if (!allowed_) return {};
    const auto taken = db::ReplacementLock::take(path_);
    return taken ? Status() : std::unexpected(taken.error());
  }
  /// Right before the rename, and until this object is destroyed. Error: busy.
  [[nodiscard]] Status lock() {
    if (!allowed_) return {};
    auto taken = db::ReplacementLock::take(path_);
    if (!taken) return std::unexpected(taken.error());
    lock_.emplace(std::move(*taken));
    return {};
  }

 private:
  std::filesystem::path path_;
  bool allowed_;
  std::optional<db::ReplacementLock> lock_;
};

}  // namespace litecluster::cli
