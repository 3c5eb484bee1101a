#include "base/logging.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <memory>

namespace litecluster::base {

namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return spdlog::level::debug;
    case LogLevel::info: return spdlog::level::info;
    case LogLevel::warning: return spdlog::level::warn;
    case LogLevel::error: return spdlog::level::err;
    case LogLevel::off: return spdlog::level::off;
  }
  return spdlog::level::info;
}

struct State {
  std::shared_ptr<spdlog::logger> logger;
  bool json = false;
};

void apply_format(State& state, LogFormat format) {
  state.json = format == LogFormat::json || (format == LogFormat::automatic && ::isatty(STDERR_FILENO) == 0);
  // JSON lines carry time and level as fields of their own, so the payload opens after them.
  state.logger->set_pattern(
      state.json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})" : "%H:%M:%S.%e %-7l %v",
      state.json ? spdlog::pattern_time_type::utc : spdlog::pattern_time_type::local);
}

State& state() {
  static State instance = [] {
    State made;
    made.logger =
        std::make_shared<spdlog::logger>("litecluster", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made.logger->set_level(spdlog::level::info);
    made.logger->flush_on(spdlog::level::debug);
    apply_format(made, LogFormat::automatic);
    return made;
  }();
  return instance;
}

void append_json_text(std::string& line, std::string_view text) {
  line += '"';
  for (const char character : text) {
    const auto code = static_cast<unsigned char>(character);
    if (character == '"' || character == '\\') {
      line += '\\';
      line += character;
    } else if (code < 0x20) {
      line += fmt::format("\\u{:04x}", code);
    } else {
      line += character;
    }
  }
  line += '"';
}

std::string json_line(std::string_view event, std::initializer_list<LogField> fields) {
  std::string line = "\"event\":";
  append_json_text(line, event);
  for (const LogField& field : fields) {
    line += ',';
    append_json_text(line, field.key);
    line += ':';
    if (field.quoted) {
      append_json_text(line, field.value);
    } else {
      line += field.value;
    }
  }
  return line;
}

std::string text_line(std::string_view event, std::initializer_list<LogField> fields) {
  std::string line(event);
  for (const LogField& field : fields) {
    const bool bare = !field.value.empty() && field.value.find_first_of(" \"\n\t") == std::string::npos;
    line += ' ';
    line += field.key;
    line += '=';
    if (bare) {
      line += field.value;
    } else {
      append_json_text(line, field.value);
    }
  }
  return line;
}

}  // namespace

void configure_logging(LogLevel level, LogFormat format) {
  state().logger->set_level(to_spdlog(level));
  apply_format(state(), format);
}

bool log_enabled(LogLevel level) {
  return state().logger->should_log(to_spdlog(level));
}

void log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  if (!log_enabled(level)) return;
  const std::string line = state().json ? json_line(event, fields) : text_line(event, fields);
  state().logger->log(to_spdlog(level), "{}", line);
}

}  // namespace litecluster::base
