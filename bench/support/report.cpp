#include "support/report.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

namespace litecluster::bench {
namespace {

void append_line(const std::string& line) {
  const char* path = std::getenv("LITECLUSTER_BENCH_RESULTS");
  if (path == nullptr || *path == '\0') return;
  std::FILE* file = std::fopen(path, "a");
  if (file == nullptr) fail(fmt::format("cannot append to {}", path));
  std::fputs((line + "\n").c_str(), file);
  std::fclose(file);
}

// Names and units are written in this source: there is nothing to escape in them.
std::string quoted(std::string_view text) {
  std::string clean(text);
  std::ranges::replace_if(clean, [](char c) { return c == '"' || c == '\\' || c < ' '; }, '\'');
  return '"' + clean + '"';
}

bool is_met(const Aim& aim, double value) {
  return aim.at_least ? value >= aim.value : value <= aim.value;
}

}  // namespace

void fail(const std::string& what) {
  std::fflush(stdout);
  std::fputs((what + "\n").c_str(), stderr);
  std::exit(1);
}

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const auto index =
      std::min(values.size() - 1, static_cast<std::size_t>(share * static_cast<double>(values.size())));
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(index));
  return values[index];
}

void Report::heading(std::string_view text) const {
  fmt::print("\n{}\n", text);
  std::fflush(stdout);
}

void Report::figure(std::string_view name, double value, std::string_view unit,
                    std::optional<Aim> aim) const {
  std::string judged;
  std::string fields;
  if (aim) {
    judged = fmt::format("   (aim {} {:g}{})", aim->at_least ? "at least" : "at most", aim->value,
                         is_met(*aim, value) ? "" : ": MISSED");
    fields =
        fmt::format(",\"aim\":{},\"at_least\":{},\"met\":{}", aim->value, aim->at_least, is_met(*aim, value));
  }
  fmt::print("  {:<66} {:>10.4g} {}{}\n", name, value, unit, judged);
  std::fflush(stdout);
  append_line(fmt::format("{{\"program\":{},\"name\":{},\"value\":{:.6g},\"unit\":{}{}}}", quoted(program_),
                          quoted(name), value, quoted(unit), fields));
}

void Report::latencies(std::string_view name, const std::vector<double>& milliseconds,
                       std::optional<double> p50, std::optional<double> p99) const {
  const auto aim = [](std::optional<double> most) {
    return most ? std::optional(Aim{*most, false}) : std::nullopt;
  };
  figure(fmt::format("{}: p50", name), quantile(milliseconds, 0.5), "ms", aim(p50));
  figure(fmt::format("{}: p99", name), quantile(milliseconds, 0.99), "ms", aim(p99));
  figure(fmt::format("{}: highest of {}", name, milliseconds.size()), quantile(milliseconds, 1), "ms");
  std::string points;
  std::vector<double> sorted = milliseconds;
  std::ranges::sort(sorted);
  for (std::size_t hundredth = 0; hundredth <= 100 && !sorted.empty(); ++hundredth) {
    const std::size_t index = std::min(sorted.size() - 1, hundredth * sorted.size() / 100);
    points += fmt::format("{}{:.6g}", hundredth == 0 ? "" : ",", sorted[index]);
  }
  append_line(fmt::format("{{\"program\":{},\"series\":{},\"unit\":\"ms\",\"quantiles\":[{}]}}",
                          quoted(program_), quoted(name), points));
}

void Report::missing(std::string_view name, std::string_view reason) const {
  fmt::print("  {:<66} not measured: {}\n", name, reason);
  std::fflush(stdout);
  append_line(fmt::format("{{\"program\":{},\"name\":{},\"missing\":{}}}", quoted(program_), quoted(name),
                          quoted(reason)));
}

}  // namespace litecluster::bench
