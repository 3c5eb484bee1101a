#include "nats/ordered_tracker.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <nlohmann/json.hpp>

namespace litecluster::nats {
namespace {

template <typename Number>
bool parse(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::optional<DeliveryPosition> parse_delivery_position(std::string_view reply) {
  constexpr std::size_t short_form = 9;
  constexpr std::size_t long_form = 11;  // a token, and whatever comes later, may follow
  std::array<std::string_view, 16> tokens;
  std::size_t count = 0;
  while (count < tokens.size()) {
    const std::size_t dot = std::min(reply.find('.'), reply.size());
    tokens[count++] = reply.substr(0, dot);
    if (dot == reply.size()) break;
    reply.remove_prefix(dot + 1);
  }
  if (count < short_form || tokens[0] != "$JS" || tokens[1] != "ACK") return std::nullopt;
  if (count != short_form && count < long_form) return std::nullopt;
  const std::size_t first = count == short_form ? 5 : 7;
  DeliveryPosition position;
  std::int64_t nanoseconds = 0;
  if (!parse(tokens[first], position.stream_sequence) ||
      !parse(tokens[first + 1], position.consumer_sequence) || !parse(tokens[first + 2], nanoseconds) ||
      !parse(tokens[first + 3], position.pending)) {
    return std::nullopt;
  }
  position.time = ServerTime(std::chrono::nanoseconds(nanoseconds));
  return position;
}

History OrderedTracker::check(const StreamInfo& info) {
  if (created_ && *created_ != info.created) return History::another;
  std::uint64_t needed = highest_seen_;
  if (const auto* from = std::get_if<StartAtSequence>(&start_); from != nullptr && from->sequence > 0) {
    needed = std::max(needed, from->sequence - 1);
  }
  if (info.last_sequence < needed) return History::shorter;
  created_ = info.created;
  highest_seen_ = info.last_sequence;
  // "From now on" is a place, or it would be a later one after each interruption.
  if (std::holds_alternative<StartNew>(start_)) start_ = StartAtSequence{info.last_sequence + 1};
  return History::same;
}

void OrderedTracker::consumer_made() {
  consumer_sequence_ = 0;
  end_when_made_ = highest_seen_;
  const Start start = resume();
  if (const auto* from = std::get_if<StartAtSequence>(&start)) {
    complete_to_ = std::max<std::uint64_t>(from->sequence, 1) - 1;
  } else {
    // Of what was there, the last of each subject leaves the others out.
    complete_to_ = std::holds_alternative<StartAll>(start) ? 0 : highest_seen_;
  }
}

std::optional<std::uint64_t> OrderedTracker::unread_before(std::uint64_t sequence) const {
  if (sequence <= end_when_made_) return std::nullopt;
  const std::uint64_t first = std::max(complete_to_, last_sequence_) + 1;
  if (first >= sequence) return std::nullopt;
  return first;
}

bool OrderedTracker::follows(const DeliveryPosition& position) const {
  return position.consumer_sequence == consumer_sequence_ + 1 && position.stream_sequence > last_sequence_;
}

bool OrderedTracker::accept(const DeliveryPosition& position) {
  if (!follows(position)) return false;
  consumer_sequence_ = position.consumer_sequence;
  last_sequence_ = position.stream_sequence;
  last_time_ = position.time;
  highest_seen_ = std::max(highest_seen_, last_sequence_);
  return true;
}

Start OrderedTracker::resume() const {
  if (last_sequence_ == 0) return start_;
  return StartAtSequence{last_sequence_ + 1};
}

std::string consumer_create_json(const OrderedConsumerOptions& options, const Start& start,
                                 std::string_view deliver_subject) {
  nlohmann::json config = {
      {"deliver_subject", deliver_subject},
      {"ack_policy", "none"},
      {"max_deliver", 1},
      {"replay_policy", "instant"},
      {"flow_control", true},
      {"idle_heartbeat", std::chrono::nanoseconds(options.heartbeat).count()},
      {"mem_storage", true},
      {"num_replicas", 1},
  };
  if (!options.filter.empty()) config["filter_subject"] = options.filter;
  if (options.headers_only) config["headers_only"] = true;
  if (const auto* from = std::get_if<StartAtSequence>(&start)) {
    config["deliver_policy"] = "by_start_sequence";
    config["opt_start_seq"] = std::max<std::uint64_t>(1, from->sequence);
  } else if (std::holds_alternative<StartLastPerSubject>(start)) {
    config["deliver_policy"] = "last_per_subject";
    // The server demands a filter with this policy.
    if (options.filter.empty()) config["filter_subject"] = ">";
  } else if (std::holds_alternative<StartNew>(start)) {
    config["deliver_policy"] = "new";
  } else {
    config["deliver_policy"] = "all";
  }
  const nlohmann::json body = {{"stream_name", options.stream}, {"config", config}};
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace litecluster::nats
