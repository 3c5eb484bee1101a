// Structured logging: an event in plain words and fields of key and value. Text on a terminal, one JSON
// object a line otherwise, always to standard error, so that what a command prints for scripts stays clean.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include <fmt/format.h>

namespace litecluster::base {

enum class LogLevel { debug, info, warning, error, off };
enum class LogFormat { automatic, text, json };

/// One key with its value as text; numbers and booleans are printed bare in JSON.
struct LogField {
  std::string_view key;
  std::string value;
  bool quoted = true;

  template <typename Value>
  LogField(std::string_view name, const Value& what)
      : key(name), value(fmt::format("{}", what)), quoted(!std::is_arithmetic_v<Value>) {}
};

/// Sets level and format for the process. Call it before other threads log.
void configure_logging(LogLevel level, LogFormat format);
[[nodiscard]] bool log_enabled(LogLevel level);

/// Writes one line. Thread-safe; a line is never torn.
void log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});

inline void log_debug(std::string_view event, std::initializer_list<LogField> fields = {}) {
  log(LogLevel::debug, event, fields);
}
inline void log_info(std::string_view event, std::initializer_list<LogField> fields = {}) {
  log(LogLevel::info, event, fields);
}
inline void log_warning(std::string_view event, std::initializer_list<LogField> fields = {}) {
  log(LogLevel::warning, event, fields);
}
inline void log_error(std::string_view event, std::initializer_list<LogField> fields = {}) {
  log(LogLevel::error, event, fields);
}

}  // namespace litecluster::base
