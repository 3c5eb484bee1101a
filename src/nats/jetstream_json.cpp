#include "nats/jetstream_json.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "base/base64.hpp"
#include "nats/json_fields.hpp"
#include "nats/nats_error.hpp"

namespace litecluster::nats {
namespace {

std::int32_t narrow(std::int64_t value) {
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(value, INT32_MIN, INT32_MAX));
}

StreamConfig parse_config(const Json& json) {
  StreamConfig config;
  config.name = text_of(json, "name");
  config.description = text_of(json, "description");
  if (const Json& subjects = member(json, "subjects"); subjects.is_array()) {
    for (const Json& subject : subjects) {
      if (subject.is_string()) config.subjects.push_back(subject.get<std::string>());
    }
  }
  config.retention = text_of(json, "retention", "limits");
  config.storage = text_of(json, "storage", "file");
  config.discard = text_of(json, "discard", "old");
  config.max_bytes = number_of(json, "max_bytes", -1);
  config.max_messages = number_of(json, "max_msgs", -1);
  config.max_messages_per_subject = number_of(json, "max_msgs_per_subject", -1);
  config.max_message_size = narrow(number_of(json, "max_msg_size", -1));
  config.max_age = std::chrono::nanoseconds(number_of(json, "max_age", 0));
  config.duplicate_window = std::chrono::nanoseconds(number_of(json, "duplicate_window", 0));
  config.replicas = narrow(number_of(json, "num_replicas", 1));
  config.allow_rollup = flag_of(json, "allow_rollup_hdrs");
  config.allow_direct = flag_of(json, "allow_direct");
  config.deny_delete = flag_of(json, "deny_delete");
  config.deny_purge = flag_of(json, "deny_purge");
  config.sealed = flag_of(json, "sealed");
  return config;
}

Json config_json(const StreamConfig& config) {
  Json json = {
      {"name", config.name},
      {"subjects", config.subjects},
      {"retention", config.retention},
      {"storage", config.storage},
      {"discard", config.discard},
      {"max_bytes", config.max_bytes},
      {"max_msgs", config.max_messages},
      {"max_msgs_per_subject", config.max_messages_per_subject},
      {"max_msg_size", config.max_message_size},
      {"max_age", config.max_age.count()},
      {"duplicate_window", config.duplicate_window.count()},
      {"max_consumers", -1},
      {"num_replicas", config.replicas},
      {"allow_rollup_hdrs", config.allow_rollup},
      {"allow_direct", config.allow_direct},
      {"deny_delete", config.deny_delete},
      {"deny_purge", config.deny_purge},
      {"sealed", config.sealed},
  };
  if (!config.description.empty()) json["description"] = config.description;
  return json;
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The API uses the standard alphabet of base64, ours is the one for URLs.
std::optional<base::Bytes> parse_base64(std::string text) {
  std::ranges::replace(text, '+', '-');
  std::ranges::replace(text, '/', '_');
  return base::parse_base64url(text);
}

template <typename Number>
bool take_number(std::string_view& text, std::size_t digits, Number& number) {
  if (text.size() < digits) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + digits, number);
  if (error != std::errc() || end != text.data() + digits) return false;
  text.remove_prefix(digits);
  return true;
}

bool take(std::string_view& text, char expected) {
  if (text.empty() || text.front() != expected) return false;
  text.remove_prefix(1);
  return true;
}

// Digits after the point, as nanoseconds; those beyond the ninth are dropped.
std::optional<std::chrono::nanoseconds> take_fraction(std::string_view& text) {
  if (!take(text, '.')) return std::chrono::nanoseconds(0);
  std::int64_t nanoseconds = 0;
  std::size_t digits = 0;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    if (digits < 9) nanoseconds = nanoseconds * 10 + (text.front() - '0');
    ++digits;
    text.remove_prefix(1);
  }
  if (digits == 0) return std::nullopt;
  for (; digits < 9; ++digits) nanoseconds *= 10;
  return std::chrono::nanoseconds(nanoseconds);
}

