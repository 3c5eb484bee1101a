// What a benchmark prints, and the same as one JSON object a line for scripts and plots.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/error.hpp>

namespace litecluster::bench {

/// Ends the program, telling why. A benchmark that cannot measure has no figure.
[[noreturn]] void fail(const std::string& what);

template <typename Value>
Value need(Result<Value> result) {
  if (!result) fail(result.error().message());
  return std::move(*result);
}
inline void need(const Status& status) {
  if (!status) fail(status.error().message());
}

/// The value below which `share` (0 to 1) of them lie. 0 without values.
[[nodiscard]] double quantile(std::vector<double> values, double share);
[[nodiscard]] inline double median(std::vector<double> values) {
  return quantile(std::move(values), 0.5);
}

/// An aim of design: at most or at least so much.
struct Aim {
  double value = 0;
  bool at_least = false;
};

/// Prints lines to standard output and, when the environment names a file in LITECLUSTER_BENCH_RESULTS,
/// appends to that file. Not thread-safe.
class Report {
 public:
  /// `program` names the benchmark in the file.
  explicit Report(std::string program) : program_(std::move(program)) {}

  void heading(std::string_view text) const;
  /// One figure: what, how much, in which unit, and what it should be.
  void figure(std::string_view name, double value, std::string_view unit,
              std::optional<Aim> aim = std::nullopt) const;
  /// p50, p99 and the highest of latencies in milliseconds, and every hundredth quantile for plots. `p50` and
  /// `p99`: what they should be at most.
  void latencies(std::string_view name, const std::vector<double>& milliseconds,
                 std::optional<double> p50 = std::nullopt, std::optional<double> p99 = std::nullopt) const;
  /// Something that could not be measured, and why.
  void missing(std::string_view name, std::string_view reason) const;

 private:
  std::string program_;
};

}  // namespace litecluster::bench
