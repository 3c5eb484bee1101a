// Tells what is wrong for as long as it is: at once when it begins or changes, every half minute while it
// lasts, and when it is over. For commands that have no health endpoint.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include <litecluster/error.hpp>

#include "base/clock.hpp"
#include "base/logging.hpp"

namespace litecluster::cli {

/// Not thread-safe.
class ProblemLog {
 public:
  explicit ProblemLog(std::string activity) : activity_(std::move(activity)) {}

  void observe(const std::optional<Error>& problem, base::BootTime now = base::system_clock().boot_time()) {
    if (!problem) {
      if (code_) base::log_info(activity_ + " goes on as it should");
      code_.reset();
      return;
    }
    if (code_ == problem->code() && now - told_ < repeat_after) return;
    if (code_ != problem->code()) since_ = now;
    code_ = problem->code();
    told_ = now;
    base::log_warning(activity_ + " has a problem",
                      {{"reason", problem->message()},
                       {"seconds", std::chrono::duration_cast<std::chrono::seconds>(now - since_).count()}});
  }

 private:
  static constexpr base::Duration repeat_after = std::chrono::seconds(30);

  std::string activity_;
  std::optional<ErrorCode> code_;
  base::BootTime since_{};
  base::BootTime told_{};
};

}  // namespace litecluster::cli