std::optional<std::chrono::minutes> take_offset(std::string_view& text) {
  if (take(text, 'Z')) return std::chrono::minutes(0);
  if (text.empty() || (text.front() != '+' && text.front() != '-')) return std::nullopt;
  const int sign = text.front() == '-' ? -1 : 1;
  text.remove_prefix(1);
  unsigned hours = 0;
  unsigned minutes = 0;
  if (!take_number(text, 2, hours) || !take(text, ':') || !take_number(text, 2, minutes)) return std::nullopt;
  return std::chrono::minutes(sign * static_cast<int>(hours * 60 + minutes));
}

std::optional<Error> error_in(const std::optional<Json>& answer, std::string_view operation,
                              std::string_view subject) {
  if (!answer) {
    return Error(ErrorCode::corrupt, std::string(operation), std::string(subject),
                 "the server's answer is not JSON");
  }
  const Json& error = member(*answer, "error");
  if (!error.is_object()) return std::nullopt;
  return jetstream_error(narrow(number_of(error, "code", 500)), narrow(number_of(error, "err_code", 0)),
                         text_of(error, "description"), std::string(operation), std::string(subject));
}

}  // namespace

std::optional<ServerTime> parse_time(std::string_view text) {
  unsigned year = 0;
  unsigned month = 0;
  unsigned day = 0;
  unsigned hour = 0;
  unsigned minute = 0;
  unsigned second = 0;
  const bool fields = take_number(text, 4, year) && take(text, '-') && take_number(text, 2, month) &&
                      take(text, '-') && take_number(text, 2, day) && take(text, 'T') &&
                      take_number(text, 2, hour) && take(text, ':') && take_number(text, 2, minute) &&
                      take(text, ':') && take_number(text, 2, second);
  if (!fields || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  const auto fraction = take_fraction(text);
  if (!fraction) return std::nullopt;
  const auto offset = take_offset(text);
  if (!offset || !text.empty()) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(static_cast<int>(year)), std::chrono::month(month),
                                         std::chrono::day(day));
  if (!date.ok()) return std::nullopt;
  // Nanoseconds in 64 bits reach from 1678 to 2261; Go's zero time lies outside and means "none".
  if (year < 1678 || year > 2261) return ServerTime{};
  return ServerTime(std::chrono::sys_days(date)) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         std::chrono::seconds(second) + *fraction - *offset;
}

std::string format_time(ServerTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  const auto nanoseconds = (time - seconds).count();
  const auto days = std::chrono::floor<std::chrono::days>(seconds);
  const std::chrono::year_month_day date(days);
  const std::chrono::hh_mm_ss clock(seconds - days);
  std::string text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                                 static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                                 clock.hours().count(), clock.minutes().count(), clock.seconds().count());
  if (nanoseconds != 0) {
    std::string fraction = fmt::format(".{:09}", nanoseconds);
    fraction.resize(fraction.find_last_not_of('0') + 1);
    text += fraction;
  }
  return text + "Z";
}

Headers parse_header_block(std::string_view block) {
  Headers headers;
  const std::size_t first = block.find("\r\n");
  if (!block.starts_with("NATS/1.0") || first == std::string_view::npos) return headers;
  block.remove_prefix(first + 2);
  while (!block.empty()) {
    const std::size_t end = std::min(block.find("\r\n"), block.size());
    const std::string_view line = block.substr(0, end);
    block.remove_prefix(std::min(block.size(), end + 2));
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) continue;
    std::string_view value = line.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    headers.push_back({std::string(line.substr(0, colon)), std::string(value)});
  }
  return headers;
}

std::optional<Error> find_api_error(std::string_view json, std::string_view operation,
                                    std::string_view subject) {
  return error_in(parse_object(json), operation, subject);
}

Result<PublishAck> parse_publish_answer(std::string_view json, std::string_view operation,
                                        std::string_view subject) {
  const auto answer = parse_object(json);
  if (auto error = error_in(answer, operation, subject)) return std::unexpected(std::move(*error));
  if (!member(*answer, "stream").is_string()) {
    return failure(ErrorCode::corrupt, std::string(operation), std::string(subject),
                   "the server's answer is not an acknowledgement");
  }
  return PublishAck{text_of(*answer, "stream"), count_of(*answer, "seq"), flag_of(*answer, "duplicate")};
}

std::optional<StreamInfo> parse_stream_info(std::string_view json) {
  const auto answer = parse_object(json);
  if (!answer || !member(*answer, "config").is_object() || !member(*answer, "state").is_object()) {
    return std::nullopt;
  }
  StreamInfo info;
  info.config = parse_config(member(*answer, "config"));
  info.created = parse_time(text_of(*answer, "created")).value_or(ServerTime{});
  const Json& state = member(*answer, "state");
  info.messages = count_of(state, "messages");
  info.bytes = count_of(state, "bytes");
  info.first_sequence = count_of(state, "first_seq");
  info.last_sequence = count_of(state, "last_seq");
  info.consumers = count_of(state, "consumer_count");
  if (const Json& cluster = member(*answer, "cluster"); cluster.is_object()) {
    info.leader = text_of(cluster, "leader");
    info.cluster = text_of(cluster, "name");
  }
  return info;
}

std::optional<SubjectPage> parse_subject_page(std::string_view json) {
  const auto answer = parse_object(json);
  if (!answer) return std::nullopt;
  SubjectPage page;
  page.total = count_of(*answer, "total");
  const Json& subjects =
      member(member(*answer, "state").is_object() ? member(*answer, "state") : *answer, "subjects");
  if (!subjects.is_object()) return page;
  for (const auto& [subject, count] : subjects.items()) {
    if (count.is_number_unsigned()) page.subjects.emplace_back(subject, count.get<std::uint64_t>());
  }
  return page;
}

std::optional<AccountInfo> parse_account_info(std::string_view json) {
  const auto answer = parse_object(json);
  if (!answer) return std::nullopt;
  return AccountInfo{count_of(*answer, "memory"), count_of(*answer, "storage"), count_of(*answer, "streams"),
                     count_of(*answer, "consumers"), text_of(*answer, "domain")};
}

std::optional<std::uint64_t> parse_purged(std::string_view json) {
  const auto answer = parse_object(json);
  if (!answer || !flag_of(*answer, "success")) return std::nullopt;
  return count_of(*answer, "purged");
}

std::optional<StoredMessage> parse_stored_message(std::string_view json) {
  const auto answer = parse_object(json);
  if (!answer || !member(*answer, "message").is_object()) return std::nullopt;
  const Json& stored = member(*answer, "message");
  StoredMessage message;
  message.subject = text_of(stored, "subject");
  message.sequence = count_of(stored, "seq");
  message.time = parse_time(text_of(stored, "time")).value_or(ServerTime{});
  auto data = parse_base64(text_of(stored, "data"));
  const auto block = parse_base64(text_of(stored, "hdrs"));
  if (!data || !block) return std::nullopt;
  message.data = std::move(*data);
  message.headers = parse_header_block(base::as_text(*block));
  return message;
}

std::optional<ConsumerInfo> parse_consumer_info(std::string_view json) {
  const auto answer = parse_object(json);
  if (!answer || !member(*answer, "name").is_string()) return std::nullopt;
  // What has been delivered already counts as pending from the beginning.
  const Json& delivered = member(*answer, "delivered");
  const std::uint64_t sent = delivered.is_object() ? count_of(delivered, "consumer_seq") : 0;
  return ConsumerInfo{.name = text_of(*answer, "name"),
                      .pending = count_of(*answer, "num_pending") + sent,
                      .is_recent = answer->contains("ts")};
}

std::string stream_config_json(const StreamConfig& config) {
  return dump(config_json(config));
}

std::optional<std::string> merge_stream_config(std::string_view info_json, const StreamConfig& config) {
  const auto answer = parse_object(info_json);
  if (!answer || !member(*answer, "config").is_object()) return std::nullopt;
  Json merged = member(*answer, "config");
  Json wanted = config_json(config);
  wanted.erase("max_consumers");
  merged.update(wanted);
  return dump(merged);
}

std::string purge_json(const PurgeOptions& options) {
  Json json = Json::object();
  if (!options.filter.empty()) json["filter"] = options.filter;
  if (options.below_sequence != 0) json["seq"] = options.below_sequence;
  if (options.keep != 0) json["keep"] = options.keep;
  return dump(json);
}

std::string quoted(std::string_view text) {
  return dump(Json(text));
}

}  // namespace litecluster::nats
